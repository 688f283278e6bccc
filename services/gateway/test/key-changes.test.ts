// Changes of API keys: each is made once, leaves one line in the log, and gives nothing that ends later than its maker.
import { request as httpRequest } from 'node:http';
import { afterAll, beforeAll, describe, expect, jest, test } from '@jest/globals';
import { withClient } from '@promopulse/shared/database/provision';
import { bodyOf, type Client, client, problem, type Wire } from '@promopulse/testing/client';
import { type AskingGateway, bearer, startAskingGateway } from './asking-gateway.ts';
import { startTestGateway } from './stubs.ts';

let gateway: AskingGateway;
beforeAll(async () => {
  gateway = await startAskingGateway({ LOG_LEVEL: 'info' });
});
afterAll(() => gateway?.close());

const statusWith = async (secret: string): Promise<number> =>
  (await client(gateway.url).get('/users/1', bearer(secret))).status;
const withKey = (key: string): Record<string, string> => ({ 'Idempotency-Key': key });
const manager = async (fields: object = {}): Promise<{ api: Client; id: string; secret: string }> => {
  const { id, secret } = await gateway.newKey({ scopes: ['keys:manage', 'users:read', 'users:write'], ...fields });
  return { api: client(gateway.url, bearer(secret)), id, secret };
};
const inHours = (hours: number): string => new Date(Date.now() + hours * 3_600_000).toISOString();
const shop = { name: 'Shop', scopes: ['users:read'] };

async function madeBy(id: string): Promise<Wire[]> {
  const { body } = await gateway.api.get('/api-keys?limit=1000');
  return body.items.filter(({ created_by }: Wire) => created_by === `key:${id}`);
}

describe('with an Idempotency-Key', () => {
  test('a key is made once, and a repetition gets the same secret', async () => {
    const { api, id } = await manager();
    const first = await api.post('/api-keys', shop, withKey('make-1'));
    const second = await api.post('/api-keys', shop, withKey('make-1'));
    expect([first.status, second.status]).toEqual([201, 201]);
    expect(second.body).toEqual(first.body);
    const headers = ['idempotent-replayed', 'location', 'cache-control'];
    expect(headers.map((name) => second.headers.get(name))).toEqual(['true', `/api-keys/${first.body.id}`, 'no-store']);
    expect(first.headers.get('idempotent-replayed')).toBeNull();
    expect(await madeBy(id)).toHaveLength(1);
    expect(await statusWith(second.body.secret)).toBe(200);
  });

  test('ten requests at once make one key', async () => {
    const { api, id } = await manager();
    const answers = await Promise.all(
      Array.from({ length: 10 }, () => api.post('/api-keys', shop, withKey('at-once'))),
    );
    const codes = answers.map(({ status, body }) => (status === 201 ? body.id : body.code));
    const [made] = await madeBy(id);
    expect([...new Set(codes)].filter((code) => code !== 'idempotency_in_progress')).toEqual([made?.id]);
    expect(await madeBy(id)).toHaveLength(1);
  });

  test('another body is 422, and nothing is made', async () => {
    const { api, id } = await manager();
    await api.post('/api-keys', shop, withKey('reused'));
    const answer = await api.post('/api-keys', { ...shop, name: 'Other' }, withKey('reused'));
    expect([answer.status, answer.body.code]).toEqual([422, 'idempotency_key_reused']);
    expect(await madeBy(id)).toHaveLength(1);
  });

  test('another caller may use the same key', async () => {
    const [one, other] = await Promise.all([manager(), manager()]);
    const answers = [one, other].map(({ api }) => api.post('/api-keys', shop, withKey('common')));
    const [first, second] = await Promise.all(answers);
    expect([first?.status, second?.status]).toEqual([201, 201]);
    expect(first?.body.id).not.toBe(second?.body.id);
  });

  test('another secret of the same caller cannot read the answer: 409 names the key that was made', async () => {
    const { api, id } = await manager();
    const { body } = await api.post('/api-keys', shop, withKey('lost'));
    const { secret } = (await gateway.api.post(`/api-keys/${id}/rotate`, {})).body;
    const answer = await client(gateway.url, bearer(secret)).post('/api-keys', shop, withKey('lost'));
    expect([answer.status, answer.body.code]).toEqual([409, 'idempotent_answer_lost']);
    expect(answer.headers.get('location')).toBe(`/api-keys/${body.id}`);
    expect(await madeBy(id)).toHaveLength(1);
  });

  test('a rotation is made once: its repetition gets the same secret, and ends no other', async () => {
    const { id, secret } = await gateway.newKey();
    const rotate = () => gateway.api.post(`/api-keys/${id}/rotate`, { overlap_seconds: 600 }, withKey('rotate-1'));
    const [first, second] = [await rotate(), await rotate()];
    expect([first.status, second.status, second.body]).toEqual([200, 200, first.body]);
    expect(await Promise.all([statusWith(secret), statusWith(first.body.secret)])).toEqual([200, 200]);
  });

  test('a revocation is answered the same again', async () => {
    const { id, secret } = await gateway.newKey();
    const revoke = () => gateway.api.request('DELETE', `/api-keys/${id}`, { headers: withKey('revoke-1') });
    const [first, second] = [await revoke(), await revoke()];
    expect([first.status, second.status, second.body]).toEqual([204, 204, '']);
    expect(second.headers.get('idempotent-replayed')).toBe('true');
    expect(await statusWith(secret)).toBe(401);
  });

  test('a repeated revocation holds at once at the gateway that answers it, too', async () => {
    const other = await startTestGateway(gateway.env);
    try {
      const { id, secret } = await gateway.newKey();
      const api = client(other.url, bearer(gateway.firstKey));
      const statusAtOther = async () => (await client(other.url).get('/users/1', bearer(secret))).status;
      expect(await statusAtOther()).toBe(200);
      await gateway.api.request('DELETE', `/api-keys/${id}`, { headers: withKey('revoke-2') });
      const repeated = await api.request('DELETE', `/api-keys/${id}`, { headers: withKey('revoke-2') });
      expect([repeated.status, repeated.headers.get('idempotent-replayed')]).toEqual([204, 'true']);
      expect(await statusAtOther()).toBe(401);
      expect(other.logLines.join('')).not.toContain('an API key was revoked');
    } finally {
      await other.close();
    }
  });

  test('a refusal is not kept', async () => {
    const { api } = await manager();
    const past = { ...shop, expires_at: '2020-01-01T00:00:00Z' };
    expect((await api.post('/api-keys', past, withKey('refused'))).status).toBe(422);
    expect((await api.post('/api-keys', shop, withKey('refused'))).status).toBe(201);
  });

  test('the database has neither the secret nor the key', async () => {
    const { body } = await gateway.api.post('/api-keys', shop, withKey('canary-of-a-key'));
    const rows = await withClient(gateway.database.adminUrl, async (database) => {
      return (await database.query('select row_to_json(k)::text as text from gateway.idempotency_keys k')).rows;
    });
    expect(rows.length).toBeGreaterThan(0);
    const stored = JSON.stringify(rows);
    for (const text of [body.secret.slice(8), 'canary-of-a-key', gateway.firstKey.slice(8)]) {
      expect(stored).not.toContain(text);
    }
  });
});

