import { describe, expect, test } from '@jest/globals';
import fc from 'fast-check';
import { canonicalEmail, checkEmail } from '../src/personal-data/email.ts';

const longestLocal = 'a'.repeat(64);
const longestLabel = 'b'.repeat(63);
/** A domain of exactly `length` letters and dots. */
const domainOf = (length: number): string => {
  const rest = length - '.com'.length;
  const labels = 'b'.repeat(rest).replaceAll(/.{51}/g, `${'b'.repeat(50)}.`);
  return `${labels}.com`.replace('..com', 'b.com');
};

describe('an address that is accepted', () => {
  test.each([
    ['a plain one', 'ada@example.com', 'ada@example.com'],
    ['a tag', 'ada+news@example.com', 'ada+news@example.com'],
    ['every special character', "a!#$%&'*+-/=?^_`{|}~9@example.com", "a!#$%&'*+-/=?^_`{|}~9@example.com"],
    ['dots between words', 'a.b.c@example.com', 'a.b.c@example.com'],
    ['capitals before the @ stay', 'Ada.LOVELACE@example.com', 'Ada.LOVELACE@example.com'],
    ['capitals in the domain do not', 'Ada@Example.COM', 'Ada@example.com'],
    ['a label that begins with a digit', 'a@3com.com', 'a@3com.com'],
    ['hyphens within a label', 'a@my-shop.co.uk', 'a@my-shop.co.uk'],
    ['example.com and example.org are not special', 'a@example.org', 'a@example.org'],
    ['a special name that is not the last label', 'a@test.com', 'a@test.com'],
    ['Unicode before the @', 'dž日本😀@example.com', 'dž日本😀@example.com'],
    ['a decomposed letter is composed', 'e\u0301@example.com', '\u00e9@example.com'],
    ['an international domain, shown in Unicode', 'a@BÜCHER.example', 'a@bücher.example'],
    ['an international domain written in ASCII, shown in Unicode', 'a@xn--bcher-kva.example', 'a@bücher.example'],
    ['an international top-level domain', 'a@почта.рф', 'a@почта.рф'],
    ['a decomposed letter in the domain', 'a@bu\u0308cher.example', 'a@bücher.example'],
    ['sharp s is a letter of its own', 'a@straße.de', 'a@straße.de'],
    ['64 characters before the @', `${longestLocal}@example.com`, `${longestLocal}@example.com`],
    ['64 characters of two bytes before the @', `${'ä'.repeat(64)}@example.com`, `${'ä'.repeat(64)}@example.com`],
    ['a label of 63 characters', `a@${longestLabel}.com`, `a@${longestLabel}.com`],
    ['254 characters in all', `a@${domainOf(252)}`, `a@${domainOf(252)}`],
  ])('%s', (_description, written, kept) => {
    expect(checkEmail(written)).toEqual({ email: kept });
  });
});

const noAt = 'must have an @ between a name and a domain';
const noName = 'must have a name before the @';
const longName = 'must have at most 64 characters before the @';
const badCharacter = 'must not have this character before the @';
const badDots = 'must not have a dot at the start or end of the name, or two in a row';
const space = 'must not contain spaces, control characters or invisible ones (in a URL, write a + as %2B)';
const noDomain = 'must have a domain after the @';
const badDomain = 'must have a valid domain after the @';
const noDot = 'must have a dot in its domain';
const special = 'must not have a special-use domain';
const tooLong = 'must be at most 254 bytes in UTF-8, with an international domain as xn--';

