// Times as other programs write them, and what a caller is told about the others.
import { describe, expect, test } from '@jest/globals';
import fc from 'fast-check';
import { parseTime } from '../../src/values/parse-time.ts';

const read = (text: string) => {
  const result = parseTime(text);
  return 'time' in result ? result.time.toISOString() : result.rule;
};

describe('a time is read as it is written by', () => {
  test.each([
    ['Java: OffsetDateTime on a full minute', '2026-06-01T00:00Z', '2026-06-01T00:00:00.000Z'],
    ['Java: OffsetDateTime on a full minute, elsewhere', '2026-06-01T00:00+02:00', '2026-05-31T22:00:00.000Z'],
    ['Java: OffsetDateTime, to the nanosecond', '2026-06-01T12:34:56.123456789-03:30', '2026-06-01T16:04:56.123Z'],
    ['Java: Instant', '2026-06-01T00:00:00Z', '2026-06-01T00:00:00.000Z'],
    ['Java: an offset of the time before time zones', '1880-01-01T00:00+00:53:28', '1879-12-31T23:06:32.000Z'],
    ['Python: an offset of the time before time zones', '2026-06-01T00:00:00+00:53:28', '2026-05-31T23:06:32.000Z'],
    [
      'Python: isoformat() of an offset with microseconds',
      '2026-06-01T00:00:00+00:53:28.123456',
      '2026-05-31T23:06:31.876Z',
    ],
    ['Python: the same west of it', '2026-06-01T00:00:00.5-00:53:28.123456', '2026-06-01T00:53:28.623Z'],
    ['Python: strftime %z of an offset with seconds', '2026-06-01T00:00:00+020030', '2026-05-31T21:59:30.000Z'],
    ['Python: strftime %z with microseconds', '2026-06-01T00:00:00-020030.000001', '2026-06-01T02:00:30.000Z'],
    ['Python: isoformat()', '2026-06-01T00:00:00+00:00', '2026-06-01T00:00:00.000Z'],
    ['Python: isoformat() with microseconds', '2026-06-01T00:00:00.999999+05:45', '2026-05-31T18:15:00.999Z'],
    ["Python: isoformat(timespec='minutes')", '2026-06-01T00:00+00:00', '2026-06-01T00:00:00.000Z'],
    ["Python: isoformat(timespec='hours')", '2026-06-01T07+00:00', '2026-06-01T07:00:00.000Z'],
    ['Python: str()', '2026-06-01 00:00:00+00:00', '2026-06-01T00:00:00.000Z'],
    ['PHP: DATE_ATOM', '2026-06-01T00:00:00-11:00', '2026-06-01T11:00:00.000Z'],
    ['PHP: DATE_ISO8601', '2026-06-01T00:00:00+0200', '2026-05-31T22:00:00.000Z'],
    ['PHP: DATE_RFC3339_EXTENDED', '2026-06-01T00:00:00.250+02:00', '2026-05-31T22:00:00.250Z'],
    ['PHP: DATE_ISO8601_EXPANDED', '+2026-06-01T00:00:00+02:00', '2026-05-31T22:00:00.000Z'],
    ['Go: RFC3339', '2026-06-01T00:00:00+14:00', '2026-05-31T10:00:00.000Z'],
    ['Go: RFC3339Nano', '2026-06-01T00:00:00.5Z', '2026-06-01T00:00:00.500Z'],
    ['JavaScript: toISOString()', '2026-06-01T00:00:00.001Z', '2026-06-01T00:00:00.001Z'],
    ['PostgreSQL', '2026-06-01 00:00:00.12+02', '2026-05-31T22:00:00.120Z'],
    ['RFC 3339 in lower case', '2026-06-01t00:00:00z', '2026-06-01T00:00:00.000Z'],
    ['RFC 3339 where the offset is not known', '2026-06-01T00:00:00-00:00', '2026-06-01T00:00:00.000Z'],
    ['ISO 8601 with a comma', '2026-06-01T00:00:00,75Z', '2026-06-01T00:00:00.750Z'],
    ['ISO 8601 at the end of a day', '2026-06-30T24:00:00Z', '2026-07-01T00:00:00.000Z'],
    ['ISO 8601 at the end of a day, elsewhere', '2026-12-31T24:00+01:00', '2026-12-31T23:00:00.000Z'],
    ['ISO 8601 at the end of a day, with a fraction', '2026-06-30T24:00:00.000Z', '2026-07-01T00:00:00.000Z'],
    ['whoever writes 20 digits', '2026-06-01T00:00:00.99999999999999999999Z', '2026-06-01T00:00:00.999Z'],
    ['the first millisecond', '0001-01-01T00:00:00Z', '0001-01-01T00:00:00.000Z'],
    ['the first day elsewhere', '0000-12-31T23:00:00-01:00', '0001-01-01T00:00:00.000Z'],
    ['the year 70', '0070-05-06T07:08:09Z', '0070-05-06T07:08:09.000Z'],
    ['the last millisecond', '9999-12-31T23:59:59.999Z', '9999-12-31T23:59:59.999Z'],
    ['the last day elsewhere', '+010000-01-01T00:59:59.999+01:00', '9999-12-31T23:59:59.999Z'],
    ['a leap day', '2024-02-29T00:00:00Z', '2024-02-29T00:00:00.000Z'],
  ])('%s', (_writer, text, time) => {
    expect(read(text)).toBe(time);
  });

  test('any of them, at any time and offset', () => {
    const two = (number: number) => String(number).padStart(2, '0');
    const times = fc.date({ min: new Date('0002-01-01'), max: new Date('9998-12-31'), noInvalidDate: true });
    const offsets = fc.tuple(
      fc.constantFrom('+', '-'),
      fc.integer({ max: 23, min: 0 }),
      fc.integer({ max: 59, min: 0 }),
    );
    fc.assert(
      fc.property(times, offsets, fc.constantFrom('T', 't', ' '), fc.boolean(), (time, [sign, h, m], t, hasColon) => {
        const offset = (sign === '-' ? -1 : 1) * (h * 60 + m) * 60_000;
        const local = new Date(time.getTime() + offset).toISOString().slice(0, -1).replace('T', t);
        expect(read(`${local}${sign}${two(h)}${hasColon ? ':' : ''}${two(m)}`)).toBe(time.toISOString());
      }),
    );
  });
});

