// Reads a time as programs in Java, Python, PHP, Go and JavaScript write it: ISO 8601 with an offset, and what RFC 3339
// allows beyond it (lower-case letters, a space for the T). It is exact to the millisecond; further digits are cut.

const examples = 'such as 2026-06-01T00:00:00Z or 2026-06-01T02:00:00+02:00';
const form = 'the form YYYY-MM-DDTHH:MM:SS with an offset or Z';
export const timeRule = `must be an ISO 8601 time of ${form}, ${examples}`;
const zoneRule = `must not have a time zone in brackets: write an ISO 8601 time of ${form}, ${examples}`;
const existenceRule = `must be a day of its month, and a time from 00:00:00 to 23:59:59 or 24:00:00, ${examples}`;
const yearRule = 'must lie in the years 1 to 9999';

const date = /(?<year>[+-]?\d{4,9})-(?<month>\d\d)-(?<day>\d\d)/;
const clock = /(?<hour>\d\d)(?::(?<minute>\d\d)(?::(?<second>\d\d)(?:[.,](?<fraction>\d+))?)?)?/;
/** With seconds and microseconds, as Java and Python write an offset of the time before time zones. */
const offset =
  /[Zz]|(?<sign>[+-])(?<offsetHour>\d\d)(?:(?<colon>:?)(?<offsetMinute>\d\d)(?:\k<colon>(?<offsetSecond>\d\d)(?:[.,](?<offsetFraction>\d+))?)?)?/;
const time = new RegExp(`^${date.source}[Tt ]${clock.source}(?:${offset.source})$`);

/** The time, or the rule that the text breaks. */
export function parseTime(text: string): { time: Date } | { rule: string } {
  const groups = time.exec(text)?.groups;
  if (!groups) return { rule: text.endsWith(']') ? zoneRule : timeRule };
  const part = (name: string): number => Number(groups[name] ?? 0);

  const [year, month, day] = [part('year'), part('month'), part('day')];
  if (year < 0 || year > 10_000) return { rule: yearRule };
  const read = new Date(0);
  read.setUTCFullYear(year, month - 1, day);
  if (read.getUTCMonth() !== month - 1 || read.getUTCDate() !== day) return { rule: existenceRule };

  const [hour, minute, second] = [part('hour'), part('minute'), part('second')];
  const isEndOfDay = hour === 24 && minute === 0 && second === 0 && !/[1-9]/.test(groups.fraction ?? '');
  if ((hour > 23 && !isEndOfDay) || minute > 59 || second > 59) return { rule: existenceRule };

  const [offsetHour, offsetMinute, offsetSecond] = [part('offsetHour'), part('offsetMinute'), part('offsetSecond')];
  if (offsetHour > 23 || offsetMinute > 59 || offsetSecond > 59) return { rule: timeRule };
  const sign = groups.sign === '-' ? 1 : -1;
  const seconds = second + sign * ((offsetHour * 60 + offsetMinute) * 60 + offsetSecond);
  const microseconds = readMicroseconds(groups.fraction) + sign * readMicroseconds(groups.offsetFraction);
  read.setUTCHours(hour, minute, seconds, Math.floor(microseconds / 1_000));
  return read.getUTCFullYear() >= 1 && read.getUTCFullYear() <= 9999 ? { time: read } : { rule: yearRule };
}

function readMicroseconds(fraction = ''): number {
  return Number(fraction.slice(0, 6).padEnd(6, '0'));
}
