// API keys, from the wire: POST, GET and DELETE /api-keys.
import { readFileSync } from 'node:fs';
import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';
import { withClient } from '@promopulse/shared/database/provision';
import { scopes } from '@promopulse/shared/http/caller/scopes';
import { credentialRule } from '@promopulse/shared/values/credential-text';
import { addressRule } from '@promopulse/shared/values/personal-text';
import { bodyOf, client, invalid, problem, type Wire } from '@promopulse/testing/client';
import { startTcpProxy } from '@promopulse/testing/tcp-proxy';
import { createKey } from '../src/callers/key-format.ts';
import { type AskingGateway, bearer, startAskingGateway, statusWithin } from './asking-gateway.ts';
import { startTestGateway } from './stubs.ts';

let gateway: AskingGateway;
beforeAll(async () => {
  gateway = await startAskingGateway();
});
afterAll(() => gateway?.close());

const statusWith = async (secret: string): Promise<number> =>
  (await client(gateway.url).get('/users/1', bearer(secret))).status;

const keyForm = {
  id: expect.stringMatching(/^[0-9a-f-]{36}$/),
  name: 'Shop',
  hint: expect.stringMatching(/^ppk_\w{4}$/),
  scopes: ['users:read'],
  expires_at: null,
  revoked_at: null,
  former_expires_at: null,
  last_used_at: null,
  created_by: expect.stringMatching(/^key:/),
  created_at: expect.any(String),
  updated_at: expect.any(String),
};

describe('POST /api-keys', () => {
  test('makes a key whose secret is shown once, works at once, and is stored as a digest only', async () => {
    const { status, body, headers } = await gateway.api.post('/api-keys', { name: 'Shop', scopes: ['users:read'] });
    expect([status, body]).toEqual([201, { ...keyForm, secret: expect.stringMatching(/^ppk_\w{49}$/) }]);
    expect([headers.get('location'), headers.get('cache-control')]).toEqual([`/api-keys/${body.id}`, 'no-store']);
    expect(body.secret.startsWith(body.hint)).toBe(true);
    expect(await statusWith(body.secret)).toBe(200);
    const read = await gateway.api.get(`/api-keys/${body.id}`);
    expect(JSON.stringify(read.body)).not.toContain(body.secret);
    const stored = await withClient(gateway.database.adminUrl, async (database) => {
      return (await database.query('select row_to_json(k)::text as text from gateway.api_keys k')).rows;
    });
    expect(JSON.stringify(stored)).not.toContain(body.secret.slice(8));
  });

  test('gives no scope that its maker lacks', async () => {
    const { secret } = await gateway.newKey({ scopes: ['keys:manage', 'users:read'] });
    const api = client(gateway.url, bearer(secret));
    expect((await api.post('/api-keys', { name: 'a', scopes: ['users:read'] })).status).toBe(201);
    const answer = await api.post('/api-keys', { name: 'a', scopes: ['users:read', 'users:write'] });
    const detail = 'This needs the scope users:write. Nobody can give a key a scope that they do not have.';
    expect([answer.status, bodyOf(answer)]).toEqual([403, problem(403, 'insufficient_scope', detail)]);
    expect(answer.headers.get('www-authenticate')).toBe('Bearer error="insufficient_scope", scope="users:write"');
  });

  test('needs the scope keys:manage', async () => {
    const { secret } = await gateway.newKey({ scopes: ['users:read', 'users:write'] });
    const api = client(gateway.url, bearer(secret));
    const answers = await Promise.all([
      api.post('/api-keys', { name: 'a', scopes: ['users:read'] }),
      api.get('/api-keys'),
      api.get('/api-keys/0199c0de-7a1b-7c3d-8e5f-0123456789ab'),
      api.post('/api-keys/0199c0de-7a1b-7c3d-8e5f-0123456789ab/rotate', {}),
      api.request('DELETE', '/api-keys/0199c0de-7a1b-7c3d-8e5f-0123456789ab'),
    ]);
    expect(answers.map(({ status }) => status)).toEqual([403, 403, 403, 403, 403]);
  });

  const scopesRule = `must be a list of 1 to ${scopes.length} scopes, none of them twice`;
  test.each([
    [
      {},
      [
        ['name', 'is required'],
        ['scopes', 'is required'],
      ],
    ],
    [{ name: ' ', scopes: ['users:read'] }, [['name', 'must not be empty']]],
    [{ name: 'x'.repeat(101), scopes: ['users:read'] }, [['name', 'must be at most 100 characters']]],
    [{ name: 'a', scopes: [] }, [['scopes', scopesRule]]],
    [{ name: 'a', scopes: ['users:read', 'users:read'] }, [['scopes', scopesRule]]],
    [
      { name: 'a', scopes: ['users:read'], expires_at: '2020-01-01T00:00:00Z' },
      [['expires_at', 'must be in the future']],
    ],
    [{ name: 'a', scopes: ['users:read'], secret: 'mine' }, [['secret', 'is not a known field']]],
    [{ name: 'Shop of ada@example.com', scopes: ['users:read'] }, [['name', addressRule]]],
    [{ name: 'Shop +1 415 555 0123', scopes: ['users:read'] }, [['name', addressRule]]],
    [{ name: createKey().secret, scopes: ['users:read'] }, [['name', credentialRule]]],
  ] as [object, [string, string][]][])('%j is 422 and names the field and the rule', async (body, rules) => {
    const answer = await gateway.api.post('/api-keys', body);
    expect([answer.status, bodyOf(answer)]).toEqual([422, invalid(...rules)]);
  });

  test('an unknown scope is 422 and the rule lists those that there are', async () => {
    const answer = await gateway.api.post('/api-keys', { name: 'a', scopes: ['users:admin'] });
    expect(answer.status).toBe(422);
    expect(answer.body.errors).toEqual([{ field: 'scopes.0', rule: expect.stringContaining('keys:manage') }]);
  });

  test('a key with an end is refused after it', async () => {
    const { secret } = await gateway.newKey({ expires_at: new Date(Date.now() + 1_500).toISOString() });
    expect(await statusWith(secret)).toBe(200);
    expect(await statusWithin(() => statusWith(secret), 401, 3_000)).toBeLessThan(2_500);
  });
});

