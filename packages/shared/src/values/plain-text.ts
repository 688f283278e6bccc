// Which texts are accepted as names and descriptions, by the Unicode properties of their characters.

/**
 * The members of a class of characters without a form of their own that one sees: spaces, controls, what fonts ignore,
 * private and unassigned characters, the symbols that are blank, and the marks that only fill, join or select (Tifinagh,
 * Brahmi, Khitan, Duployan). Unicode has no property for the last two kinds: their names say so.
 */
export const invisible = String.raw`\p{Z}\p{C}\p{Default_Ignorable_Code_Point}\u2800\ufffc\u{1d159}\u{13441}\u{13442}\u2d7f\u{1107f}\u{16fe4}\u{1bc9d}`;

/** A character that one sees. Not a combining mark, which one sees only with a letter. */
const visible = new RegExp(`[^${invisible}\\p{M}]`, 'u');

/** As many combining marks in a row have a meaning in no language (UAX #15, Stream-Safe Text Format). */
const maxMarks = 30;
const longRunOfMarks = new RegExp(`\\p{M}{${maxMarks + 1}}`, 'u');

/** NFC makes at most four UTF-16 units one (UAX #15, expansion factors of NFD), and a character has at most two. */
const maxUnitsPerCharacter = 8;

/** Control characters, line breaks, and the controls that reorder the text around them (not LRM, RLM, ZWJ and ZWNJ). */
const unfitForLine = /[\p{Cc}\p{Zl}\p{Zp}\u202a-\u202e\u2066-\u2069]/u;

/** Control characters but TAB, LF, and CR before LF. */
const unfitForLines = /(?![\t\n\r])\p{Cc}|\r(?!\n)/u;

const unstorable = 'must be well-formed Unicode without NUL characters';

/** Whether Postgres can store the text: it rejects NUL and half surrogate pairs. */
export function isStorable(value: string): boolean {
  return value.isWellFormed() && !value.includes('\0');
}

/** The rule that a text of several lines breaks. */
export function brokenRuleOfLines(value: string): string | undefined {
  if (!isStorable(value)) return unstorable;
  if (unfitForLines.test(value)) {
    return 'must not contain control characters other than tabs and line breaks (LF or CRLF)';
  }
  return undefined;
}

/** The rule that a name breaks: it is one line, and one sees something of it. */
export function brokenRuleOfLine(value: string): string | undefined {
  if (!isStorable(value)) return unstorable;
  if (!visible.test(value)) return 'must not be empty';
  if (unfitForLine.test(value)) return 'must not contain control characters or line breaks';
  return undefined;
}

/**
 * The text in NFC, of at most `max` characters, or the rule that it breaks. What breaks it is rejected before it is
 * normalized, as far as the cost of that is not linear: it grows with the square of a run of marks.
 */
export function compose(value: string, max: number): { text: string } | { rule: string } {
  const lengthRule = `must be at most ${max} characters`;
  if (value.length > max * maxUnitsPerCharacter) return { rule: lengthRule };
  if (longRunOfMarks.test(value)) return { rule: `must not have more than ${maxMarks} combining marks in a row` };
  const text = value.normalize('NFC');
  if (countCharacters(text) <= max) return { text };
  return { rule: countCharacters(value) > max ? lengthRule : `${lengthRule} in the Unicode form NFC` };
}

/** The number of characters as Postgres counts them. */
function countCharacters(value: string): number {
  let count = 0;
  for (const _ of value) count += 1;
  return count;
}
