// The services while RabbitMQ cannot be reached: no event is lost, no answer is guessed, and they recover by themselves.
import { setTimeout as sleep } from 'node:timers/promises';
import { afterAll, beforeAll, expect, test } from '@jest/globals';
import { type Client, client } from '@promopulse/testing/client';
import { eventually } from '@promopulse/testing/eventually';
import { amqpUrl } from '@promopulse/testing/servers';
import { startTcpProxy, type TcpProxy } from '@promopulse/testing/tcp-proxy';
import { type RunningStack, startFreshStack } from './support/stack.ts';

const leaseMs = 2_000;
let network: TcpProxy;
let stack: RunningStack;
let api: Client;
let count = 0;

beforeAll(async () => {
  network = await startTcpProxy(amqpUrl());
  stack = await startFreshStack('rabbit', {
    AMQP_URL: network.through(amqpUrl()),
    FRESHNESS_LEASE_MS: String(leaseMs),
    BREAKER_RESET_MS: '500',
  });
  api = client(stack.url);
}, 60_000);
afterAll(async () => {
  await stack?.close();
  await network?.close();
});

const createUser = async (): Promise<number> => {
  count += 1;
  const user = { first_name: 'Ada', last_name: 'L', email: `outage.${count}@example.com` };
  return (await api.post('/users', user)).body.id;
};
const createPromotion = async (): Promise<number> => {
  const promotion = { name: 'Sale', start_at: '2026-06-01T00:00:00Z', end_at: '2026-07-01T00:00:00Z' };
  return (await api.post('/promotions', promotion)).body.id;
};
const setStatus = (id: number, status: string) => api.post(`/promotions/${id}/status`, { status });
const subscribe = (user_id: number, promotion_id: number) => api.post('/subscriptions', { user_id, promotion_id });

/** Waits until the services are connected to RabbitMQ, every outbox is empty, and the projections are up to date. */
async function waitUntilSettled(): Promise<void> {
  await eventually(
    async () => {
      const { body } = await api.get('/health');
      for (const name of ['users', 'promotions', 'subscriptions']) {
        expect(body.services[name]).toMatchObject({ broker: 'connected', outbox: { waiting: 0 } });
      }
      expect(body.services.subscriptions.projections.promotions.behind_seconds).toBeLessThan(2);
    },
    { timeoutMs: 25_000 },
  );
}

test('while the network to RabbitMQ is silent, every request is answered, an end takes effect within the lease, and all events arrive afterwards', async () => {
  const users = [await createUser(), await createUser(), await createUser()];
  const running = await createPromotion();
  await setStatus(running, 'active');
  await waitUntilSettled();
  network.stall();

  const started = performance.now();
  const ended = await setStatus(running, 'ended');
  expect([ended.status, ended.headers.get('promopulse-projection')]).toEqual([200, 'pending']);
  expect(performance.now() - started).toBeLessThan(3_000);
  await sleep(leaseMs);
  const [first, second, third] = users as [number, number, number];
  expect((await subscribe(first, running)).status).toBe(422);

  const late = await createPromotion();
  const lateUser = await createUser();
  await setStatus(late, 'active');
  expect((await subscribe(lateUser, late)).status).toBe(201);
  expect((await subscribe(second, late)).status).toBe(201);

  network.resume();
  network.cut();
  await waitUntilSettled();
  expect((await subscribe(third, late)).status).toBe(201);
  expect((await subscribe(third, running)).status).toBe(422);
}, 60_000);

test('after repeated cuts of the connection while promotions change, subscriptions has the status of each promotion', async () => {
  const ids: number[] = [];
  let cutting = true;
  const cutter = (async () => {
    while (cutting) {
      network.cut();
      await sleep(300);
    }
  })();
  for (let index = 0; index < 12; index += 1) {
    const id = await createPromotion();
    ids.push(id);
    expect((await setStatus(id, 'active')).status).toBe(200);
    if (index % 2) expect((await setStatus(id, 'ended')).status).toBe(200);
  }
  cutting = false;
  await cutter;
  await waitUntilSettled();
  for (const [index, id] of ids.entries()) {
    const [cached] = await stack.sql('select status from subscriptions.cached_promotions where promotion_id = $1', [
      id,
    ]);
    expect([id, cached?.status]).toEqual([id, index % 2 ? 'ended' : 'active']);
  }
}, 60_000);
