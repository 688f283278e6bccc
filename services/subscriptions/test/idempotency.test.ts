// Requests about subscriptions that are repeated with an idempotency key. Between two rounds of such a request owners may
// be asked, and no transaction is open meanwhile.
import { setTimeout as sleep } from 'node:timers/promises';
import { afterAll, beforeAll, beforeEach, describe, expect, test } from '@jest/globals';
import { eventually } from '@promopulse/testing/eventually';
import { promotionState, type Scene, startScene } from './owners.ts';

let scene: Scene;
let userId = 0;
beforeAll(async () => {
  scene = await startScene({ FRESHNESS_LEASE_MS: '60000', OWNER_TIMEOUT_MS: '5000' });
  await scene.announce('promotion.created', promotionState(5, 'active', 2));
  await eventually(async () => expect(await scene.cachedPromotion(5)).toMatchObject({ status: 'active' }));
  await scene.fresh();
}, 60_000);
afterAll(() => scene?.close());
beforeEach(async () => {
  for (const owner of [scene.users, scene.promotions]) owner.mood = 'up';
  userId += 1;
  await scene.announce('user.created', { id: userId, version: 1 });
  const known = `select from subscriptions.known_users where user_id = ${userId}`;
  await eventually(async () => expect(await scene.sql(known)).toHaveLength(1));
});

let made = 0;
const newKey = () => {
  made += 1;
  return { 'idempotency-key': `key-${made}` };
};
const subscribe = (headers: Record<string, string>, body: object = { user_id: userId, promotion_id: 5 }) =>
  scene.api.post('/subscriptions', body, headers);
const namesOf = async (id: number) =>
  (await scene.events()).filter(({ subject }) => subject === String(id)).map(({ name }) => name.split('.')[1]);

describe('a subscription', () => {
  test('that is repeated is the same 201, and not 409; metadata are answered as they were written', async () => {
    const headers = newKey();
    const body = `{"user_id":${userId},"promotion_id":5,"metadata":{"10":1.50,"2":[]}}`;
    const send = () =>
      fetch(`${scene.url}/subscriptions`, {
        method: 'POST',
        headers: { ...headers, 'content-type': 'application/json' },
        body,
      });
    const first = await send();
    const again = await send();
    expect([first.status, again.status]).toEqual([201, 201]);
    const text = await first.text();
    expect(text).toContain('{"10":1.50,"2":[]}');
    expect(await again.text()).toBe(text);
    expect([first.headers.get('idempotent-replayed'), again.headers.get('idempotent-replayed')]).toEqual([
      null,
      'true',
    ]);
    expect(again.headers.get('location')).toBe(first.headers.get('location'));
    expect((await subscribe(newKey())).status).toBe(409);
    expect(await namesOf(JSON.parse(text).id)).toEqual(['created']);
  });

  test('50 times at once with one key is made once, and nobody gets "already subscribed"', async () => {
    const headers = newKey();
    const answers = await Promise.all(Array.from({ length: 50 }, () => subscribe(headers)));
    const ids = new Set(answers.filter(({ status }) => status === 201).map(({ body }) => body.id));
    expect(ids.size).toBe(1);
    for (const { status, body } of answers) {
      if (status !== 201) expect([status, body.code]).toEqual([409, 'idempotency_in_progress']);
    }
    expect(await namesOf([...ids][0])).toEqual(['created']);
  });

  test('of an unknown user holds no transaction and no key while the owner is asked', async () => {
    const stranger = 1_000 + userId;
    scene.users.states.set(stranger, { id: stranger, version: 1 });
    scene.users.mood = 1_500;
    const { asked } = scene.users;
    const headers = newKey();
    const body = { user_id: stranger, promotion_id: 5 };
    const slow = subscribe(headers, body);
    await eventually(() => expect(scene.users.asked).toBe(asked + 1));
    const open = await scene.sql(
      `select state, query from pg_stat_activity where datname = current_database() and xact_start is not null
         and usename <> current_user`,
    );
    const locks = await scene.sql(`select from pg_locks where locktype = 'advisory' and database =
      (select oid from pg_database where datname = current_database())`);
    expect([open, locks]).toEqual([[], []]);
    const repeated = subscribe(headers, body);
    const answers = await Promise.all([slow, repeated]);
    expect(answers.map(({ status }) => status)).toEqual([201, 201]);
    expect(answers[0]?.body).toEqual(answers[1]?.body);
    expect(answers.filter(({ headers: sent }) => sent.has('idempotent-replayed'))).toHaveLength(1);
    expect(await namesOf(answers[0]?.body.id)).toEqual(['created']);
  });

  test('that was not possible while an owner was away is made by its repetition', async () => {
    const stranger = 2_000 + userId;
    scene.users.mood = 'failing';
    const headers = newKey();
    const body = { user_id: stranger, promotion_id: 5 };
    const away = await subscribe(headers, body);
    expect([away.status, away.body.code, away.headers.has('retry-after')]).toEqual([
      503,
      'dependency_unavailable',
      true,
    ]);
    scene.users.mood = 'up';
    scene.users.states.set(stranger, { id: stranger, version: 1 });
    const answer = await eventually(async () => {
      const tried = await subscribe(headers, body);
      expect(tried.status).toBe(201);
      return tried;
    });
    expect(answer.headers.has('idempotent-replayed')).toBe(false);
  });

  test('that is refused leaves the key free', async () => {
    const headers = newKey();
    await scene.announce('promotion.created', promotionState(100 + userId, 'ended', 3));
    const body = { user_id: userId, promotion_id: 100 + userId };
    for (let n = 0; n < 2; n += 1) expect((await subscribe(headers, body)).body.code).toBe('promotion_not_active');
    expect((await subscribe(headers)).status).toBe(201);
  });
});

