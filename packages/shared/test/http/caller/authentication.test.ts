// How a service learns who calls, on a real server: the modes, the order of the checks, and what the log says.
import { randomBytes } from 'node:crypto';
import { Writable } from 'node:stream';
import { afterAll, afterEach, beforeAll, describe, expect, jest, test } from '@jest/globals';
import { asCaller, authRequired } from '@promopulse/testing/callers';
import { bodyOf, type Client, client } from '@promopulse/testing/client';
import { z } from 'zod';
import { createApp, errorHandler, notFoundRoute } from '../../../src/http/app.ts';
import { authenticate, authModes } from '../../../src/http/caller/authentication.ts';
import { accessLog, assignRequestId } from '../../../src/http/request-log.ts';
import { addRoutes, type Route, route } from '../../../src/http/routes.ts';
import { bodyId, textId } from '../../../src/http/schemas.ts';
import { type RunningServer, serve } from '../../../src/http/server.ts';
import { createLogger } from '../../../src/telemetry/logger.ts';

const success = { status: 200, description: 'What the handler got', schema: z.looseObject({}) };
const params = z.strictObject({ id: textId });
const routes: Route[] = [
  route({
    method: 'patch',
    path: '/users/{id}',
    access: { scope: 'users:write', endUser: 'params.id' },
    operationId: 'edit',
    summary: 'Edit',
    params,
    body: z.strictObject({ name: z.string() }),
    success,
    errors: {},
    handle: async ({ cause, caller: { actor, userId } }) => ({ status: 200, body: { cause, actor, userId } }),
  }),
  route({
    method: 'post',
    path: '/orders',
    access: { scope: 'subscriptions:write', endUser: 'body.user_id' },
    operationId: 'order',
    summary: 'Order',
    body: z.strictObject({ user_id: bodyId }),
    success,
    errors: {},
    handle: async () => ({ status: 200, body: {} }),
  }),
];

const lines: string[] = [];
const write = (chunk: unknown, _encoding: unknown, done: () => void): void => {
  lines.push(String(chunk));
  done();
};
const servers: RunningServer[] = [];

async function start(
  mode: (typeof authModes)[number],
  authentication = true,
  { ACTOR_KEYS } = authRequired,
): Promise<Client> {
  const log = createLogger({ service: 'test', level: 'info', destination: new Writable({ write }) });
  const app = createApp();
  app.use(assignRequestId, accessLog(log));
  if (authentication) app.use(authenticate({ AUTH: mode, ACTOR_KEYS }, log));
  addRoutes(app, routes);
  app.use(notFoundRoute, errorHandler(log));
  const server = await serve(app, {
    host: '127.0.0.1',
    port: 0,
    keepAliveTimeoutMs: 1_000,
    headersTimeoutMs: 1_000,
    requestTimeoutMs: 1_000,
  });
  servers.push(server);
  return client(server.url);
}

let apis: Record<(typeof authModes)[number], Client>;
beforeAll(async () => {
  const started = await Promise.all(authModes.map(async (mode) => [mode, await start(mode)] as const));
  apis = Object.fromEntries(started) as typeof apis;
});
afterEach(() => {
  lines.length = 0;
  jest.restoreAllMocks();
});
afterAll(() => Promise.all(servers.map((server) => server.close(0))));

const edit = (api: Client, headers: Record<string, string> = {}, id = 7) =>
  api.patch(`/users/${id}`, { name: 'Ada' }, { 'x-request-id': 'r1', ...headers });
const withScope = { sub: 'key:k1', scopes: ['users:read', 'users:write'] };
const unauthenticated = {
  type: 'about:blank',
  title: 'Unauthorized',
  status: 401,
  code: 'unauthenticated',
  detail: 'Send a credential in the Authorization header: Bearer, and an API key or an access token.',
};

/** A header with a valid form that another key has signed. */
function foreignHeader(): string {
  const [version, payload] = String(asCaller(withScope)['x-internal-actor']).split('.');
  return `${version}.${payload}.${randomBytes(32).toString('base64url')}`;
}

describe.each(['off', 'external'] as const)('AUTH=%s', (mode) => {
  test('without the header everything is allowed, and nobody is known', async () => {
    const { status, body } = await edit(apis[mode]);
    expect([status, body]).toEqual([200, { cause: { requestId: 'r1', actor: null }, actor: null, userId: null }]);
    expect(lines.join()).not.toContain('actor');
  });

  test('the header of a gateway that asks its callers counts: it gives no more than its scopes', async () => {
    expect((await edit(apis[mode], asCaller({ scopes: [] }))).status).toBe(403);
    expect((await edit(apis[mode], asCaller(withScope))).body.actor).toBe('key:k1');
    expect((await edit(apis[mode], { 'x-internal-actor': foreignHeader() })).status).toBe(401);
  });

  test('without ACTOR_KEYS a request with the header is refused', async () => {
    const api = await start(mode, true, { ...authRequired, ACTOR_KEYS: '' });
    expect((await edit(api, asCaller(withScope))).status).toBe(401);
    expect((await edit(api)).status).toBe(200);
  });
});

describe('AUTH=optional', () => {
  test('allows everything without the header, and the log says that the caller is not known', async () => {
    expect((await edit(apis.optional)).status).toBe(200);
    expect(JSON.parse(String(lines[0]))).toMatchObject({ actor: null, status: 200 });
  });

  test('checks a header that is sent', async () => {
    expect((await edit(apis.optional, asCaller({ scopes: [] }))).status).toBe(403);
    expect(bodyOf(await edit(apis.optional, { 'x-internal-actor': foreignHeader() }))).toEqual(unauthenticated);
  });
});

