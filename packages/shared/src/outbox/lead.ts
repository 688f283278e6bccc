// One lead of a relay: from the moment it takes the lease of the schema until it loses or releases it. It gives every
// event a number, without a gap from 1, when the event is handed to the transport. So a consumer notices a lost event.
// Numbers are not stored: a consumer that sees another lead reads the owner's snapshot.
import { randomUUID } from 'node:crypto';
import { heartbeatName } from '../contracts/heartbeat.ts';
import { dataSchema, eventType } from '../contracts/index.ts';
import { isConsumed } from '../contracts/queues.ts';
import type { Connection } from '../database/database.ts';
import { leaseMs } from '../database/lease.ts';
import type { Broker, OutgoingMessage } from '../messaging/broker.ts';
import { statements } from './statements.ts';

export interface OutboxRow {
  id: string;
  event_id: string;
  name: string;
  subject: string;
  data: unknown;
  request_id: string | null;
  actor: string | null;
  trace_parent: string | null;
  reply_to: string | null;
  created_at: Date;
}

/** What the parts of a leading relay have in common. */
export interface Leading {
  /** The connection that the leader's lease was taken on. */
  leaderConnection: Connection;
  broker: Pick<Broker, 'publish'>;
  lead: Lead;
}

interface Watermark {
  now: Date;
  watermark: Date;
  isComplete: boolean;
  isSameEpoch: boolean | null;
  isLeader: boolean;
  position: number;
}

export class Lead {
  readonly #id: string;
  readonly #epoch: string;
  readonly #schema: string;
  readonly #consumed = new Map<string, boolean>();
  #lastNumber = 0;

  /** @param id the holder of the lease */
  constructor(id: string, epoch: string, schema: string) {
    this.#id = id;
    this.#epoch = epoch;
    this.#schema = schema;
  }

  /** To be called in the order in which the messages are published, and again when one is published again. */
  toMessage(row: Omit<OutboxRow, 'id'>): OutgoingMessage {
    this.#lastNumber += 1;
    return this.#message(row, this.#isConsumed(row.name));
  }

  /**
   * Publishes a heartbeat into the same queues as the events, after them. Everything this service committed before the
   * watermark was published before this heartbeat, except what no queue takes. No heartbeat is sent while more rows
   * wait than are inspected, because the age of the oldest is then unknown.
   * @throws Error when another relay may lead, the database is on another server, or its epoch was changed: the lead must end
   */
  async sendHeartbeat({ leaderConnection, broker }: Omit<Leading, 'lead'>): Promise<void> {
    const askedAt = performance.now();
    const [row] = await leaderConnection.query<Watermark>(statements.watermark, [this.#epoch, this.#id]);
    const { now, watermark, position, isComplete, isSameEpoch, isLeader } = row as Watermark;
    // The process may have been suspended since it asked.
    if (!isLeader || performance.now() - askedAt > leaseMs) throw new Error('another relay may lead');
    if (!isSameEpoch) throw new Error('the epoch of the database has ended');
    if (!isComplete) return;
    const heartbeat = {
      event_id: randomUUID(),
      name: heartbeatName,
      subject: this.#schema,
      data: { service: this.#schema, watermark: watermark.toISOString(), position },
      request_id: null,
      actor: null,
      trace_parent: null,
      reply_to: null,
      created_at: now,
    };
    // Not mandatory: without a consumer a heartbeat has no purpose.
    await broker.publish([this.#message(heartbeat, false)]);
  }

  /** Cached: to match the patterns of all queues costs as much as to write the event. */
  #isConsumed(name: string): boolean {
    let consumed = this.#consumed.get(name);
    if (consumed === undefined) {
      consumed = isConsumed(name);
      this.#consumed.set(name, consumed);
    }
    return consumed;
  }

  #message(row: Omit<OutboxRow, 'id'>, mandatory: boolean): OutgoingMessage {
    const event = {
      specversion: '1.0',
      id: row.event_id,
      source: `/promopulse/${this.#schema}`,
      type: eventType(row.name),
      subject: row.subject,
      time: row.created_at.toISOString(),
      datacontenttype: 'application/json',
      dataschema: dataSchema(row.name),
      ...(row.request_id && { requestid: row.request_id }),
      ...(row.actor && { actor: row.actor }),
      ...(row.trace_parent && { traceparent: row.trace_parent }),
      epoch: this.#epoch,
      lead: this.#id,
      sequencenumber: this.#lastNumber,
      data: row.data,
    };
    return {
      id: row.event_id,
      routingKey: row.name,
      body: JSON.stringify(event),
      mandatory,
      replyTo: row.reply_to ?? undefined,
      traceparent: row.trace_parent ?? undefined,
    };
  }
}
