// JWT access tokens of an OpenID provider: what is accepted, what is refused, and the provider's rotations and outages.
import { setTimeout as sleep } from 'node:timers/promises';
import { afterEach, beforeEach, describe, expect, jest, test } from '@jest/globals';
import { parseActorKeys } from '@promopulse/shared/http/caller/actor-token';
import { exportSPKI, importJWK, SignJWT } from 'jose';
import { AccessTokens } from '../src/callers/access-tokens.ts';
import { RefusedToken } from '../src/callers/credentials.ts';
import { type OidcSettings, subjectKeyOf } from '../src/callers/oidc-config.ts';
import { Principal } from '../src/callers/principal.ts';
import { ProviderKeys } from '../src/callers/provider-keys.ts';
import { silent } from './asking-gateway.ts';
import {
  audience,
  createSigningKey,
  forgedToken,
  type SigningKey,
  startTokenIssuer,
  type TokenIssuer,
} from './token-issuer.ts';

let issuer: TokenIssuer;
const closing: (() => void)[] = [];
beforeEach(async () => {
  issuer = await startTokenIssuer();
});
afterEach(async () => {
  jest.restoreAllMocks();
  for (const close of closing.splice(0)) close();
  await issuer.close();
});

const [actorKey] = parseActorKeys(Buffer.alloc(32, 'actor').toString('base64url'));
const subjectKey = subjectKeyOf(Buffer.alloc(32, 'subject').toString('base64url'));

/** @param times of the fetching of keys, in milliseconds */
function startTokens(settings: Partial<OidcSettings> = {}, times: { refreshMs?: number; cooldownMs?: number } = {}) {
  const keys = new ProviderKeys({ issuer: issuer.url, jwksUrl: undefined, log: silent, ...times });
  keys.start();
  closing.push(() => keys.stop());
  const tokens = new AccessTokens({
    keys,
    settings: {
      ...{ issuer: issuer.url, audience, jwksUrl: undefined, tokenType: 'at+jwt', scopeClaim: 'scope' },
      ...{ userClaim: undefined, clients: undefined, subjectKey },
      ...settings,
    },
  });
  /** The caller, the reason of a refusal, or the code of an error. */
  const outcomeOf = async (token: string): Promise<object | string> => {
    try {
      const found = await tokens.find(token);
      return found instanceof RefusedToken ? found.reason : found.caller;
    } catch (error) {
      return String((error as { code?: unknown }).code);
    }
  };
  return { tokens, keys, outcomeOf };
}

const now = (): number => Math.floor(Date.now() / 1_000);

