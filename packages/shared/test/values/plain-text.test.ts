// Names, descriptions, and the names of fields in errors, by their characters.
import { describe, expect, test } from '@jest/globals';
import fc from 'fast-check';
import { safeFieldName } from '../../src/values/field-name.ts';
import { brokenRuleOfLine, brokenRuleOfLines, compose } from '../../src/values/plain-text.ts';

const unstorable = 'must be well-formed Unicode without NUL characters';
const empty = 'must not be empty';
const control = 'must not contain control characters or line breaks';
const controlOfLines = 'must not contain control characters other than tabs and line breaks (LF or CRLF)';

const codePoint = (text: string) => [...text].map((each) => `U+${each.codePointAt(0)?.toString(16)}`).join(' ');

describe('a name of which nothing is visible is empty:', () => {
  test.each([
    ...[
      '',
      ' ',
      '\t\r\n',
      '\u00a0',
      '\u2003\u3000',
      '\u1680',
      '\u200b',
      '\u2060',
      '\u00ad',
      '\ufeff',
      '\u200d',
      '\u200c',
    ],
    ...['\u3164', '\u115f\u1160', '\uffa0', '\u2800', '\u180e', '\u034f', '\u061c', '\u200e\u200f', '\u2061', '\u206a'],
    ...[
      '\ufe0f',
      '\u{e0100}',
      '\u{e0041}\u{e007f}',
      '\u{1d159}',
      '\u0301',
      '\u20e3',
      '\u0903',
      '\u202e',
      '\u2028',
      '\x1b',
    ],
    ...['\u{13441}', '\u{13442}', '\ufffc', '\u0378', '\u{1fbff}', '\ue000', '\u{f0000}', '\u{10fffd}', '\u{16fe4}'],
    ...['\x85', '\u17b4', '\ufff9', '\ufffe', '\u{1bca0}', ' \u200b\u00ad '],
  ])('%j', (text) => {
    expect([codePoint(text), brokenRuleOfLine(text)]).toEqual([codePoint(text), empty]);
    expect(brokenRuleOfLine(`${text}x`)).not.toBe(empty);
  });
});

describe('a name is refused for', () => {
  test.each([
    ...[
      'a\nb',
      'a\r\nb',
      'a\rb',
      'a\tb',
      'a\x0bb',
      'a\x0cb',
      '\x1b[31mred',
      'a\x07',
      'a\x7f',
      'a\x80',
      'a\x85b',
      'a\x9f',
    ],
    ...[
      'a\u2028b',
      'a\u2029b',
      'a\u202eb',
      'a\u202ab\u202c',
      '\u202dab',
      'a\u2066b\u2069',
      '\u2067a',
      'a\u2068',
      'x\n',
    ],
  ])('%j, a control character or a line break', (text) => {
    expect(brokenRuleOfLine(text)).toBe(control);
  });

  test.each(['a\0', '\0', 'a\ud800', '\udc00'])('%j, which cannot be stored', (text) => {
    expect([brokenRuleOfLine(text), brokenRuleOfLines(text)]).toEqual([unstorable, unstorable]);
  });
});

test.each([
  ['in Hindi, with a ZWJ', 'क्‍ष'],
  ['in Persian, with a ZWNJ', 'علی‌رضا'],
  ['in Sinhala', 'ශ්‍රී'],
  ['in Arabic, with a mark of direction', 'محمد\u200f (Ali)'],
  ['in Hebrew with points', 'שָׁלוֹם'],
  ['in Thai', 'สมชาย'],
  ['in Vietnamese, decomposed', 'Nguye\u0302\u0303n'],
  ['in Mongolian, with a vowel separator', 'ᠠ\u180eᠠ'],
  ['of an emoji with ZWJ', '👩‍👩‍👧‍👦'],
  ['of an emoji with a variation selector', '❤️'],
  ['of a flag of tags', '🏴󠁧󠁢󠁥󠁮󠁧󠁿'],
  ['of a flag of letters', '🇩🇪'],
  ['of a keycap', '1️⃣'],
  ['with a private character', 'x\ue000'],
  ['with a character of a later Unicode', 'x\u{1fbff}'],
  ['of Egyptian hieroglyphs with a blank', '\u{13000}\u{13441}'],
  ['of one letter', 'x'],
  ['of punctuation', '.'],
  ['with spaces around it', ' a '],
  ['with a soft hyphen', 'Kat\u00adze'],
])('a name %s is accepted', (_what, text) => {
  expect(brokenRuleOfLine(text)).toBeUndefined();
});

describe('a description', () => {
  test.each(['', ' ', 'a\nb', 'a\r\nb\r\n', '\ta', 'a\u2028b', '\u2067a\u2069', '\u200b', 'علی‌رضا'])(
    'may have several lines: %j',
    (text) => {
      expect(brokenRuleOfLines(text)).toBeUndefined();
    },
  );

  test.each(['\x1b[2J', 'a\x07', 'a\rb', 'a\r', '\r\r\n', 'a\x85b', 'a\x0bb', 'a\x7f', 'a\x9b'])(
    'has no other control character: %j',
    (text) => {
      expect(brokenRuleOfLines(text)).toBe(controlOfLines);
    },
  );
});

