// The contracts between services: the names of the events and the data of each.
// An event carries the aggregate's whole public state and its version, never a difference and never personal data.
// The envelope is CloudEvents 1.0 JSON (https://github.com/cloudevents/spec).
import type { z } from 'zod';
import { engagementTotals } from './engagement.ts';
import { type CloudEvent, envelope } from './envelope.ts';
import { heartbeatName, relayHeartbeat } from './heartbeat.ts';
import { promotionState } from './promotions.ts';
import { subscriptionState } from './subscriptions.ts';
import { userState, userUpdate } from './users.ts';

/** Routing key → contract of `data`. The CloudEvents `type` is `promopulse.<routing key>.v1`. */
export const eventData = {
  'promotion.created': promotionState,
  'promotion.updated': promotionState,
  'promotion.status_changed': promotionState,
  'user.created': userState,
  'user.updated': userUpdate,
  'user.deleted': userState,
  'subscription.created': subscriptionState,
  'subscription.deactivated': subscriptionState,
  'subscription.reactivated': subscriptionState,
  'engagement.counted': engagementTotals,
  [heartbeatName]: relayHeartbeat,
} as const;

export type EventName = keyof typeof eventData;

export type EventDataOf<Name extends EventName> = z.infer<(typeof eventData)[Name]>;

/** Event name → what one reader of events uses of `data`: a part of the contract, or all of it. */
type Contracts = Partial<Record<EventName, z.ZodType>>;

export type ReceivedEvent<Used extends Contracts = typeof eventData> = {
  [Name in keyof Used & EventName]: { name: Name; envelope: CloudEvent; data: z.infer<Used[Name]> };
}[keyof Used & EventName];

/** @param name of an event; a row of the outbox may be of another release */
export function eventType(name: string): string {
  return `promopulse.${name}.v1`;
}

/**
 * The URI of the JSON Schema of `data` (CloudEvents `dataschema`), which is its `$id` in docs/schemas/. It changes with
 * the version of the contract only: a field that is added keeps it.
 */
export function dataSchema(name: string): string {
  return `urn:promopulse:schema:${name}:1`;
}

/**
 * Reads a message body back into a typed event.
 * @param used the fields that the caller uses; others may be missing, as a field is in the events of an earlier release
 * @throws Error (SyntaxError, ZodError) when it is not JSON, not a CloudEvent, of an unknown type or of a wrong shape
 */
export function parseEvent(body: string): ReceivedEvent;
export function parseEvent<Used extends Contracts>(body: string, used: Used): ReceivedEvent<Used>;
export function parseEvent(body: string, used: Contracts = eventData): unknown {
  const received = envelope.parse(JSON.parse(body));
  const [name, contract] = Object.entries(used).find(([each]) => eventType(each) === received.type) ?? [];
  if (!contract) throw new Error('unknown event type');
  return { name, envelope: received, data: contract.parse(received.data) };
}
