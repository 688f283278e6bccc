// The words of the rules that a caller breaks: ours, also where a schema has none.
import { expect, test } from '@jest/globals';
import { z } from 'zod';
import type { FieldError } from '../../src/errors.ts';
import { validateInput } from '../../src/http/input/validate-input.ts';

function errorsOf(schema: z.ZodType, input: unknown, faults: Parameters<typeof validateInput>[3] = []): FieldError[] {
  try {
    validateInput(schema, input, 'body', faults);
    return [];
  } catch (error) {
    return (error as { errors: FieldError[] }).errors;
  }
}

test.each<[string, z.ZodType, unknown, string]>([
  ['a string', z.string(), 1, 'must be a string'],
  ['a number', z.number(), '1', 'must be a number'],
  ['a number, not NaN', z.number(), Number.NaN, 'must be a number'],
  ['an integer', z.int(), 1.5, 'must be an integer'],
  ['a boolean', z.boolean(), 'true', 'must be a boolean'],
  ['an array', z.array(z.string()), 'x', 'must be an array'],
  ['a tuple', z.tuple([z.string()]), {}, 'must be an array'],
  ['an object', z.strictObject({}), [], 'must be an object'],
  ['a record', z.record(z.string(), z.string()), 'x', 'must be an object'],
  ['null', z.null(), 1, 'must be null'],
  ['nothing', z.never(), 1, 'must be absent'],
  ['a date', z.date(), 'x', 'must be a date'],
  ['a missing value', z.string(), undefined, 'is required'],
  ['a missing choice', z.enum(['a', 'b']), undefined, 'must be one of a, b'],
  ['a choice', z.enum(['a', 'b']), 'c', 'must be one of a, b'],
  ['a literal', z.literal('a'), 'b', 'must be a'],
  ['a short text', z.string().min(3), 'x', 'must have at least 3 characters'],
  ['a long text', z.string().max(3), 'xxxx', 'must have at most 3 characters'],
  ['a small number', z.number().min(3), 2, 'must be at least 3'],
  ['a number on an open bound', z.number().gt(3), 3, 'must be more than 3'],
  ['a large number', z.number().lt(3), 3, 'must be less than 3'],
  ['an integer beyond the safe ones', z.int(), 2 ** 60, 'must be at most 9007199254740991'],
  ['few items', z.array(z.string()).min(1), [], 'must have at least 1 items'],
  ['many items', z.array(z.string()).max(1), ['a', 'b'], 'must have at most 1 items'],
  ['a step', z.number().multipleOf(5), 3, 'must be a multiple of 5'],
  ['a format', z.email(), 'x', 'must have the form email'],
  ['a pattern', z.string().regex(/^a$/), 'b', 'must have another form'],
  ['a union', z.union([z.string(), z.number()]), true, 'must have one of the known forms'],
  [
    'a discriminated union',
    z.discriminatedUnion('a', [z.object({ a: z.literal(1) })]),
    {},
    'must have one of the known forms',
  ],
  ['a name of a record', z.record(z.string().max(1), z.string()), { ab: 'x' }, 'must have other names'],
  ['any other rule', z.string().refine(() => false), 'x', 'must have another value'],
  ['the words of a schema', z.string('must be text'), 1, 'must be text'],
])('of %s', (_what, schema, input, rule) => {
  for (const [nested, body] of [
    [z.object({ it: schema }), { it: input }],
    [z.object({ it: z.object({ in: schema }) }), { it: { in: input } }],
    [z.object({ it: z.array(schema) }), { it: [input] }],
  ] as const) {
    expect(errorsOf(nested, body).map((error) => error.rule)).toEqual([rule]);
  }
});

test('what the parser has found is named beside what the schema has, and once per field', () => {
  const schema = z.strictObject({ id: z.int('must be an integer'), free: z.record(z.string(), z.unknown()) });
  const faults = [
    { path: ['id'], rule: 'must be given once' },
    { path: ['free', 'a', 3], rule: 'must be given once' },
    { path: ['free', 'a', 3], rule: 'must be given once' },
    { path: [], rule: 'must be given once' },
  ];
  expect(errorsOf(schema, { id: 'x', free: {} }, faults)).toEqual([
    { field: 'id', rule: 'must be an integer' },
    { field: 'free.a.3', rule: 'must be given once' },
    { field: 'body', rule: 'must be given once' },
  ]);
  expect(errorsOf(schema, { id: 1, free: {} }, faults).map(({ field }) => field)).toEqual(['id', 'free.a.3', 'body']);
  expect(errorsOf(schema, { id: 1, free: {} })).toEqual([]);
});

test('of more than a hundred errors the number of the others is told', () => {
  const unknown = Object.fromEntries(Array.from({ length: 150 }, (_, index) => [`field_${index}`, 1]));
  const errors = errorsOf(z.strictObject({}), unknown);
  expect(errors).toHaveLength(101);
  expect(errors.slice(99)).toEqual([
    { field: 'field_99', rule: 'is not a known field' },
    { field: 'body', rule: 'has more errors (50)' },
  ]);
});

test('of thousands of faults with long names a hundred are named, at once', () => {
  const faults = Array.from({ length: 5_000 }, (_, index) => ({
    path: [...Array.from({ length: 18 }, () => 'é\u0301\u0323'.repeat(1_000)), index],
    rule: 'must be given once',
  }));
  const startedAt = performance.now();
  const errors = errorsOf(z.strictObject({}), {}, faults);
  expect(performance.now() - startedAt).toBeLessThan(3_000);
  expect(errors).toHaveLength(101);
  expect(errors.at(-1)).toEqual({ field: 'body', rule: 'has more errors (4900)' });
});
