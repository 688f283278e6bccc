// The contracts on the wire between services: every event, what it carries, and which queue listens to it.
// Events carry the aggregate's whole public state and its version, never a difference, and never personal
// data: a user event is an id. Envelope: CloudEvents 1.0 JSON (https://github.com/cloudevents/spec).
import { z } from 'zod';

const id = z.int().positive();
const version = z.int().positive();
const time = z.iso.datetime({ offset: true });

export const promotionStatuses = ['draft', 'active', 'ended'] as const;
export type PromotionStatus = (typeof promotionStatuses)[number];

const promotionState = z.object({
  id,
  version,
  name: z.string(),
  description: z.string().nullable(),
  status: z.enum(promotionStatuses),
  start_at: time,
  end_at: time,
  created_at: time,
  updated_at: time,
  created_by: id.nullable(),
});
const userState = z.object({ id, version });
// A subscription's metadata is the caller's free text, so it may hold personal data: it stays at home.
const subscriptionState = z.object({
  id,
  version,
  user_id: id,
  promotion_id: id,
  is_active: z.boolean(),
  created_at: time,
});
/**
 * Sent about once a second by each relay, but not behind a backlog of 10,000 events or more: everything its service
 * committed before `horizon` has been published.
 */
const relayHeartbeat = z.object({ service: z.string(), horizon: time });

/** Routing key → what `data` holds. The CloudEvents `type` is `promopulse.<routing key>.v1`. */
export const eventData = {
  'promotion.created': promotionState,
  'promotion.updated': promotionState,
  'promotion.status_changed': promotionState,
  'user.created': userState,
  'user.deleted': userState,
  'subscription.created': subscriptionState,
  'subscription.deactivated': subscriptionState,
  'relay.heartbeat': relayHeartbeat,
} as const;

export type EventName = keyof typeof eventData;
export type EventDataOf<Name extends EventName> = z.infer<(typeof eventData)[Name]>;

const envelope = z.object({
  specversion: z.literal('1.0'),
  id: z.string().min(1),
  source: z.string().min(1),
  type: z.string().min(1),
  subject: z.string(),
  time,
  datacontenttype: z.literal('application/json'),
  /** CloudEvents extension: the id of the HTTP request that caused the event. */
  requestid: z.string().optional(),
  data: z.unknown(),
});

export type CloudEvent = z.infer<typeof envelope>;
export type ReceivedEvent = {
  [Name in EventName]: { name: Name; envelope: CloudEvent; data: EventDataOf<Name> };
}[EventName];

export const contentType = 'application/cloudevents+json';

/** Queue → routing keys it is bound to (topic patterns: `*` is one word, `#` is any number). */
export const queues = {
  'subscriptions.projections': ['promotion.*', 'user.*', 'relay.heartbeat'],
} as const satisfies Record<string, readonly string[]>;

export type QueueName = keyof typeof queues;

export function eventType(name: EventName): string {
  return `promopulse.${name}.v1`;
}

/**
 * Reads a message body back into a typed event.
 * @throws Error (SyntaxError, ZodError) when it is not JSON, not a CloudEvent, of no known type or of a wrong shape
 */
export function parseEvent(body: string): ReceivedEvent {
  const received = envelope.parse(JSON.parse(body));
  const name = (Object.keys(eventData) as EventName[]).find((candidate) => eventType(candidate) === received.type);
  if (!name) throw new Error('unknown event type');
  return { name, envelope: received, data: eventData[name].parse(received.data) } as ReceivedEvent;
}

/** AMQP topic matching: `*` stands for exactly one word, `#` for zero or more. */
export function matchesTopic(pattern: string, routingKey: string): boolean {
  const match = (words: readonly string[], keys: readonly string[]): boolean => {
    const [word, ...rest] = words;
    if (word === undefined) return keys.length === 0;
    if (word === '#') return match(rest, keys) || (keys.length > 0 && match(words, keys.slice(1)));
    return keys.length > 0 && (word === '*' || word === keys[0]) && match(rest, keys.slice(1));
  };
  return match(pattern.split('.'), routingKey.split('.'));
}

/** Whether some queue of the mesh must take the message: only then is an unroutable one an error. */
export function isConsumed(routingKey: string): boolean {
  return Object.values(queues)
    .flat()
    .some((pattern) => matchesTopic(pattern, routingKey));
}