describe('a key that ends', () => {
  test('makes keys that end with it, or earlier', async () => {
    const end = inHours(2);
    const { api } = await manager({ expires_at: end });
    const ends = [undefined, null, inHours(3), inHours(1)].map(async (expires_at) => {
      const { status, body } = await api.post('/api-keys', { ...shop, expires_at });
      return [status, Date.parse(body.expires_at) <= Date.parse(end), body.expires_at === end];
    });
    expect(await Promise.all(ends)).toEqual([
      [201, true, true],
      [201, true, true],
      [201, true, true],
      [201, true, false],
    ]);
  });

  test('gets no secret of a key that ends later, and gets its own', async () => {
    const { api, id } = await manager({ expires_at: inHours(2) });
    const rotated = async (target: string) => await api.post(`/api-keys/${target}/rotate`, {});
    const detail = 'The API key ends later than that of the caller. Nobody can give what they do not have.';
    for (const expires_at of [null, inHours(3)]) {
      const answer = await rotated((await gateway.newKey({ expires_at })).id);
      expect([answer.status, bodyOf(answer)]).toEqual([403, problem(403, 'key_outlives_caller', detail)]);
    }
    expect((await rotated((await gateway.newKey({ expires_at: inHours(1) })).id)).status).toBe(200);
    expect((await rotated(id)).status).toBe(200);
  });
});

test('the keys of a revoked maker go on, and the list says who has made them', async () => {
  const { api, id } = await manager();
  const child = (await api.post('/api-keys', shop)).body;
  await gateway.api.request('DELETE', `/api-keys/${id}`);
  expect(await statusWith(child.secret)).toBe(200);
  expect((await madeBy(id)).map((key) => key.id)).toEqual([child.id]);
});

interface LateRequest {
  method?: string;
  path: string;
  secret: string;
  /** As it is sent, in chunks. */
  body: string;
}

/** Sends the body of a request when the gateway has accepted the head, and `meanwhile` is done. */
function sendLate(
  { method = 'POST', path, secret, body }: LateRequest,
  meanwhile: () => Promise<unknown>,
): Promise<Wire> {
  const headers = {
    ...bearer(secret),
    'Content-Type': 'application/json',
    'Transfer-Encoding': 'chunked',
    Expect: '100-continue',
  };
  return new Promise((resolve, reject) => {
    const request = httpRequest(`${gateway.url}${path}`, { method, headers }, (response) => {
      let text = '';
      response.on('data', (chunk) => {
        text += chunk;
      });
      response.on('end', () => resolve({ status: response.statusCode, body: text && JSON.parse(text) }));
    });
    request.on('continue', () => meanwhile().then(() => request.end(body), reject));
    request.on('error', reject);
    request.flushHeaders();
  });
}

