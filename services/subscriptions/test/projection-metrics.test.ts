// What the metrics say of a projection that has missed a message, between two stub owners.
import { afterEach, beforeEach, expect, test } from '@jest/globals';
import { eventually } from '@promopulse/testing/eventually';
import { promotionState, type Scene, startScene } from './owners.ts';

let scene: Scene;
beforeEach(async () => {
  scene = await startScene({ METRICS_PORT: '0', RECONCILE_INTERVAL_MS: '3600000' });
});
afterEach(() => scene.close());

/** The value of one series, undefined when it has no line. */
async function valueAt(series: string): Promise<number | undefined> {
  const text = await (await fetch(`${scene.metricsUrl}/metrics`)).text();
  const line = text.split('\n').find((each) => each.startsWith(`${series} `));
  return line === undefined ? undefined : Number(line.split(' ').at(-1));
}
const ofPromotions = (name: string, more = ''): string => `promopulse_projection_${name}{owner="promotions"${more}}`;

test('a lost message is a gap, a reading, and a corrected row', async () => {
  await scene.announce('promotion.created', promotionState(1, 'active', 1));
  await scene.fresh();
  const gaps = ofPromotions('invalidations_total', ',reason="gap"');
  expect(await valueAt(gaps)).toBe(0); // Prometheus sees an increase only of a series that was there before
  expect(await valueAt(ofPromotions('corrected_rows_total'))).toBe(0);

  scene.promotions.publication.number += 1;
  scene.promotions.states.set(2, promotionState(2, 'active', 1));
  await scene.announce('promotion.created', promotionState(3, 'draft', 1));
  await eventually(async () => {
    expect(await valueAt(gaps)).toBe(1);
    expect(await valueAt(ofPromotions('corrected_rows_total'))).toBeGreaterThanOrEqual(1);
    expect(await valueAt(ofPromotions('reconciled'))).toBe(1);
    expect(await valueAt(ofPromotions('reading_duration_seconds_count', ',kind="changes"'))).toBeGreaterThanOrEqual(1);
  });
  expect(await valueAt(ofPromotions('lost_rows_total'))).toBe(0);
  expect(await valueAt(ofPromotions('watermark_age_seconds'))).toBeGreaterThanOrEqual(0);
});

test('questions to an owner are counted with their end, and an open breaker is shown', async () => {
  await scene.announce('promotion.created', promotionState(1, 'active', 1));
  scene.users.mood = 'failing';
  const question = (status: string): string =>
    `http_client_request_duration_seconds_count{http_request_method="GET",upstream="users",http_response_status_code="${status}",error_type=""}`;
  await eventually(async () => {
    await scene.subscribe(1_000 + Math.floor(Math.random() * 1_000), 1);
    expect(await valueAt(question('500'))).toBeGreaterThan(0);
    expect(await valueAt('promopulse_owner_breaker_open{owner="users"}')).toBe(1);
  });
  expect(await valueAt('promopulse_owner_breaker_open{owner="promotions"}')).toBe(0);
});
