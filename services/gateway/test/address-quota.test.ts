// What an address may send without a good credential: how much of it an address gets, what it costs, and what it lets a caller do.
import { randomBytes } from 'node:crypto';
import { createServer, request as httpRequest, type IncomingMessage } from 'node:http';
import type { AddressInfo } from 'node:net';
import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';
import { createApp, errorHandler } from '@promopulse/shared/http/app';
import { callerOf } from '@promopulse/shared/http/caller/caller';
import { addRoutes } from '@promopulse/shared/http/routes';
import type { Callers } from '../src/callers/callers.ts';
import { makeKey } from '../src/callers/first-key.ts';
import { createKey } from '../src/callers/key-format.ts';
import { keyRoutes } from '../src/callers/key-routes.ts';
import { authenticate } from '../src/edge/authenticate.ts';
import { runSteps } from '../src/edge/steps.ts';
import { AddressQuota } from '../src/rate-limit/address-quota.ts';
import { type AskingGateway, bearer, silent, startAskingGateway } from './asking-gateway.ts';
import { answerWith, startTestGateway, type TestGateway, waitUntil } from './stubs.ts';
import { audience, startTokenIssuer, type TokenIssuer } from './token-issuer.ts';

/** As `fetch` takes it. */
const from = (address: string, options: RequestInit = {}): RequestInit => ({
  redirect: 'manual',
  ...options,
  headers: { 'X-Forwarded-For': address, ...options.headers },
});

