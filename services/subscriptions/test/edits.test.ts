// The promise: a subscription is left or renewed under an entity tag only while the tag is the current one.
import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';
import { startService } from '@promopulse/shared/service';
import { client } from '@promopulse/testing/client';
import { subscriptions } from '../src/service.ts';
import { promotionState, type Scene, startScene } from './owners.ts';

let scene: Scene;
let lastPromotion = 0;
const user = 1;
beforeAll(async () => {
  scene = await startScene({ FRESHNESS_LEASE_MS: '60000' });
  await scene.announce('user.created', { id: user, version: 1 });
});
afterAll(() => scene?.close());

/** A new subscription of the user, to a promotion of its own. */
async function subscribe(): Promise<{ id: number; promotion_id: number }> {
  lastPromotion += 1;
  await scene.announce('promotion.created', promotionState(lastPromotion, 'active', 1));
  await scene.fresh();
  const { status, body } = await scene.subscribe(user, lastPromotion);
  if (status !== 201) throw new Error(`${status} ${JSON.stringify(body)}`);
  return body;
}

const change =
  (what: string) =>
  (of: { id: number }, tag: string, api = scene.api) =>
    api.patch(`/subscriptions/${of.id}/${what}`, undefined, { 'If-Match': tag });
const leave = change('deactivate');
const rejoin = change('reactivate');
const tagOf = async ({ id }: { id: number }) => (await scene.api.get(`/subscriptions/${id}`)).headers.get('etag');
const eventsOf = async ({ id }: { id: number }) =>
  (await scene.events()).filter(({ subject }) => subject === String(id)).map(({ name }) => name);

test('the tag is the version: on the creation, on GET and HEAD and on both changes, with Content-Location', async () => {
  lastPromotion += 1;
  await scene.announce('promotion.created', promotionState(lastPromotion, 'active', 1));
  await scene.fresh();
  const made = await scene.subscribe(user, lastPromotion);
  const path = `/subscriptions/${made.body.id}`;
  const tags = (headers: Headers) => [headers.get('etag'), headers.get('content-location')];
  expect(tags(made.headers)).toEqual(['"1"', path]);
  expect(tags((await scene.api.get(path)).headers)).toEqual(['"1"', null]);
  expect(tags((await scene.api.request('HEAD', path)).headers)).toEqual(['"1"', null]);
  expect(tags((await leave(made.body, '"1"')).headers)).toEqual(['"2"', path]);
  expect(tags((await rejoin(made.body, '"2"')).headers)).toEqual(['"3"', path]);
  expect((await scene.api.get(`/subscriptions?user_id=${user}`)).headers.has('etag')).toBe(false);
});

test('under a stale tag both changes are 412 with the current one, and nothing is changed', async () => {
  const subscription = await subscribe();
  const stale = await leave(subscription, '"9"');
  expect(stale).toMatchObject({ status: 412, body: { code: 'precondition_failed' } });
  expect(stale.headers.get('etag')).toBe('"1"');
  expect((await leave(subscription, 'W/"1"')).status).toBe(412);
  expect((await leave(subscription, '"1"')).status).toBe(200);
  expect((await rejoin(subscription, '"1"')).status).toBe(412);
  expect((await scene.api.get(`/subscriptions/${subscription.id}`)).body.is_active).toBe(false);
  expect((await rejoin(subscription, '"1", "2"')).status).toBe(200);
  expect(await eventsOf(subscription)).toEqual([
    'subscription.created',
    'subscription.deactivated',
    'subscription.reactivated',
  ]);
});

test('the order is 404, then 412, then 422: also of a promotion that has ended, and no owner is asked', async () => {
  const subscription = await subscribe();
  expect([(await leave({ id: 999_999 }, '"1"')).status, (await rejoin({ id: 999_999 }, '"1"')).status]).toEqual([
    404, 404,
  ]);
  expect((await rejoin(subscription, '"9"')).status).toBe(412);
  expect((await rejoin(subscription, '"1"')).body.code).toBe('already_active');
  await leave(subscription, '"1"');
  expect((await leave(subscription, '"1"')).status).toBe(412);
  expect((await leave(subscription, '"2"')).body.code).toBe('already_inactive');
  await scene.announce('promotion.status_changed', promotionState(subscription.promotion_id, 'ended', 2));
  await scene.fresh();
  const asked = scene.promotions.asked;
  expect((await rejoin(subscription, '"1"')).status).toBe(412);
  expect(scene.promotions.asked).toBe(asked);
  const body = await scene.api.patch(`/subscriptions/${subscription.id}/reactivate`, { x: 1 }, { 'If-Match': '"1"' });
  expect(body.status).toBe(412);
  expect(await tagOf(subscription)).toBe('"2"');
});

describe('at once', () => {
  test('20 of one tag that leave: one wins and 19 get 412; then 20 that come back', async () => {
    const subscription = await subscribe();
    for (const [act, tag] of [
      [leave, '"1"'],
      [rejoin, '"2"'],
    ] as const) {
      const answers = await Promise.all(Array.from({ length: 20 }, () => act(subscription, tag)));
      expect(answers.map(({ status }) => status).sort()).toEqual([200, ...Array(19).fill(412)]);
    }
    expect([await tagOf(subscription), (await eventsOf(subscription)).length]).toEqual(['"3"', 3]);
  });
});

test('with If-None-Match: * a change is 412, and a creation with If-Match creates nothing', async () => {
  const subscription = await subscribe();
  const headers = { 'If-None-Match': '*' };
  const path = `/subscriptions/${subscription.id}`;
  expect((await scene.api.patch(`${path}/deactivate`, undefined, headers)).status).toBe(412);
  expect((await scene.api.patch(`${path}/deactivate`, undefined, { 'If-None-Match': '"1"' })).status).toBe(412);
  expect((await scene.api.patch(`${path}/deactivate`, undefined, { 'If-None-Match': '"2"' })).status).toBe(200);
  lastPromotion += 1;
  await scene.announce('promotion.created', promotionState(lastPromotion, 'active', 1));
  const wanted = { user_id: user, promotion_id: lastPromotion };
  expect((await scene.api.post('/subscriptions', wanted, { 'If-Match': '"1"' })).status).toBe(412);
  expect((await scene.api.get(`/subscriptions?promotion_id=${lastPromotion}`)).body.total).toBe(0);
});

test('with REQUIRE_IF_MATCH=true both changes need If-Match', async () => {
  const subscription = await subscribe();
  const strict = await startService(subscriptions, { ...scene.env, REQUIRE_IF_MATCH: 'true' });
  try {
    const api = client(strict.url);
    for (const what of ['deactivate', 'reactivate']) {
      const refused = await api.patch(`/subscriptions/${subscription.id}/${what}`);
      expect(refused).toMatchObject({ status: 428, body: { code: 'precondition_required' } });
    }
    expect((await leave(subscription, '"1"', api)).status).toBe(200);
  } finally {
    await strict.close();
  }
});
