// Requests for one locked subscription, or for one that another transaction is about to insert, wait. Others do not.
import { afterAll, beforeAll, beforeEach, describe, expect, test } from '@jest/globals';
import { eventually } from '@promopulse/testing/eventually';
import { requestWhileLocked } from '@promopulse/testing/locked-row';
import { promotionState, type Scene, startScene } from './owners.ts';

const users = 60;
/** The user of a subscription that is not there yet. */
const newUser = 42;
let scene: Scene;
let promotion = 0;
/** The subscriptions of the first 41 users. */
let ids: number[];

beforeAll(async () => {
  scene = await startScene({ FRESHNESS_LEASE_MS: '60000', OWNER_TIMEOUT_MS: '5000' });
  for (let id = 1; id <= users; id += 1) await scene.announce('user.created', { id, version: 1 });
});
afterAll(() => scene?.close());
beforeEach(async () => {
  promotion += 1;
  await scene.announce('promotion.created', promotionState(promotion, 'active', 1));
  await eventually(async () => expect(await scene.cachedPromotion(promotion)).toMatchObject({ status: 'active' }));
  await scene.fresh();
  const created = await Promise.all(Array.from({ length: 41 }, (_, index) => scene.subscribe(index + 1, promotion)));
  expect(created.map(({ status }) => status)).toEqual(Array(41).fill(201));
  ids = created.map(({ body }) => body.id);
});

const reactivate = (index: number) => scene.api.patch(`/subscriptions/${ids[index]}/reactivate`);
const deactivate = (index: number) => scene.api.patch(`/subscriptions/${ids[index]}/deactivate`);
const strangers = [
  (index: number) => scene.subscribe(newUser + 1 + index / 4, promotion),
  () => scene.api.get('/subscriptions?user_id=2'),
  (index: number) => deactivate(index + 1),
  () => scene.api.get(`/subscriptions?promotion_id=${promotion}&limit=5`),
];

describe.each([
  [
    'subscribes that wait for another transaction of the same user',
    409,
    async () => undefined,
    () => `insert into subscriptions.subscriptions (user_id, promotion_id) values (${newUser}, ${promotion})`,
    () => scene.subscribe(newUser, promotion),
  ],
  [
    'deactivations of a locked subscription',
    422,
    async () => undefined,
    () => `select from subscriptions.subscriptions where id = ${ids[0]} for update`,
    () => deactivate(0),
  ],
  [
    'reactivations of a locked subscription',
    422,
    () => deactivate(0), // a reactivation waits only for a row that it would change
    () => `select from subscriptions.subscriptions where id = ${ids[0]} for update`,
    () => reactivate(0),
  ],
])('20 %s', (_name, statusOfTheOthers, prepare, lock, waiter) => {
  beforeEach(prepare);

  test('hold up no other request', async () => {
    const answers = await requestWhileLocked(scene, { lock: lock(), waiter, strangers });
    expect(answers.strangers.filter(({ status }) => status >= 300)).toEqual([]);
    expect(answers.waiters.filter(({ status, retryAfter }) => status !== 503 || retryAfter !== '1')).toEqual([]);
    const last = (of: { at: number }[]) => Math.max(...of.map(({ at }) => at));
    expect(last(answers.strangers)).toBeLessThan(last(answers.waiters));
  });

  test('are all answered when it is unlocked', async () => {
    const answers = await requestWhileLocked(scene, { lock: lock(), heldMs: 400, waiter, strangers });
    expect(answers.strangers.filter(({ status }) => status >= 300)).toEqual([]);
    const successes = answers.waiters.filter(({ status }) => status < 300);
    expect(successes).toHaveLength(1);
    expect(answers.waiters.filter(({ status }) => status === statusOfTheOthers)).toHaveLength(19);
  });
});
