// Who gets past the gateway, with which answer, and what a service then learns of the caller.
import { randomBytes } from 'node:crypto';
import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';
import { actorHeader, parseActorKeys, signActor } from '@promopulse/shared/http/caller/actor-token';
import { bodyOf, client, problem, type Wire } from '@promopulse/testing/client';
import { createKey } from '../src/callers/key-format.ts';
import { type AskingGateway, bearer, startAskingGateway } from './asking-gateway.ts';
import { startTestGateway, type TestGateway } from './stubs.ts';
import { audience, createSigningKey, forgedToken, startTokenIssuer, type TokenIssuer } from './token-issuer.ts';
import { headerOf, sendRaw } from './wire.ts';

let issuer: TokenIssuer;
let gateway: AskingGateway;
beforeAll(async () => {
  issuer = await startTokenIssuer();
  gateway = await startAskingGateway({
    OIDC_ISSUER: issuer.url,
    OIDC_AUDIENCE: audience,
    OIDC_USER_CLAIM: 'promopulse_user',
    OIDC_CLIENTS: 'shop',
    OIDC_SUBJECT_KEY: randomBytes(32).toString('base64url'),
    CORS_ORIGINS: '*',
  });
});
afterAll(async () => {
  await gateway?.close();
  await issuer?.close();
});

const get = (path: string, headers: Record<string, string> = {}) => client(gateway.url).get(path, headers);
const metadata = (): string => `${gateway.url}/.well-known/oauth-protected-resource`;

const missing = problem(
  401,
  'unauthenticated',
  'Send a credential in the Authorization header: Bearer, and an API key or an access token.',
);
const refused = problem(
  401,
  'invalid_token',
  'The API key or the access token is not valid here: it is unknown, revoked or expired, or for another API.',
);
const malformed = (detail: string) => problem(400, 'invalid_request', detail);
const inUrl = malformed(
  'The URL contains a credential. Send it in the Authorization header only, and replace it: URLs are kept in logs.',
);

