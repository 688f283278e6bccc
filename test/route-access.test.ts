// Who may use each route (OWASP API1, API3, API5), tested for every public route of every service: the cases are made from
// the tables of routes, so a new route has them too, or fails here until its example of an end user is written.
import { randomUUID } from 'node:crypto';
import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';
import { services } from '@promopulse/shared/contracts/services';
import type { Access } from '@promopulse/shared/http/caller/access';
import { nounOf, scopes } from '@promopulse/shared/http/caller/scopes';
import { type Route, showsChanged } from '@promopulse/shared/http/routes';
import { type ServiceDefinition, startService } from '@promopulse/shared/service';
import { asCaller, authRequired } from '@promopulse/testing/callers';
import { bodyOf, type ClientResponse, type RequestOptions, type Wire } from '@promopulse/testing/client';
import { amqpUrl, createTestDatabase, deleteTopology, uniquePrefix } from '@promopulse/testing/servers';
import { startTestService, type TestService, testKeys } from '@promopulse/testing/service';
import { z } from 'zod';
import { loadServices } from '../local/services.ts';

const definitions = await loadServices();
const keys = { PII_ENCRYPTION_KEYS: testKeys[0], PII_INDEX_KEY: testKeys[2] };
const started = new Map<string, TestService>();
const tables = new Map<string, readonly Route[]>();

/** The definition, which also tells the test its table of routes. */
function observed(definition: ServiceDefinition): ServiceDefinition {
  return {
    ...definition,
    parts: (context) => {
      const parts = definition.parts(context);
      tables.set(definition.name, parts.routes);
      return parts;
    },
  };
}

const operator = asCaller({ sub: 'key:operator', scopes, expiresIn: 3_600 });
/** The end user of the tests, and another user; what is theirs. */
const ids = { own: 0, other: 0, ownSubscription: 0, otherSubscription: 0, active: 0, draft: 0 };

beforeAll(async () => {
  const owners: Record<string, string> = {};
  for (const definition of definitions) {
    const service = await startTestService(observed(definition), { ...keys, ...authRequired, ...owners });
    started.set(definition.name, service);
    owners[`${definition.name.toUpperCase()}_INTERNAL_URL`] = service.internalUrl;
  }
  const create = async (name: string, path: string, body: object): Promise<number> => {
    const answer = await serviceNamed(name).api.post(path, body, operator);
    expect([path, Math.floor(answer.status / 100)]).toEqual([path, 2]);
    return answer.body.id;
  };
  const newUser = (email: string) => create('users', '/users', { first_name: 'Ada', last_name: 'Lovelace', email });
  const newPromotion = () =>
    create('promotions', '/promotions', {
      name: 'Summer',
      start_at: '2026-06-01T00:00:00Z',
      end_at: '2026-07-01T00:00:00Z',
    });
  ids.own = await newUser('own@example.com');
  ids.other = await newUser('other@example.com');
  ids.draft = await newPromotion();
  ids.active = await newPromotion();
  await create('promotions', `/promotions/${ids.active}/status`, { status: 'active' });
  const subscribe = (user_id: number) =>
    create('subscriptions', '/subscriptions', { user_id, promotion_id: ids.active });
  ids.ownSubscription = await subscribe(ids.own);
  ids.otherSubscription = await subscribe(ids.other);
}, 90_000);
afterAll(async () => {
  for (const service of started.values()) await service.close();
});

const serviceNamed = (name: string): TestService => started.get(name) as TestService;
const publicRoutes = (name: string): readonly Route[] => tables.get(name) ?? [];
const accessOf = ({ access }: Route): Access => access as Access;
const noId = 2_147_483_647;
const endUser = () => asCaller({ user: ids.own });
const keysOf = (body: unknown): string[] => Object.keys((body ?? {}) as object).sort();

/** What an end user may and may not do with a route whose table says `row`: paths, and how the second is refused. */
const ofRows: Record<string, { own: () => string; other: () => string; refusal: number; missing?: () => string }> = {
  listPromotions: { own: () => '/promotions', other: () => '/promotions?status=draft', refusal: 403 },
  getPromotion: {
    own: () => `/promotions/${ids.active}`,
    other: () => `/promotions/${ids.draft}`,
    refusal: 404,
    missing: () => `/promotions/${noId}`,
  },
  ...Object.fromEntries(
    [
      ['getSubscription', ''],
      ['deactivateSubscription', '/deactivate'],
      ['reactivateSubscription', '/reactivate'],
    ].map(([operation, end]) => [
      operation,
      {
        own: () => `/subscriptions/${ids.ownSubscription}${end}`,
        other: () => `/subscriptions/${ids.otherSubscription}${end}`,
        refusal: 404,
        missing: () => `/subscriptions/${noId}${end}`,
      },
    ]),
  ),
};

