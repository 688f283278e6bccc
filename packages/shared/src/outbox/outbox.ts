// Transactional outbox and its relay. The promise: an event is published if and only if its change was committed.
// A row is written in the change's own transaction; the relay publishes it with a confirm and only then marks it,
// so a crash anywhere between publishes it again and never loses it.
// One relay leads per schema (a session advisory lock): rows go out in id order, and for one aggregate that is the
// order of its versions. During a change of leader a row may go out twice or late; consumers compare versions.
import { randomUUID } from 'node:crypto';
import { defineEntity, type EntityManager, p } from '@mikro-orm/postgresql';
import { type EventDataOf, type EventName, eventData } from '../contracts/index.ts';

/** Part of every service's entities. A row waits while `published_at` is null. */
export const OutboxMessage = defineEntity({
  name: 'OutboxMessage',
  tableName: 'outbox',
  properties: {
    id: p.bigint().primary().autoincrement(),
    event_id: p.uuid(),
    name: p.string().length(100),
    subject: p.string().length(100),
    data: p.json(),
    request_id: p.string().length(128).nullable(),
    reply_to: p.string().length(255).nullable(),
    created_at: p.datetime().defaultRaw('now()'),
    published_at: p.datetime().nullable(),
  },
  // No more of them: every event pays for each, when it is written and again when it is marked.
  indexes: [{ name: 'outbox_waiting_index', properties: ['id'], where: 'published_at is null' }],
});

interface Cause {
  requestId: string;
  /** Address of `Broker.replyAddress()`, told once a consumer has applied the event. */
  replyTo?: string | undefined;
  /** Chosen by the caller when somebody must wait for the reply. */
  eventId?: string;
}

/**
 * Writes an event into the outbox, in the transaction of `em`.
 * @throws ZodError when the data is not what the contract in events.ts says
 */
export async function recordEvent<Name extends EventName>(
  em: EntityManager,
  name: Name,
  subject: number,
  data: EventDataOf<Name>,
  { requestId, replyTo, eventId = randomUUID() }: Cause,
): Promise<void> {
  await em.insert(OutboxMessage, {
    event_id: eventId,
    name,
    subject: String(subject),
    data: eventData[name].parse(data),
    request_id: requestId,
    reply_to: replyTo ?? null,
  });
}

interface SqlCause {
  requestId: string;
  eventId: string;
  replyTo?: string;
}

/**
 * `recordEvent` as SQL, for a statement that changes rows itself: one event for each row of `table`, its subject the
 * row's id. All but the name are SQL: parameters, columns of that row, and `data` of type jsonb. Nothing holds the data
 * to the contract here, so each service's tests do.
 */
export function recordEventSql(
  name: EventName,
  table: string,
  data: string,
  { requestId, eventId, replyTo = 'null' }: SqlCause,
): string {
  return `insert into outbox (event_id, name, subject, data, request_id, reply_to)
    select ${eventId}::uuid, '${name}', id::text, ${data}, ${requestId}, ${replyTo} from ${table}`;
}