describe('the name of a field is shown', () => {
  test.each([
    ['with spaces', 'Email Address', 'Email Address'],
    ['in any script', 'prénom', 'prénom'],
    ['in any script', '名字', '名字'],
    ['in any script', 'имя', 'имя'],
    ['with a quotation mark', `it's "x"`, `it's "x"`],
    ['with up to four digits in a row', 'line_1234', 'line_1234'],
    ['with a date', 'on 2026-06-01', 'on 2026-06-01'],
    ['with nine digits in words', 'a1 b2 c3 d4 e5 f6 g7 h8 i9', 'a1 b2 c3 d4 e5 f6 g7 h8 i9'],
    ['with a blank symbol', 'a\ufffc\u{13441}', 'a\\uFFFC\\u{13441}'],
    ['of an emoji', '🎉', '🎉'],
    ['with a byte order mark', '\ufefffirst_name', '\\uFEFFfirst_name'],
    ['with control characters', 'a\n\x1b[31m\0', 'a\\u000A\\u001B[31m\\u0000'],
    ['with other spaces', 'a\u00a0b\u3000', 'a\\u00A0b\\u3000'],
    ['with a space at an end', ' email ', '\\u0020email\\u0020'],
    ['with what is invisible', 'na\u200bme\u202e\u3164', 'na\\u200Bme\\u202E\\u3164'],
    ['with an invisible character beyond 16 bits', 'a\u{e0041}', 'a\\u{E0041}'],
    ['with half a surrogate pair', 'a\ud800', 'a\\uD800'],
    ['with what looks like an escape', '\\uFEFF', '\\\\uFEFF'],
    ['without a character', '', '""'],
    ['of 64 characters', 'x'.repeat(64), 'x'.repeat(64)],
    ['cut, however long it is', 'é'.repeat(60_000), `${'é'.repeat(64)}…`],
    ['cut after 64 characters', '🎉'.repeat(65), `${'🎉'.repeat(64)}…`],
  ])('%s', (_how, name, shown) => {
    expect(safeFieldName(name)).toBe(shown);
  });

  test.each([
    ...['ada@example.com', 'Ada <ada@example.com>', 'ada＠example.com', 'ada﹫example.com', 'ada%40example.com', '@'],
    ...['+14155550123', '14155', 'tel 030 1234567', '+1 (415) 555-0123', '415.555.0123', '+49 30 12 34 56 7'],
    ...['415_555_0123', '41:55:55:01:23', '415,555,0123', '415|555|0123', '415\u2800555·0123', '4_1_5_5_5_5_0_1_2'],
    ...['٤١٥٥٥', '４１５５５', '415\u200b555\u00ad0123', `${'x'.repeat(100)}@example.com`],
  ])('but not %j, which may be an email or a phone number', (name) => {
    expect(safeFieldName(name)).toBe('(not shown)');
  });

  test('without any invisible character, in at most 64 escapes, whatever it is', () => {
    fc.assert(
      fc.property(fc.string({ unit: 'binary', maxLength: 100 }), (name) => {
        const shown = safeFieldName(name);
        expect(shown).not.toMatch(/(?! )[\p{C}\p{Z}\p{Default_Ignorable_Code_Point}]|^ | $|^$/u);
        expect(shown.length).toBeLessThanOrEqual(64 * 10 + 1);
      }),
    );
  });

  test('of 64 KiB at once', () => {
    for (const unit of ['\u0301\u0323', '\u0f73\u0301', '1 ', '\uff9e', '\ufdfa']) {
      const startedAt = performance.now();
      safeFieldName(`a${unit.repeat(60_000)}`);
      expect(performance.now() - startedAt).toBeLessThan(50);
    }
  });

  test('of an item as its index, also a long one', () => {
    expect([safeFieldName(0), safeFieldName(123_456)]).toEqual(['0', '123456']);
  });
});

describe('a text is normalized to NFC, and its length is', () => {
  const long = 'must be at most 255 characters';
  const marks = 'must not have more than 30 combining marks in a row';
  test.each([
    ['that of its characters', 'é'.repeat(255), undefined],
    ['not that of its bytes or units', '🎉'.repeat(255), undefined],
    ['that after letters and marks become one', 'α\u0313\u0300\u0345'.repeat(255), undefined],
    ['too long by one', `${'e\u0301'.repeat(255)}x`, long],
    ['too long by much', 'x'.repeat(60_000), long],
    ['too long by its normalized form only', '\u0958'.repeat(200), `${long} in the Unicode form NFC`],
    ['not looked at when it has a run of marks', `a${'\u0301'.repeat(31)}`, marks],
    ['looked at when it has runs of 30 marks', `a${'\u0301'.repeat(30)}b${'\u0323'.repeat(30)}`, undefined],
  ])('%s', (_what, text, rule) => {
    expect(compose(text, 255)).toEqual(rule === undefined ? { text: text.normalize('NFC') } : { rule });
  });

  test('found at once, also of 64 KiB that are normalized slowly', () => {
    for (const unit of [
      '\u0301\u0323',
      '\u0f73\u0301',
      `a${'\u0301'.repeat(15)}${'\u0323'.repeat(15)}`,
      '\ud55c\u11a8',
    ]) {
      for (const max of [255, 4_000]) {
        const startedAt = performance.now();
        compose(`a${unit.repeat(max).slice(0, 8 * max - 1)}`, max);
        expect(performance.now() - startedAt).toBeLessThan(100);
      }
    }
    const apart = `${'\u0301'.repeat(16_000)}${'\u0323'.repeat(16_000)}`.slice(0, 32_000);
    expect(compose(apart, 4_000)).toEqual({ rule: marks });
  });
});