describe('with AUTH=required', () => {
  let gateway: AskingGateway;
  beforeAll(async () => {
    gateway = await startAskingGateway({
      TRUSTED_PROXIES: '127.0.0.1',
      FREE_LIMIT: '4/600s',
      AUTH_FAILURE_LIMIT: '2/600s',
      CORS_ORIGINS: '*',
      METRICS_PORT: '0',
    });
  });
  afterAll(() => gateway?.close());
  const statusOf = async (path: string, init: RequestInit) => (await fetch(gateway.url + path, init)).status;

  test('beyond FREE_LIMIT an address gets 429 for each free path, and others are not affected', async () => {
    const preflight = {
      method: 'OPTIONS',
      headers: { Origin: 'https://a.example', 'Access-Control-Request-Method': 'PUT' },
    };
    const requests: [string, RequestInit?][] = [
      ['/docs'],
      ['/users', { method: 'OPTIONS' }],
      ['/users', preflight],
      ['/.well-known/oauth-protected-resource'],
    ];
    for (const [path, init] of requests) expect(await statusOf(path, from('192.0.2.1', init))).toBeLessThan(300);
    for (const [path, init] of [
      ...requests,
      ['/'],
      ['/health'],
      ['/openapi.json'],
      ['/docs/x.css'],
    ] as typeof requests) {
      const refused = await fetch(gateway.url + path, from('192.0.2.1', init));
      expect([path, refused.status]).toEqual([path, 429]);
      expect(await refused.json()).toMatchObject({ code: 'quota_exceeded', 'violated-policies': ['free'] });
      expect(refused.headers.get('ratelimit-policy')).toBe('"free";q=4;w=600');
      expect(Number(refused.headers.get('retry-after'))).toBeGreaterThan(0);
    }
    expect(await statusOf('/docs', from('192.0.2.2'))).toBe(200);
    expect(await statusOf('/users/1', from('192.0.2.1', { headers: bearer(gateway.firstKey) }))).toBe(200);
  });

  test('a probe is never refused', async () => {
    for (let count = 0; count < 6; count += 1) await statusOf('/docs', from('192.0.2.3'));
    for (const path of ['/health/live', '/health/ready', '/health/live?x=1']) {
      for (let count = 0; count < 10; count += 1) expect(await statusOf(path, from('192.0.2.3'))).toBe(200);
      expect(await statusOf(path, from('192.0.2.3', { method: 'HEAD' }))).toBe(200);
    }
    for (const path of ['/', '/?x=1']) {
      for (let count = 0; count < 10; count += 1) {
        expect(await statusOf(path, from('192.0.2.3', { method: 'OPTIONS' }))).toBe(204);
      }
    }
    expect(await statusOf('/users', from('192.0.2.3', { method: 'OPTIONS' }))).toBe(429);
  });

  test('HAProxy, which asks OPTIONS of * or / behind a proxy that a stranger uses too, goes on to find the gateway up', async () => {
    for (let count = 0; count < 6; count += 1) await statusOf('/docs', {});
    expect(await statusOf('/docs', {})).toBe(429);
    for (const path of ['*', '/']) {
      const { status } = await new Promise<{ status: number | undefined }>((resolve, reject) => {
        httpRequest(gateway.url, { method: 'OPTIONS', path }, (response) => {
          response.resume();
          resolve({ status: response.statusCode });
        })
          .on('error', reject)
          .end();
      });
      expect([path, status]).toEqual([path, 204]);
    }
  });

  test('a missing credential is no failed authentication: it counts among the free requests', async () => {
    for (let count = 0; count < 4; count += 1) expect(await statusOf('/users/1', from('192.0.2.4'))).toBe(401);
    expect(await statusOf('/users/1', from('192.0.2.4'))).toBe(429);
    expect(await statusOf('/docs', from('192.0.2.4'))).toBe(429);
    const wrong = { headers: bearer('ppk_wrong') };
    expect(await statusOf('/users/1', from('192.0.2.4', wrong))).toBe(401);
  });

  test('beyond AUTH_FAILURE_LIMIT only what the gateway knows to be good is accepted from an address', async () => {
    const { id, secret } = await gateway.newKey();
    const ended = await gateway.newKey();
    await gateway.api.request('DELETE', `/api-keys/${ended.id}`);
    const statusWith = (credential: string, address = '198.51.100.1') =>
      statusOf('/users/1', from(address, { headers: bearer(credential) }));
    for (const wrong of ['ppk_wrong', createKey().secret, 'a.b.c', 'a.b.d']) expect(await statusWith(wrong)).toBe(401);
    for (const credential of ['ppk_wrong', createKey().secret, ended.secret, 'a.b.e']) {
      const refused = await fetch(`${gateway.url}/users/1`, from('198.51.100.1', { headers: bearer(credential) }));
      expect(refused.status).toBe(429);
      expect(await refused.json()).toMatchObject({
        type: 'https://iana.org/assignments/http-problem-types#quota-exceeded',
        code: 'quota_exceeded',
        'violated-policies': ['auth-failures'],
      });
      expect(refused.headers.get('ratelimit-policy')).toBe('"auth-failures";q=2;w=600');
      expect(Number(refused.headers.get('retry-after'))).toBeGreaterThanOrEqual(190);
      expect(refused.headers.has('www-authenticate')).toBe(false);
    }
    expect([await statusWith(secret), gateway.claimsAt(gateway.users)?.sub]).toEqual([200, `key:${id}`]);
    expect(await statusOf('/users/1', from('198.51.100.1'))).toBe(401);
    await gateway.api.request('DELETE', `/api-keys/${id}`);
    expect([await statusWith(secret), await statusWith(secret, '198.51.100.2')]).toEqual([429, 401]);
  });

  test('so do a malformed credential and one in the URL', async () => {
    const malformed = { headers: { Authorization: 'Bearer a b' } };
    for (let count = 0; count < 2; count += 1) {
      expect(await statusOf('/users/1', from('192.0.2.5', malformed))).toBe(400);
      expect(await statusOf('/users/1?access_token=a', from('192.0.2.5'))).toBe(400);
    }
    expect(await statusOf('/users/1', from('192.0.2.5', malformed))).toBe(429);
    expect(await statusOf('/users/1?access_token=a', from('192.0.2.5'))).toBe(429);
  });

  test('the metrics count refused credentials, and what is beyond each limit', async () => {
    const valuesOf = async (series: readonly string[]): Promise<number[]> => {
      const text = await (await fetch(`${gateway.gateway.metricsUrl}/metrics`)).text();
      return series.map((each) =>
        Number(
          text
            .split('\n')
            .find((line) => line.startsWith(`${each} `))
            ?.split(' ')[1],
        ),
      );
    };
    const beyond = (limit: string) => `promopulse_gateway_rate_limited_requests_total{limit="${limit}"}`;
    const series = ['promopulse_gateway_failed_authentications_total', beyond('failures'), beyond('free')];
    const before = await valuesOf(series);
    const wrong = { headers: bearer('ppk_wrong') };
    for (let count = 0; count < 5; count += 1) await statusOf('/users/1', from('192.0.2.7', wrong));
    for (let count = 0; count < 5; count += 1) await statusOf('/docs', from('192.0.2.7'));
    const after = await valuesOf(series);
    expect(after.map((value, index) => value - Number(before[index]))).toEqual([2, 3, 1]);
  });

  test('refusals are one log line a second, without an address', async () => {
    gateway.logLines.length = 0;
    for (let count = 0; count < 10; count += 1) await statusOf('/docs', from('192.0.2.6'));
    const lines = () => gateway.logLines.filter((line) => line.includes('too many free requests'));
    await waitUntil(() => lines().length > 0, 'the line');
    expect(lines().length).toBeLessThanOrEqual(2);
    expect(gateway.logLines.join()).not.toContain('192.0.2.6');
  });
});

