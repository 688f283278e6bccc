// What the metrics say of messages, and that a measured broker does the same as one that is not.
import { afterEach, beforeEach, expect, test } from '@jest/globals';
import { type Consumer, type IncomingMessage, Unprocessable } from '../../src/messaging/broker.ts';
import { measureBroker } from '../../src/messaging/measured-broker.ts';
import { createMetrics, type Metrics } from '../../src/telemetry/metrics.ts';
import { type MemoryTransport, memoryTransport, message, queue } from './transports.ts';

let transport: MemoryTransport;
let metrics: Metrics;
beforeEach(async () => {
  transport = await memoryTransport();
  metrics = await createMetrics();
});
afterEach(() => transport.end());

/** The values of a metric, by its labels as text. */
async function valuesOf(name: string): Promise<Record<string, number>> {
  const lines = (await metrics.collect()).split('\n').filter((line) => line.startsWith(`${name}{`));
  return Object.fromEntries(lines.map((line) => [/\{(.*)\}/.exec(line)?.[1] ?? '', Number(line.split(' ').at(-1))]));
}
const ofQueue = (more = ''): string => `messaging_destination_name="${queue}"${more}`;

test('published, applied, retried and dead-lettered messages are counted', async () => {
  const broker = measureBroker(transport.connect(), metrics);
  const attempts = new Map<string, number>();
  const [applied, retried, poison] = [message(), message(), message()];
  const reasons: string[] = [];
  broker.consume({
    queue,
    bindings: ['promotion.*'],
    async handle({ id }) {
      attempts.set(id, (attempts.get(id) ?? 0) + 1);
      if (id === poison.id) throw new Unprocessable('never');
      if (id === retried.id && attempts.get(id) === 1) throw new Error('once');
    },
    async onDeadLetter({ id }, reason) {
      reasons.push(`${id} ${reason}`);
    },
  });
  expect(await broker.publish([applied, retried, poison])).toEqual(['confirmed', 'confirmed', 'confirmed']);
  expect(await broker.publish([message({ routingKey: 'nobody.listens', mandatory: true })])).toEqual(['unroutable']);

  expect(reasons).toEqual([`${poison.id} Unprocessable`]);
  expect(await valuesOf('messaging_client_sent_messages_total')).toEqual({
    'error_type=""': 3,
    'error_type="unroutable"': 1,
    'error_type="failed"': 0,
  });
  expect(await valuesOf('messaging_client_operation_duration_seconds_count')).toEqual({
    'messaging_operation_name="publish"': 2,
  });
  expect(await valuesOf('messaging_client_consumed_messages_total')).toEqual({ [ofQueue()]: 3 });
  expect(await valuesOf('messaging_process_duration_seconds_count')).toEqual({
    [ofQueue(',error_type=""')]: 2,
    [ofQueue(',error_type="_OTHER"')]: 1,
    [ofQueue(',error_type="Unprocessable"')]: 1,
  });
  expect(await valuesOf('promopulse_dead_lettered_messages_total')).toEqual({ [ofQueue()]: 1 });
});

test('a redelivered message is counted once for each delivery, and a dead letter once however often it is stored', async () => {
  const consumers: Consumer[] = [];
  const broker = measureBroker(
    { ...transport.connect(), consume: (consumer) => void consumers.push(consumer) },
    metrics,
  );
  broker.consume({ queue, bindings: [], handle: async () => 'ignored' });
  const [consumer] = consumers as [Consumer];
  const incoming = { ...message(), redelivered: true } as unknown as IncomingMessage;
  expect(await consumer.handle(incoming)).toBe('ignored');
  await consumer.handle(incoming);
  await consumer.handle({ ...incoming, redelivered: false });
  for (let attempt = 1; attempt <= 3; attempt += 1) await consumer.onDeadLetter?.(incoming, 'poison');
  expect(await valuesOf('messaging_client_consumed_messages_total')).toEqual({ [ofQueue()]: 2 });
  expect(await valuesOf('promopulse_redelivered_messages_total')).toEqual({ [ofQueue()]: 1 });
  expect(await valuesOf('promopulse_dead_lettered_messages_total')).toEqual({ [ofQueue()]: 1 });
});
