// The names and arguments of what the mesh has in RabbitMQ. Arguments are for ever (declaring again with others is
// refused with 406), so limits on length, age or deliveries belong in policies, which an operator can change.
import type { Channel } from 'amqplib';

/** Headers of a dead letter, and of a message put back into its queue. */
export const deadLetterHeaders = {
  reason: 'x-reason',
  attempts: 'x-attempts',
  failedAt: 'x-failed-at',
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
  await declareDeadQueue(channel, topology, name); // first, so that no letter can miss it
  const queue = topology.queue(name);
  await channel.assertQueue(queue, {
    durable: true,
    arguments: {
      'x-queue-type': 'quorum',
      // One replica consumes at a time, so that a heartbeat vouches for all that came before it: were two at it, one
      // could hold an event in trouble while the other applies the heartbeats behind it.
      'x-single-active-consumer': true,
      'x-dead-letter-exchange': topology.deadLetters,
      'x-dead-letter-routing-key': queue,
      'x-dead-letter-strategy': 'at-least-once',
      'x-overflow': 'reject-publish', // without it the strategy above silently falls back to at-most-once
    },
  });
  for (const pattern of bindings) await channel.bindQueue(queue, topology.events, pattern);
}

/** @returns how many letters wait there */
export async function declareDeadQueue(channel: Channel, topology: Topology, name: string): Promise<number> {
  const dead = topology.deadQueue(name);
  const { messageCount } = await channel.assertQueue(dead, { durable: true, arguments: { 'x-queue-type': 'quorum' } });
  await channel.bindQueue(dead, topology.deadLetters, topology.queue(name));
  return messageCount;
}