describe('a key that ends while the body of its request comes', () => {
  const revoke = (id: string) => gateway.api.request('DELETE', `/api-keys/${id}`);
  const rotate = (id: string) => gateway.api.post(`/api-keys/${id}/rotate`, { overlap_seconds: 0 });
  const endings = [
    ['revoked', revoke],
    ['rotated without an overlap', rotate],
  ] as const;
  const requests = [
    ['POST', '/users', '{"first_name":"Ada"}'],
    ['DELETE', '/users/1', ''],
    ['POST', '/api-keys', JSON.stringify(shop)],
    ['POST', '/api-keys/VICTIM/rotate', '{}'],
    ['DELETE', '/api-keys/VICTIM', '{}'],
    ['DELETE', '/api-keys/VICTIM', ''],
    ['GET', '/api-keys', '{}'],
  ] as const;
  const cases = endings.flatMap(([how, end]) => requests.map((request) => [how, ...request, end] as const));

  test.each(cases)('because it is %s is refused at the end of the body: %s %s %j', async (...fields) => {
    const [, method, path, body, end] = fields;
    const [{ id, secret }, victim] = [await manager(), await gateway.newKey()];
    const before = gateway.users.received.length;
    const request = { method, path: path.replace('VICTIM', victim.id), secret, body };
    const answer = await sendLate(request, () => end(id));
    expect([answer.status, answer.body.code]).toEqual([401, 'invalid_token']);
    expect(gateway.users.received).toHaveLength(before);
    expect(await madeBy(id)).toEqual([]);
    expect(await statusWith(victim.secret)).toBe(200);
  });

  test('revokes no other key either when its gateway has not heard of its own revocation', async () => {
    const [{ id, secret }, victim] = [await manager(), await gateway.newKey()];
    const request = { method: 'DELETE', path: `/api-keys/${victim.id}`, secret, body: '{}' };
    const answer = await sendLate(request, () =>
      withClient(gateway.database.adminUrl, (database) =>
        database.query('update gateway.api_keys set revoked_at = now() where id = $1', [id]),
      ),
    );
    expect([answer.status, answer.body.code]).toEqual([401, 'invalid_token']);
    expect((await gateway.api.get(`/api-keys/${victim.id}`)).body.revoked_at).toBeNull();
  });

  test('and a key that goes on makes, and revokes, what it asked for', async () => {
    const { secret } = await manager();
    const unchanged = async () => undefined;
    const made = await sendLate({ path: '/api-keys', secret, body: JSON.stringify(shop) }, unchanged);
    expect(made.status).toBe(201);
    const request = { method: 'DELETE', path: `/api-keys/${made.body.id}`, secret, body: '' };
    expect(await sendLate(request, unchanged)).toMatchObject({ status: 204 });
  });
});

test('a key revokes itself, and an unknown one is 404', async () => {
  const { api, id, secret } = await manager();
  const unknown = await api.request('DELETE', '/api-keys/0199c0de-7a1b-7c3d-8e5f-0123456789ab');
  expect([unknown.status, unknown.body.code]).toEqual([404, 'not_found']);
  expect((await api.request('DELETE', `/api-keys/${id}`)).status).toBe(204);
  expect(await statusWith(secret)).toBe(401);
});

test('a service gets a header of the end of the body: the one of its beginning may be about to end', async () => {
  const { id, secret } = await manager();
  const seconds = () => Math.floor(Date.now() / 1_000);
  const now = Date.now;
  try {
    await sendLate({ path: '/users', secret, body: '{"first_name":"Ada"}' }, async () => {
      jest.spyOn(Date, 'now').mockImplementation(() => now() + 45_000);
    });
    const claims = gateway.claimsAt(gateway.users);
    expect(claims?.sub).toBe(`key:${id}`);
    expect(Number(claims?.exp) - seconds()).toBeGreaterThan(30);
  } finally {
    jest.restoreAllMocks();
  }
});

test('each change leaves one line with the key, the actor and the request, and never a secret', async () => {
  const { api, id: maker } = await manager();
  const before = gateway.logLines.length;
  const made = await api.post('/api-keys', shop, withKey('logged'));
  await api.post('/api-keys', shop, withKey('logged')); // changes nothing
  const rotated = await api.post(`/api-keys/${made.body.id}/rotate`, {});
  const revoked = await api.request('DELETE', `/api-keys/${made.body.id}`);
  await api.request('DELETE', `/api-keys/${made.body.id}`); // changes nothing
  const lines = gateway.logLines.slice(before).map((line) => JSON.parse(line));
  const changes = lines.filter(({ api_key_id }) => api_key_id === made.body.id);
  const expected = [
    ['an API key was made', made],
    ['an API key was rotated', rotated],
    ['an API key was revoked', revoked],
  ] as const;
  expect(changes).toEqual(
    expected.map(([msg, { headers }]) =>
      expect.objectContaining({ msg, actor: `key:${maker}`, request_id: headers.get('x-request-id') }),
    ),
  );
  expect(gateway.logLines.join('')).not.toContain('ppk_');
});