describe('with AUTH=required', () => {
  test('no credential: 401 with a challenge without an error, and no service is asked', async () => {
    const before = gateway.users.received.length;
    const answer = await get('/users/1');
    expect([answer.status, bodyOf(answer)]).toEqual([401, missing]);
    expect(answer.headers.get('www-authenticate')).toBe(`Bearer realm="promopulse", resource_metadata="${metadata()}"`);
    expect(gateway.users.received).toHaveLength(before);
  });

  test('a credential of another scheme counts as none', async () => {
    const answer = await get('/users/1', { Authorization: 'Basic YTpi' });
    expect([answer.status, bodyOf(answer)]).toEqual([401, missing]);
    expect(answer.headers.get('www-authenticate')).not.toContain('error');
  });

  test('a path that nobody has needs a credential, too', async () => {
    expect((await get('/nothing')).status).toBe(401);
    expect((await get('/nothing', bearer(gateway.firstKey))).status).toBe(404);
  });

  test.each(['/', '/docs', '/openapi.json', '/health', '/health/live', '/health/ready'])(
    '%s is for everyone, whatever is sent with it',
    async (path) => {
      for (const headers of [{}, bearer('wrong'), bearer(createKey().secret)]) {
        const { status } = await get(path, headers);
        expect([401, 400, 403]).not.toContain(status);
      }
    },
  );

  test('OPTIONS is for everyone, so that a browser may ask before it sends a credential', async () => {
    const preflight = { Origin: 'https://app.example.com', 'Access-Control-Request-Method': 'GET' };
    const { status, headers } = await client(gateway.url).request('OPTIONS', '/users/1', { headers: preflight });
    expect([status, headers.get('access-control-allow-headers')]).toEqual([
      204,
      expect.stringContaining('Authorization'),
    ]);
    expect((await client(gateway.url).request('OPTIONS', '/users/1')).status).toBe(204);
  });

  test('a page of another origin can read the challenge', async () => {
    const { headers } = await get('/users/1', { Origin: 'https://app.example.com' });
    expect(headers.get('access-control-expose-headers')?.toLowerCase()).toContain('www-authenticate');
  });

  test('an API key: the service learns its actor and scopes, and does not see the key', async () => {
    const { id, secret } = await gateway.newKey({ scopes: ['users:read', 'promotions:write'] });
    expect((await get('/users/1', bearer(secret))).status).toBe(200);
    expect(gateway.claimsAt(gateway.users)).toMatchObject({
      sub: `key:${id}`,
      scopes: ['users:read', 'promotions:write'],
    });
    const { headers, rawHeaders } = gateway.users.received.at(-1) as Wire;
    expect(headers.authorization).toBeUndefined();
    expect(JSON.stringify(rawHeaders)).not.toContain(secret);
  });

  test.each(['bearer', 'BEARER', 'Bearer '])('the scheme may be written %j', async (scheme) => {
    expect((await get('/users/1', { Authorization: `${scheme} ${gateway.firstKey}` })).status).toBe(200);
  });

  test('an access token: the service learns an actor without the subject, and its scopes', async () => {
    const token = await issuer.token({ claims: { sub: 'ada@example.com' } });
    expect((await get('/users/1', bearer(token))).status).toBe(200);
    const claims = gateway.claimsAt(gateway.users);
    expect(claims).toMatchObject({ sub: expect.stringMatching(/^subject:/), scopes: ['users:read', 'users:write'] });
    expect(JSON.stringify(claims)).not.toContain('ada');
  });

  test('an access token of an end user: the service learns the user, and no scope', async () => {
    const token = await issuer.token({ claims: { promopulse_user: 7, scope: 'keys:manage' } });
    expect((await get('/users/7', bearer(token))).status).toBe(200);
    expect(gateway.claimsAt(gateway.users)).toMatchObject({ sub: 'user:7', user: 7, scopes: [] });
    expect((await get('/api-keys', bearer(token))).status).toBe(403);
  });

  test('a token without a user, of a client that may not act without one: 403, and no service is asked', async () => {
    const before = gateway.users.received.length;
    const answer = await get('/users/1', bearer(await issuer.token({ claims: { client_id: 'app' } })));
    const detail = 'The access token names no user, and its client may not act without one (OIDC_CLIENTS).';
    expect([answer.status, bodyOf(answer)]).toEqual([403, problem(403, 'client_not_allowed', detail)]);
    expect(answer.headers.get('www-authenticate')).toBe(
      `Bearer realm="promopulse", error="insufficient_scope", resource_metadata="${metadata()}"`,
    );
    expect(gateway.users.received).toHaveLength(before);
  });

  test('the header for the service ends within 90 s', async () => {
    await get('/users/1', bearer(gateway.firstKey));
    const { exp = 0 } = gateway.claimsAt(gateway.users) ?? {};
    const seconds = exp - Date.now() / 1_000;
    expect(seconds).toBeGreaterThan(28);
    expect(seconds).toBeLessThan(90);
  });

  test('a client-sent actor header is removed: with a key, and with a token, the claims are those of the credential', async () => {
    const [key] = parseActorKeys(Buffer.alloc(32, 'x').toString('base64url'));
    const forged = signActor({ sub: 'key:evil', scopes: ['keys:manage'], exp: 4_102_444_800 }, key as Wire);
    const token = await issuer.token();
    for (const credential of [gateway.firstKey, token]) {
      await get('/users/1', { ...bearer(credential), [actorHeader]: forged });
      const sent = gateway.users.received.at(-1)?.rawHeaders.filter((name) => name.toLowerCase() === actorHeader);
      expect(sent).toHaveLength(1);
      expect(gateway.claimsAt(gateway.users)?.sub).not.toBe('key:evil');
    }
    expect((await get('/users/1', { [actorHeader]: forged })).status).toBe(401);
  });
});

describe('a refused credential: 401 invalid_token, and no service is asked', () => {
  const claims = (more: object = {}) => ({ claims: more as Record<string, unknown> });
  const cases: [string, () => Promise<string> | string][] = [
    ['an unknown key', () => createKey().secret],
    [
      'a key with a wrong checksum',
      () => `${gateway.firstKey.slice(0, -1)}${gateway.firstKey.endsWith('0') ? '1' : '0'}`,
    ],
    ['a key that is too short', () => gateway.firstKey.slice(0, -1)],
    ['a text that is no token', () => 'secret'],
    ['a token with alg none', () => forgedToken({ alg: 'none', typ: 'at+jwt' }, { iss: issuer.url, aud: audience })],
    ['a token of another issuer', () => issuer.token(claims({ iss: 'https://evil.example' }))],
    ['a token for another audience', () => issuer.token(claims({ aud: 'https://other.example' }))],
    ['a token of another type', () => issuer.token({ header: { typ: 'JWT' } })],
    ['a token without an end', () => issuer.token(claims({ exp: undefined }))],
    ['a token that has ended', () => issuer.token(claims({ exp: 1_700_000_000 }))],
    ['a token with an unknown kid', () => issuer.token({ header: { kid: 'unknown' } })],
    ['a token signed by a stranger', async () => issuer.token({ key: await createSigningKey() })],
    ['an ID token, which Keycloak marks by its kind', () => issuer.token(claims({ typ: 'ID' }))],
    ['an ID token with a nonce', () => issuer.token(claims({ nonce: 'n', scope: undefined }))],
    ['a logout token', () => issuer.token(claims({ events: {} }))],
    ['a token that is bound to a key of its owner', () => issuer.token(claims({ cnf: { jkt: 'thumbprint' } }))],
    ['a token whose user is no id', () => issuer.token(claims({ promopulse_user: '7' }))],
  ];

  test.each(cases)('%s', async (_title, credentialOf) => {
    const before = gateway.users.received.length;
    const answer = await get('/users/1', bearer(await credentialOf()));
    expect([answer.status, bodyOf(answer)]).toEqual([401, refused]);
    expect(answer.headers.get('www-authenticate')).toBe(
      `Bearer realm="promopulse", error="invalid_token", resource_metadata="${metadata()}"`,
    );
    expect(gateway.users.received).toHaveLength(before);
  });

  test('before the body is read, and the connection goes on', async () => {
    const body = JSON.stringify({ first_name: 'Ada' });
    const head = `POST /users HTTP/1.1\r\nHost: gateway\r\nContent-Type: application/json\r\nContent-Length: ${body.length}\r\n`;
    const answer = await sendRaw(gateway.port, [`${head}Authorization: Bearer wrong\r\n\r\n`]); // the body never comes
    expect(answer.status).toBe(401);
    const withExpect = await sendRaw(gateway.port, [`${head}Expect: 100-continue\r\n\r\n`]);
    expect([withExpect.status, headerOf(withExpect, 'connection')]).toEqual([401, 'close']);
  });
});