const examples = 'such as 2026-06-01T00:00:00Z or 2026-06-01T02:00:00+02:00';
const form = `must be an ISO 8601 time of the form YYYY-MM-DDTHH:MM:SS with an offset or Z, ${examples}`;
const existence = `must be a day of its month, and a time from 00:00:00 to 23:59:59 or 24:00:00, ${examples}`;
const zone = `must not have a time zone in brackets: write an ISO 8601 time of the form YYYY-MM-DDTHH:MM:SS with an offset or Z, ${examples}`;
const years = 'must lie in the years 1 to 9999';

describe('a time is refused with the rule that it breaks', () => {
  test.each([
    ['without an offset', '2026-06-01T00:00:00', form],
    ['of a day only', '2026-06-01', form],
    ['of a day with an offset', '2026-06-01Z', form],
    ['in the basic form', '20260601T000000Z', form],
    ['by the number of the day', '2026-152T00:00:00Z', form],
    ['by the week', '2026-W23-1T00:00:00Z', form],
    ['with a space before the offset', '2026-06-01T00:00:00 Z', form],
    ['whose plus a URL has turned into a space', '2026-06-01T00:00:00 02:00', form],
    ['with two separators', '2026-06-01T 00:00:00Z', form],
    ['with one digit', '2026-6-1T0:00:00Z', form],
    ['of a year of two digits', '26-06-01T00:00:00Z', form],
    ['with a fraction of a minute', '2026-06-01T00:00.5Z', form],
    ['with a point and no digit', '2026-06-01T00:00:00.Z', form],
    ['with an offset of one digit', '2026-06-01T00:00:00+2', form],
    ['with an offset of 24 hours', '2026-06-01T00:00:00+24:00', form],
    ['with an offset of 60 seconds', '2026-06-01T00:00:00+010060', form],
    ['with one colon of two in its offset', '2026-06-01T00:00:00+01:0030', form],
    ['with the other colon of two', '2026-06-01T00:00:00+0100:30', form],
    ['with a fraction of a minute in its offset', '2026-06-01T00:00:00+01:00.5', form],
    ['with an offset of 60 minutes', '2026-06-01T00:00:00+01:60', form],
    ['with the sign U+2212', '2026-06-01T00:00:00\u221202:00', form],
    ['with digits of another script', '٢٠٢٦-06-01T00:00:00Z', form],
    ['with a line break at its end', '2026-06-01T00:00:00Z\n', form],
    ['with a space before it', ' 2026-06-01T00:00:00Z', form],
    ['as mail has it', 'Mon, 01 Jun 2026 00:00:00 +0000', form],
    ['as Go prints it', '2026-06-01 00:00:00 +0000 UTC', form],
    ['as a number', '1780272000', form],
    ['empty', '', form],
    ['in words', 'now', form],
    ['as Java writes a ZonedDateTime', '2026-06-01T00:00+02:00[Europe/Berlin]', zone],
    ['as JavaScript writes a Temporal.ZonedDateTime', '2026-06-01T00:00:00+00:00[UTC]', zone],
    ['on February 29 of a common year', '2026-02-29T00:00:00Z', existence],
    ['on February 29 of 1900', '1900-02-29T00:00:00Z', existence],
    ['on June 31', '2026-06-31T00:00:00Z', existence],
    ['on day 0', '2026-06-00T00:00:00Z', existence],
    ['in month 0', '2026-00-01T00:00:00Z', existence],
    ['in month 13', '2026-13-01T00:00:00Z', existence],
    ['at 25:00', '2026-06-01T25:00:00Z', existence],
    ['a second after the end of a day', '2026-06-01T24:00:01Z', existence],
    ['a microsecond after the end of a day', '2026-06-01T24:00:00.000001Z', existence],
    ['in minute 60', '2026-06-01T00:60:00Z', existence],
    ['in a leap second', '2016-12-31T23:59:60Z', existence],
    ['in the year 0', '0000-12-31T23:59:59Z', years],
    ['in the year 0 in UTC', '0001-01-01T00:00:00+01:00', years],
    ['in the year 10000 in UTC', '9999-12-31T23:59:59-01:00', years],
    ['at the end of 9999', '9999-12-31T24:00:00Z', years],
    ['in the year 10000, as JavaScript writes it', '+010000-01-01T00:00:00.000Z', years],
    ['in the year 300000', '300000-01-01T00:00:00Z', years],
    ['in the year 300000, with a sign', '+300000-01-01T00:00:00Z', years],
    ['before Christ', '-000001-01-01T00:00:00Z', years],
    ['before Christ, in four digits', '-0044-03-15T00:00:00Z', years],
  ])('%s', (_what, text, rule) => {
    expect(read(text)).toBe(rule);
  });

  test('within milliseconds, however long it is', () => {
    const start = performance.now();
    for (const text of [
      `2026-06-01T00:00:00.${'9'.repeat(65_000)}`,
      `2026-06-01T00:00:00+00:00:00.${'9'.repeat(65_000)}x`,
      '2'.repeat(65_000),
      '+'.repeat(65_000),
    ]) {
      expect(read(text)).toBe(form);
    }
    expect(performance.now() - start).toBeLessThan(200);
  });
});