describe('an address that is rejected', () => {
  test.each([
    ['nothing', '', noAt],
    ['no @', 'ada.example.com', noAt],
    ['no name', '@example.com', noName],
    ['65 characters before the @', `${longestLocal}a@example.com`, longName],
    ['two @', 'a@b@example.com', badCharacter],
    ['a quoted name', '"ada"@example.com', badCharacter],
    ['a comment', 'ada(x)@example.com', badCharacter],
    ['a name in front', 'Ada<ada@example.com', badCharacter],
    ['a comma', 'a,b@example.com', badCharacter],
    ['a backslash', 'a\\b@example.com', badCharacter],
    ['a dot at the start', '.ada@example.com', badDots],
    ['a dot at the end of the name', 'ada.@example.com', badDots],
    ['two dots in a row', 'a..b@example.com', badDots],
    ['a space', 'a b@example.com', space],
    ['a space around', ' ada@example.com', space],
    ['a no-break space', 'a\u00a0b@example.com', space],
    ['a line break', 'ada@example.com\n', space],
    ['a NUL', 'a\0@example.com', space],
    ['an invisible character', 'a\u200bb@example.com', space],
    ['half a surrogate pair', 'a\ud800@example.com', space],
    ...[
      ...['\u034f', '\u3164', '\ufe0f', '\u115f', '\u2800', '\u17b4', '\u180b', '\ufffc', '\uffa0', '\u{1d159}'],
      ...['\u{13441}', '\u{13442}', '\u0378', '\ue000', '\u{f0000}', '\u{e0100}'],
    ].flatMap((character) => [
      [`U+${character.codePointAt(0)?.toString(16)} before the @`, `a${character}b@example.com`, space],
      [`U+${character.codePointAt(0)?.toString(16)} in the domain`, `ab@exam${character}ple.com`, space],
    ]),
    ['64 characters of four bytes', `${'😀'.repeat(64)}@x.co`, tooLong],
    ['no domain', 'ada@', noDomain],
    ['a domain without a dot', 'ada@example', noDot],
    ['a dot at the end of the domain', 'ada@example.com.', badDomain],
    ['a dot at the start of the domain', 'ada@.example.com', badDomain],
    ['an empty label', 'ada@example..com', badDomain],
    ['an underscore in the domain', 'ada@my_shop.com', badDomain],
    ['a hyphen at the start of a label', 'ada@-shop.com', badDomain],
    ['a hyphen at the end of a label', 'ada@shop-.com', badDomain],
    ['a percent-encoded domain', 'ada@ex%61mple.com', badDomain],
    ['a port', 'ada@example.com:25', badDomain],
    ['an IPv4 address', 'ada@192.168.0.1', badDomain],
    ['an IPv4 address in brackets', 'ada@[192.168.0.1]', badDomain],
    ['an IPv6 address in brackets', 'ada@[IPv6:::1]', badDomain],
    ['a top-level domain that ends in a digit', 'ada@example.c0', badDomain],
    ['a numeric top-level domain', 'ada@example.123', badDomain],
    ['a hyphen at the start of an international label', 'ada@-bücher.example', badDomain],
    ['a hyphen at the end of an international label', 'ada@bücher-.example', badDomain],
    ['a mark at the start of an international label', 'ada@\u0308bucher.example', badDomain],
    ['a symbol in the domain', 'ada@☃.example', badDomain],
    ['a symbol in the domain, written in ASCII', 'ada@xn--n3h.example', badDomain],
    ['a label that only looks international', 'ada@xn--a.example', badDomain],
    ['a label that decodes to ASCII', 'ada@xn--shop-.example', badDomain],
    ['a label of 64 characters', `a@${longestLabel}b.com`, badDomain],
    ['255 characters in all', `a@${domainOf(253)}`, tooLong],
    ['255 bytes in all', `${'ä'.repeat(64)}@${domainOf(126)}`, tooLong],
    ['a domain of 254 characters', `a@${domainOf(254)}`, badDomain],
    ...['arpa', 'invalid', 'local', 'localhost', 'onion', 'test'].flatMap((name) => [
      [`${name} as the last label`, `ada@shop.${name}`, special],
      [`${name} in capitals`, `ada@mail.shop.${name.toUpperCase()}`, special],
      [`${name} alone`, `ada@${name}`, noDot],
    ]),
  ] as [string, string, string][])('%s', (_description, written, rule) => {
    expect(checkEmail(written)).toEqual({ rule });
  });
});

test('an address of 64 KiB is rejected at once, whatever it is made of', () => {
  const marks = '\u0301'.repeat(16_000) + '\u0323'.repeat(16_000);
  for (const text of [marks, `a${marks}@example.com`, `a@b${marks}.com`, `a@${'b'.repeat(64_000)}.com`]) {
    const startedAt = performance.now();
    expect(checkEmail(text)).toEqual({ rule: tooLong });
    expect(performance.now() - startedAt).toBeLessThan(50);
  }
});

test('an address that is composed into 254 bytes is accepted', () => {
  // Four characters become one of three bytes.
  const local = 'α\u0313\u0300\u0345'.repeat(60);
  expect(checkEmail(`${local}@example.com`)).toEqual({ email: `${local.normalize('NFC')}@example.com` });
});