test('the examples of the document are answered as the document shows', async () => {
  const document: Wire = JSON.parse(readFileSync(new URL('../../../docs/openapi.json', import.meta.url), 'utf8'));
  const { id } = await gateway.newKey();
  const operations = Object.entries<Wire>(document.paths).filter(([path]) => path.startsWith('/api-keys'));
  expect(operations.flatMap(([, item]) => Object.keys(item))).toEqual(['post', 'get', 'get', 'delete', 'post']);
  for (const [path, item] of operations.sort(([one], [other]) => other.length - one.length)) {
    for (const [method, { requestBody, responses }] of Object.entries<Wire>(item)) {
      const [status, { content }] = Object.entries<Wire>(responses)[0] as [string, Wire];
      const body = requestBody?.content['application/json'].example;
      const answer = await gateway.api.request(method.toUpperCase(), path.replace('{id}', id), body && { body });
      expect([method, path, answer.status]).toEqual([method, path, Number(status)]);
      const { example } = content?.['application/json'] ?? {};
      if (example) expect(Object.keys(answer.body).sort()).toEqual(Object.keys(example).sort());
    }
  }
});

describe('GET /api-keys', () => {
  test('lists all keys, newest first, in pages', async () => {
    const made = [];
    for (let index = 0; index < 5; index += 1) made.unshift((await gateway.newKey({ name: `Page ${index}` })).id);
    const first = await gateway.api.get('/api-keys?limit=2');
    expect(first.body.items.map(({ id }: Wire) => id)).toEqual(made.slice(0, 2));
    const second = await gateway.api.get(`/api-keys?limit=2&cursor=${first.body.next_cursor}`);
    expect(second.body.items.map(({ id }: Wire) => id)).toEqual(made.slice(2, 4));
    const all = await gateway.api.get('/api-keys?limit=1000');
    expect([all.body.next_cursor, all.body.total]).toEqual([null, all.body.items.length]);
    expect((await gateway.api.get('/api-keys?offset=1&limit=1')).body.items[0].id).toBe(made[1]);
    expect((await gateway.api.get('/api-keys?cursor=abc')).status).toBe(422);
  });

  test('a cursor is the position of a UUID, and 422 beyond', async () => {
    const statusAt = async (...position: number[]) => {
      const cursor = Buffer.from(`k1.${position.join('.')}`).toString('base64url');
      return (await gateway.api.get(`/api-keys?cursor=${cursor}`)).status;
    };
    const [last48, last40] = [2 ** 48 - 1, 2 ** 40 - 1];
    expect(await Promise.all([statusAt(0, 0, 0), statusAt(last48, last40, last40)])).toEqual([200, 200]);
    const beyond = [statusAt(last48 + 1, 0, 0), statusAt(0, last40 + 1, 0), statusAt(0, 0, last40 + 1)];
    expect(await Promise.all(beyond)).toEqual([422, 422, 422]);
  });

  test('one key: 404 for an unknown id, 422 for what is no id', async () => {
    const unknown = await gateway.api.get('/api-keys/0199c0de-7a1b-7c3d-8e5f-0123456789ab');
    expect([unknown.status, bodyOf(unknown)]).toEqual([404, problem(404, 'not_found', 'API key not found')]);
    for (const id of ['1', 'abc', '0199c0de-7a1b-7c3d-8e5f-0123456789ag']) {
      const answer = await gateway.api.get(`/api-keys/${id}`);
      expect([answer.status, bodyOf(answer)]).toEqual([422, invalid(['id', 'must be a UUID'])]);
    }
  });

  test('an id is the same in upper case, on every route', async () => {
    const { id } = await gateway.newKey();
    const path = `/api-keys/${id.toUpperCase()}`;
    expect((await gateway.api.get(path)).body.id).toBe(id);
    expect((await gateway.api.post(`${path}/rotate`, {})).body.id).toBe(id);
    expect((await gateway.api.request('DELETE', path)).status).toBe(204);
    expect((await gateway.api.get(`/api-keys/${id}`)).body.revoked_at).not.toBeNull();
  });

  test('has 405 for other methods', async () => {
    const { status, headers } = await gateway.api.patch('/api-keys', {});
    expect([status, headers.get('allow')]).toEqual([405, 'POST, GET, HEAD']);
  });
});

