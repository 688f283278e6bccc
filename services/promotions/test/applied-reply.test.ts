// Read your own writes: the status answer waits for the subscriptions service, which a consumer of its queue stands in for.
import { setTimeout as sleep } from 'node:timers/promises';
import { afterEach, describe, expect, test } from '@jest/globals';
import { connectRabbit } from '@promopulse/shared/messaging/rabbitmq/broker';
import { startService } from '@promopulse/shared/service';
import { brokerOptions } from '@promopulse/shared/service/service-broker';
import { createLogger } from '@promopulse/shared/telemetry/logger';
import { eventually } from '@promopulse/testing/eventually';
import { amqpUrl } from '@promopulse/testing/servers';
import { startTestService, type TestService } from '@promopulse/testing/service';
import { connect } from 'amqplib';
import { promotions } from '../src/service.ts';
import { type Subscriber, subscribe } from './subscriber.ts';
import { createPromotion, getPromotion, setStatus } from './wire.ts';

let service: TestService | undefined;
let subscriber: Subscriber | undefined;
afterEach(async () => {
  await subscriber?.broker.close();
  await service?.close();
  [service, subscriber] = [undefined, undefined];
});

async function deleteQueue(name: string): Promise<void> {
  const connection = await connect(amqpUrl(), { timeout: 5_000 });
  const channel = await connection.createChannel();
  for (const queue of [name, `${name}.dead`]) await channel.deleteQueue(queue);
  await connection.close();
}

/** The service, once it has found its broker. */
async function start(env: Record<string, string>): Promise<TestService> {
  service = await startTestService(promotions, env);
  const { api } = service;
  await eventually(async () => expect((await api.get('/health')).body.broker).toBe('connected'));
  return service;
}

async function timed<Result>(work: () => Promise<Result>): Promise<[Result, number]> {
  const begin = performance.now();
  return [await work(), performance.now() - begin];
}

const isStatusChange = ({ name }: { name: string }) => name === 'promotion.status_changed';
const longBound = { APPLIED_REPLY_TIMEOUT_MS: '10000' };

