// What a message of another service says to the projections. The rule: parse what is used and nothing else. What is not
// understood or not trusted changes nothing: its row is asked for at the owner. So a contract can change while releases
// run side by side, and a forged message cannot state anything.

import { z } from 'zod';
import { type EventName, eventData } from '../../contracts/index.ts';
import { type IncomingMessage, Unprocessable } from '../../messaging/broker.ts';
import {
  type OwnerName,
  ownerNames,
  ownerOf,
  type ProjectedState,
  projectedPromotion,
  projectedUser,
} from '../rows/store.ts';

/** The attributes used of a CloudEvents envelope. */
const usedEnvelope = z.looseObject({ type: z.string(), source: z.string(), subject: z.string(), data: z.unknown() });
const publication = z.object({ epoch: z.string(), lead: z.string(), sequencenumber: z.int().nonnegative() });

/** What is used of the data of each event. An event of another name or another version is not understood. */
const usedData = {
  'promotion.created': projectedPromotion,
  'promotion.updated': projectedPromotion,
  'promotion.status_changed': projectedPromotion,
  'user.created': projectedUser,
  'user.updated': projectedUser,
  'user.deleted': projectedUser.transform((user) => ({ ...user, deleted: true })),
} satisfies Record<Extract<EventName, `${'promotion' | 'user'}.${string}`>, z.ZodType<ProjectedState>>;

interface Publication {
  epoch: string;
  lead: string;
  sequencenumber: number;
}

export type ProjectedMessage =
  | { kind: 'state'; owner: OwnerName; publication: Publication; state: ProjectedState }
  | { kind: 'heartbeat'; owner: OwnerName; publication: Publication; watermark: Date; position: number }
  /** About row `id` of the owner, in words that are not understood or not trusted. */
  | { kind: 'doubt'; owner: OwnerName; publication: Publication | undefined; id: number; reason: string }
  /** Nothing for the projections. */
  | { kind: 'other'; reason?: string };

/**
 * @param ownUser this service's user at the broker. The user of an owner is derived from it (`userOf`).
 * @throws Unprocessable when it is no CloudEvent, or not understood and without the id of a row
 */
export function readMessage(message: Pick<IncomingMessage, 'body' | 'userId'>, ownUser: string): ProjectedMessage {
  const event = parseEnvelope(message.body);
  const [, name = '', release] = /^promopulse\.(.+)\.v(\d+)$/.exec(event.type) ?? [];
  if (name === 'relay.heartbeat') return readHeartbeat(event, message, ownUser);
  const owner = ownerOf(name);
  if (!owner) return { kind: 'other' };
  const trusted = trustedPublication(event, owner, message.userId, ownUser);
  const parsed = release === '1' ? usedData[name as keyof typeof usedData]?.safeParse(event.data) : undefined;
  if (trusted && parsed?.success) return { kind: 'state', owner, publication: trusted, state: parsed.data };
  const id = z.coerce.number().int().positive().safeParse(event.subject);
  if (!id.success) throw new Unprocessable('not an event of these services', { cause: parsed?.error });
  const reason = trusted ? 'not understood' : 'not from the relay of its owner';
  return { kind: 'doubt', owner, publication: trusted, id: id.data, reason };
}

type Envelope = z.infer<typeof usedEnvelope>;

function parseEnvelope(body: string): Envelope {
  try {
    return usedEnvelope.parse(JSON.parse(body));
  } catch (cause) {
    throw new Unprocessable('not an event of these services', { cause });
  }
}

/** A heartbeat that is not understood or not trusted vouches for nothing; then the lease runs out. */
function readHeartbeat(
  event: Envelope,
  { userId }: { userId?: string | undefined },
  ownUser: string,
): ProjectedMessage {
  const parsed = eventData['relay.heartbeat'].safeParse(event.data);
  if (!parsed.success) return { kind: 'other', reason: 'not understood' };
  const owner = ownerNames.find((each) => each === parsed.data.service);
  if (!owner) return { kind: 'other' }; // the relays of all services send heartbeats, this one's too
  const trusted = trustedPublication(event, owner, userId, ownUser);
  if (!trusted) return { kind: 'other', reason: 'not from the relay of its owner' };
  const { watermark, position = 0 } = parsed.data;
  return { kind: 'heartbeat', owner, publication: trusted, watermark: new Date(watermark), position };
}

/** @returns undefined unless the owner's relay has published the event, as the broker has checked */
function trustedPublication(
  event: Envelope,
  owner: OwnerName,
  userId: string | undefined,
  ownUser: string,
): Publication | undefined {
  if (event.source !== `/promopulse/${owner}` || userId !== userOf(owner, ownUser)) return undefined;
  return publication.safeParse(event).data;
}

/**
 * Where each service has a user of its own, the names differ in the name of the service: `promopulse-subscriptions` and
 * `promopulse-users`. Otherwise all services share one user.
 */
function userOf(owner: OwnerName, ownUser: string): string {
  return ownUser.replace('subscriptions', owner);
}
