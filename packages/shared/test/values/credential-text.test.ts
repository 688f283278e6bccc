import { describe, expect, test } from '@jest/globals';
import { mayHoldCredential } from '../../src/values/credential-text.ts';

const key = `ppk_${'7HqdExample'.repeat(4)}12345`;
const jwt = `${Buffer.from('{"alg":"RS256"}').toString('base64url')}.${Buffer.from('{"sub":"ada"}').toString('base64url')}.c2ln`;

describe('a text may hold a secret', () => {
  test.each([
    key,
    `a ${key} b`,
    `x${key}`,
    key.slice(0, 24),
    key.replace('ppk', 'ｐｐｋ'),
    `ppk_7Hqd\u200bExampleExampleExample`,
    jwt,
    `Bearer ${jwt}`,
    `token_${jwt}`,
    `token-${jwt}`,
    `x${jwt}`,
  ])('%j', (text) => expect(mayHoldCredential(text)).toBe(true));
});

describe('a text holds none', () => {
  test.each([
    '',
    'ppk_',
    'ppk_7Hqd',
    'ppk_7Hqd…',
    'The prefix ppk_ of our keys',
    'eyJ',
    `eyJ${'a'.repeat(50)}`,
    '0199c0de-7a1b-7c3d-8e5f-0123456789ab',
  ])('%j', (text) => expect(mayHoldCredential(text)).toBe(false));

  test('a long one is read in time', () => {
    const start = process.cpuUsage();
    for (const part of ['eyJ', 'ppk_', 'eyJaaaaaaaa.', '-eyJ']) {
      expect(mayHoldCredential(part.repeat(20_000))).toBe(part === 'eyJaaaaaaaa.');
    }
    expect(process.cpuUsage(start).user).toBeLessThan(2_000_000);
  });
});
