// Whether a text that callers choose may hold an email or a phone number, which must be in no log, event or history.

const ignorable = /[\p{Cf}\p{Default_Ignorable_Code_Point}]/gu;
/** Dates with dots or hyphens: they have as many digits as a phone number. */
const dates = /(?<!\p{Nd})(?:\p{Nd}{4}-\p{Nd}{2}-\p{Nd}{2}|\p{Nd}{1,2}\.\p{Nd}{1,2}\.\p{Nd}{4})(?!\p{Nd})/gu;
const address = /@|%40|\p{Nd}(?:[\s\p{Pd}.()/+]*\p{Nd}){6}/u;

/** The text without what one does not see, and with compatible characters in one form: `＠` is `@`, and `①` is `1`. */
export function undisguised(text: string): string {
  return text.normalize('NFKC').replaceAll(ignorable, '');
}

/** It completes "<field> …". */
export const addressRule =
  'must not have an @ or 7 or more digits in a row, also with separators between them (a date may stand)';

/** Whether it has an `@`, or 7 digits in a row, also with separators between them. A date does not count. */
export function mayHoldAddress(text: string): boolean {
  return address.test(undisguised(text).replaceAll(dates, 'date'));
}