/** A request that each route answers with 200 for a change: what changes nothing is as good as a change. */
const changes: Record<string, () => { path: string; body?: object; before?: string }> = {
  updateUser: () => ({ path: `/users/${ids.other}`, body: {} }),
  updatePromotion: () => ({ path: `/promotions/${ids.draft}`, body: {} }),
  changePromotionStatus: () => ({ path: `/promotions/${ids.active}/status`, body: { status: 'active' } }),
  deactivateSubscription: () => ({
    path: `/subscriptions/${ids.otherSubscription}/deactivate`,
    before: `/subscriptions/${ids.otherSubscription}/reactivate`,
  }),
  reactivateSubscription: () => ({
    path: `/subscriptions/${ids.otherSubscription}/reactivate`,
    before: `/subscriptions/${ids.otherSubscription}/deactivate`,
  }),
};

/** A request of the route, with a path of ids and a body of which the route may think what it wants. */
async function send(name: string, route: Route, headers: object, at: RequestOptions & { path?: string } = {}) {
  const { path = route.path.replaceAll(/\{\w+\}/g, String(noId)), ...options } = at;
  return await serviceNamed(name).api.request(route.method.toUpperCase(), path, {
    ...(route.body && { body: '{' }),
    ...options,
    headers: {
      ...(headers as Record<string, string>),
      ...(options.body === undefined && { 'content-type': 'text/plain' }),
    },
  });
}

/** Where a change is seen, if it is no table with the name of the service. */
const changedTables: Partial<Record<string, string>> = { engagement: 'receipt_counts' };

/** Every row that a change would alter, and every event that it would record. */
async function stateOf(name: string): Promise<Wire> {
  const sql = serviceNamed(name).sql;
  const [rows, events] = await Promise.all([
    sql(`select * from ${name}.${changedTables[name] ?? name} order by 1, 2, 3, 4`),
    sql(`select id from ${name}.outbox order by id`),
  ]);
  return JSON.stringify({ rows, events });
}

/** @returns the answer, after a check that nothing was changed */
async function refused<Body>(
  name: string,
  request: () => Promise<ClientResponse<Body>>,
): Promise<ClientResponse<Body>> {
  const before = await stateOf(name);
  const answer = await request();
  expect(await stateOf(name)).toBe(before);
  return answer;
}

/** A refusal for a missing scope. */
const refusalFor = (scope: string) => ({
  status: 403,
  body: expect.objectContaining({ code: 'insufficient_scope', status: 403 }),
  scope: `Bearer error="insufficient_scope", scope="${scope}"`,
});
const seen = ({ status, body, headers }: ClientResponse<Wire>) => ({
  status,
  body,
  scope: headers.get('www-authenticate'),
});

