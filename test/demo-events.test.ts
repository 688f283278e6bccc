// The month of traffic that `npm run seed` stores.
import { afterAll, beforeAll, expect, test } from '@jest/globals';
import { openDatabase } from '@promopulse/shared/database/database';
import { databaseOptionsOf } from '@promopulse/shared/service/schema-definition';
import { demoEvents, storeDemoEvents } from '../local/demo-events.ts';
import { engagement } from '../services/engagement/src/service.ts';
import { mergeStripes } from '../services/engagement/src/upkeep/stripe-store.ts';
import { daysFromNow, event, type Scene, startScene } from '../services/engagement/test/scene.ts';

let scene: Scene;
beforeAll(async () => {
  scene = await startScene();
});
afterAll(() => scene.close());

test('is stored beside events that were merged, again without an effect, and its sums and uniques agree', async () => {
  const url = String(scene.env.DATABASE_URL);
  const database = await openDatabase(databaseOptionsOf(engagement, url));
  const dates = { start_at: daysFromNow(-60), end_at: daysFromNow(60) };
  const { older, recent } = demoEvents({ id: 1, ...dates });
  expect(older.length).toBeGreaterThan(500);
  // What the API has counted in the quarters of these events, as if they had been sent in time.
  const sent = recent.slice(0, 100).map(({ occurred_at, type, visitor }) => event({ occurred_at, type, visitor }));
  await scene.send(sent);
  await mergeStripes(database, new AbortController().signal);
  expect(await storeDemoEvents(url, recent)).toBe(recent.length);
  expect(await storeDemoEvents(url, older)).toBe(older.length);
  expect(await storeDemoEvents(url, [...recent, ...older])).toBe(0);
  await database.close();

  expect((await scene.balance(1)).accepted).toBe(sent.length + recent.length + older.length);
  expect(await scene.wrongUniques()).toEqual([]);
});