describe('an access token', () => {
  test.each(['RS256', 'PS256', 'ES256', 'EdDSA'])('signed by %s is accepted', async (alg) => {
    issuer.keys = [await createSigningKey(alg)];
    const { outcomeOf } = startTokens();
    expect(await outcomeOf(await issuer.token())).toMatchObject({
      actor: expect.stringMatching(/^subject:[\w-]{43}$/),
    });
  });

  test('has the scopes of this API, and not those of others', async () => {
    const { outcomeOf } = startTokens();
    const { scopes } = (await outcomeOf(await issuer.token())) as { scopes: Set<string> };
    expect([...scopes]).toEqual(['users:read', 'users:write']);
  });

  test.each([
    ['scp', 'users:read'],
    ['permissions', ['users:read', 7, 'other']],
    ['https://example.com/scopes', ['users:read']],
  ])('may have its scopes in the claim %s', async (scopeClaim, value) => {
    const { outcomeOf } = startTokens({ scopeClaim });
    const token = await issuer.token({ claims: { scope: 'users:write', [scopeClaim]: value } });
    expect([...((await outcomeOf(token)) as { scopes: Set<string> }).scopes]).toEqual(['users:read']);
  });

  test('of one subject has one actor, which does not show the subject', async () => {
    const { outcomeOf } = startTokens();
    const actorOf = async (sub: string) => ((await outcomeOf(await issuer.token({ claims: { sub } }))) as Wire).actor;
    const [ada, again, bob] = [
      await actorOf('ada@example.com'),
      await actorOf('ada@example.com'),
      await actorOf('bob'),
    ];
    expect(again).toBe(ada);
    expect(bob).not.toBe(ada);
    expect(ada).not.toContain('ada');
  });

  test('is verified once until it expires', async () => {
    const { tokens } = startTokens();
    const token = await issuer.token();
    const [first, ...others] = await Promise.all(Array.from({ length: 100 }, () => tokens.find(token)));
    expect(new Set([first, ...others]).size).toBe(1); // also those that came while it was verified
    issuer.keys = [];
    expect(tokens.find(token)).toBe(first);
    const real = Date.now;
    jest.spyOn(Date, 'now').mockImplementation(() => real() + 331_000);
    expect(tokens.find(token)).toBeInstanceOf(Promise);
  });

  test('is accepted for 30 s after its end, because clocks differ, and not longer', async () => {
    const { outcomeOf } = startTokens();
    const endedAgo = async (seconds: number) => outcomeOf(await issuer.token({ claims: { exp: now() - seconds } }));
    expect(await endedAgo(20)).toMatchObject({ actor: expect.any(String) });
    expect(await endedAgo(40)).toBe('exp');
  });

  test('with an audience of several, one of them this API, is accepted', async () => {
    const { outcomeOf } = startTokens();
    expect(await outcomeOf(await issuer.token({ claims: { aud: ['other', audience] } }))).toBeInstanceOf(Object);
  });

  test('without a kid is tried with each key of its algorithm', async () => {
    issuer.keys.unshift(await createSigningKey('ES256'));
    const { outcomeOf } = startTokens();
    const [first, second] = issuer.keys;
    for (const key of [first, second]) {
      const token = await issuer.token({ header: { kid: undefined }, ...(key && { key }) });
      expect(await outcomeOf(token)).toMatchObject({ actor: expect.any(String) });
    }
    const stranger = await createSigningKey('ES256');
    expect(await outcomeOf(await issuer.token({ header: { kid: undefined }, key: stranger }))).toEqual(
      expect.any(String),
    );
  });
});

type Wire = { actor: string };

