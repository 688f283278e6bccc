// The field types that requests of every service are made of. Rules complete the sentence "<field> …".
import { z } from 'zod';

/** Postgres `integer`: the largest id there can be. */
export const maxId = 2_147_483_647;

const idRule = `must be an integer from 1 to ${maxId}`;

/** An id in a JSON body. */
export const bodyId = z
  .int({ error: required(idRule) })
  .min(1, idRule)
  .max(maxId, idRule);

/** An id in a path or a query, where everything is text. */
export const textId = textInteger(1, maxId);

/** An integer written in plain decimal digits; anything else (`1e2`, ` 5`, `+5`, an empty value) is refused. */
export function textInteger(min: number, max: number) {
  const rule = `must be an integer from ${min} to ${max}`;
  return z
    .string({ error: required(rule, 'must be given once') })
    .regex(/^(0|[1-9]\d{0,9})$/, rule)
    .transform(Number)
    .refine((value) => value >= min && value <= max, rule)
    .meta({ override: { type: 'integer', minimum: min, maximum: max } });
}

/** Text that Postgres can store: well-formed Unicode without NUL; `max` counts code points. Stored in NFC. */
export function text(max: number) {
  return z
    .string({ error: required('must be a string') })
    .refine(isStorable, 'must be well-formed Unicode without NUL characters')
    .transform((value) => value.normalize('NFC'))
    .refine((value) => codePoints(value) <= max, `must be at most ${max} characters`)
    .meta({ override: { type: 'string', maxLength: max } });
}

/** Like `text`, and neither empty nor only white space. */
export function filledText(max: number) {
  return text(max)
    .refine((value) => value.trim() !== '', 'must not be empty')
    .meta({ override: { type: 'string', minLength: 1, maxLength: max } });
}

/** A moment with its offset, of the years 1 to 9999; kept to the millisecond. */
export const moment = z.iso
  .datetime({
    offset: true,
    error: required('must be an ISO 8601 time with an offset or Z, such as 2026-06-01T00:00:00Z'),
  })
  .transform((value) => new Date(value))
  .refine((date) => date.getUTCFullYear() >= 1 && date.getUTCFullYear() <= 9999, 'must lie in the years 1 to 9999')
  .meta({ override: { type: 'string', format: 'date-time' } });

/** As callers see a time: UTC, milliseconds only when there are any. */
export function presentTime(date: Date): string {
  return date.toISOString().replace('.000Z', 'Z');
}

/** Output side of `moment`. */
export const presentedTime = z.iso.datetime().meta({ override: { type: 'string', format: 'date-time' } });

export function isStorable(value: string): boolean {
  return value.isWellFormed() && !value.includes('\0');
}

function codePoints(value: string): number {
  let count = 0;
  for (const _ of value) count += 1;
  return count;
}

/** "is required" for what is absent, else the rule; arrays come from a parameter given twice. */
export function required(rule: string, ruleForArray: string = rule) {
  return ({ input }: { input?: unknown }): string =>
    input === undefined ? 'is required' : Array.isArray(input) ? ruleForArray : rule;
}
