// Releases that run side by side, and owners whose answers are not their own: what is not understood is never a "no", never
// a dead letter, and never stops anything else.
import { setTimeout as sleep } from 'node:timers/promises';
import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';
import { openRabbitDeadLetters } from '@promopulse/shared/messaging/rabbitmq/dead-letters';
import { eventually } from '@promopulse/testing/eventually';
import { amqpUrl } from '@promopulse/testing/servers';
import { promotionState, type Scene, startScene } from './owners.ts';

let scene: Scene;
beforeAll(async () => {
  scene = await startScene({ RECONCILE_INTERVAL_MS: '3600000', BREAKER_RESET_MS: '100' });
  for (let id = 1; id <= 50; id += 1) scene.users.states.set(id, { id, version: 1 });
  await scene.fresh();
});
afterAll(() => scene.close());

describe('an event of a later release', () => {
  let id = 100;
  const state = (version: number, status = 'active') => ({ ...promotionState(id, 'active', version), status });

  test.each([
    ['without a field that nobody here reads', () => ({ id, status: 'active', version: 3 })],
    ['with null in a field that nobody here reads', () => ({ ...state(3), name: null, end_at: null })],
    ['with a field that nobody here knows', () => ({ ...state(3), budget: { amount: '1.00' } })],
  ])('%s is applied', async (_case, data) => {
    id += 1;
    await scene.send('promotion.updated', data());
    await eventually(async () => expect(await scene.cachedPromotion(id)).toEqual({ status: 'active', version: 3 }));
  });

  test.each([
    ['of version 2', 'promotion.updated', { type: 'promopulse.promotion.updated.v2' }],
    ['with an unknown name', 'promotion.archived', {}],
    ['with a field of another type that is used here', 'promotion.updated', { data: { id: 'x', status: 7 } }],
  ])('%s is not a dead letter: its owner is asked', async (_case, name, attributes) => {
    id += 1;
    await scene.announce('promotion.created', promotionState(id, 'draft', 1));
    await eventually(async () => expect(await scene.cachedPromotion(id)).toBeDefined());
    const { invalidations } = await scene.projection();
    scene.promotions.states.set(id, state(2));
    await scene.send(name, state(2), { subject: String(id), ...attributes });
    await eventually(async () => expect(await scene.cachedPromotion(id)).toEqual({ status: 'active', version: 2 }));
    expect((await scene.projection()).invalidations).toBe(invalidations);
    expect(await deadLetters()).toBe(0);
  });

  test('with an unknown status is not active, and reconciliation of all others goes on', async () => {
    id += 1;
    await scene.announce('promotion.created', state(1, 'paused') as never);
    await eventually(async () => expect(await scene.cachedPromotion(id)).toEqual({ status: 'paused', version: 1 }));
    const answer = await scene.subscribe(1, id);
    expect([answer.status, answer.body.code]).toEqual([422, 'promotion_not_active']);
    scene.promotions.states.set(id + 1, { ...promotionState(id + 1, 'active', 2), status: 'paused' });
    scene.promotions.states.set(id + 2, promotionState(id + 2, 'active', 2));
    await scene.sql('update subscriptions.projection_sources set compared_at = null');
    id += 2;
    await eventually(async () => expect(await scene.cachedPromotion(id)).toEqual({ status: 'active', version: 2 }));
    expect(await deadLetters()).toBe(0);
  });

  test('of an unknown shape in a page of the owner spoils no other row', async () => {
    scene.promotions.states.set(900, { id: 900, version: 1 }); // no status
    scene.promotions.states.set(901, promotionState(901, 'active', 2));
    await scene.sql('update subscriptions.projection_sources set compared_at = null');
    await eventually(async () => expect(await scene.cachedPromotion(901)).toEqual({ status: 'active', version: 2 }));
    await eventually(async () => expect((await scene.projection()).compared_seconds_ago).toBeLessThan(60));
    expect((await scene.subscribe(1, 900)).status).toBe(503);
    scene.promotions.states.delete(900);
  });
});

