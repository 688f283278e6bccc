// The ACTIVE check: when the projection decides alone, when the owner is asked, and when the facts stay unknown.
import { setTimeout as sleep } from 'node:timers/promises';
import { afterEach, beforeEach, describe, expect, test } from '@jest/globals';
import { eventually } from '@promopulse/testing/eventually';
import { promotionState, type Scene, startScene } from './owners.ts';

const leaseMs = 1_000;
let scene: Scene;
afterEach(() => scene.close());

async function projected(id: number, status: string): Promise<void> {
  await eventually(async () => expect(await scene.cachedPromotion(id)).toMatchObject({ status }));
}

const fresh = () => scene.fresh();

describe('with a warm and fresh projection', () => {
  beforeEach(async () => {
    scene = await startScene();
    await scene.announce('user.created', { id: 1, version: 1 });
    await scene.announce('promotion.created', promotionState(5, 'draft', 1));
    await scene.announce('promotion.status_changed', promotionState(5, 'active', 2));
    await projected(5, 'active');
    await fresh();
  });

  test('an active promotion is accepted without asking any owner', async () => {
    await eventually(async () => expect((await scene.sql('select from subscriptions.known_users')).length).toBe(1));
    expect((await scene.subscribe(1, 5)).status).toBe(201);
    expect([scene.users.asked, scene.promotions.asked]).toEqual([0, 0]);
  });

  test('an ended promotion is rejected without asking any owner', async () => {
    await scene.announce('promotion.status_changed', promotionState(5, 'ended', 3));
    await projected(5, 'ended');
    expect((await scene.subscribe(1, 5)).status).toBe(422);
    expect(scene.promotions.asked).toBe(0);
  });

  test('a draft is never rejected from the projection alone: its owner may have activated it a moment ago', async () => {
    await scene.announce('promotion.created', promotionState(6, 'draft', 1));
    await projected(6, 'draft');
    scene.promotions.states.set(6, promotionState(6, 'active', 2));
    expect((await scene.subscribe(1, 6)).status).toBe(201);
    expect(scene.promotions.asked).toBe(1);
  });

  test('a deleted user is 404, and a late event of its creation changes nothing', async () => {
    await scene.announce('user.deleted', { id: 1, version: 2 });
    await scene.send('user.created', { id: 1, version: 1 });
    await eventually(async () => expect((await scene.subscribe(1, 5)).status).toBe(404));
    await scene.announce('promotion.created', promotionState(6, 'draft', 1)); // the last in the queue
    await projected(6, 'draft');
    expect((await scene.subscribe(1, 5)).status).toBe(404);
    expect(scene.users.states.has(1)).toBe(false);
  });
});

describe('a user that is deleted while 100 subscriptions are wanted', () => {
  test('gets none that begins after the tombstone was applied, nor any later', async () => {
    scene = await startScene();
    await scene.announce('user.created', { id: 1, version: 1 });
    const ids = Array.from({ length: 100 }, (_, index) => index + 1);
    for (const id of ids) await scene.announce('promotion.created', promotionState(id, 'active', 2));
    await projected(100, 'active');
    await fresh();
    let applied = false;
    const answers = ids.map(async (id) => {
      await sleep(2 * id);
      const beganAfter = applied;
      return { beganAfter, status: (await scene.subscribe(1, id)).status };
    });
    await sleep(60);
    await scene.announce('user.deleted', { id: 1, version: 2 });
    await eventually(async () => {
      const [user] = await scene.sql('select deleted from subscriptions.known_users where user_id = 1');
      expect(user?.deleted).toBe(true);
    });
    applied = true;
    const all = await Promise.all(answers);
    expect(new Set(all.map(({ status }) => status))).toEqual(new Set([201, 404]));
    for (const { beganAfter, status } of all) if (beganAfter) expect(status).toBe(404);
    expect((await scene.subscribe(1, 100)).status).toBe(404);
    expect(scene.users.asked).toBe(0);
    const [counted] = await scene.sql('select count(*)::int as rows from subscriptions.subscriptions');
    expect(counted.rows).toBe(all.filter(({ status }) => status === 201).length);
  });
});