describe('two addresses are the same', () => {
  test.each([
    ['whatever the letter case of the name', 'Ada@example.com', 'aDA@example.com'],
    ['whatever the letter case of the domain', 'ada@EXAMPLE.com', 'ada@example.COM'],
    ['beyond ASCII', 'ÄRGER@example.com', 'ärger@example.com'],
    ['with any of the three sigmas', 'ΟΔΟΣ@example.com', 'οδος@example.com'],
    ['with sigma within and at the end', 'οδοσ@example.com', 'οδος@example.com'],
    ['with the micro sign for mu', '\u00b5@example.com', '\u03bc@example.com'],
    ['composed or not', '\u00e9@example.com', 'e\u0301@example.com'],
    ['composed or not, in another letter case', '\u00c9@example.com', 'e\u0301@example.com'],
    ['in both spellings of an international domain', 'a@BÜCHER.example', 'A@xn--BCHER-KVA.example'],
  ])('%s', (_description, one, other) => {
    expect(canonicalEmail(kept(one))).toBe(canonicalEmail(kept(other)));
  });

  test.each([
    ['with another tag', 'ada+a@example.com', 'ada+b@example.com'],
    ['with a dot more', 'a.da@example.com', 'ada@example.com'],
    ['in another domain', 'ada@example.com', 'ada@example.org'],
    ['with sharp s for ss', 'a@straße.de', 'a@strasse.de'],
  ])('but not %s', (_description, one, other) => {
    expect(canonicalEmail(kept(one))).not.toBe(canonicalEmail(kept(other)));
  });
});

describe('for any text', () => {
  const words = fc.string({ unit: 'binary', maxLength: 20 });
  const letters = fc.stringMatching(/^[\p{L}\p{M}\d.-]{1,20}$/u);
  const punycode = fc.stringMatching(/^xn--[a-z0-9-]{1,12}$/);
  const addresses = fc
    .tuple(fc.oneof(words, letters), fc.oneof(words, letters, punycode), fc.oneof(fc.constant('com'), letters))
    .map(([name, domain, top]) => `${name}@${domain}.${top}`);
  const anything = fc.oneof(words, fc.string({ unit: 'grapheme' }), lonelyUnits(), addresses);

  test('the check answers with an address or a rule and never throws', () => {
    fc.assert(
      fc.property(anything, (text) => {
        const [field] = Object.keys(checkEmail(text));
        expect(['email', 'rule']).toContain(field);
      }),
      { numRuns: 2_000 },
    );
  });

  test('an address with a character that one does not see is rejected, wherever it is', () => {
    const named =
      '\u115f\u1160\u3164\uffa0\u2800\u034f\u200b\u2060\u2062\u2064\u180b\ufe0f\ufeff\u2d7f\u{1107f}\u{13430}';
    const unseen = fc.oneof(
      fc.constantFrom(...named, ...'\u{16fe4}\u{1bc9d}\u{1d159}\u{e0100}'),
      fc.constantFrom(...charactersOf(/^[\p{Default_Ignorable_Code_Point}\p{Cf}\p{Z}]$/u)),
    );
    const visible = fc.constantFrom('ada@example.com', 'dž日本@bücher.example');
    fc.assert(
      fc.property(visible, unseen, fc.nat({ max: 20 }), (address, character, at) => {
        const text = [...address];
        text.splice(at % (text.length + 1), 0, character);
        const checked = checkEmail(text.join(''));
        expect(['email' in checked, text.join('')]).toEqual([false, text.join('')]);
      }),
      { numRuns: 2_000 },
    );
  });

  test('what was accepted is accepted again as it is shown', () => {
    fc.assert(
      fc.property(addresses, (text) => {
        const checked = checkEmail(text);
        if ('email' in checked) expect(checkEmail(checked.email)).toEqual(checked);
      }),
      { numRuns: 2_000 },
    );
  });

  test('the canonical form of the canonical form is itself', () => {
    fc.assert(
      fc.property(addresses, (text) => {
        const checked = checkEmail(text);
        if (!('email' in checked)) return;
        const canonical = canonicalEmail(checked.email);
        expect(canonicalEmail(canonical)).toBe(canonical);
        expect(canonicalEmail(kept(canonical))).toBe(canonical);
      }),
      { numRuns: 2_000 },
    );
  });
});

function kept(written: string): string {
  const checked = checkEmail(written);
  if ('rule' in checked) throw new Error(`${written} ${checked.rule}`);
  return checked.email;
}

/** All characters of a class. */
function charactersOf(pattern: RegExp): string[] {
  const all = Array.from({ length: 0x110000 }, (_, code) =>
    code >= 0xd800 && code < 0xe000 ? '' : String.fromCodePoint(code),
  );
  return all.filter((character) => pattern.test(character));
}

/** Text of any UTF-16 units, halves of surrogate pairs included. */
function lonelyUnits(): fc.Arbitrary<string> {
  return fc.array(fc.integer({ min: 0, max: 0xffff })).map((units) => String.fromCharCode(...units));
}
