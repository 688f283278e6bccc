// The field types of the requests to all services. A rule completes the sentence "<field> …".
import { z } from 'zod';
import { maxId } from '../contracts/ids.ts';
import { credentialRule, mayHoldCredential } from '../values/credential-text.ts';
import { parseTime, timeRule } from '../values/parse-time.ts';
import { brokenRuleOfLine, brokenRuleOfLines, compose } from '../values/plain-text.ts';

const idRule = `must be an integer from 1 to ${maxId}`;

/** An id in a JSON body. */
export const bodyId = z
  .int({ error: required(idRule) })
  .min(1, idRule)
  .max(maxId, idRule);

/** An id in a path or a query. */
export const textId = textInteger(1, maxId);

/** A number of items in a response. */
export const count = z.int().min(0).max(maxId);

/** An integer in plain decimal digits. Any other notation (`1e2`, ` 5`, `+5`, an empty value) is rejected. */
export function textInteger(min: number, max: number) {
  const rule = `must be an integer from ${min} to ${max}`;
  return z
    .string({ error: required(rule) })
    .regex(/^(0|[1-9]\d{0,15})$/, rule)
    .transform(Number)
    .refine((value) => value >= min && value <= max, rule)
    .meta({ override: { type: 'integer', minimum: min, maximum: max } });
}

/** Text that may have several lines, without other control characters, at most `max` code points, normalized to NFC, and no secret. */
export function text(max: number) {
  return checkedText(max, brokenRuleOfLines).meta({ override: { type: 'string', maxLength: max } });
}

/** A name: text of one line of which something is visible, and no secret. */
export function filledText(max: number) {
  return checkedText(max, brokenRuleOfLine).meta({ override: { type: 'string', minLength: 1, maxLength: max } });
}

function checkedText(max: number, brokenRule: (value: string) => string | undefined) {
  return z.string({ error: required('must be a string') }).transform((value, context) => {
    const rule = brokenRule(value);
    const composed = rule === undefined ? compose(value, max) : { rule };
    if ('text' in composed && !mayHoldCredential(composed.text)) return composed.text;
    context.addIssue('rule' in composed ? composed.rule : credentialRule);
    return z.NEVER;
  });
}

/** An ISO 8601 time with an offset, from the years 1 to 9999, in milliseconds: further digits are cut. */
export const moment = z
  .string({ error: required(timeRule) })
  .transform((value, context) => {
    const read = parseTime(value);
    if ('time' in read) return read.time;
    context.addIssue(read.rule);
    return z.NEVER;
  })
  .meta({ override: { type: 'string', format: 'date-time' } });

/** The time as callers see it: in UTC, with milliseconds only if they are not zero. */
export function presentTime(date: Date): string {
  return date.toISOString().replace('.000Z', 'Z');
}

/** The schema of what `presentTime` returns. */
export const presentedTime = z.iso.datetime().meta({ override: { type: 'string', format: 'date-time' } });

/** The rule of a missing value, or of any other wrong value. */
export function required(rule: string) {
  return ({ input }: { input?: unknown }): string => (input === undefined ? 'is required' : rule);
}
