// An owner whose database was replaced, while its events and its readings overlap: the projection ends at what the owner
// has, and nothing is asked for without end (docs/decisions/0015).
import { randomUUID } from 'node:crypto';
import { setTimeout as sleep } from 'node:timers/promises';
import { afterEach, beforeEach, describe, expect, test } from '@jest/globals';
import { eventually } from '@promopulse/testing/eventually';
import { promotionState, type Scene, startScene } from './owners.ts';

const leaseMs = 1_000;

let scene: Scene;
beforeEach(async () => {
  scene = await startScene({ FRESHNESS_LEASE_MS: String(leaseMs), RECONCILE_INTERVAL_MS: '3600000' });
  for (let id = 1; id <= 50; id += 1) scene.users.states.set(id, { id, version: 1 });
  await scene.announce('promotion.status_changed', promotionState(5, 'active', 10));
  await scene.fresh();
});
afterEach(() => scene.close());

const replaceDatabase = (owner: 'promotions' | 'users') =>
  Object.assign(scene[owner].publication, { epoch: randomUUID(), lead: randomUUID(), number: 0 });

/** Resolves when the owner has been asked for a page of a bucket, which it answers late. */
async function untilBucketIsRead(): Promise<void> {
  const { pages } = scene.promotions;
  await eventually(async () => expect(pages.some((page) => page.includes('up_to_id'))).toBe(true), { everyMs: 5 });
}

describe('while the first reading of a replaced database runs', () => {
  test('an end that it has not seen takes effect', async () => {
    replaceDatabase('promotions');
    scene.promotions.states.set(5, promotionState(5, 'active', 6));
    scene.promotions.mood = 'failing';
    const { invalidations } = await scene.projection();
    await scene.beat();
    await eventually(async () => expect((await scene.projection()).invalidations).toBe(invalidations + 2));
    scene.promotions.pages.length = 0;
    scene.promotions.mood = 'late';
    await untilBucketIsRead();
    await scene.send('promotion.status_changed', promotionState(5, 'ended', 7));
    scene.promotions.states.set(5, promotionState(5, 'ended', 7));
    await sleep(1_000); // the reading ends
    await scene.fresh();
    expect(await scene.cachedPromotion(5)).toEqual({ status: 'ended', version: 7 });
    expect((await scene.subscribe(1, 5)).status).toBe(422);
  });

  test('a late event of the former one does not stay', async () => {
    const former = { ...scene.promotions.publication };
    replaceDatabase('promotions');
    scene.promotions.states.set(5, promotionState(5, 'draft', 5));
    scene.promotions.unchanged.add(5);
    scene.promotions.mood = 'late';
    scene.promotions.pages.length = 0;
    await scene.sql('update subscriptions.projection_sources set compared_at = null');
    await untilBucketIsRead();
    await scene.send('promotion.updated', promotionState(5, 'active', 11), {
      epoch: former.epoch,
      lead: former.lead,
      sequencenumber: former.number + 1,
    });
    scene.promotions.publication.number = 0;
    await sleep(1_000); // the reading ends
    await scene.fresh();
    await eventually(async () => expect(await scene.cachedPromotion(5)).toEqual({ status: 'draft', version: 5 }));
    expect((await scene.subscribe(1, 5)).status).toBe(422);
  });
});

describe('an event about a row that its owner has lost', () => {
  test('makes the owner be asked once, not each second', async () => {
    await scene.announce('user.created', { id: 7, version: 1 });
    scene.users.states.delete(7);
    replaceDatabase('users');
    await scene.announce('user.created', { id: 8, version: 1 });
    await eventually(async () => expect(await scene.projection('users')).toMatchObject({ lost: 1, reconciled: true }));
    await scene.send('user.created', { id: 7, version: 1 });
    await scene.announce('user.created', { id: 9, version: 1 });
    await sleep(1_500);
    scene.users.pages.length = 0;
    await sleep(3_000);
    expect(scene.users.pages).toEqual([]);
    expect(await scene.projection('users')).toMatchObject({ lost: 1 });
  });

  test('makes the owner be asked once about a deleted user', async () => {
    await scene.announce('user.created', { id: 7, version: 1 });
    await scene.announce('user.deleted', { id: 7, version: 2 });
    await scene.send('user.created', { id: 7, version: 1 });
    await scene.announce('user.created', { id: 9, version: 1 });
    await sleep(1_500);
    scene.users.pages.length = 0;
    await sleep(3_000);
    expect(scene.users.pages).toEqual([]);
    expect((await scene.subscribe(7, 5)).status).toBe(404);
    expect(await scene.projection('users')).toMatchObject({ lost: 0 });
  });
});

test('a heartbeat that was sent before a reading is not taken for a set-back, a later one is', async () => {
  scene.promotions.publication.position = 40;
  await scene.beat();
  scene.promotions.publication.position = 50;
  scene.promotions.publication.lead = randomUUID();
  await scene.announce('promotion.created', promotionState(6, 'draft', 1));
  const { invalidations } = await eventually(async () => {
    const projection = await scene.projection();
    expect(projection.reconciled).toBe(true);
    expect(await scene.cachedPromotion(6)).toBeDefined();
    return projection;
  });
  scene.promotions.publication.position = 45;
  await scene.beat(2);
  scene.promotions.publication.position = 50;
  await scene.beat();
  await eventually(async () => expect((await scene.projection()).behind_seconds).toBeLessThan(0.5));
  expect((await scene.projection()).invalidations).toBe(invalidations);
  scene.promotions.publication.position = 45;
  await scene.beat();
  await eventually(async () => expect((await scene.projection()).invalidations).toBe(invalidations + 1));
});