describe('a token is refused', () => {
  test.each([
    ['with another issuer', { iss: 'https://evil.example' }, 'iss'],
    ['without an issuer', { iss: undefined }, 'iss'],
    ['for another audience', { aud: 'https://other.example' }, 'aud'],
    ['without an audience', { aud: undefined }, 'aud'],
    ['without an end', { exp: undefined }, 'exp'],
    ['with an end that is no number', { exp: 'tomorrow' }, 'exp'],
    ['without a time of issue', { iat: undefined }, 'iat'],
    ['without a subject', { sub: undefined }, 'sub'],
    ['with an empty subject', { sub: '' }, 'sub'],
    ['before its time', { nbf: 4_102_444_800 }, 'ERR_JWT_CLAIM_VALIDATION_FAILED'],
    ['with a nonce, which an ID token has', { nonce: 'n' }, 'id token'],
    ['with the kind ID of Keycloak', { typ: 'ID' }, 'typ claim'],
    ['with a kind that is no text', { typ: 7 }, 'typ claim'],
    [
      'that is a logout token',
      { events: { 'http://schemas.openid.net/event/backchannel-logout': {} } },
      'logout token',
    ],
    ['that is bound to a key of its owner (DPoP)', { cnf: { jkt: 'thumbprint' } }, 'cnf'],
    ['that is bound to a certificate (mTLS)', { cnf: { 'x5t#S256': 'thumbprint' } }, 'cnf'],
  ])('%s', async (_title, claims, reason) => {
    const { outcomeOf } = startTokens();
    expect(await outcomeOf(await issuer.token({ claims }))).toBe(reason);
  });

  test.each(['JWT', undefined, 'id+jwt'])('of the type %s', async (typ) => {
    const { outcomeOf } = startTokens();
    expect(await outcomeOf(await issuer.token({ header: { typ } }))).toBe('typ');
  });

  test('with alg none', async () => {
    const { outcomeOf } = startTokens();
    const claims = { iss: issuer.url, aud: audience, sub: 'ada', iat: now(), exp: now() + 300, scope: 'keys:manage' };
    const header = { alg: 'none', typ: 'at+jwt', kid: issuer.keys[0]?.kid };
    expect(await outcomeOf(forgedToken(header, claims))).toEqual(expect.stringMatching(/^ERR_/));
  });

  test('with HS256, signed with the public key of the provider as the secret', async () => {
    issuer.keys = [await createSigningKey('RS256')];
    const { outcomeOf } = startTokens();
    const { jwk, kid } = issuer.keys[0] as SigningKey;
    const imported = await importJWK({ ...jwk, ext: true }, 'RS256', { extractable: true });
    const publicKey = await exportSPKI(imported as Parameters<typeof exportSPKI>[0]);
    const token = await new SignJWT({ iss: issuer.url, aud: audience, sub: 'ada', scope: 'keys:manage' })
      .setProtectedHeader({ alg: 'HS256', typ: 'at+jwt', kid })
      .setIssuedAt()
      .setExpirationTime('5m')
      .sign(Buffer.from(publicKey));
    expect(await outcomeOf(token)).toBe('ERR_JOSE_ALG_NOT_ALLOWED');
  });

  test('signed by a key that has the kid of the provider and is not the provider’s', async () => {
    const { outcomeOf } = startTokens();
    const { kid } = issuer.keys[0] as SigningKey;
    const stranger = { ...(await createSigningKey()), kid };
    expect(await outcomeOf(await issuer.token({ key: stranger }))).toBe('ERR_JWS_SIGNATURE_VERIFICATION_FAILED');
  });

  test.each(['', 'a', 'a.b.c', '..', 'eyJhbGciOiJub25lIn0..', 'x'.repeat(10_000)])('that is %j', async (token) => {
    const { outcomeOf } = startTokens();
    expect(await outcomeOf(token)).toEqual(expect.any(String));
  });
});

describe('OIDC_TOKEN_TYPE=JWT', () => {
  test('accepts the tokens of providers that send typ JWT', async () => {
    const { outcomeOf } = startTokens({ tokenType: 'JWT' });
    expect(await outcomeOf(await issuer.token({ header: { typ: 'JWT' } }))).toBeInstanceOf(Object);
  });

  test('accepts a token whose kind is Bearer, as Keycloak writes it', async () => {
    const { outcomeOf } = startTokens({ tokenType: 'JWT' });
    const token = await issuer.token({ header: { typ: 'JWT' }, claims: { typ: 'Bearer' } });
    expect(await outcomeOf(token)).toBeInstanceOf(Object);
  });

  test.each(['nonce', 'at_hash', 'c_hash', 's_hash'])('does not accept an ID token, which has %s', async (claim) => {
    const { outcomeOf } = startTokens({ tokenType: 'JWT' });
    expect(await outcomeOf(await issuer.token({ header: { typ: 'JWT' }, claims: { [claim]: 'x' } }))).toBe('id token');
  });

  test.each([
    ['an ID token of Keycloak', { typ: 'ID' }, 'typ claim'],
    ['an ID token of Cognito', { token_use: 'id' }, 'id token'],
    ['an ID token whose client has sent no nonce', { scope: undefined, azp: 'shop' }, 'no scope claim'],
    ['a refresh token of Keycloak', { typ: 'Refresh' }, 'typ claim'],
    ['a logout token', { typ: 'Logout', events: {}, scope: undefined, sid: 's' }, 'logout token'],
    ['a token that is bound to a key of its owner', { typ: 'DPoP', cnf: { jkt: 'thumbprint' } }, 'cnf'],
  ])('does not accept %s', async (_title, claims, reason) => {
    const { outcomeOf } = startTokens({ tokenType: 'JWT' });
    expect(await outcomeOf(await issuer.token({ header: { typ: 'JWT' }, claims }))).toBe(reason);
  });

  test('accepts a token whose scopes are in the claim of OIDC_SCOPE_CLAIM', async () => {
    const { outcomeOf } = startTokens({ tokenType: 'JWT', scopeClaim: 'scp' });
    const token = await issuer.token({ header: { typ: 'JWT' }, claims: { scope: undefined, scp: '' } });
    expect(await outcomeOf(token)).toBeInstanceOf(Object);
  });
});

