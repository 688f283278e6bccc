// The outbox table, and the two ways to write an event into it: `recordEvent` in a transaction, `recordingStatement` in
// one statement. The promise: an event is published if and only if its change was committed. relay.ts publishes it.
import { randomUUID } from 'node:crypto';
import { defineEntity, type EntityManager, p } from '@mikro-orm/postgresql';
import type { Cause } from '../contracts/cause.ts';
import { type EventDataOf, type EventName, eventData } from '../contracts/index.ts';
import { type CompiledStatement, columnsOf, rowName, type Table } from '../database/prepared.ts';
import { payloadSql, type RowFor } from './payload.ts';

/**
 * Part of every service's entities. A row without `published_at` waits, or is parked: no queue took it, so it is tried
 * apart from the others (parked.ts).
 */
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
    /** Who asked for the change. */
    actor: p.string().length(150).nullable(),
    /** The W3C trace context of the request. */
    trace_parent: p.string().length(55).nullable(),
    reply_to: p.string().length(255).nullable(),
    created_at: p.datetime().defaultRaw('now()'),
    published_at: p.datetime().nullable(),
    parked_at: p.datetime().nullable(),
  },
  // An event is in one of these only until it is published: every event pays for each index that it enters.
  indexes: [
    { name: 'outbox_waiting_index', properties: ['id'], where: 'published_at is null and parked_at is null' },
    {
      name: 'outbox_parked_index',
      properties: ['name', 'id'],
      where: 'published_at is null and parked_at is not null',
    },
  ],
});

/** The events of aggregates: the id in their data is also the subject. A heartbeat belongs to no aggregate. */
type RecordedEventName = { [Name in EventName]: EventDataOf<Name> extends { id: number } ? Name : never }[EventName];

/** What caused an event, and where the reply goes. */
export interface EventCause extends Cause {
  eventId: string;
  /** Address of `Broker.replyAddress()`, which gets a reply once a consumer has applied the event. */
  replyTo?: string | undefined;
}

/**
 * Writes an event into the outbox, in the transaction of `em`.
 * @throws ZodError when the data does not match the event's contract
 */
export async function recordEvent<Name extends RecordedEventName>(
  em: EntityManager,
  name: Name,
  data: EventDataOf<Name>,
  {
    requestId,
    actor,
    traceparent,
    replyTo,
    eventId = randomUUID(),
  }: Omit<EventCause, 'eventId'> & { eventId?: string },
): Promise<void> {
  await em.insert(OutboxMessage, {
    event_id: eventId,
    name,
    subject: String(data.id),
    data: eventData[name].parse(data),
    request_id: requestId,
    actor: actor ?? null,
    trace_parent: traceparent ?? null,
    reply_to: replyTo ?? null,
  });
}

/** The last values of a `recordingStatement`, in the order of its parameters. */
export function causeValues({
  eventId,
  requestId,
  actor,
  traceparent,
}: EventCause): [eventId: string, requestId: string, actor: string | null, traceparent: string | null] {
  return [eventId, requestId, actor ?? null, traceparent ?? null];
}

interface Recording<Name extends RecordedEventName> {
  event: Name;
  /** The entity whose rows `change` returns. It must have every field of the event's contract. */
  entity: Table<RowFor<EventDataOf<Name>>>;
  /** The parameters that identify the row whose lock the statement may wait for. Absent when it waits for no row. */
  row?: readonly string[];
  /** What the statement writes beside the event. */
  beside?: RecordedBeside;
  /** Whether the last parameter is an address for replies. */
  withReply?: boolean;
}

/** A row that a `recordingStatement` inserts for each changed row. */
export interface RecordedBeside {
  /** What `change` returns more, for `insert` only: expressions with names. */
  returning: readonly string[];
  /** More parameters, between those of the cause and the address for replies. */
  parameters: readonly string[];
  /** @returns an insert that selects from `changed` @param position the place of a parameter, such as `$3` */
  insert(position: (parameter: string) => string): string;
}

/**
 * A statement that changes rows and records one event for each row it returns, atomically. The event's data is derived
 * from its contract. The parameters are those of `change`, then the values of `causeValues`, then those of `beside`.
 * @param change an insert or update that ends with the list of what it returns: the columns of the entity
 * @throws Error when the entity lacks a field of the contract (which is also a type error)
 */
export function recordingStatement<Name extends RecordedEventName>(
  name: string,
  change: Pick<CompiledStatement, 'text' | 'parameters'>,
  { event, entity, row, beside, withReply = false }: Recording<Name>,
): CompiledStatement {
  const ofCause = ['event_id', 'request_id', 'actor', 'trace_parent', ...(beside?.parameters ?? [])];
  const parameters = [...change.parameters, ...ofCause, ...(withReply ? ['reply_to'] : [])];
  const position = (parameter: string): string => `$${parameters.indexOf(parameter) + 1}`;
  const data = payloadSql(eventData[event] as never, entity as never);
  const returning = beside?.returning ?? [];
  const text = `with changed as (${[change.text, ...returning].join(', ')}), recorded as (
      insert into outbox (event_id, name, subject, data, request_id, actor, trace_parent, reply_to)
      select ${position('event_id')}::uuid, '${event}', id::text, ${data}, ${position('request_id')},
        ${position('actor')}, ${position('trace_parent')}, ${withReply ? position('reply_to') : 'null'}
      from changed
    )${beside ? `, beside as (${beside.insert(position)})` : ''}
    select ${returning.length > 0 ? columnsOf(entity).join(', ') : '*'} from changed`;
  if (!row) return { name, text, parameters };
  const key = row.map((parameter) => parameters.indexOf(parameter));
  return { name, text, parameters, row: (values) => rowName(entity, ...key.map((index) => values[index])) };
}
