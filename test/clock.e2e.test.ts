// One clock: the database's. The services run with clocks that are an hour slow, and an hour fast.
import { resolve } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';
import { type Client, client } from '@promopulse/testing/client';
import { eventually } from '@promopulse/testing/eventually';
import { type ServiceProcesses, startServiceProcesses } from './support/service-processes.ts';

const hourMs = 3_600_000;
const preload = resolve(import.meta.dirname, 'support/shifted-clock.ts');

describe.each([
  ['slow', -hourMs],
  ['fast', hourMs],
])('with clocks of the services that are an hour %s', (_direction, shiftMs) => {
  let stack: ServiceProcesses;
  let api: Client;
  beforeAll(async () => {
    stack = await startServiceProcesses({ NODE_OPTIONS: `--import=${preload}`, CLOCK_SHIFT_MS: String(shiftMs) });
    api = client(stack.url);
  }, 120_000);
  afterAll(() => stack?.close());

  const isNow = (time: string): boolean => Math.abs(Date.parse(time) - Date.now()) < hourMs / 2;

  test('the processes have these clocks', () => {
    const times = stack.output().match(/"time":"[^"]+"/g) ?? [];
    expect(times.length).toBeGreaterThan(3);
    const shifts = times.map((text) => Date.parse(text.slice(8, -1)) - Date.now());
    expect(shifts.filter((shift) => Math.abs(shift - shiftMs) > hourMs / 2)).toEqual([]);
  });

  test('a promotion is never updated before it was created, and no time goes back', async () => {
    const period = { start_at: '2026-06-01T00:00:00Z', end_at: '2026-06-30T00:00:00Z' };
    const made = (await api.post('/promotions', { name: 'Sale', ...period })).body;
    const path = `/promotions/${made.id}`;
    const states = [
      made,
      (await api.patch(path, { name: 'Summer Sale' })).body,
      (await api.post(`${path}/status`, { status: 'active' })).body,
      (await api.patch(path, { description: 'Two weeks' })).body,
      (await api.get(path)).body,
    ];
    const times = states.map(({ updated_at }) => updated_at);
    expect(times).toEqual([...times].sort());
    expect([made.created_at, ...times].filter((time) => !isNow(time))).toEqual([]);
    expect(times[1] > made.created_at).toBe(true);
  });

  test('a promotion with a later time keeps it: another replica had another clock', async () => {
    const period = { start_at: '2026-06-01T00:00:00Z', end_at: '2026-06-30T00:00:00Z' };
    const { id } = (await api.post('/promotions', { name: 'Sale', ...period })).body;
    const later = '2099-01-01T00:00:00Z';
    await stack.sql(`update promotions.promotions set updated_at = '${later}' where id = ${id}`);
    expect((await api.patch(`/promotions/${id}`, { name: 'Summer Sale' })).body.updated_at).toBe(later);
  });

  test('a changed user is among those that were changed since its creation', async () => {
    const { id } = (await api.post('/users', { first_name: 'Ada', last_name: 'L', email: 'ada@example.com' })).body;
    expect((await api.patch(`/users/${id}`, { last_name: 'Lovelace' })).status).toBe(200);
    const [row] = await stack.sql(
      `select updated_at > created_at as is_later, abs(extract(epoch from updated_at - now())) < 600 as is_now
       from users.users where id = ${id}`,
    );
    expect(row).toEqual({ is_later: true, is_now: true });
  });

  test('events have the times of the database, and a subscribe works at once', async () => {
    const period = { start_at: '2026-06-01T00:00:00Z', end_at: '2026-06-30T00:00:00Z' };
    const promotion = (await api.post('/promotions', { name: 'Sale', ...period })).body;
    const user = (await api.post('/users', { first_name: 'Ada', last_name: 'L', email: 'two@example.com' })).body;
    expect((await api.post(`/promotions/${promotion.id}/status`, { status: 'active' })).status).toBe(200);
    const subscription = await api.post('/subscriptions', { user_id: user.id, promotion_id: promotion.id });
    expect(subscription.status).toBe(201);
    expect(isNow(subscription.body.created_at)).toBe(true);
    for (const schema of ['users', 'promotions', 'subscriptions']) {
      await eventually(async () => {
        const [row] = await stack.sql(`select count(*)::int as events,
            count(*) filter (where abs(extract(epoch from created_at - now())) > 600
              or published_at is null or published_at < created_at)::int as wrong from ${schema}.outbox`);
        expect(row).toEqual({ events: expect.any(Number), wrong: 0 });
        expect(row?.events).toBeGreaterThan(0);
      });
    }
  });
});