describe('POST /api-keys/{id}/rotate', () => {
  test('gives a new secret, and the former one is valid for the overlap', async () => {
    const { id, secret } = await gateway.newKey();
    const { status, body } = await gateway.api.post(`/api-keys/${id}/rotate`, { overlap_seconds: 1 });
    expect([status, body]).toEqual([
      200,
      { ...keyForm, former_expires_at: expect.any(String), secret: expect.stringMatching(/^ppk_/) },
    ]);
    expect(await Promise.all([statusWith(secret), statusWith(body.secret)])).toEqual([200, 200]);
    await statusWithin(() => statusWith(secret), 401, 2_500);
    expect(await statusWith(body.secret)).toBe(200);
  });

  test('has an overlap of an hour when nothing else is said, and none with 0', async () => {
    const { id, secret } = await gateway.newKey();
    const usual = await gateway.api.post(`/api-keys/${id}/rotate`, {});
    const minutes = (Date.parse(usual.body.former_expires_at) - Date.now()) / 60_000;
    expect(minutes).toBeGreaterThan(59);
    expect(minutes).toBeLessThan(61);
    const none = await gateway.api.post(`/api-keys/${id}/rotate`, { overlap_seconds: 0 });
    const statuses = [statusWith(secret), statusWith(usual.body.secret), statusWith(none.body.secret)];
    expect(await Promise.all(statuses)).toEqual([401, 401, 200]);
  });

  test('hands no secret of a key with more scopes to a caller', async () => {
    const { secret } = await gateway.newKey({ scopes: ['keys:manage'] });
    const { id } = await gateway.newKey({ scopes: ['users:write'] });
    const answer = await client(gateway.url, bearer(secret)).post(`/api-keys/${id}/rotate`, {});
    expect([answer.status, answer.body.code]).toEqual([403, 'insufficient_scope']);
  });

  test.each([-1, 604_801, 1.5, '60', null])('an overlap of %j is 422', async (overlap_seconds) => {
    const { id } = await gateway.newKey();
    const answer = await gateway.api.post(`/api-keys/${id}/rotate`, { overlap_seconds });
    expect([answer.status, bodyOf(answer)]).toEqual([
      422,
      invalid(['overlap_seconds', 'must be an integer from 0 to 604800']),
    ]);
  });

  test('of a revoked key is 409', async () => {
    const { id } = await gateway.newKey();
    await gateway.api.request('DELETE', `/api-keys/${id}`);
    const answer = await gateway.api.post(`/api-keys/${id}/rotate`, {});
    const detail = 'The key is revoked or has expired. Make another one.';
    expect([answer.status, bodyOf(answer)]).toEqual([409, problem(409, 'key_ended', detail)]);
  });
});

