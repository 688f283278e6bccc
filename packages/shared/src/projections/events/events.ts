// What a message of another service says to the projections. The rule: parse what is used and nothing else. What is not
// understood or not trusted changes nothing: its row is asked for at the owner. So a contract can change while releases
// run side by side, and a forged message cannot state anything.
import { z } from 'zod';
import { eventData } from '../../contracts/index.ts';
import type { ServiceName } from '../../contracts/services.ts';
import { type IncomingMessage, Unprocessable } from '../../messaging/broker.ts';
import { type AnyProjections, type ProjectedState, type Projection, projectionOfEvent } from '../definition.ts';

/** The attributes used of a CloudEvents envelope. */
const usedEnvelope = z.looseObject({ type: z.string(), source: z.string(), subject: z.string(), data: z.unknown() });
const publication = z.object({ epoch: z.string(), lead: z.string(), sequencenumber: z.int().nonnegative() });

interface Publication {
  epoch: string;
  lead: string;
  sequencenumber: number;
}

export type ProjectedMessage =
  | { kind: 'state'; projection: Projection; publication: Publication; state: ProjectedState }
  | { kind: 'heartbeat'; projection: Projection; publication: Publication; watermark: Date; position: number }
  /** About row `id` of the owner, in words that are not understood or not trusted. */
  | { kind: 'doubt'; projection: Projection; publication: Publication | undefined; id: number; reason: string }
  /** Nothing for the projections. */
  | { kind: 'other'; reason?: string };

/** Where a message is read. */
export interface Reader {
  projections: AnyProjections;
  /** This service's user at the broker. The user of an owner is derived from it (`userOf`). */
  ownUser: string;
}

/**
 * An event of another name or another version is not understood.
 * @throws Unprocessable when it is no CloudEvent, or not understood and without the id of a row
 */
export function readMessage(message: Pick<IncomingMessage, 'body' | 'userId'>, reader: Reader): ProjectedMessage {
  const event = parseEnvelope(message.body);
  const [, name = '', release] = /^promopulse\.(.+)\.v(\d+)$/.exec(event.type) ?? [];
  if (name === 'relay.heartbeat') return readHeartbeat(event, message.userId, reader);
  const projection = projectionOfEvent(reader.projections, name);
  if (!projection) return { kind: 'other' };
  const trusted = trustedPublication(event, projection.owner, message.userId, reader);
  const parsed = release === '1' ? projection.events[name]?.safeParse(event.data) : undefined;
  if (trusted && parsed?.success) return { kind: 'state', projection, publication: trusted, state: parsed.data };
  const id = z.coerce.number().int().positive().safeParse(event.subject);
  if (!id.success) throw new Unprocessable('not an event of these services', { cause: parsed?.error });
  const reason = trusted ? 'not understood' : 'not from the relay of its owner';
  return { kind: 'doubt', projection, publication: trusted, id: id.data, reason };
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
function readHeartbeat(event: Envelope, userId: string | undefined, reader: Reader): ProjectedMessage {
  const parsed = eventData['relay.heartbeat'].safeParse(event.data);
  if (!parsed.success) return { kind: 'other', reason: 'not understood' };
  const projection = reader.projections.all.find(({ owner }) => owner === parsed.data.service);
  if (!projection) return { kind: 'other' }; // the relays of all services send heartbeats, this one's too
  const trusted = trustedPublication(event, projection.owner, userId, reader);
  if (!trusted) return { kind: 'other', reason: 'not from the relay of its owner' };
  const { watermark, position = 0 } = parsed.data;
  return { kind: 'heartbeat', projection, publication: trusted, watermark: new Date(watermark), position };
}

/** @returns undefined unless the owner's relay has published the event, as the broker has checked */
function trustedPublication(
  event: Envelope,
  owner: ServiceName,
  userId: string | undefined,
  reader: Reader,
): Publication | undefined {
  if (event.source !== `/promopulse/${owner}` || userId !== userOf(owner, reader)) return undefined;
  return publication.safeParse(event).data;
}

/**
 * Where each service has a user of its own, the names differ in the name of the service: `promopulse-subscriptions` and
 * `promopulse-users`. Otherwise all services share one user.
 */
function userOf(owner: ServiceName, { projections, ownUser }: Reader): string {
  return ownUser.replace(projections.service, owner);
}
