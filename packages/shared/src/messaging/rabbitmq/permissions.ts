// What the RabbitMQ account of a service may do: the least that this code needs. The account has the service's name.
// RabbitMQ checks `configure` (declare, delete), `write` (publish, bind a queue) and `read` (consume, purge, bind to an
// exchange) by the name of the queue or exchange, and for a topic exchange the routing key as well. A pattern is a
// regular expression, and `^$` allows nothing (https://www.rabbitmq.com/docs/access-control).
import { heartbeatName } from '../../contracts/heartbeat.ts';
import { bindingsOf, hasQueue } from '../../contracts/queues.ts';
import { eventPrefix } from '../../contracts/services.ts';
import { topologyOf } from './topology.ts';

export interface BrokerPermissions {
  configure: string;
  write: string;
  read: string;
  /** Routing keys on the exchange of the events. */
  topic: { exchange: string; write: string; read: string };
}

/** A queue for replies, named by RabbitMQ. Each is exclusive to its connection. */
const replyQueue = String.raw`amq\.gen-[\w-]+`;
/** The name that stands for the default exchange, which delivers to any queue by its name. */
const defaultExchange = String.raw`amq\.default`;

/** @param prefix the prefix of all names, `AMQP_PREFIX` */
export function brokerPermissions(service: string, prefix: string): BrokerPermissions {
  const { events, heartbeats, deadLetters } = topologyOf(prefix);
  const exchanges = [events, heartbeats, deadLetters].map(literal);
  const ownQueues = `${literal(`${prefix}${service}.`)}.+`; // a dead-letter queue is named after its queue
  const consumes = hasQueue(service);
  return {
    configure: anyOf([...exchanges, replyQueue, ...(consumes ? [ownQueues] : [])]),
    // A consumer sends replies by the default exchange, and its dead letters by theirs.
    write: anyOf([
      ...[events, heartbeats].map(literal),
      ...(consumes ? [literal(deadLetters), defaultExchange, ownQueues] : []),
    ]),
    read: anyOf([replyQueue, ...(consumes ? [...exchanges, ownQueues] : [])]),
    topic: {
      exchange: events,
      // Heartbeats have an exchange of their own, but release 0.1.0 publishes them here.
      write: anyOf([`${literal(eventPrefix(service))}[a-z_]+`, literal(heartbeatName)]),
      read: anyOf(bindingsOf(service).map(literal)),
    },
  };
}

function literal(name: string): string {
  return name.replaceAll(/[^\w-]/g, String.raw`\$&`);
}

function anyOf(patterns: readonly string[]): string {
  return patterns.length > 0 ? `^(${patterns.join('|')})$` : '^$';
}
