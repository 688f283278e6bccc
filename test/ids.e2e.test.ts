// Ids beyond 2^31 - 1, and sequences at their end: through the gateway, all services and their events.
import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';
import { type Client, client, type Wire } from '@promopulse/testing/client';
import { eventually } from '@promopulse/testing/eventually';
import { type RunningStack, startFreshStack } from './support/stack.ts';

const lastOfInteger = 2_147_483_647;
const lastId = Number.MAX_SAFE_INTEGER;
const period = { start_at: '2026-06-01T00:00:00Z', end_at: '2026-06-30T00:00:00Z' };
const aUser = (email: string) => ({ first_name: 'Ada', last_name: 'Lovelace', email });

let stack: RunningStack;
let api: Client;

const setSequence = (table: string, value: number) =>
  stack.sql(`select setval('${table}_id_seq', $1)`, [String(value)]);
const created = async (path: string, body: object) => {
  const answer = await api.post(path, body);
  expect(answer).toMatchObject({ status: 201 });
  return answer.body;
};
const activePromotion = async (): Promise<number> => {
  const { id } = await created('/promotions', { name: 'Sale', ...period });
  expect((await api.post(`/promotions/${id}/status`, { status: 'active' })).status).toBe(200);
  return id;
};
const subscriptionsHealth = async () => (await api.get('/health')).body.services.subscriptions;
const correctedOf = ({ projections: { users, promotions } }: Wire) => [users.corrected, promotions.corrected];
/** Waits until every row of both owners was compared. */
async function compared(): Promise<void> {
  const [{ now }] = await stack.sql('select now()::text as now');
  const text = `select bool_and(compared_at > $1 and reconciled_at is not null) as done from subscriptions.projection_sources`;
  await eventually(async () => expect(await stack.sql(text, [now])).toEqual([{ done: true }]));
}

beforeAll(async () => {
  stack = await startFreshStack('rabbit', { RECONCILE_INTERVAL_MS: '1000' });
  api = client(stack.url);
}, 60_000);
afterAll(() => stack?.close());

describe.each([
  ['2^31 - 1', lastOfInteger - 1],
  ['2^53 - 1', lastId - 3],
])('ids up to and beyond %s', (_what, before) => {
  test('are given, shown, listed, published, projected and compared exactly', async () => {
    for (const table of ['users.users', 'promotions.promotions', 'subscriptions.subscriptions']) {
      await setSequence(table, before);
    }
    for (let step = 1; step <= 3; step += 1) {
      const id = before + step;
      const user = await created('/users', aUser(`wide.${id}@example.com`));
      const promotion = await activePromotion();
      expect([user.id, promotion]).toEqual([id, id]);
      expect((await api.get(`/users/${id}`)).body).toEqual(user);
      expect((await api.patch(`/users/${id}`, { last_name: 'King' })).body).toMatchObject({ id });
      expect((await api.patch(`/promotions/${id}`, { name: 'Wide' })).body).toMatchObject({ id, name: 'Wide' });
      const subscription = await created('/subscriptions', { user_id: id, promotion_id: id });
      expect(subscription).toMatchObject({ id, user_id: id, promotion_id: id });
      expect((await api.post('/subscriptions', { user_id: id, promotion_id: id })).status).toBe(409);
      for (const by of ['user_id', 'promotion_id']) {
        expect((await api.get(`/subscriptions?${by}=${id}`)).body).toMatchObject({ items: [subscription], total: 1 });
      }
      expect((await api.patch(`/subscriptions/${id}/deactivate`)).body).toMatchObject({ id, is_active: false });
    }
  }, 60_000);

  test('are the positions of pages', async () => {
    const first = (await api.get('/promotions?limit=2')).body;
    const second = (await api.get(`/promotions?limit=1&cursor=${first.next_cursor}`)).body;
    const idsOf = ({ items }: { items: { id: number }[] }) => items.map(({ id }) => id);
    expect([...idsOf(first), ...idsOf(second)]).toEqual([before + 3, before + 2, before + 1]);
  });

  test('reach the projections by events, and comparisons of every row find no difference', async () => {
    await eventually(async () => {
      const held = await stack.sql(`select u.user_id::text as "user", p.promotion_id::text as promotion
        from subscriptions.known_users u, subscriptions.cached_promotions p
        where u.user_id = ${before + 3} and p.promotion_id = ${before + 3} and p.status = 'active'`);
      expect(held).toEqual([{ user: String(before + 3), promotion: String(before + 3) }]);
    });
    await compared();
    const earlier = await subscriptionsHealth(); // a reading may have been quicker than an event
    await compared();
    expect(correctedOf(await subscriptionsHealth())).toEqual(correctedOf(earlier));
    const lost = `select (select count(*)::int from subscriptions.known_users where lost_at is not null) as users,
                         (select count(*)::int from subscriptions.cached_promotions where lost_at is not null) as promotions`;
    expect(await stack.sql(lost)).toEqual([{ users: 0, promotions: 0 }]);
  }, 30_000);
});