describe.each([...services])('%s', (name) => {
  test('has a scope for each route', () => {
    expect(publicRoutes(name).length).toBeGreaterThan(0);
    for (const route of publicRoutes(name)) {
      const verb = route.method === 'get' ? 'read' : 'write';
      expect([route.operationId, accessOf(route).scope]).toEqual([route.operationId, `${nounOf(name)}:${verb}`]);
    }
  });

  test('answers 401 without a caller, before it looks at the request', async () => {
    for (const route of publicRoutes(name)) {
      const answer = await refused(name, () => send(name, route, {}));
      expect([route.operationId, answer.status, answer.body.code]).toEqual([route.operationId, 401, 'unauthenticated']);
      expect(answer.headers.get('www-authenticate')).toBe('Bearer realm="promopulse"');
    }
  });

  test('answers 403 to a caller with every scope but the one of the route, before it looks at the request', async () => {
    for (const route of publicRoutes(name)) {
      const { scope } = accessOf(route);
      const headers = asCaller({ scopes: scopes.filter((each) => each !== scope) });
      const answer = await refused(name, () => send(name, route, headers));
      expect([route.operationId, seen(answer)]).toEqual([route.operationId, refusalFor(scope)]);
    }
  });

  test('answers a caller with the scope of the route', async () => {
    for (const route of publicRoutes(name)) {
      const answer = await send(name, route, asCaller({ scopes: [accessOf(route).scope] }));
      expect([route.operationId, [401, 403].includes(answer.status)]).toEqual([route.operationId, false]);
    }
  });

  test('shows a caller what a change has left only if they may read it too, also when the answer is a kept one', async () => {
    for (const route of publicRoutes(name)) {
      if (route.method === 'get' || !showsChanged(route)) continue;
      const { scope } = accessOf(route);
      const change = changes[route.operationId]?.();
      if (!change) throw new Error(`${route.operationId} has no example of a change`);
      const ask = async (granted: readonly string[], key: string) => {
        if (change.before !== undefined) await serviceNamed(name).api.patch(change.before, undefined, operator);
        const headers = {
          ...asCaller({ scopes: granted }),
          'content-type': 'application/json',
          'idempotency-key': key,
        };
        return await send(name, route, headers, { path: change.path, body: change.body ?? {}, headers });
      };
      const key = randomUUID();
      const both = [scope, scope.replace('write', 'read')];
      const shown = await ask(both, key);
      expect([route.operationId, shown.status, shown.body.id > 0]).toEqual([route.operationId, 200, true]);
      for (const sent of [randomUUID(), key]) {
        const hidden = await ask([scope], sent);
        expect([route.operationId, hidden.status, hidden.body]).toEqual([route.operationId, 204, '']);
        expect([route.operationId, hidden.headers.get('etag')]).toEqual([
          route.operationId,
          expect.stringMatching(/^"\d+"$/),
        ]);
        expect(hidden.headers.get('idempotent-replayed')).toBe(sent === key ? 'true' : null);
      }
    }
  });

  test('answers 403 to an end user on a route that is not for end users', async () => {
    for (const route of publicRoutes(name)) {
      const { scope, endUser: place } = accessOf(route);
      if (place !== undefined) continue;
      const path = route.path.replace('{id}', String(ids.own));
      const answer = await refused(name, () => send(name, route, endUser(), { path }));
      expect([route.operationId, seen(answer)]).toEqual([route.operationId, refusalFor(scope)]);
    }
  });

  test('lets an end user name their own id only, where the request names a user', async () => {
    for (const route of publicRoutes(name)) {
      const { scope, endUser: place = 'row' } = accessOf(route);
      if (place === 'row') continue;
      const [part, field = ''] = place.split('.');
      const at = (id: number) => ({
        path:
          part === 'params'
            ? route.path.replace(`{${field}}`, `${id}`)
            : route.path + (part === 'query' ? `?${field}=${id}` : ''),
        ...(route.body && { body: part === 'body' ? { [field]: id, promotion_id: ids.active } : {} }),
      });
      const allowed = await send(name, route, endUser(), at(ids.own));
      expect([route.operationId, [401, 403, 404].includes(allowed.status)]).toEqual([route.operationId, false]);
      for (const id of [ids.other, noId]) {
        const answer = await refused(name, () => send(name, route, endUser(), at(id)));
        expect([route.operationId, id, seen(answer)]).toEqual([route.operationId, id, refusalFor(scope)]);
      }
    }
  });

  test('shows an end user only their own, where the row says whose it is: another is as if it were not there', async () => {
    for (const route of publicRoutes(name).filter((each) => accessOf(each).endUser === 'row')) {
      const example = ofRows[route.operationId];
      if (!example) throw new Error(`${route.operationId} has no example of what is an end user's own`);
      const { own, other, missing, refusal } = example;
      const answer = await refused(name, () => send(name, route, endUser(), { path: other() }));
      expect([route.operationId, answer.status]).toEqual([route.operationId, refusal]);
      if (missing) {
        const ofNothing = await send(name, route, endUser(), { path: missing() });
        expect([route.operationId, bodyOf(answer)]).toEqual([route.operationId, bodyOf(ofNothing)]);
      }
      const allowed = await send(name, route, endUser(), { path: own() });
      expect([route.operationId, allowed.status]).toEqual([route.operationId, 200]);
    }
  });

  test('takes no field from an end user that its schema does not list, and shows none', async () => {
    for (const route of publicRoutes(name)) {
      const { endUser: place } = accessOf(route);
      if (place === undefined) continue;
      const own = ofRows[route.operationId]?.own() ?? route.path.replace('{id}', `${ids.own}`);
      const path = place.startsWith('query.') ? `${own}?${place.slice(6)}=${ids.own}` : own;
      if (route.method !== 'get') {
        const base = place.startsWith('body.') ? { user_id: ids.own, promotion_id: ids.active } : {};
        for (const field of ['id', 'version', 'is_active', 'status', 'created_at', 'created_by', 'scopes', 'actor']) {
          const body = { ...base, [field]: 1 };
          const answer = await refused(name, () => send(name, route, endUser(), { path, body }));
          const errors = [{ field, rule: expect.any(String) }];
          expect([route.operationId, answer.status, answer.body.errors]).toEqual([route.operationId, 422, errors]);
        }
        continue;
      }
      const { body } = await send(name, route, endUser(), { path });
      const described = route.success.schema as z.ZodObject;
      expect(keysOf(described.shape)).toEqual(expect.arrayContaining(keysOf(body)));
      const item = described.shape.items;
      if (item instanceof z.ZodArray && body.items[0]) {
        expect(keysOf((item.element as z.ZodObject).shape)).toEqual(expect.arrayContaining(keysOf(body.items[0])));
      }
    }
  });
});