describe('a promotion that is ended while 60 users return to it', () => {
  test('gets none back that begins after the end was applied, nor any later', async () => {
    scene = await startScene({ FRESHNESS_LEASE_MS: '60000' });
    await scene.announce('promotion.created', promotionState(5, 'active', 2));
    const users = Array.from({ length: 60 }, (_, index) => index + 1);
    for (const id of users) await scene.announce('user.created', { id, version: 1 });
    await eventually(async () => expect(await scene.sql('select from subscriptions.known_users')).toHaveLength(60));
    await fresh();
    const rows = await scene.sql<{ id: number }>(
      `insert into subscriptions.subscriptions (user_id, promotion_id, is_active)
       select unnest($1::int[]), 5, false returning id`,
      [users],
    );
    const reactivate = async (some: { id: number }[]): Promise<number[]> =>
      await Promise.all(some.map(async ({ id }) => (await scene.api.patch(`/subscriptions/${id}/reactivate`)).status));
    expect(await reactivate(rows.slice(0, 20))).toEqual(Array(20).fill(200));
    const racing = reactivate(rows.slice(20, 40));
    await scene.announce('promotion.status_changed', promotionState(5, 'ended', 3));
    await projected(5, 'ended');
    expect(await reactivate(rows.slice(40))).toEqual(Array(20).fill(422));
    const raced = await racing;
    expect(raced.filter((status) => status !== 200 && status !== 422)).toEqual([]);
    expect(scene.promotions.asked).toBe(0);
    const [counted] = await scene.sql('select count(*)::int as rows from subscriptions.subscriptions where is_active');
    expect(counted.rows).toBe(20 + raced.filter((status) => status === 200).length);
  });
});

describe('with a cold projection', () => {
  beforeEach(async () => {
    scene = await startScene();
    // What the first reading of the snapshots does not know yet
    await eventually(async () =>
      expect((await scene.internal.get('/health')).body.projections?.users?.reconciled).toBe(true),
    );
    scene.users.states.set(1, { id: 1, version: 1 });
    scene.promotions.states.set(5, promotionState(5, 'active', 2));
  });

  test('user and promotion are asked for, once, and remembered', async () => {
    expect((await scene.subscribe(1, 5)).status).toBe(201);
    expect((await scene.subscribe(1, 5)).status).toBe(409);
    expect([scene.users.asked, scene.promotions.asked]).toEqual([1, 1]);
    expect(await scene.cachedPromotion(5)).toEqual({ status: 'active', version: 2 });
  });

  test('50 at once ask the owner once', async () => {
    scene.promotions.mood = 100;
    const answers = await Promise.all(Array.from({ length: 50 }, () => scene.subscribe(1, 5)));
    expect(answers.filter(({ status }) => status === 201)).toHaveLength(1);
    expect(answers.filter(({ status }) => status === 409)).toHaveLength(49);
    expect(scene.promotions.asked).toBeLessThanOrEqual(3); // one call, or a next one for the requests that came later
  });

  test('an answer that was in flight before the request is not used for it', async () => {
    scene.promotions.states.set(5, promotionState(5, 'draft', 1));
    scene.promotions.mood = 'late'; // it reads at once and answers 300 ms later
    const early = scene.subscribe(1, 5);
    await eventually(() => expect(scene.promotions.asked).toBe(1));
    scene.promotions.states.set(5, promotionState(5, 'active', 2));
    const afterActivation = await scene.subscribe(1, 5);
    expect([(await early).status, afterActivation.status]).toEqual([422, 201]);
  });

  test.each(['failing', 'hanging'] as const)(
    'and its owner %s, the status is unknown: 503 with Retry-After, never 422',
    async (mood) => {
      scene.promotions.mood = mood;
      const answer = await scene.subscribe(1, 5);
      expect(answer.status).toBe(503);
      expect(answer.headers.get('retry-after')).toMatch(/^\d+$/);
      expect([answer.body.code, answer.headers.get('promopulse-unavailable-dependency')]).toEqual([
        'dependency_unavailable',
        'promotions',
      ]);
      expect(await scene.sql('select from subscriptions.subscriptions')).toHaveLength(0);
      const [{ id }] = (await scene.sql(
        'insert into subscriptions.subscriptions (user_id, promotion_id, is_active) values (1, 5, false) returning id',
      )) as [{ id: number }];
      const back = await scene.api.patch(`/subscriptions/${id}/reactivate`);
      expect([back.status, back.body.code]).toEqual([503, 'dependency_unavailable']);
      expect(back.headers.get('retry-after')).toMatch(/^\d+$/);
      expect(await scene.sql('select from subscriptions.subscriptions where is_active')).toHaveLength(0);
      scene.promotions.mood = 'up';
      await eventually(async () => expect((await scene.api.patch(`/subscriptions/${id}/reactivate`)).status).toBe(200));
    },
  );

  test('and the users service down, it is 503, never 404', async () => {
    await scene.users.close();
    expect((await scene.subscribe(1, 5)).status).toBe(503);
  });

  test('the breaker opens on a hanging owner, answers without asking it, and recovers by itself', async () => {
    scene.promotions.mood = 'hanging';
    await Promise.all([10, 11, 12, 13, 14, 15].map((id) => scene.subscribe(1, id)));
    const askedWhenOpen = scene.promotions.asked;
    expect((await scene.subscribe(1, 16)).status).toBe(503);
    expect(scene.promotions.asked).toBe(askedWhenOpen);
    scene.promotions.mood = 'up';
    await eventually(async () => expect((await scene.subscribe(1, 5)).status).toBe(201));
  });

  test("an owner's answer older than an event that was already applied does not set the cache back", async () => {
    await scene.announce('promotion.status_changed', promotionState(5, 'ended', 3));
    await projected(5, 'ended');
    expect((await scene.subscribe(1, 5)).status).toBe(422);
    expect(await scene.cachedPromotion(5)).toEqual({ status: 'ended', version: 3 });
  });
});