describe('400 invalid_request', () => {
  const raw = (headers: string, path = '/users/1') =>
    sendRaw(gateway.port, [`GET ${path} HTTP/1.1\r\nHost: gateway\r\n${headers}\r\n`]);
  const withoutId = ({ body }: { body: string }) => {
    const { request_id: _id, ...rest } = JSON.parse(body);
    return rest;
  };

  test('two credentials in two Authorization headers, even if they are the same', async () => {
    const line = `Authorization: Bearer ${gateway.firstKey}\r\n`;
    const answer = await raw(line + line);
    expect([answer.status, withoutId(answer)]).toEqual([
      400,
      malformed('The request has more than one Authorization header'),
    ]);
    expect(headerOf(answer, 'www-authenticate')).toContain('error="invalid_request"');
  });

  test.each(['', 'a b', 'a, Bearer b', 'é', '"a"'])('a malformed one: Bearer %j', async (text) => {
    const answer = await raw(`Authorization: Bearer ${text}\r\n`);
    expect([answer.status, withoutId(answer)]).toEqual([
      400,
      malformed('After Bearer there must be one API key or access token in Authorization'),
    ]);
  });

  test('a key or a token in the URL, also encoded, also of a page for everyone, and also beside a good credential', async () => {
    const key = gateway.firstKey;
    const token = await issuer.token();
    const encoded = key.replace('ppk_', '%70pk%5F');
    const paths = [
      `/users/1?key=${key}`,
      `/users/1?a=b&access_token=${token}`,
      `/users/1?acc%65ss_token=${token}`,
      `/users/${key}`,
      `/users/1?key=${encoded}`,
      `/health?key=${key}`,
      `/nothing/${encoded}`,
    ];
    for (const path of paths) {
      for (const headers of [{}, bearer(key)]) {
        const answer = await get(path, headers);
        expect([path, answer.status, bodyOf(answer)]).toEqual([path, 400, inUrl]);
      }
    }
  });

  test('not for a parameter that only mentions an access token', async () => {
    expect((await get('/users?email=access_token%40example.com', bearer(gateway.firstKey))).status).toBe(200);
  });
});

describe('the metadata of the protected resource (RFC 9728)', () => {
  test('names the resource, the issuer and the scopes', async () => {
    const { status, body } = await get('/.well-known/oauth-protected-resource');
    expect([status, body]).toEqual([
      200,
      {
        resource: gateway.url,
        authorization_servers: [issuer.url],
        bearer_methods_supported: ['header'],
        scopes_supported: expect.arrayContaining(['users:read', 'subscriptions:write', 'keys:manage']),
        resource_name: 'PromoPulse',
        resource_documentation: `${gateway.url}/docs`,
      },
    ]);
  });

  test('has no other method', async () => {
    const { status, headers } = await client(gateway.url).post('/.well-known/oauth-protected-resource', {});
    expect([status, headers.get('allow')]).toEqual([405, 'GET, HEAD']);
  });

  test('is where PUBLIC_URL says, behind a proxy with a path', async () => {
    const own = await startAskingGateway({ PUBLIC_URL: 'https://api.example.com/promo' });
    try {
      const challenge = (await client(own.url).get('/promo/users/1')).headers.get('www-authenticate');
      expect(challenge).toContain('"https://api.example.com/promo/.well-known/oauth-protected-resource"');
      const { body } = await client(own.url).get('/promo/.well-known/oauth-protected-resource');
      expect(body).toMatchObject({ resource: 'https://api.example.com/promo' });
      expect(body).not.toHaveProperty('authorization_servers');
    } finally {
      await own.close();
    }
  });
});

