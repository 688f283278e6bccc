// The field types of the requests to all services. A rule completes the sentence "<field> …".
import { z } from 'zod';
import { maxId } from '../contracts/ids.ts';

const idRule = `must be an integer from 1 to ${maxId}`;

/** An id in a JSON body. */
export const bodyId = z
  .int({ error: required(idRule) })
  .min(1, idRule)
  .max(maxId, idRule);

/** An id in a path or a query. */
export const textId = textInteger(1, maxId);

/** An integer in plain decimal digits. Any other notation (`1e2`, ` 5`, `+5`, an empty value) is rejected. */
export function textInteger(min: number, max: number) {
  const rule = `must be an integer from ${min} to ${max}`;
  return z
    .string({ error: required(rule, 'must be given once') })
    .regex(/^(0|[1-9]\d{0,15})$/, rule)
    .transform(Number)
    .refine((value) => value >= min && value <= max, rule)
    .meta({ override: { type: 'integer', minimum: min, maximum: max } });
}

/** Text that Postgres can store: well-formed Unicode without NUL, at most `max` code points, normalized to NFC. */
export function text(max: number) {
  return z
    .string({ error: required('must be a string') })
    .refine(isStorable, 'must be well-formed Unicode without NUL characters')
    .transform((value) => value.normalize('NFC'))
    .refine((value) => codePoints(value) <= max, `must be at most ${max} characters`)
    .meta({ override: { type: 'string', maxLength: max } });
}

/** Like `text`, but neither empty nor only white space. */
export function filledText(max: number) {
  return text(max)
    .refine((value) => value.trim() !== '', 'must not be empty')
    .meta({ override: { type: 'string', minLength: 1, maxLength: max } });
}

/** An ISO 8601 time with an offset, from the years 1 to 9999, in milliseconds. */
export const moment = z.iso
  .datetime({
    offset: true,
    error: required('must be an ISO 8601 time with an offset or Z, such as 2026-06-01T00:00:00Z'),
  })
  .transform((value) => new Date(value))
  .refine((date) => date.getUTCFullYear() >= 1 && date.getUTCFullYear() <= 9999, 'must lie in the years 1 to 9999')
  .meta({ override: { type: 'string', format: 'date-time' } });

/** The time as callers see it: in UTC, with milliseconds only if they are not zero. */
export function presentTime(date: Date): string {
  return date.toISOString().replace('.000Z', 'Z');
}

/** The schema of what `presentTime` returns. */
export const presentedTime = z.iso.datetime().meta({ override: { type: 'string', format: 'date-time' } });

/** Whether Postgres can store the text: it rejects NUL and half surrogate pairs. */
export function isStorable(value: string): boolean {
  return value.isWellFormed() && !value.includes('\0');
}

function codePoints(value: string): number {
  let count = 0;
  for (const _ of value) count += 1;
  return count;
}

/** The rule of a missing value, of an array (which a repeated query parameter becomes), or of any other wrong value. */
export function required(rule: string, ruleForArray: string = rule) {
  return ({ input }: { input?: unknown }): string =>
    input === undefined ? 'is required' : Array.isArray(input) ? ruleForArray : rule;
}
