// Callers of the whole stack with AUTH=required: what a key, a token and an end user may do through the gateway, who is
// remembered for it, and what a service answers past the gateway.
import { afterAll, beforeAll, expect, test } from '@jest/globals';
import { services } from '@promopulse/shared/contracts/services';
import { type Client, client, type Wire } from '@promopulse/testing/client';
import { audience, startTokenIssuer, type TokenIssuer } from '../services/gateway/test/token-issuer.ts';
import { type RunningStack, startFreshStack } from './support/stack.ts';

let issuer: TokenIssuer;
let stack: RunningStack;
let operator: Client;
const secrets: string[] = [];

/** The API with this credential. */
function withCredential(credential: string): Client {
  secrets.push(credential);
  return client(stack.url, { Authorization: `Bearer ${credential}` });
}

const asUser = async (id: number): Promise<Client> =>
  withCredential(
    await issuer.token({ claims: { sub: `subject of ${id}`, promopulse_user: id, scope: 'users:write' } }),
  );

async function newUser(email: string): Promise<number> {
  return (await operator.post('/users', { first_name: 'Ada', last_name: 'Lovelace', email })).body.id;
}

async function newPromotion(status: 'draft' | 'active'): Promise<number> {
  const period = { start_at: '2026-06-01T00:00:00Z', end_at: '2026-07-01T00:00:00Z' };
  const { id } = (await operator.post('/promotions', { name: 'Summer', ...period })).body;
  if (status === 'active') await operator.post(`/promotions/${id}/status`, { status });
  return id;
}

beforeAll(async () => {
  issuer = await startTokenIssuer();
  stack = await startFreshStack('memory', {
    AUTH: 'required',
    LOG_LEVEL: 'info',
    OIDC_ISSUER: issuer.url,
    OIDC_AUDIENCE: audience,
    OIDC_USER_CLAIM: 'promopulse_user',
    OIDC_CLIENTS: 'shop',
  });
  operator = withCredential(String(stack.firstKey));
}, 90_000);
afterAll(async () => {
  await stack?.close();
  await issuer?.close();
});

test('a key and a token of the provider do what their scopes say, and the 403 names the scope', async () => {
  const id = await newUser('scopes@example.com');
  const { secret } = (await operator.post('/api-keys', { name: 'Reader', scopes: ['users:read'] })).body;
  const token = await issuer.token({ claims: { scope: 'openid users:read' } });
  for (const reader of [withCredential(secret), withCredential(token)]) {
    expect((await reader.get(`/users/${id}`)).status).toBe(200);
    const refused = await reader.patch(`/users/${id}`, { first_name: 'Eve' });
    expect([refused.status, refused.body.code]).toEqual([403, 'insufficient_scope']);
    expect(refused.headers.get('www-authenticate')).toBe('Bearer error="insufficient_scope", scope="users:write"');
    expect((await reader.get('/promotions')).status).toBe(403);
  }
  expect((await operator.get(`/users/${id}`)).body.first_name).toBe('Ada');
});

test('an end user subscribes, leaves, returns and edits, for themselves alone', async () => {
  const [own, other] = [await newUser('own@example.com'), await newUser('other@example.com')];
  const [active, draft] = [await newPromotion('active'), await newPromotion('draft')];
  const user = await asUser(own);
  const statusOf = async (request: Promise<{ status: number }>): Promise<number> => (await request).status;

  const { id } = (await user.post('/subscriptions', { user_id: own, promotion_id: active })).body;
  expect(await statusOf(user.patch(`/subscriptions/${id}/deactivate`))).toBe(200);
  expect(await statusOf(user.patch(`/subscriptions/${id}/reactivate`))).toBe(200);
  expect((await user.get(`/subscriptions?user_id=${own}`)).body).toMatchObject({ total: 1, items: [{ id }] });
  expect((await user.patch(`/users/${own}`, { last_name: 'King' })).body).toMatchObject({ id: own, last_name: 'King' });
  const visible = (await user.get('/promotions')).body.items.map((promotion: Wire) => promotion.id);
  expect([visible.includes(active), visible.includes(draft)]).toEqual([true, false]);

  const stranger = await asUser(other);
  expect([
    await statusOf(stranger.get(`/users/${own}`)),
    await statusOf(stranger.patch(`/users/${own}`, { last_name: 'Eve' })),
    await statusOf(stranger.post('/subscriptions', { user_id: own, promotion_id: active })),
    await statusOf(stranger.get(`/subscriptions?user_id=${own}`)),
    await statusOf(stranger.get('/users?email=own@example.com')),
    await statusOf(stranger.post(`/promotions/${active}/status`, { status: 'ended' })),
    await statusOf(stranger.get('/api-keys')),
  ]).toEqual([403, 403, 403, 403, 403, 403, 403]);
  expect([
    await statusOf(stranger.get(`/subscriptions/${id}`)),
    await statusOf(stranger.patch(`/subscriptions/${id}/deactivate`)),
    await statusOf(stranger.get(`/promotions/${draft}`)),
  ]).toEqual([404, 404, 404]);
  expect((await operator.get(`/subscriptions/${id}`)).body.is_active).toBe(true);
});

test('who did it is in the outbox and in the log of gateway and service; no credential is, and no subject', async () => {
  const id = await newUser('actor@example.com');
  await (await asUser(id)).patch(`/users/${id}`, { first_name: 'Augusta' }, { 'x-request-id': 'edit-by-user' });
  const [row] = await stack.sql('select actor from users.outbox where request_id = $1', ['edit-by-user']);
  expect(row.actor).toBe(`user:${id}`);
  const lines = stack
    .logs()
    .split('\n')
    .filter((line) => line.includes('edit-by-user'));
  const requests = lines.map((line) => JSON.parse(line)).filter(({ msg }) => msg === 'request');
  expect(requests.map(({ service, actor }) => [service, actor]).sort()).toEqual([
    ['gateway', `user:${id}`],
    ['users', `user:${id}`],
  ]);
  for (const secret of [...secrets, 'subject of', 'v1.ey']) expect(stack.logs()).not.toContain(secret);
});

test('past the gateway a service answers 401 to everyone', async () => {
  const listening = stack
    .logs()
    .split('\n')
    .filter((line) => line.includes('"listening"'));
  const ports = listening.map((line) => JSON.parse(line)).filter(({ service }) => service !== 'gateway');
  expect(ports.map(({ service }) => service).sort()).toEqual([...services].sort());
  for (const { service, port } of ports) {
    const direct = client(`http://127.0.0.1:${port}`, { Authorization: `Bearer ${stack.firstKey}` });
    for (const headers of [{}, { 'x-internal-actor': 'v1.e30.AAAA' }] as Record<string, string>[]) {
      const { status, body } = await direct.get(`/${service}/1`, headers);
      expect([service, status, body.code]).toEqual([service, 401, 'unauthenticated']);
    }
  }
});