describe('DELETE /api-keys/{id}', () => {
  test('revokes: 204, again 204, and the key stays in the list', async () => {
    const { id, secret } = await gateway.newKey();
    expect(await statusWith(secret)).toBe(200);
    const first = await gateway.api.request('DELETE', `/api-keys/${id}`);
    expect([first.status, first.body, first.headers.get('content-length')]).toEqual([204, '', null]);
    expect(await statusWith(secret)).toBe(401);
    const { revoked_at } = (await gateway.api.get(`/api-keys/${id}`)).body;
    expect((await gateway.api.request('DELETE', `/api-keys/${id}`)).status).toBe(204);
    expect((await gateway.api.get(`/api-keys/${id}`)).body).toMatchObject({ revoked_at });
  });

  test('holds on every gateway within 2 s, however they were reached before', async () => {
    const others = await Promise.all([startTestGateway(gateway.env), startTestGateway(gateway.env)]);
    try {
      const { id, secret } = await gateway.newKey();
      const statusAt = (url: string) => async () => (await client(url).get('/users/1', bearer(secret))).status;
      const sends = others.map(({ url }) => statusAt(url));
      expect(await Promise.all(sends.map((send) => send()))).toEqual([200, 200]);
      await gateway.api.request('DELETE', `/api-keys/${id}`);
      for (const elapsed of await Promise.all(sends.map((send) => statusWithin(send, 401, 2_000)))) {
        expect(elapsed).toBeLessThan(2_000);
      }
    } finally {
      await Promise.all(others.map((other) => other.close()));
    }
  });

  test('an unknown key is 404', async () => {
    const { status } = await gateway.api.request('DELETE', '/api-keys/0199c0de-7a1b-7c3d-8e5f-0123456789ab');
    expect(status).toBe(404);
  });
});

test('while the database is away: known keys go on, unknown ones and the routes of keys get 503 with Retry-After', async () => {
  const proxy = await startTcpProxy(gateway.database.urlFor('gateway'));
  const own = await startTestGateway({ ...gateway.env, DATABASE_URL: proxy.through(String(gateway.env.DATABASE_URL)) });
  try {
    const send = (path: string, key: string) => client(own.url).get(path, bearer(key));
    expect((await send('/users/1', gateway.firstKey)).status).toBe(200);
    proxy.refuse(true);
    const { secret } = await gateway.newKey(); // which no poll of the other gateway has brought
    expect((await send('/users/1', gateway.firstKey)).status).toBe(200);
    const unknown = await send('/users/1', secret);
    expect([unknown.status, unknown.body.code, unknown.headers.get('retry-after')]).toEqual([503, 'unavailable', '1']);
    const list = await send('/api-keys', gateway.firstKey);
    expect([list.status, list.body.code]).toEqual([503, 'unavailable']);
    proxy.refuse(false);
    await statusWithin(async () => (await send('/users/1', secret)).status, 200, 5_000);
  } finally {
    await own.close();
    await proxy.close();
  }
});