describe('an id that no row has', () => {
  test.each([lastOfInteger + 100, 99_999_999_999, lastId - 100])('is 404 up to the largest: %d', async (id) => {
    expect(await api.get(`/users/${id}`)).toMatchObject({ status: 404, body: { code: 'not_found' } });
    expect(await api.get(`/promotions/${id}`)).toMatchObject({ status: 404, body: { code: 'not_found' } });
    expect((await api.patch(`/subscriptions/${id}/deactivate`)).status).toBe(404);
    expect(await api.get(`/subscriptions?user_id=${id}`)).toMatchObject({ status: 200, body: { items: [], total: 0 } });
    expect((await api.post('/subscriptions', { user_id: id, promotion_id: 1 })).status).toBe(404);
  });

  test.each(['9007199254740992', '9007199254740993', '99999999999999999999'])('is 422 beyond it: %s', async (id) => {
    expect(await api.get(`/users/${id}`)).toMatchObject({ status: 422, body: { code: 'validation_failed' } });
    expect((await api.get(`/subscriptions?user_id=${id}`)).status).toBe(422);
  });
});

describe('a sequence at its end', () => {
  const refused = {
    status: 503,
    body: { code: 'ids_exhausted', detail: expect.stringContaining('no more ids') },
  };

  test('is 503 ids_exhausted for what needs an id, and for nothing else', async () => {
    expect(await api.post('/users', aUser('late@example.com'))).toMatchObject(refused);
    expect(await api.post('/promotions', { name: 'Late', ...period })).toMatchObject(refused);
    // More than the gateway's circuit breaker needs to open: the service is healthy.
    for (let n = 0; n < 10; n += 1) expect((await api.post('/users', aUser('late@example.com'))).status).toBe(503);
    expect((await api.get(`/users/${lastId}`)).status).toBe(200);
    expect((await api.patch(`/users/${lastId}`, { last_name: 'Byron' })).status).toBe(200);
  });

  test('is reported by /health and in the log, with its table', async () => {
    await eventually(
      async () => {
        const { users } = (await api.get('/health')).body.services;
        expect(users).toMatchObject({ status: 'degraded', degraded: ['100 % of the ids of users are used'] });
      },
      { timeoutMs: 30_000 },
    );
    expect(stack.logs()).toContain('the ids of a table are nearly used up');
  }, 40_000);

  test('of the outbox, the counts and subscriptions is the same 503, and ends when the operator has acted', async () => {
    await setSequence('users.users', 1_000_000);
    await setSequence('promotions.promotions', 1_000_000);
    await setSequence('subscriptions.subscriptions', 1_000_000);
    const [user_id, promotion_id] = [(await created('/users', aUser('a@example.com'))).id, await activePromotion()];
    const wanted = { user_id, promotion_id };
    for (const table of ['outbox', 'subscription_counts', 'subscriptions']) {
      const sequence = `subscriptions.${table}_id_seq`;
      const [{ last }] = await stack.sql(`select last_value::text as last from ${sequence}`);
      await stack.sql(`select setval('${sequence}', ${last}, true)`);
      await stack.sql(`alter sequence ${sequence} maxvalue ${last}`);
      expect(await api.post('/subscriptions', wanted)).toMatchObject(refused);
      await stack.sql(`alter sequence ${sequence} maxvalue ${lastId}`);
    }
    expect((await api.post('/subscriptions', wanted)).status).toBe(201);
  });
});
