import { afterAll, beforeAll, expect, test } from '@jest/globals';
import type { Client } from '@promopulse/testing/client';
import { startTestService, type TestService } from '@promopulse/testing/service';
import { promotions } from '../src/service.ts';
import { createPromotion, eventsOf, getPromotion, setStatus } from './wire.ts';

let service: TestService;
let api: Client;
beforeAll(async () => {
  service = await startTestService(promotions, { APPLIED_REPLY_TIMEOUT_MS: '0' });
  api = service.api;
});
afterAll(() => service?.close());

const times = <Result>(count: number, work: (index: number) => Promise<Result>) =>
  Promise.all(Array.from({ length: count }, (_, index) => work(index)));

/** Versions of a promotion's events, in the order they were recorded. */
const versionsOf = async (promotion: { id: number }) =>
  (await eventsOf(service, promotion)).map(({ data }) => data.version);

const gapFree = (count: number) => Array.from({ length: count }, (_, index) => index + 1);

test('of 20 activations at once all are answered with 200 and one makes an event', async () => {
  const promotion = await createPromotion(api);
  const answers = await times(20, () => setStatus(api, promotion, 'active'));
  expect(answers.map(({ status }) => status)).toEqual(Array(20).fill(200));
  expect(new Set(answers.map(({ body }) => JSON.stringify(body))).size).toBe(1);
  expect(answers.filter(({ headers }) => headers.has('promopulse-projection'))).toHaveLength(1);
  const events = await eventsOf(service, promotion);
  expect(events.map(({ name }) => name)).toEqual(['promotion.created', 'promotion.status_changed']);
});

test('activations, endings and edits at once never turn a promotion back, nor edit what is fixed', async () => {
  for (let round = 0; round < 10; round += 1) {
    const promotion = await createPromotion(api);
    const answers = await times(16, (index) => {
      const edits = {
        name: `Sale ${index}`,
        ...(index % 8 === 3 && { end_at: `2027-01-0${1 + (index % 9)}T00:00:00Z` }),
      };
      return index % 4 === 0
        ? setStatus(api, promotion, 'active')
        : index % 4 === 2
          ? setStatus(api, promotion, 'ended')
          : api.patch(`/promotions/${promotion.id}`, edits);
    });
    expect(new Set([200, 422, ...answers.map(({ status }) => status)])).toEqual(new Set([200, 422]));

    const states = (await eventsOf(service, promotion)).map(({ data }) => data);
    expect(states.map(({ version }) => version)).toEqual(gapFree(states.length));
    for (const [index, state] of states.slice(1).entries()) {
      const { status, name, end_at } = states[index];
      const isChange = state.status !== status;
      expect(['draft draft', 'draft active', 'active active', 'active ended']).toContain(`${status} ${state.status}`);
      if (isChange) expect([state.name, state.end_at]).toEqual([name, end_at]);
      else if (status === 'active') expect(state.end_at).toBe(end_at);
    }
    expect(states.at(-1)).toEqual({ ...(await getPromotion(api, promotion)), version: states.length });
  }
});

test('two edits of different fields at once are both kept', async () => {
  for (let round = 0; round < 20; round += 1) {
    const promotion = await createPromotion(api);
    const [one, other] = await Promise.all([
      api.patch(`/promotions/${promotion.id}`, { name: 'Winter Sale' }),
      api.patch(`/promotions/${promotion.id}`, { description: 'Get 30% off' }),
    ]);
    expect([one.status, other.status]).toEqual([200, 200]);
    expect(await getPromotion(api, promotion)).toMatchObject({ name: 'Winter Sale', description: 'Get 30% off' });
    expect(await versionsOf(promotion)).toEqual([1, 2, 3]);
  }
});

test('two edits of the period at once never leave one that ends before it starts', async () => {
  for (let round = 0; round < 20; round += 1) {
    const promotion = await createPromotion(api);
    const answers = await Promise.all([
      api.patch(`/promotions/${promotion.id}`, { start_at: '2026-06-20T00:00:00Z' }),
      api.patch(`/promotions/${promotion.id}`, { end_at: '2026-06-10T00:00:00Z' }),
    ]);
    expect(answers.map(({ status }) => status).sort()).toEqual([200, 422]);
    const { start_at, end_at } = await getPromotion(api, promotion);
    expect(Date.parse(end_at)).toBeGreaterThan(Date.parse(start_at));
  }
});

test('30 edits at once leave versions without a gap', async () => {
  const promotion = await createPromotion(api);
  const answers = await times(30, (index) => api.patch(`/promotions/${promotion.id}`, { name: `Sale ${index}` }));
  expect(new Set(answers.map(({ status }) => status))).toEqual(new Set([200]));
  expect(await versionsOf(promotion)).toEqual(gapFree(31));
});

test('a change on a clock that has gone back still has the next version', async () => {
  const promotion = await createPromotion(api);
  await service.sql("update promotions.promotions set updated_at = now() + interval '1 hour' where id = $1", [
    promotion.id,
  ]);
  await api.patch(`/promotions/${promotion.id}`, { name: 'An hour earlier' });
  await setStatus(api, promotion, 'active');
  const states = (await eventsOf(service, promotion)).map(({ data }) => data);
  expect(states.map(({ version }) => version)).toEqual([1, 2, 3]);
  expect(states.at(-1)).toMatchObject({ name: 'An hour earlier', status: 'active' });
});
