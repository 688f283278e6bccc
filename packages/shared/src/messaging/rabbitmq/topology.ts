// Names and arguments of the exchanges and queues in RabbitMQ. The arguments of a queue cannot change: declaring it
// with others fails with 406. So limits on length, age or deliveries belong in policies, which an operator can change.
import type { Channel } from 'amqplib';
import { heartbeatName } from '../../contracts/heartbeat.ts';
import type { TransportName } from '../message-spans.ts';

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
  /** Takes the heartbeats of the relays, which are no events. */
  heartbeats: string;
  deadLetters: string;
  /** How the events' way is called in a span. */
  transport: TransportName;
  /** The exchange that a message is published to. */
  exchangeFor(routingKey: string): string;
  queue(name: string): string;
  deadQueue(name: string): string;
}

export function topologyOf(prefix: string): Topology {
  const [events, heartbeats] = [`${prefix}promopulse.events`, `${prefix}promopulse.heartbeats`];
  return {
    events,
    heartbeats,
    exchangeFor: (routingKey) => (routingKey === heartbeatName ? heartbeats : events),
    deadLetters: `${prefix}promopulse.dead-letters`,
    transport: { system: 'rabbitmq', exchange: events },
    queue: (name) => `${prefix}${name}`,
    deadQueue: (name) => `${prefix}${name}.dead`,
  };
}

export async function declareExchanges(channel: Channel, { events, heartbeats, deadLetters }: Topology): Promise<void> {
  await channel.assertExchange(events, 'topic', { durable: true });
  await channel.assertExchange(heartbeats, 'direct', { durable: true });
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
  for (const binding of bindings) {
    await channel.bindQueue(queue, topology.exchangeFor(binding), binding);
    // Release 0.1.0 sends its heartbeats to the exchange of the events. To be removed with the support of that release.
    if (binding === heartbeatName) await channel.bindQueue(queue, topology.events, binding);
  }
}

/** Declares the queue of the dead letters of queue `name`. @returns how many it holds */
export async function declareDeadQueue(channel: Channel, topology: Topology, name: string): Promise<number> {
  const dead = topology.deadQueue(name);
  const { messageCount } = await channel.assertQueue(dead, { durable: true, arguments: { 'x-queue-type': 'quorum' } });
  await channel.bindQueue(dead, topology.deadLetters, topology.queue(name));
  return messageCount;
}
