// The text of an API key.
import { expect, test } from '@jest/globals';
import fc from 'fast-check';
import { createKey, digestOf, isWellFormedKey } from '../src/callers/key-format.ts';

test('a new key has the prefix, 43 characters of 256 random bits and 6 of a checksum, and a hint of its beginning', () => {
  const keys = Array.from({ length: 200 }, createKey);
  expect(new Set(keys.map(({ secret }) => secret)).size).toBe(200);
  for (const { secret, hint, digest } of keys) {
    expect(secret).toMatch(/^ppk_[0-9A-Za-z]{49}$/);
    expect(isWellFormedKey(secret)).toBe(true);
    expect(secret.startsWith(hint)).toBe(true);
    expect(hint).toHaveLength(8);
    expect(digest.toString('base64url')).toBe(digestOf(secret));
    expect(digest).toHaveLength(32);
  }
});

test('the checksum is the CRC32 of the random part in base62, so that scanners can check it', () => {
  const zeros = '0'.repeat(43); // of which zlib says 0x7849568f
  expect(isWellFormedKey(`ppk_${zeros}2CZclj`)).toBe(true);
});

test('one wrong character is noticed, at every place', () => {
  const { secret } = createKey();
  fc.assert(
    fc.property(fc.integer({ min: 4, max: 52 }), fc.constantFrom(...'0123456789ABCxyz_-'), (at, character) => {
      const typed = secret.slice(0, at) + character + secret.slice(at + 1);
      expect(isWellFormedKey(typed)).toBe(typed === secret);
    }),
  );
});

test.each(['', 'ppk_', 'ppk', 'sk_live_1', `ppk_${'0'.repeat(49)}`, `ppk_${'0'.repeat(48)}`, `PPK_${'0'.repeat(49)}`])(
  '%j is no key',
  (text) => expect(isWellFormedKey(text)).toBe(false),
);
