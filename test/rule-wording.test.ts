// No answer has the wording of a library: every rule that a route can tell of wrong input is one of ours.
import { describe, expect, test } from '@jest/globals';
import type { FieldError } from '@promopulse/shared/errors';
import { validateInput } from '@promopulse/shared/http/input/validate-input';
import type { Route } from '@promopulse/shared/http/routes';
import { internalProjectionRoutes } from '@promopulse/shared/projections/projection-routes';
import type { z } from 'zod';
import { internalPromotionRoutes, promotionRoutes } from '../services/promotions/src/routes.ts';
import { internalSubscriptionRoutes, subscriptionRoutes } from '../services/subscriptions/src/routes.ts';
import { internalUserRoutes, userRoutes } from '../services/users/src/routes.ts';

/** The handlers do not run, so that they need nothing. */
const nothing = {} as never;
const routes: readonly Route[] = [
  ...userRoutes(nothing, nothing),
  ...internalUserRoutes(nothing),
  ...promotionRoutes(nothing, nothing),
  ...internalPromotionRoutes(nothing),
  ...subscriptionRoutes(nothing, nothing),
  ...internalSubscriptionRoutes(nothing),
  ...internalProjectionRoutes(nothing, nothing),
];

const ourRules = [
  /^is required$/,
  /^is not a known field$/,
  /^is changed by POST \/promotions\/\{id\}\/status$/,
  /^must be given once$/,
  /^must be a JSON object$/,
  /^must be a string( or null)?$/,
  /^must be an object or null$/,
  /^must be an integer from \d+ to \d+$/,
  /^must be 1 to 500 ids, separated by commas$/,
  /^must be true or false, given once$/,
  /^must be one of draft, active, ended$/,
  /^must be the next_cursor of a page of this list\b/,
  /^must be an ISO 8601 time of the form YYYY-MM-DDTHH:MM:SS with an offset or Z, such as /,
  /^must be an international number such as \+14155550123$/,
  /^must be at most \d+ characters$/,
  /^must be at most 254 bytes in UTF-8, with an international domain as xn--$/,
  /^must not be empty$/,
  /^must have an @ between a name and a domain$/,
  /^cannot be combined with offset$/,
];

const wrongValues = [
  ...[null, true, false, 0, -0, 1.5, -1, 1e308, Number.NaN, Number.POSITIVE_INFINITY, 2 ** 53],
  ...[
    '',
    ' ',
    'x',
    '1e2',
    'x'.repeat(5_000),
    [],
    ['x'],
    [[]],
    [null],
    {},
    { a: 1 },
    { a: { b: [null] } },
    { length: 1 },
  ],
];

/** The input with one value in each of its places, each place also left out. */
function wrongInputs(schema: z.ZodType): unknown[] {
  const names = Object.keys((schema as z.ZodObject).shape ?? {});
  expect(names.length).toBeGreaterThan(0);
  return [
    undefined,
    ...wrongValues,
    ...wrongValues.map((value) => Object.fromEntries(names.map((name) => [name, value]))),
    ...names.flatMap((name) => wrongValues.map((value) => ({ [name]: value, [`${name}_unknown`]: value }))),
  ];
}

function rulesOf(schema: z.ZodType, input: unknown): string[] {
  try {
    validateInput(schema, input, 'body');
    return [];
  } catch (error) {
    return (error as { errors: FieldError[] }).errors.map(({ rule }) => rule);
  }
}

const parts = routes.flatMap(({ operationId, params, query, body }) =>
  Object.entries({ params, query, body }).flatMap(([part, schema]) =>
    schema ? [[operationId, part, schema] as const] : [],
  ),
);

describe('the rules that wrong input breaks are in our words', () => {
  test.each(parts)('%s: %s', (_operation, _part, schema) => {
    const rules = new Set(wrongInputs(schema).flatMap((input) => rulesOf(schema, input)));
    expect(rules.size).toBeGreaterThan(1);
    expect([...rules].filter((rule) => !ourRules.some((ours) => ours.test(rule)))).toEqual([]);
  });

  test('of every route that there is', () => {
    expect(routes.length).toBeGreaterThan(15);
    expect(parts.length).toBeGreaterThan(15);
  });
});
