// The queues of all services, and the events that each receives.

/** Queue → routing keys it is bound to. In a pattern, `*` matches one word and `#` any number of words. */
export const queues = {
  'subscriptions.projections': ['promotion.*', 'user.*', 'relay.heartbeat'],
} as const satisfies Record<string, readonly string[]>;

export type QueueName = keyof typeof queues;

/** Whether a service has a queue: the name of a queue begins with the service that consumes it. */
export function hasQueue(service: string): boolean {
  return Object.keys(queues).some((queue) => queue.startsWith(`${service}.`));
}

/** Topic matching as in AMQP: `*` matches exactly one word, `#` zero or more. */
export function matchesTopic(pattern: string, routingKey: string): boolean {
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
    .some((pattern) => matchesTopic(pattern, routingKey));
}
