// What the OpenAPI document says of `Idempotency-Key`: the same for every operation that changes something.
import { z } from 'zod';
import { type DomainError, idempotencyInProgress, idempotencyKeyReused } from '../../errors.ts';
import { idempotencyKeyHeader, maxKeyLength, takesIdempotencyKey } from '../idempotency-key.ts';
import type { Route } from '../routes.ts';

/** The header parameter of a change. */
export const idempotencyParameter = z.object({
  [idempotencyKeyHeader]: z
    .string()
    .optional()
    .meta({
      description:
        'Makes the request safe to repeat: it changes something once, and a repetition gets the first answer. A new random text for each change, such as a UUID, with or without double quotes. It is kept for 24 hours.',
      override: {
        type: 'string',
        pattern: `^("[ -~]+"|[A-Za-z0-9._:~-]{1,${maxKeyLength}})$`,
        minLength: 1,
        maxLength: 2 * maxKeyLength + 2,
      },
    }),
});

/** The header of a kept answer: its name in `components/headers`, and its definition. */
export const replayedComponent = {
  'Idempotent-Replayed': {
    description:
      '`true`: this is the answer to an earlier request with the same `Idempotency-Key`. Absent: it is a new one.',
    schema: { type: 'string', enum: ['true'] },
  },
};

/** Beside 400, which the gateway adds to every operation. */
const texts: Readonly<Record<string, string>> = {
  409: 'a request with the same `Idempotency-Key` is in progress',
  422: 'the `Idempotency-Key` belongs to another request',
};

const problems = [idempotencyInProgress(), idempotencyKeyReused()];

/** The errors of a route together with those of the key, if the route changes something. */
export function withKeyErrors(route: Pick<Route, 'method' | 'isRepeatable' | 'errors' | 'problems'>): {
  errors: Readonly<Record<string, string>>;
  problems: readonly DomainError[];
} {
  const { errors, problems: own = [] } = route;
  if (!takesIdempotencyKey(route)) return { errors, problems: own };
  const both: Record<string, string> = { ...errors };
  for (const [status, text] of Object.entries(texts))
    both[status] = both[status] ? `${both[status]}; or ${text}` : text;
  return { errors: both, problems: [...own, ...problems] };
}
