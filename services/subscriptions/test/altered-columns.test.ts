// Columns are altered while requests are served: a prepared statement whose plan no longer fits is planned anew.
import { setTimeout as sleep } from 'node:timers/promises';
import { afterAll, beforeAll, expect, test } from '@jest/globals';
import { eventually } from '@promopulse/testing/eventually';
import { promotionState, type Scene, startScene } from './owners.ts';

const users = 12;
let scene: Scene;
beforeAll(async () => {
  scene = await startScene();
  for (let id = 1; id <= users; id += 1) await scene.announce('user.created', { id, version: 1 });
  await scene.announce('promotion.created', promotionState(1, 'active', 1));
  await eventually(async () => expect(await scene.cachedPromotion(1)).toMatchObject({ status: 'active' }));
  await scene.fresh();
});
afterAll(() => scene?.close());

test('columns that get another type under load are no error to anybody, and events are applied', async () => {
  const answers: number[] = [];
  let isLoaded = true;
  const load = Array.from({ length: users }, async (_, index) => {
    const userId = index + 1;
    while (isLoaded) {
      const { status, body } = await scene.subscribe(userId, 1);
      const sent = await Promise.all([
        scene.api.get(`/subscriptions?user_id=${userId}`),
        scene.api.get('/subscriptions?promotion_id=1&limit=5'),
        scene.api.get(`/subscriptions/${body.id ?? body.subscription_id}`),
        ...(status === 201 ? [scene.api.patch(`/subscriptions/${body.id}/deactivate`)] : []),
      ]);
      answers.push(status === 409 ? 201 : status, ...sent.map((answer) => answer.status));
    }
  });
  for (const [table, column, type] of [
    ['subscriptions', 'created_at', 'timestamptz(6)'],
    ['cached_promotions', 'status', 'varchar(60)'],
    ['subscriptions', 'created_at', 'timestamptz(3)'],
  ]) {
    await sleep(300);
    await scene.sql(`alter table subscriptions.${table} alter column ${column} type ${type}`);
  }
  await scene.announce('promotion.created', promotionState(2, 'active', 1));
  await sleep(500);
  isLoaded = false;
  await Promise.all(load);
  expect(answers.length).toBeGreaterThan(20);
  expect(answers.filter((status) => status >= 300)).toEqual([]);
  await eventually(async () => expect(await scene.cachedPromotion(2)).toMatchObject({ status: 'active' }));
});
