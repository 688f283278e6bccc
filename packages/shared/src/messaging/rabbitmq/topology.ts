// Names and arguments of the exchanges and queues in RabbitMQ. The arguments of a queue cannot change: declaring it
// with others fails with 406. So limits on length, age or deliveries belong in policies, which an operator can change.
import type { Channel } from 'amqplib';

/** Headers of a dead letter. A message addressed to its queue (replayed or interrupted) has only `routingKey`. */
export const messageHeaders = {
  reason: 'x-reason',
  attempts: 'x-attempts',
  failedAt: 'x-failed-at',
  publishedBy: 'x-published-by',
  routingKey: 'x-original-routing-key',
} as const;

export interface Topology {
  events: string;
  deadLetters: string;
  queue(name: string): string;
  deadQueue(name: string): string;
}

export function topologyOf(prefix: string): Topology {
  return {
    events: `${prefix}promopulse.events`,
    deadLetters: `${prefix}promopulse.dead-letters`,
    queue: (name) => `${prefix}${name}`,
    deadQueue: (name) => `${prefix}${name}.dead`,
  };
}

export async function declareExchanges(channel: Channel, { events, deadLetters }: Topology): Promise<void> {
  await channel.assertExchange(events, 'topic', { durable: true });
  await channel.assertExchange(deadLetters, 'direct', { durable: true });
}

export async function declareQueue(
  channel: Channel,
  topology: Topology,
  name: string,
  bindings: readonly string[],
): Promise<void> {
  await declareDeadQueue(channel, topology, name); // before the queue, so that every dead letter has a destination
  const queue = topology.queue(name);
  await channel.assertQueue(queue, {
    durable: true,
    arguments: {
      'x-queue-type': 'quorum',
      // One replica consumes at a time, so that an applied heartbeat means that all events before it are applied. With
      // two, one could still retry an event while the other applies the heartbeats that follow it.
      'x-single-active-consumer': true,
      'x-dead-letter-exchange': topology.deadLetters,
      'x-dead-letter-routing-key': queue,
      'x-dead-letter-strategy': 'at-least-once',
      'x-overflow': 'reject-publish', // without this, RabbitMQ silently uses at-most-once instead of the strategy above
    },
  });
  for (const pattern of bindings) await channel.bindQueue(queue, topology.events, pattern);
}

/** Declares the queue of the dead letters of queue `name`. @returns how many it holds */
export async function declareDeadQueue(channel: Channel, topology: Topology, name: string): Promise<number> {
  const dead = topology.deadQueue(name);
  const { messageCount } = await channel.assertQueue(dead, { durable: true, arguments: { 'x-queue-type': 'quorum' } });
  await channel.bindQueue(dead, topology.deadLetters, topology.queue(name));
  return messageCount;
}