describe('with access tokens', () => {
  let issuer: TokenIssuer;
  let gateway: AskingGateway;
  beforeAll(async () => {
    issuer = await startTokenIssuer();
    gateway = await startAskingGateway({
      ...{ TRUSTED_PROXIES: '127.0.0.1', FREE_LIMIT: '4/600s', AUTH_FAILURE_LIMIT: '2/600s' },
      ...{ OIDC_ISSUER: issuer.url, OIDC_AUDIENCE: audience, OIDC_CLIENTS: 'shop' },
      OIDC_SUBJECT_KEY: randomBytes(32).toString('base64url'),
    });
  });
  afterAll(async () => {
    await gateway?.close();
    await issuer?.close();
  });
  const statusWith = async (credential: string, address: string): Promise<number> =>
    (await fetch(`${gateway.url}/users/1`, from(address, { headers: bearer(credential) }))).status;

  test('a program with a wrong key does not keep new tokens of its address out', async () => {
    for (let count = 0; count < 2; count += 1) expect(await statusWith('ppk_wrong', '192.0.2.11')).toBe(401);
    expect(await statusWith('ppk_wrong', '192.0.2.11')).toBe(429);
    expect(await statusWith(await issuer.token(), '192.0.2.11')).toBe(200);
  });

  test('and one with a wrong token keeps no new key out', async () => {
    for (let count = 0; count < 2; count += 1) expect(await statusWith('a.b.c', '192.0.2.12')).toBe(401);
    expect(await statusWith(await issuer.token({ claims: { jti: 'new' } }), '192.0.2.12')).toBe(429);
    // By command, so that the gateway does not know it yet.
    const made = await makeKey(
      gateway.env,
      silent,
      { name: 'New', scopes: ['users:read'], expires_at: null },
      { onlyFirst: false },
    );
    expect(await statusWith(String(made?.secret), '192.0.2.12')).toBe(200);
  });

  test('the token of a client that may not call counts among the free requests', async () => {
    const token = await issuer.token({ claims: { client_id: 'other' } });
    for (let count = 0; count < 4; count += 1) expect(await statusWith(token, '192.0.2.13')).toBe(403);
    expect(await statusWith(token, '192.0.2.13')).toBe(429);
    expect(await statusWith(await issuer.token(), '192.0.2.13')).toBe(200);
  });
});

test('with AUTH=off there is no limit by default, and FREE_LIMIT sets one', async () => {
  const open = await startTestGateway();
  const limited = await startTestGateway({ FREE_LIMIT: '2/600s' });
  try {
    const statuses = async ({ url }: TestGateway) =>
      (await Promise.all(Array.from({ length: 20 }, () => fetch(`${url}/users`, { method: 'OPTIONS' })))).map(
        ({ status }) => status,
      );
    expect(new Set(await statuses(open))).toEqual(new Set([204]));
    expect((await statuses(limited)).sort()).toEqual([204, 204, ...Array(18).fill(429)]);
    expect((await fetch(`${limited.url}/users/1`)).status).toBe(200);
  } finally {
    await open.close();
    await limited.close();
  }
});