describe('the freshness lease', () => {
  beforeEach(async () => {
    scene = await startScene({ FRESHNESS_LEASE_MS: String(leaseMs) });
    await scene.announce('user.created', { id: 1, version: 1 });
    await scene.announce('user.created', { id: 2, version: 1 });
    await scene.announce('promotion.status_changed', promotionState(5, 'active', 2));
    await projected(5, 'active');
    await fresh();
  });

  test('runs out when the heartbeats stop: then the owner is asked, and its "ended" is used', async () => {
    expect((await scene.subscribe(1, 5)).status).toBe(201);
    scene.promotions.states.set(5, promotionState(5, 'ended', 3)); // its event is lost
    await sleep(leaseMs + 100);
    expect((await scene.subscribe(2, 5)).status).toBe(422);
    expect(await scene.cachedPromotion(5)).toEqual({ status: 'ended', version: 3 });
  });

  test('run out and the owner down, the status is unknown: 503', async () => {
    scene.promotions.mood = 'failing';
    await sleep(leaseMs + 100);
    expect((await scene.subscribe(1, 5)).status).toBe(503);
  });

  test('a heartbeat that reports a backlog does not make the projection fresh', async () => {
    scene.promotions.mood = 'failing';
    await sleep(leaseMs + 100);
    await scene.beat(30);
    await eventually(async () => {
      const { projections } = (await scene.internal.get('/health')).body;
      expect(projections.promotions.behind_seconds).toBeGreaterThan(1);
    });
    expect((await scene.subscribe(1, 5)).status).toBe(503);
  });

  test('comes back with the heartbeats', async () => {
    scene.promotions.mood = 'failing';
    await sleep(leaseMs + 100);
    await scene.beat();
    await eventually(async () => {
      await scene.beat();
      expect((await scene.subscribe(1, 5)).status).toBe(201);
    });
  });
});