describe('leaving and returning', () => {
  test('are repeated without 422, each with its first answer, and are one event each', async () => {
    const { id } = (await subscribe(newKey())).body;
    const [leave, back] = [newKey(), newKey()];
    const deactivate = () => scene.api.patch(`/subscriptions/${id}/deactivate`, undefined, leave);
    const reactivate = () => scene.api.patch(`/subscriptions/${id}/reactivate`, undefined, back);
    const left = await deactivate();
    expect(left).toMatchObject({ status: 200, body: { is_active: false } });
    expect((await deactivate()).body).toEqual(left.body);
    const returned = await reactivate();
    expect(returned).toMatchObject({ status: 200, body: { is_active: true } });
    const again = await reactivate();
    expect([again.body, again.headers.get('idempotent-replayed')]).toEqual([returned.body, 'true']);
    expect((await deactivate()).body).toEqual(left.body);
    expect((await scene.api.get(`/subscriptions/${id}`)).body.is_active).toBe(true);
    expect(await namesOf(id)).toEqual(['created', 'deactivated', 'reactivated']);
  });

  test('20 at once with keys of their own: one succeeds, the others are 422', async () => {
    const { id } = (await subscribe(newKey())).body;
    const answers = await Promise.all(
      Array.from({ length: 20 }, () => scene.api.patch(`/subscriptions/${id}/deactivate`, undefined, newKey())),
    );
    expect(answers.filter(({ status }) => status === 200)).toHaveLength(1);
    expect(answers.filter(({ status }) => status === 422)).toHaveLength(19);
  });

  test('of a row that another session holds is 503 with Retry-After, and leaves the key free', async () => {
    const { id } = (await subscribe(newKey())).body;
    const headers = newKey();
    const holder = scene.sql(
      `select pg_sleep(4) from (select from subscriptions.subscriptions where id = ${id} for update) s`,
    );
    await sleep(200);
    const held = await scene.api.patch(`/subscriptions/${id}/deactivate`, undefined, headers);
    expect([held.status, held.headers.get('retry-after')]).toEqual([503, '1']);
    await holder;
    const done = await scene.api.patch(`/subscriptions/${id}/deactivate`, undefined, headers);
    expect([done.status, done.headers.has('idempotent-replayed')]).toEqual([200, false]);
  });
});