describe('with AUTH=optional', () => {
  let optional: AskingGateway;
  beforeAll(async () => {
    optional = await startAskingGateway({ AUTH: 'optional' });
  });
  afterAll(() => optional?.close());

  test('without a credential the caller is anonymous: the service gets no actor, and the log says so', async () => {
    const { status, headers } = await client(optional.url).get('/users/1');
    expect(status).toBe(200);
    expect(optional.users.received.at(-1)?.headers[actorHeader]).toBeUndefined();
    const line = optional.logLines.find((each) => each.includes(String(headers.get('x-request-id'))));
    expect(JSON.parse(String(line))).toMatchObject({ actor: null, status: 200 });
  });

  test('a credential that is sent is checked, also one of another scheme', async () => {
    expect((await client(optional.url).get('/users/1', bearer('wrong'))).status).toBe(401);
    expect((await client(optional.url).get('/users/1', { Authorization: 'Basic YTpi' })).status).toBe(401);
    expect((await optional.api.get('/users/1')).status).toBe(200);
  });

  test('a stranger makes no key, which would outlive this time', async () => {
    const key = { name: 'Mine', scopes: ['keys:manage'] };
    expect((await client(optional.url).post('/api-keys', key)).status).toBe(401);
    expect((await optional.api.post('/api-keys', key)).status).toBe(201);
  });
});

describe.each(['off', 'external'])('with AUTH=%s', (AUTH) => {
  let open: TestGateway;
  beforeAll(async () => {
    open = await startTestGateway({ AUTH, CORS_ORIGINS: '' });
  });
  afterAll(() => open?.close());

  test('nobody is asked, no database is needed, and a client-sent actor header is removed', async () => {
    const { status } = await client(open.url).get('/users/1', { [actorHeader]: 'v1.a.b' });
    expect([status, open.users.received.at(-1)?.headers[actorHeader]]).toEqual([200, undefined]);
  });

  test('there are no keys and no metadata', async () => {
    const answer = await client(open.url).get('/api-keys');
    const detail = 'This installation asks no caller for a key (AUTH is off or external).';
    expect([answer.status, bodyOf(answer)]).toEqual([409, problem(409, 'auth_off', detail)]);
    expect((await client(open.url).get('/.well-known/oauth-protected-resource')).status).toBe(404);
  });
});

describe.each(['off', 'external', 'optional', 'required'])('with AUTH=%s', (AUTH) => {
  test('no service sees a credential, of whatever scheme and however its header is written', async () => {
    const isAsked = AUTH === 'optional' || AUTH === 'required';
    const own = isAsked ? await startAskingGateway({ AUTH }) : await startTestGateway({ AUTH });
    try {
      const good = 'firstKey' in own ? String(own.firstKey) : 'canary-key';
      for (const credential of [`Bearer ${good}`, 'Basic Y2FuYXJ5', 'canary']) {
        for (const name of ['Authorization', 'authorization', 'AUTHORIZATION']) {
          for (const [method, path] of [
            ['GET', '/users/1'],
            ['POST', '/promotions'],
            ['OPTIONS', '/subscriptions'],
          ] as const) {
            const head = `${method} ${path} HTTP/1.1\r\nHost: gateway\r\n${name}: ${credential}\r\n`;
            expect((await sendRaw(own.port, [`${head}Content-Length: 0\r\n\r\n`])).status).toBeGreaterThan(0);
          }
        }
      }
      const received = [own.users, own.promotions, own.subscriptions].flatMap((stub) => stub.received);
      expect(received.length).toBeGreaterThan(0);
      expect(received.filter(({ headers }) => 'authorization' in headers)).toEqual([]);
      expect(JSON.stringify(received)).not.toMatch(/canary|Y2FuYXJ5|ppk_/i);
    } finally {
      await own.close();
    }
  });
});

test('no log line has a key, a token, or a subject, and the access log has the actor of each request', async () => {
  const { id, secret } = await gateway.newKey();
  const token = await issuer.token({ claims: { sub: 'canary-subject' } });
  const wrong = [createKey().secret, `${token}x`];
  for (const credential of [secret, token, ...wrong]) {
    await get('/users/1', bearer(credential));
    await get(`/users?q=${credential}`, bearer(credential));
    await get(`/users?access_token=${credential}`);
  }
  const log = gateway.logLines.join('');
  for (const text of [secret, token, ...wrong, gateway.firstKey, 'canary-subject', 'ppk_'])
    expect(log).not.toContain(text);
  expect(token.split('.').filter((part) => log.includes(part))).toEqual([]);
  const actors = gateway.logLines.map((line) => JSON.parse(line)).filter(({ msg }) => msg === 'request');
  expect(actors.map(({ actor }) => actor)).toContain(`key:${id}`);
  expect(actors.some(({ actor }) => /^subject:/.test(String(actor)))).toBe(true);
});