describe('a changed user', () => {
  const known = (id: number) =>
    scene.sql('select version, deleted, doubted_at from subscriptions.known_users where user_id = $1', [id]);

  test('stays known under its new version, also before "created": nobody is asked, nothing is a dead letter', async () => {
    const askedFor = () => [scene.users.asked, scene.users.pages.filter((page) => page.includes('ids=')).length];
    // The first event of an owner in a session invalidates its projection.
    await scene.announce('user.created', { id: 60, version: 1 });
    await eventually(async () => {
      expect(await known(60)).toMatchObject([{ version: 1 }]);
      expect(await scene.projection('users')).toMatchObject({ reconciled: true });
    });
    const { invalidations } = await scene.projection('users');
    const before = askedFor();
    await scene.announce('user.updated', { id: 60, version: 2, changed: ['email', 'phone'] });
    await scene.announce('user.updated', { id: 61, version: 2, changed: ['first_name'] });
    await scene.send('user.updated', { id: 60, version: 3, changed: ['a field of a later release'], more: true });
    await eventually(async () => {
      expect(await known(60)).toEqual([{ version: 3, deleted: false, doubted_at: null }]);
      expect(await known(61)).toEqual([{ version: 2, deleted: false, doubted_at: null }]);
    });
    scene.users.states.set(60, { id: 60, version: 3 });
    expect(askedFor()).toEqual(before);
    expect(await scene.projection('users')).toMatchObject({ invalidations });
    scene.promotions.states.set(960, promotionState(960, 'active', 2));
    expect([(await scene.subscribe(60, 960)).status, (await scene.subscribe(61, 960)).status]).toEqual([201, 201]);
    expect(await deadLetters()).toBe(0);
  });
});

describe("an answer that is not the owner's own", () => {
  const problem = (code: string) => JSON.stringify({ type: 'about:blank', status: 404, code, detail: 'x' });
  test.each([
    ['the 404 page of a load balancer', 404, 'text/html', '<h1>404 Not Found</h1>'],
    ['a 404 in JSON that is no problem document', 404, 'application/json', '{"message":"Not Found"}'],
    ['a 404 of a release without the route', 404, 'application/problem+json', problem('no_such_path')],
    ["a 404 with another program's code", 404, 'application/problem+json', problem('unknown_route')],
    ['an empty 404', 404, 'application/problem+json', ''],
    ['a page with status 200', 200, 'text/html', '<h1>Welcome</h1>'],
    ['an empty object with status 200', 200, 'application/json', '{}'],
    ['the state of another row', 200, 'application/json', '{"id":77777,"version":1,"status":"ended"}'],
    ['a redirect', 302, 'text/html', ''],
    ['a 403', 403, 'application/problem+json', problem('forbidden')],
    ['a 410', 410, 'application/problem+json', problem('not_found')],
  ])('%s is "unknown", for the promotion and for the user: 503 with Retry-After', async (_case, status, type, body) => {
    scene.promotions.states.set(950, promotionState(950, 'active', 2));
    try {
      scene.promotions.stranger = { status, type, body };
      const aboutPromotion = await scene.subscribe(1, 950);
      scene.promotions.stranger = undefined;
      scene.users.stranger = { status, type, body };
      const aboutUser = await scene.subscribe(4_000, 950);
      for (const answer of [aboutPromotion, aboutUser]) {
        expect([answer.status, answer.body.code]).toEqual([503, 'dependency_unavailable']);
        expect(answer.headers.get('retry-after')).toMatch(/^\d+$/);
      }
    } finally {
      scene.promotions.stranger = undefined;
      scene.users.stranger = undefined;
      scene.promotions.states.delete(950);
      await sleep(150); // an open breaker lets a call through
    }
  });

  test('and its own "not found" is one', async () => {
    expect((await scene.subscribe(4_001, 5)).status).toBe(404);
    expect((await scene.subscribe(1, 4_001)).status).toBe(422);
  });
});

async function deadLetters(): Promise<number> {
  const store = await openRabbitDeadLetters({ url: amqpUrl() }, { prefix: scene.prefix });
  try {
    return (await store.list()).length;
  } finally {
    await store.close();
  }
}
