// Measures what a process publishes and consumes, on any transport. Names by OpenTelemetry's semantic conventions for
// messaging, as far as they have one.
import type { Metrics } from '../telemetry/metrics.ts';
import type { Broker, Consumer, IncomingMessage } from './broker.ts';

/** A broker that does the same as `broker`. */
export function measureBroker(broker: Broker, metrics: Metrics): Broker {
  const consume = measureConsumers(metrics);
  return {
    ...broker,
    publish: measurePublish(broker, metrics),
    consume: (consumer) => broker.consume(consume(consumer)),
  };
}

function measurePublish(broker: Broker, metrics: Metrics): Broker['publish'] {
  const observe = metrics.histogram({
    name: 'messaging_client_operation_duration_seconds',
    help: 'Time from the publishing of a batch to its last confirm, in seconds.',
    labels: ['messaging_operation_name'],
  });
  const sent = { confirmed: 0, unroutable: 0, failed: 0 };
  metrics.counter(
    {
      name: 'messaging_client_sent_messages_total',
      help: 'Messages handed to the broker, heartbeats too. error_type is empty for a confirmed one.',
    },
    () => [
      [{ error_type: '' }, sent.confirmed],
      [{ error_type: 'unroutable' }, sent.unroutable],
      [{ error_type: 'failed' }, sent.failed],
    ],
  );
  return async (messages) => {
    const startedAt = performance.now();
    const outcomes = await broker.publish(messages);
    observe(['publish'], (performance.now() - startedAt) / 1_000);
    for (const outcome of outcomes) sent[outcome] += 1;
    return outcomes;
  };
}

/** Of one queue, since the start. */
interface Deliveries {
  consumed: number;
  redelivered: number;
  deadLettered: number;
}

function measureConsumers(metrics: Metrics): (consumer: Consumer) => Consumer {
  const queues = new Map<string, Deliveries>();
  const count = (name: string, help: string, read: (deliveries: Deliveries) => number): void =>
    metrics.counter({ name, help }, () =>
      [...queues].map(([queue, deliveries]) => [{ messaging_destination_name: queue }, read(deliveries)]),
    );
  count(
    'messaging_client_consumed_messages_total',
    'Messages received, each once for each delivery.',
    ({ consumed }) => consumed,
  );
  count(
    'promopulse_redelivered_messages_total',
    'Messages received that the broker has delivered before.',
    ({ redelivered }) => redelivered,
  );
  count('promopulse_dead_lettered_messages_total', 'Messages that became dead letters.', (each) => each.deadLettered);
  const observe = metrics.histogram({
    name: 'messaging_process_duration_seconds',
    help: 'Time of one attempt to handle a message, in seconds. error_type is empty for one that succeeded.',
    labels: ['messaging_destination_name', 'error_type'],
  });
  return (consumer) => {
    const deliveries = { consumed: 0, redelivered: 0, deadLettered: 0 };
    queues.set(consumer.queue, deliveries);
    const ended = (errorType: string, startedAt: number): void =>
      observe([consumer.queue, errorType], (performance.now() - startedAt) / 1_000);
    return measureConsumer(consumer, deliveries, ended);
  };
}

function measureConsumer(
  consumer: Consumer,
  deliveries: Deliveries,
  ended: (errorType: string, startedAt: number) => void,
): Consumer {
  const received = new WeakSet<IncomingMessage>();
  const deadLettered = new WeakSet<IncomingMessage>();
  return {
    ...consumer,
    async handle(message) {
      if (!received.has(message)) {
        received.add(message);
        deliveries.consumed += 1;
        if (message.redelivered) deliveries.redelivered += 1;
      }
      const startedAt = performance.now();
      try {
        const settled = await consumer.handle(message);
        ended('', startedAt);
        return settled;
      } catch (error) {
        ended((error as Partial<Error> | null)?.name === 'Unprocessable' ? 'Unprocessable' : '_OTHER', startedAt);
        throw error;
      }
    },
    async onDeadLetter(message, reason) {
      // It is called again while it fails.
      if (!deadLettered.has(message)) deliveries.deadLettered += 1;
      deadLettered.add(message);
      await consumer.onDeadLetter?.(message, reason);
    },
  };
}