describe('a status change', () => {
  test('is answered once a slow consumer has applied it, and says so', async () => {
    const { api, prefix } = await start(longBound);
    let applied = 0;
    subscriber = subscribe(prefix, async (event) => {
      if (!isStatusChange(event)) return;
      await sleep(500);
      applied += 1;
    });
    const promotion = await createPromotion(api);
    await subscriber.arrivals(promotion, 1);
    for (const [index, status] of ['active', 'ended'].entries()) {
      const [answer, elapsed] = await timed(() => setStatus(api, promotion, status));
      expect(applied).toBe(index + 1);
      expect(elapsed).toBeGreaterThan(490);
      expect([answer.status, answer.body.status]).toEqual([200, status]);
      expect(answer.headers.get('promopulse-projection')).toBe('applied');
    }
  });

  test('does not wait for what changed nothing or was rejected, nor do edits wait', async () => {
    const { api } = await start(longBound); // without a consumer
    const promotion = await createPromotion(api);
    const [answers, elapsed] = await timed(async () => [
      await setStatus(api, promotion, 'draft'),
      await setStatus(api, promotion, 'ended'),
      await api.patch(`/promotions/${promotion.id}`, { name: 'Winter Sale' }),
    ]);
    expect(answers.map(({ status }) => status)).toEqual([200, 422, 200]);
    for (const { headers } of answers) expect(headers.has('promopulse-projection')).toBe(false);
    expect(elapsed).toBeLessThan(5_000);
  });

  test('is answered as pending after the bound when there is no consumer, and is made', async () => {
    const { api } = await start({ APPLIED_REPLY_TIMEOUT_MS: '400' });
    const promotion = await createPromotion(api);
    const [answer, elapsed] = await timed(() => setStatus(api, promotion, 'active'));
    expect([answer.status, answer.headers.get('promopulse-projection')]).toEqual([200, 'pending']);
    expect(elapsed).toBeGreaterThan(390);
    expect(elapsed).toBeLessThan(5_000);
    expect((await getPromotion(api, promotion)).status).toBe('active');
  });

  test('does not count the reply of another queue that is quicker', async () => {
    const { api, prefix } = await start({ APPLIED_REPLY_TIMEOUT_MS: '1500' });
    let isSlow = false;
    subscriber = subscribe(prefix, async (event) => isSlow && isStatusChange(event) && sleep(4_000));
    const other = connectRabbit(
      { url: amqpUrl() },
      brokerOptions(prefix, createLogger({ service: 'other', level: 'silent' })),
    );
    let applied = 0;
    other.consume({
      queue: 'other.statuses',
      bindings: ['promotion.status_changed'],
      handle: async () => {
        applied += 1;
      },
    });
    try {
      const promotion = await createPromotion(api);
      await subscriber.arrivals(promotion, 1);
      await eventually(() => expect(other.isConnected()).toBe(true));
      isSlow = true;
      const answer = await setStatus(api, promotion, 'active');
      expect(applied).toBe(1);
      expect(answer.headers.get('promopulse-projection')).toBe('pending');
    } finally {
      await other.close();
      await deleteQueue(`${prefix}other.statuses`);
    }
  });

  test('is answered as pending after the bound when the consumer needs longer', async () => {
    const { api, prefix } = await start({ APPLIED_REPLY_TIMEOUT_MS: '200' });
    subscriber = subscribe(prefix, async (event) => isStatusChange(event) && sleep(3_000));
    const promotion = await createPromotion(api);
    await subscriber.arrivals(promotion, 1);
    const [answer, elapsed] = await timed(() => setStatus(api, promotion, 'active'));
    expect([answer.status, answer.headers.get('promopulse-projection')]).toEqual([200, 'pending']);
    expect(elapsed).toBeLessThan(2_900);
    expect(await subscriber.arrivals(promotion, 2)).toHaveLength(2);
  });

  test('is answered as pending at once when the broker cannot be reached', async () => {
    service = await startTestService(promotions, { ...longBound, AMQP_URL: 'amqp://guest:guest@127.0.0.1:1' });
    const { api } = service;
    const promotion = await createPromotion(api);
    const [answer, elapsed] = await timed(() => setStatus(api, promotion, 'active'));
    expect([answer.status, answer.headers.get('promopulse-projection')]).toEqual([200, 'pending']);
    expect(elapsed).toBeLessThan(5_000);
    expect(await service.events()).toHaveLength(2);
  });

  test('of one promotion does not wait for another that is stuck', async () => {
    const { api, prefix } = await start(longBound);
    const stuck = await createPromotion(api);
    subscriber = subscribe(prefix, async (event) => {
      if (isStatusChange(event) && event.envelope.subject === String(stuck.id)) await sleep(4_000);
    });
    const quick = await createPromotion(api);
    await subscriber.arrivals(quick, 1);
    const waiting = timed(() => setStatus(api, stuck, 'active'));
    const [answer, elapsed] = await timed(() => setStatus(api, quick, 'active'));
    expect(answer.headers.get('promopulse-projection')).toBe('applied');
    expect(elapsed).toBeLessThan(3_900);
    const [late, longer] = await waiting;
    expect(late.headers.get('promopulse-projection')).toBe('applied');
    expect(longer).toBeGreaterThan(3_990);
  });
});

test.each(['-1', '10001', 'soon', '1.5'])('the bound %s stops the service at its start', async (bound) => {
  const nowhere = { DATABASE_URL: 'postgres://127.0.0.1:1/none', AMQP_URL: 'amqp://127.0.0.1:1' };
  await expect(startService(promotions, { ...nowhere, APPLIED_REPLY_TIMEOUT_MS: bound })).rejects.toMatchObject({
    name: 'ConfigError',
    message: expect.stringContaining('APPLIED_REPLY_TIMEOUT_MS is not valid'),
  });
});