describe('OIDC_CLIENTS', () => {
  const settings = { userClaim: 'promopulse_user', clients: new Set(['backend']) };
  const { userClaim } = settings;
  const outcomeWith = async (claims: object, given: Partial<OidcSettings> = settings) =>
    startTokens(given).outcomeOf(await issuer.token({ claims: { client_id: undefined, ...claims } }));
  const operator = { userId: null, actor: expect.stringMatching(/^subject:/) };

  test.each([[{ client_id: 'backend' }], [{ azp: 'backend' }], [{ client_id: 'backend', azp: 'backend' }]])(
    'a token of a listed client acts by its scopes: %j',
    async (claims) => {
      expect(await outcomeWith(claims)).toMatchObject(operator);
    },
  );

  test.each([
    [{ client_id: 'shop' }],
    [{ azp: 'shop' }],
    [{}],
    [{ client_id: ['backend'] }],
    [{ client_id: 'backend', azp: 'shop' }],
    [{ client_id: 'shop', azp: 'backend' }],
  ])('a token of another client, without the claim of the user, is refused: %j', async (claims) => {
    expect(await outcomeWith(claims)).toBe('client');
  });

  test('a token with the claim of the user is the user, whichever client has got it', async () => {
    expect(await outcomeWith({ client_id: 'shop', promopulse_user: 7 })).toMatchObject({ actor: 'user:7' });
  });

  test('is checked without OIDC_USER_CLAIM too', async () => {
    const given = { clients: settings.clients };
    expect(await outcomeWith({ client_id: 'backend' }, given)).toMatchObject(operator);
    expect(await outcomeWith({ client_id: 'shop' }, given)).toBe('client');
  });

  test('a token that is refused by it is verified once', async () => {
    const { tokens } = startTokens({ userClaim, clients: new Set() });
    const token = await issuer.token();
    const first = await tokens.find(token);
    expect(tokens.find(token)).toBe(first);
  });
});

describe('OIDC_USER_CLAIM', () => {
  const settings = { userClaim: 'promopulse_user' };

  test('makes an end user of a subject: the user is the actor, and has no scopes', async () => {
    const { outcomeOf } = startTokens(settings);
    const token = await issuer.token({ claims: { promopulse_user: 42, scope: 'users:write keys:manage' } });
    expect(await outcomeOf(token)).toEqual({ actor: 'user:42', scopes: new Set(), userId: 42 });
  });

  test('leaves a token without the claim what it is, where all clients may act by scopes', async () => {
    const { outcomeOf } = startTokens(settings);
    expect(await outcomeOf(await issuer.token())).toMatchObject({
      userId: null,
      actor: expect.stringMatching(/^subject:/),
    });
  });

  test.each(['42', 0, -1, 1.5, 2 ** 53, null, true, [42], { id: 42 }])('of %j is refused', async (promopulse_user) => {
    const { outcomeOf } = startTokens(settings);
    expect(await outcomeOf(await issuer.token({ claims: { promopulse_user } }))).toBe('user claim');
  });
});