test('50 clients that loop the document and OPTIONS leave the others their service, and take none of its places', async () => {
  const document = JSON.stringify({
    openapi: '3.1.1',
    paths: { '/users': { get: { operationId: 'a', description: 'x'.repeat(200_000), responses: {} } } },
  });
  const gateway = await startTestGateway({ TRUSTED_PROXIES: '127.0.0.1', FREE_LIMIT: '50/600s', MAX_IN_FLIGHT: '2' });
  let documentsRead = 0;
  for (const stub of [gateway.users, gateway.promotions, gateway.subscriptions]) {
    const ok = stub.handler;
    stub.handler = (request, response) => {
      if (request.url !== '/openapi.json') return ok(request, response);
      documentsRead += 1;
      answerWith(200, { 'Content-Type': 'application/json' }, document)(request, response);
    };
  }
  let isFlooding = true;
  const flood = { answered: 0, refused: 0 };
  const loops = Array.from({ length: 50 }, async (_, index) => {
    const [path, method] = index % 2 === 0 ? ['/openapi.json', 'GET'] : ['/users/1', 'OPTIONS'];
    while (isFlooding) {
      const headers = { 'Accept-Encoding': 'br' };
      const response = await fetch(
        gateway.url + path,
        from(`192.0.2.${index % 5}`, { method, headers } as RequestInit),
      );
      await response.arrayBuffer();
      if (response.status === 429) flood.refused += 1;
      else flood.answered += 1;
    }
  });
  try {
    await waitUntil(() => flood.refused > 500, 'refusals', 60_000);
    const served: number[] = [];
    for (let count = 0; count < 50; count += 1) {
      served.push((await fetch(`${gateway.url}/users/1`, from('198.51.100.1'))).status);
    }
    expect(new Set(served)).toEqual(new Set([200]));
    expect((await fetch(`${gateway.url}/docs`, from('198.51.100.1'))).status).toBe(200);
    expect(flood.answered).toBeLessThanOrEqual(5 * 51);
    expect(gateway.users.received.filter(({ method }) => method === 'OPTIONS')).toEqual([]);
    expect(documentsRead).toBeLessThan(flood.answered);
  } finally {
    isFlooding = false;
    await Promise.all(loops);
    await gateway.close();
  }
}, 120_000);

test('with AUTH=required a route on a free path by mistake answers 401, whatever the route', async () => {
  const unused = {} as Callers;
  const callers = { ...unused, isRequired: true, keys: unused.keys, tokens: undefined } as Callers;
  const quota = new AddressQuota(undefined, silent, '');
  const app = createApp();
  const routes = keyRoutes(callers).map((route) => ({ ...route, path: `/docs${route.path}` }));
  addRoutes(app, routes);
  app.use(errorHandler(silent));
  let caller: unknown;
  const step = authenticate({
    callers,
    publicUrl: undefined,
    log: silent,
    failures: { key: quota, token: quota },
    free: quota,
  });
  const server = createServer(
    runSteps([
      step,
      (request: IncomingMessage, response) => {
        caller = callerOf(request);
        app(request, response);
      },
    ]),
  );
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  try {
    const { port } = server.address() as AddressInfo;
    expect(routes.length).toBeGreaterThan(0);
    for (const { method, path } of routes) {
      const url = `http://127.0.0.1:${port}${path.replace('{id}', '0199c0de-7a1b-7c3d-8e5f-0123456789ab')}`;
      expect([path, (await fetch(url, { method: method.toUpperCase() })).status]).toEqual([path, 401]);
    }
    expect(caller).toEqual({ actor: null, scopes: new Set(), userId: null });
  } finally {
    server.closeAllConnections();
    await new Promise((resolve) => server.close(resolve));
  }
});
