// Why a caller makes a change: the header `X-Reason`, which goes into the history of what is changed, and nowhere else.
// HTTP has no charset for the values of headers, so it is ASCII, and other characters are UTF-8 in percent-encoding.
import type { IncomingMessage } from 'node:http';
import { z } from 'zod';
import { addressRule, mayHoldAddress } from '../../values/personal-text.ts';
import { filledText } from '../schemas.ts';
import { validateInput } from './validate-input.ts';

const reasonHeader = 'X-Reason';
const maxCharacters = 200;
const encodedBytes = 12;

const reason = z
  .string()
  .transform((value, context) => {
    const text = decode(value);
    if (text !== undefined) return text;
    context.addIssue('must be ASCII, with % and all other characters as UTF-8 in percent-encoding (%25, %C3%BC)');
    return z.NEVER;
  })
  .pipe(filledText(maxCharacters))
  .refine((text) => !mayHoldAddress(text), addressRule)
  .meta({
    override: { type: 'string', minLength: 1, maxLength: maxCharacters * encodedBytes },
    description:
      'Why the change is made: 1 to 200 characters, for the history only. ASCII; `%` and every other character is UTF-8 in percent-encoding. No email, no phone number.',
  });

/** For the OpenAPI document. */
export const reasonParameter = z.object({ [reasonHeader]: reason.optional() });

/** @throws DomainError of kind `invalid` that names the header and its rule */
export function readReason({ headers }: IncomingMessage): string | undefined {
  const value = headers['x-reason'];
  if (value === undefined) return undefined;
  return validateInput(reasonParameter, { [reasonHeader]: value }, 'request')[reasonHeader];
}

/** @returns undefined for what is not ASCII in percent-encoding */
function decode(value: string): string | undefined {
  if (!/^[ -~]*$/.test(value)) return undefined;
  try {
    return decodeURIComponent(value);
  } catch {
    return undefined;
  }
}