describe('AUTH=required', () => {
  test('answers 401 without a header, and says how to authenticate', async () => {
    const answer = await edit(apis.required);
    expect([answer.status, bodyOf(answer)]).toEqual([401, unauthenticated]);
    expect(answer.headers.get('www-authenticate')).toBe('Bearer realm="promopulse"');
  });

  test('hands the actor to the handler, to the cause of a change and to the access log', async () => {
    const { status, body } = await edit(apis.required, asCaller(withScope));
    expect([status, body]).toEqual([
      200,
      { cause: { requestId: 'r1', actor: 'key:k1' }, actor: 'key:k1', userId: null },
    ]);
    expect(JSON.parse(String(lines[0]))).toMatchObject({ request_id: 'r1', actor: 'key:k1', status: 200 });
  });

  test('names the missing scope', async () => {
    const answer = await edit(apis.required, asCaller({ scopes: ['users:read'] }));
    expect([answer.status, bodyOf(answer)]).toEqual([
      403,
      {
        type: 'about:blank',
        title: 'Forbidden',
        status: 403,
        code: 'insufficient_scope',
        detail: 'This needs the scope users:write.',
      },
    ]);
    expect(answer.headers.get('www-authenticate')).toBe('Bearer error="insufficient_scope", scope="users:write"');
    expect(JSON.parse(String(lines[0]))).toMatchObject({ actor: expect.stringMatching(/^key:/), status: 403 });
  });

  test.each([
    ['an unknown path', 'GET', '/nowhere', {}],
    ['another method', 'PUT', '/users/7', {}],
    ['a body that is not JSON', 'PATCH', '/users/7', { body: '{', headers: { 'content-type': 'text/plain' } }],
    ['a malformed id', 'PATCH', '/users/abc', { body: { name: 1 } }],
    ['a body that is too large', 'PATCH', '/users/7', { body: { name: 'x'.repeat(70_000) } }],
  ])('401 comes before the fault of %s', async (_what, method, path, options) => {
    expect((await apis.required.request(method, path, options)).status).toBe(401);
  });

  test('OPTIONS is free, and tells the methods of a path', async () => {
    const answer = await apis.required.request('OPTIONS', '/users/7');
    expect([answer.status, answer.headers.get('allow')]).toEqual([405, 'PATCH']);
  });

  test('403 comes before the fault of the body and of the parameters', async () => {
    const headers = asCaller({ scopes: ['users:read'] });
    const notJson = { body: '{', headers: { ...headers, 'content-type': 'text/plain' } };
    expect((await apis.required.request('PATCH', '/users/7', notJson)).status).toBe(403);
    expect((await apis.required.request('PATCH', '/users/abc', { body: { name: 1 }, headers })).status).toBe(403);
    const asAnother = { ...notJson, headers: { ...asCaller({ user: 8 }), 'content-type': 'text/plain' } };
    expect((await apis.required.request('PATCH', '/users/7', asAnother)).status).toBe(403);
  });

  test('an end user is their own user, in the path and in the body', async () => {
    expect((await edit(apis.required, asCaller({ user: 7 }))).body).toMatchObject({ actor: 'user:7', userId: 7 });
    expect((await edit(apis.required, asCaller({ user: 8 }))).status).toBe(403);
    const order = (user_id: number, user: number) => apis.required.post('/orders', { user_id }, asCaller({ user }));
    expect((await order(7, 7)).status).toBe(200);
    expect((await order(8, 7)).status).toBe(403);
  });

  test('refuses a header that another key has signed, and warns the operator once', async () => {
    expect((await edit(apis.required, { 'x-internal-actor': foreignHeader() })).status).toBe(401);
    expect((await edit(apis.required, { 'x-internal-actor': foreignHeader() })).status).toBe(401);
    const warnings = lines.filter((line) => line.includes('x-internal-actor is not valid'));
    expect(warnings).toHaveLength(1);
    expect(lines.join()).not.toContain('v1.');
  });

  test('refuses a header that was sent twice', async () => {
    const header = asCaller(withScope)['x-internal-actor'];
    expect((await edit(apis.required, { 'x-internal-actor': `${header}, ${header}` })).status).toBe(401);
  });

  test('believes a header for 30 s beyond its expiry, because clocks differ, and no longer, also when it is known', async () => {
    const header = asCaller({ ...withScope, expiresIn: 10 });
    const now = Date.now();
    const at = async (seconds: number) => {
      jest.spyOn(Date, 'now').mockReturnValue(now + seconds * 1_000);
      return (await edit(apis.required, header)).status;
    };
    expect([await at(0), await at(38), await at(41)]).toEqual([200, 200, 401]);
    expect((await edit(apis.required, asCaller({ ...withScope, expiresIn: -31 }))).status).toBe(401);
  });

  test('verifies more callers than it remembers', async () => {
    const editAs = async (index: number) => {
      const { body } = await edit(apis.required, asCaller({ ...withScope, sub: `key:${index}` }));
      expect(body.actor).toBe(`key:${index}`);
    };
    for (let first = 0; first < 1_100; first += 50) {
      await Promise.all(Array.from({ length: 50 }, (_, index) => editAs(first + index)));
    }
    expect((await edit(apis.required, asCaller({ ...withScope, sub: 'key:0' }))).body.actor).toBe('key:0');
  });
});

test('a route of an app that authenticates nobody is refused to all', async () => {
  expect((await edit(await start('required', false))).status).toBe(401);
});