describe('the keys of the provider', () => {
  test('rotated: a token of the next key is accepted at once, and one of the former key while it is published', async () => {
    const { outcomeOf } = startTokens({}, { cooldownMs: 0 });
    const former = issuer.keys[0] as SigningKey;
    expect(await outcomeOf(await issuer.token())).toBeInstanceOf(Object);
    const next = await createSigningKey();
    const early = await issuer.token({ key: next });
    expect(await outcomeOf(early)).toBe('ERR_JWKS_NO_MATCHING_KEY'); // before the rotation
    issuer.keys = [next, former];
    expect(await outcomeOf(early)).toBeInstanceOf(Object);
    expect(await outcomeOf(await issuer.token({ key: former, claims: { sub: 'bob' } }))).toBeInstanceOf(Object);
    issuer.keys = [next];
    await outcomeOf(await issuer.token({ key: await createSigningKey() })); // an unknown kid: the keys are fetched again
    expect(await outcomeOf(await issuer.token({ key: former, claims: { sub: 'cy' } }))).toBe(
      'ERR_JWKS_NO_MATCHING_KEY',
    );
  });

  test('are fetched once for 100 tokens with unknown kids in a second', async () => {
    const { outcomeOf, keys } = startTokens({}, { cooldownMs: 500 });
    await keys.current();
    await sleep(550);
    const before = issuer.fetches;
    const tokens = await Promise.all(
      Array.from({ length: 100 }, (_, index) => issuer.token({ header: { kid: `unknown-${index}` } })),
    );
    const outcomes = await Promise.all(tokens.map(outcomeOf));
    expect(new Set(outcomes)).toEqual(new Set(['ERR_JWKS_NO_MATCHING_KEY']));
    expect(issuer.fetches - before).toBe(1);
    expect(await outcomeOf(await issuer.token())).toBeInstanceOf(Object);
  });

  test.each(['away', 'failing'] as const)(
    'survive a provider that is %s, for longer than 10 minutes',
    async (state) => {
      const { outcomeOf, keys } = startTokens({}, { refreshMs: 20 });
      await keys.current();
      issuer.state = state;
      await sleep(200); // ten times the time between two fetches: the same in 50 minutes with 5 between two
      const real = Date.now;
      const token = await issuer.token({ claims: { exp: now() + 3_600 } });
      jest.spyOn(Date, 'now').mockImplementation(() => real() + 900_000);
      expect(await outcomeOf(token)).toBeInstanceOf(Object);
    },
  );

  test('that cannot be known are answered with unavailable, and not with a refusal', async () => {
    issuer.state = 'away';
    const { outcomeOf } = startTokens({}, { refreshMs: 50, cooldownMs: 0 });
    const token = await issuer.token();
    expect(await outcomeOf(token)).toBe('unavailable');
    issuer.state = 'up';
    expect(await outcomeOf(token)).toBeInstanceOf(Object);
    issuer.state = 'away';
    const next = await issuer.token({ key: await createSigningKey() });
    expect(await outcomeOf(next)).toBe('unavailable'); // it may be a key that the provider has since the last fetch
  });

  test('are not taken from a discovery document of another issuer', async () => {
    jest.spyOn(issuer, 'answer').mockReturnValue({
      status: 200,
      body: { issuer: 'https://evil.example', jwks_uri: `${issuer.url}/keys` },
    });
    const { outcomeOf } = startTokens();
    expect(await outcomeOf(await issuer.token())).toBe('unavailable');
  });
});

test('a principal signs its header once in 30 s', () => {
  const principal = new Principal({ sub: 'user:42', scopes: [], user: 42 });
  const key = actorKey as NonNullable<typeof actorKey>;
  const first = principal.header(key);
  const real = Date.now;
  jest.spyOn(Date, 'now').mockImplementation(() => real() + 20_000);
  expect(principal.header(key)).toBe(first);
  jest.spyOn(Date, 'now').mockImplementation(() => real() + 40_000);
  expect(principal.header(key)).not.toBe(first);
  jest.spyOn(Date, 'now').mockImplementation(() => real() - 86_400_000);
  expect(principal.header(key)).not.toBe(first);
});
