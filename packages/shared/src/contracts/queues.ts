// The queues of all services, and the messages that each receives.
import { heartbeatName } from './heartbeat.ts';

/** Queue → routing keys it is bound to. In a pattern, `*` matches one word and `#` any number of words. */
export const queues = {
  'subscriptions.projections': ['promotion.*', 'user.*', heartbeatName],
  'engagement.projections': ['promotion.*', 'user.*', 'subscription.*', heartbeatName],
} as const satisfies Record<string, readonly string[]>;

export type QueueName = keyof typeof queues;

/** The routing keys, or patterns of them, that a service binds its queues to. A queue's name begins with its service. */
export function bindingsOf(service: string): string[] {
  const own = Object.entries(queues).filter(([queue]) => queue.startsWith(`${service}.`));
  return [...new Set(own.flatMap(([, bindings]) => bindings))];
}

/**
 * The queues that an account of the broker may use: with the account of a service those of the service, else all.
 * @param account the name of a service, or a name that ends with it after a hyphen, such as `promopulse-users`
 */
export function queuesOf(account: string): QueueName[] {
  const names = Object.keys(queues) as QueueName[];
  const own = names.filter((queue) => `-${account}`.endsWith(`-${queue.split('.')[0]}`));
  return own.length > 0 ? own : names;
}

/** Whether a service consumes events. */
export function hasQueue(service: string): boolean {
  return bindingsOf(service).length > 0;
}

/** Whether a queue with this binding takes a message. For heartbeats no pattern counts, only their name. */
export function matchesBinding(binding: string, routingKey: string): boolean {
  return routingKey === heartbeatName ? binding === heartbeatName : matchesTopic(binding, routingKey);
}

/** Topic matching as in AMQP: `*` matches exactly one word, `#` zero or more. */
function matchesTopic(pattern: string, routingKey: string): boolean {
  const match = (words: readonly string[], keys: readonly string[]): boolean => {
    const [word, ...rest] = words;
    if (word === undefined) return keys.length === 0;
    if (word === '#') return match(rest, keys) || (keys.length > 0 && match(words, keys.slice(1)));
    return keys.length > 0 && (word === '*' || word === keys[0]) && match(rest, keys.slice(1));
  };
  return match(pattern.split('.'), routingKey.split('.'));
}

/** Whether a queue is bound to the routing key: only then is an unroutable message an error. */
export function isConsumed(routingKey: string): boolean {
  return Object.values(queues)
    .flat()
    .some((binding) => matchesBinding(binding, routingKey));
}
