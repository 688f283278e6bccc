// The actor header: signed by the gateway, verified by the services.
import { createHmac, randomBytes } from 'node:crypto';
import { inspect } from 'node:util';
import { expect, test } from '@jest/globals';
import { type ActorClaims, parseActorKeys, signActor, verifyActor } from '../../../src/http/caller/actor-token.ts';

const now = 1_800_000_000;
const claims: ActorClaims = { sub: 'key:0199c0de-7a3b-7000-8000-000000000001', scopes: ['users:read'], exp: now + 30 };

function newKey(): string {
  return randomBytes(32).toString('base64url');
}

const [key, other] = parseActorKeys(`${newKey()},${newKey()}`) as [ReturnType<typeof parseActorKeys>[0], never];

/** A token of any payload with a valid MAC. */
function signPayload(payload: unknown, { version = 'v1', text = JSON.stringify(payload) } = {}): string {
  const signed = `${version}.${Buffer.from(text).toString('base64url')}`;
  return `${signed}.${createHmac('sha256', key).update(signed).digest('base64url')}`;
}

const valid = { ...claims, aud: 'promopulse' };

test('a signed token is verified, with or without a user', () => {
  expect(verifyActor(signActor(claims, key), [key], now)).toEqual(claims);
  const user = { sub: 'subject:abc', scopes: [], user: 42, exp: now + 1 };
  expect(verifyActor(signActor(user, key), [key], now)).toEqual(user);
  expect(verifyActor(signPayload(valid), [key], now)).toEqual(claims);
});

test('the second key of the list verifies, another key does not', () => {
  const token = signActor(claims, other);
  expect(verifyActor(token, [key, other], now)).toEqual(claims);
  expect(verifyActor(token, [key], now)).toBeUndefined();
  expect(verifyActor(token, [], now)).toBeUndefined();
});

test('a changed payload, a changed MAC and a MAC of another payload are refused', () => {
  const [version, payload, mac] = signActor(claims, key).split('.') as [string, string, string];
  const more = Buffer.from(JSON.stringify({ ...valid, scopes: ['keys:manage'] })).toString('base64url');
  expect(verifyActor(`${version}.${more}.${mac}`, [key], now)).toBeUndefined();
  const first = mac.startsWith('A') ? 'B' : 'A';
  expect(verifyActor(`${version}.${payload}.${first}${mac.slice(1)}`, [key], now)).toBeUndefined();
  expect(verifyActor(`${version}.${payload}.`, [key], now)).toBeUndefined();
  expect(verifyActor(`${version}.${payload}`, [key], now)).toBeUndefined();
  expect(verifyActor(`${version}.${payload}.${mac}.${mac}`, [key], now)).toBeUndefined();
});

test('another spelling of the same MAC is refused', () => {
  const token = signActor(claims, key);
  // The last character of 43 stands for four bits: its two lower bits are not used.
  const alphabet = 'ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_';
  const next = alphabet[alphabet.indexOf(token.at(-1) as string) + 1];
  expect(verifyActor(`${token.slice(0, -1)}${next}`, [key], now)).toBeUndefined();
});

test('a token is invalid from its second of expiry on, by the clock that is given', () => {
  const token = signActor(claims, key);
  expect(verifyActor(token, [key], claims.exp - 1)).toEqual(claims);
  expect(verifyActor(token, [key], claims.exp)).toBeUndefined();
});

test.each([
  ['another audience', { ...valid, aud: 'elsewhere' }],
  ['no audience', claims],
  ['no expiry', { ...valid, exp: undefined }],
  ['an expiry that is no whole number', { ...valid, exp: now + 0.5 }],
  ['an unknown member', { ...valid, admin: true }],
  ['an actor of an unknown kind', { ...valid, sub: 'robot:1' }],
  ['an address as an actor', { ...valid, sub: 'user:ada@example.com' }],
  ['a user that is no id', { ...valid, user: 0 }],
  ['scopes that are no list', { ...valid, scopes: 'users:read' }],
  ['too many scopes', { ...valid, scopes: Array(65).fill('users:read') }],
  ['no object', 7],
])('a signed payload with %s is refused', (_what, payload) => {
  expect(verifyActor(signPayload(payload), [key], now)).toBeUndefined();
});

test('garbage, another version, no JSON and a token that is too long are refused', () => {
  for (const garbage of ['', '.', '..', 'v1..', 'v1.e30.', 'x'.repeat(100_000), `v1.${'.'.repeat(50)}`]) {
    expect(verifyActor(garbage, [key], now)).toBeUndefined();
  }
  expect(verifyActor(signPayload(valid, { version: 'v2' }), [key], now)).toBeUndefined();
  expect(verifyActor(signPayload(undefined, { text: '{"sub":' }), [key], now)).toBeUndefined();
  expect(
    verifyActor(signPayload(valid, { text: `${JSON.stringify(valid)}${' '.repeat(4_000)}` }), [key], now),
  ).toBeUndefined();
});

test('keys are 32 bytes in base64url, separated by commas, and no error contains one', () => {
  expect(parseActorKeys(` ${newKey()} , ${newKey()}= `)).toHaveLength(2);
  const short = randomBytes(31).toString('base64url');
  for (const text of ['', ',', 'abc', short, `${newKey()},`, `${newKey()}x`, randomBytes(32).toString('hex')]) {
    expect(() => parseActorKeys(text)).toThrow(/^must be 32 bytes each/);
  }
  const shown = newKey();
  expect(JSON.stringify(parseActorKeys(shown)) + inspect(parseActorKeys(shown))).not.toContain(shown);
});
