// The contracts between services: the names of the events and the data of each.
// An event carries the aggregate's whole public state and its version, never a difference and never personal data.
// The envelope is CloudEvents 1.0 JSON (https://github.com/cloudevents/spec).
import type { z } from 'zod';
import { type CloudEvent, envelope } from './envelope.ts';
import { relayHeartbeat } from './heartbeat.ts';
import { promotionState } from './promotions.ts';
import { subscriptionState } from './subscriptions.ts';
import { userState } from './users.ts';

/** Routing key → contract of `data`. The CloudEvents `type` is `promopulse.<routing key>.v1`. */
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

export type ReceivedEvent = {
  [Name in EventName]: { name: Name; envelope: CloudEvent; data: EventDataOf<Name> };
}[EventName];

export function eventType(name: EventName): string {
  return `promopulse.${name}.v1`;
}

/**
 * Reads a message body back into a typed event.
 * @throws Error (SyntaxError, ZodError) when it is not JSON, not a CloudEvent, of an unknown type or of a wrong shape
 */
export function parseEvent(body: string): ReceivedEvent {
  const received = envelope.parse(JSON.parse(body));
  const name = (Object.keys(eventData) as EventName[]).find((candidate) => eventType(candidate) === received.type);
  if (!name) throw new Error('unknown event type');
  return { name, envelope: received, data: eventData[name].parse(received.data) } as ReceivedEvent;
}
