// What a subscription's free-form metadata may hold: a JSON object that comes back as it was sent. Checked by
// hand because nesting as deep as a body allows would overflow a recursive schema.
import { isStorable, required } from '@promopulse/shared/http/schemas';
import { z } from 'zod';

const deepest = 16;
/** As JSON. A page of 1,000 subscriptions stays within what one statement can carry. */
const mostBytes = 8_192;

export const metadata = z
  .custom<Record<string, unknown> | null>(isObjectOrNull, { error: required('must be an object or null'), abort: true })
  .superRefine((value, context) => {
    const broken = value === null ? undefined : brokenRule(value, 1, []);
    if (broken) context.addIssue({ code: 'custom', path: broken.path, message: broken.rule });
    else if (Buffer.byteLength(JSON.stringify(value)) > mostBytes) {
      context.addIssue({ code: 'custom', message: `must be at most ${mostBytes} bytes as JSON` });
    }
  })
  .meta({ override: { type: ['object', 'null'], additionalProperties: true } });

function isObjectOrNull(value: unknown): boolean {
  return typeof value === 'object' && !Array.isArray(value);
}

function brokenRule(value: unknown, depth: number, path: string[]): { path: string[]; rule: string } | undefined {
  if (typeof value === 'string' && !isStorable(value)) {
    return { path, rule: 'must be well-formed Unicode without NUL characters' };
  }
  // JavaScript has rounded a larger integer already: it would come back as another number.
  if (
    typeof value === 'number' &&
    !(Number.isSafeInteger(value) || (Number.isFinite(value) && !Number.isInteger(value)))
  ) {
    return { path, rule: 'must be a number that a double holds exactly: write large integers as strings' };
  }
  if (typeof value !== 'object' || value === null) return undefined;
  if (depth > deepest) return { path: path.slice(0, 1), rule: `must be nested at most ${deepest} deep` };
  for (const [key, member] of Object.entries(value)) {
    if (!isStorable(key)) return { path, rule: 'must have keys of well-formed Unicode without NUL characters' };
    const broken = brokenRule(member, depth + 1, [...path, key]);
    if (broken) return broken;
  }
  return undefined;
}
