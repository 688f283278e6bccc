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
