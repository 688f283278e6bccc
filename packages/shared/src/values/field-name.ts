// The names of fields as errors and logs show them: callers choose them, so they may hold anything.
import { undisguised } from './personal-text.ts';
import { invisible } from './plain-text.ts';

const maxCharacters = 64;
/** Of a name, in UTF-16 units, that are looked at: an email that begins in what is shown ends in them. */
const maxUnits = 512;
const hiddenName = '(not shown)';

/** Characters without a visible form (but a space between others), and the backslash, which begins the escapes. */
const escaped = new RegExp(`(?! )[${invisible}\\\\]|^ | $`, 'gu');
/** A part of an email, or of a phone number also with separators: whatever is no letter. */
const personal = /@|%40|\p{Nd}{5}|(?:\p{Nd}[^\p{L}\p{Nd}]*){9}/u;
const plain = /^[\w.[\]$-]{1,64}$/;

/**
 * Escapes what is invisible as `\uXXXX`, and cuts a long name. Hides a name that may be an email or a phone number in the
 * wrong place: errors and logs must not contain personal data.
 */
export function safeFieldName(name: PropertyKey): string {
  if (typeof name === 'number') return String(name);
  const whole = String(name);
  const text = whole.slice(0, maxUnits);
  if (personal.test(undisguised(text))) return hiddenName;
  if (plain.test(text)) return text;
  if (text === '') return '""';
  const characters = [...text];
  const shown = characters.slice(0, maxCharacters).join('');
  return `${shown.replaceAll(escaped, escapeOf)}${characters.length > maxCharacters || text !== whole ? '…' : ''}`;
}

function escapeOf(character: string): string {
  const hex = (character.codePointAt(0) as number).toString(16).toUpperCase();
  if (character === '\\') return '\\\\';
  return hex.length > 4 ? `\\u{${hex}}` : `\\u${hex.padStart(4, '0')}`;
}