test('a list by another filter than the user is not for end users', async () => {
  const { api } = serviceNamed('subscriptions');
  for (const query of [`promotion_id=${ids.active}`, '', `user_id=${ids.own}&user_id=${ids.own}`]) {
    expect([query, (await api.get(`/subscriptions?${query}`, endUser())).status]).toEqual([query, 403]);
  }
  const both = `/subscriptions?user_id=${ids.own}&promotion_id=${ids.active}`;
  expect((await api.get(both, endUser())).body.code).toBe('filters_exclusive');
});

test('an end user does not learn from a subscription that a promotion is a draft', async () => {
  const { api } = serviceNamed('subscriptions');
  const subscribe = async (promotion_id: number, headers: Record<string, string>) =>
    (await api.post('/subscriptions', { user_id: ids.own, promotion_id }, headers)).body;
  const ofDraft = await subscribe(ids.draft, endUser());
  expect(ofDraft).toMatchObject({ code: 'promotion_not_active', promotion_status: 'not_found' });
  expect(ofDraft.detail.replace(ids.draft, noId)).toBe((await subscribe(noId, endUser())).detail);
  expect(await subscribe(ids.draft, operator)).toMatchObject({ promotion_status: 'draft' });
});

test('the pages of an end user have no draft, go on by their cursor, and count what they show', async () => {
  const { api } = serviceNamed('promotions');
  const { id } = (
    await api.post(
      '/promotions',
      { name: 'Second', start_at: '2026-06-01T00:00:00Z', end_at: '2026-07-01T00:00:00Z' },
      operator,
    )
  ).body;
  await api.post(`/promotions/${id}/status`, { status: 'active' }, operator);
  const first = (await api.get('/promotions?limit=1', endUser())).body;
  expect([first.total, first.items.map((item: Wire) => item.id)]).toEqual([2, [id]]);
  const second = (await api.get(`/promotions?limit=1&cursor=${first.next_cursor}`, endUser())).body;
  expect([second.items.map((item: Wire) => item.id), second.next_cursor]).toEqual([[ids.active], null]);
  await api.post(`/promotions/${id}/status`, { status: 'ended' }, operator);
  expect((await api.get('/promotions?status=ended', endUser())).body).toMatchObject({ total: 1, items: [{ id }] });
  expect((await api.get(`/promotions/${id}`, endUser())).status).toBe(200);
  expect((await api.get('/promotions', operator)).body.total).toBe(3);
});

test('the actor of a change is in its outbox row', async () => {
  const { api, sql } = serviceNamed('users');
  await api.patch(`/users/${ids.own}`, { first_name: 'Augusta' }, endUser());
  const [row] = await sql<{ actor: string }>('select actor from users.outbox order by id desc limit 1');
  expect(row?.actor).toBe(`user:${ids.own}`);
  const [created] = await sql<{ actor: string }>('select actor from users.outbox order by id limit 1');
  expect(created?.actor).toBe('key:operator');
});

test('a service does not start with a public route that names no scope', async () => {
  const users = definitions.find(({ name }) => name === 'users') as ServiceDefinition;
  const open: ServiceDefinition = {
    ...users,
    parts: (context) => {
      const parts = users.parts(context);
      return { ...parts, routes: parts.routes.map((route) => ({ ...route, access: 'internal' as const })) };
    },
  };
  const database = await createTestDatabase(['users']);
  const prefix = uniquePrefix();
  const address = { HOST: '127.0.0.1', PORT: '0', LOG_LEVEL: 'silent', AMQP_URL: amqpUrl(), AMQP_PREFIX: prefix };
  try {
    const starting = startService(open, { ...keys, ...address, DATABASE_URL: database.urlFor('users') });
    await expect(starting).rejects.toThrow('The route post /users has no scope');
  } finally {
    await database.drop();
    await deleteTopology(prefix);
  }
});
