// How a leading relay publishes its batches: read, publish with confirms, mark. Rows are marked only after their
// confirm, so a crash publishes a batch again and never loses it. The next batch is prefetched while the confirms of
// this one arrive, to overlap the round trips of database and broker.
import { type EventName, eventType } from '../contracts/index.ts';
import { isConsumed } from '../contracts/queues.ts';
import type { Connection } from '../database/database.ts';
import type { Broker, OutgoingMessage } from '../messaging/broker.ts';
import { statements } from './statements.ts';

interface WaitingRow {
  id: string;
  event_id: string;
  name: EventName;
  subject: string;
  data: unknown;
  request_id: string | null;
  reply_to: string | null;
  created_at: Date;
}

interface BatchOptions {
  /** The connection that holds the leader's lock. */
  leaderConnection: Connection;
  broker: Pick<Broker, 'publish'>;
  /** CloudEvents `source` of the events. */
  source: string;
  /** Maximum number of rows in a batch. */
  batchSize: number;
}

/**
 * Publishes the waiting rows of a leader, batch by batch. States between two batches:
 * - empty: the last batch was not full, or a row of it was not confirmed. Its confirmed rows are marked. The next batch
 *   is read from the table, which returns the unconfirmed rows first.
 * - prefetched: the last batch was full and confirmed. Its rows are not marked yet, and the next batch is read already.
 */
export class BatchPublisher {
  readonly #leaderConnection: Connection;
  readonly #broker: Pick<Broker, 'publish'>;
  readonly #source: string;
  readonly #batchSize: number;
  /** Read, and to be published next. */
  #prefetched: WaitingRow[] | undefined;
  /** Ids of rows that are confirmed and not marked yet. */
  #unmarked: readonly string[] = [];

  constructor({ leaderConnection, broker, source, batchSize }: BatchOptions) {
    this.#leaderConnection = leaderConnection;
    this.#broker = broker;
    this.#source = source;
    this.#batchSize = batchSize;
  }

  /**
   * Publishes one batch. While its confirms arrive, the batch before it is marked and, if it is full, the next is read.
   * @returns how many rows it found and how many of these were confirmed
   * @throws the database's error
   */
  async publishNext(): Promise<{ found: number; confirmed: number }> {
    const unmarked = this.#unmarked;
    const rows = this.#prefetched ?? (await this.#read(unmarked));
    const ids = rows.map(({ id }) => id);
    const [outcomes, prefetched] = await Promise.all([
      rows.length > 0 ? this.#broker.publish(rows.map((row) => toMessage(row, this.#source))) : [],
      rows.length === this.#batchSize ? this.#read([...unmarked, ...ids]) : undefined,
      this.#mark(unmarked),
    ]);
    const confirmed = ids.filter((_, index) => outcomes[index] === 'confirmed');
    const continues = prefetched !== undefined && confirmed.length === rows.length;
    // Otherwise the prefetched rows are dropped, so that the unconfirmed rows are published before those that follow.
    if (!continues) await this.#mark(confirmed);
    this.#prefetched = continues ? prefetched : undefined;
    this.#unmarked = continues ? confirmed : [];
    return { found: rows.length, confirmed: confirmed.length };
  }

  /** Marks what is confirmed and not marked yet. For the end of the lead. */
  async markConfirmed(): Promise<void> {
    await this.#mark(this.#unmarked);
  }

  #read(excludedIds: readonly string[]): Promise<WaitingRow[]> {
    return this.#leaderConnection.query<WaitingRow>(statements.readBatch, [this.#batchSize, excludedIds]);
  }

  async #mark(ids: readonly string[]): Promise<void> {
    if (ids.length > 0) await this.#leaderConnection.query(statements.mark, [ids]);
  }
}

export function toMessage(row: Omit<WaitingRow, 'id'>, source: string): OutgoingMessage {
  const event = {
    specversion: '1.0',
    id: row.event_id,
    source,
    type: eventType(row.name),
    subject: row.subject,
    time: row.created_at.toISOString(),
    datacontenttype: 'application/json',
    ...(row.request_id && { requestid: row.request_id }),
    data: row.data,
  };
  return {
    id: row.event_id,
    routingKey: row.name,
    body: JSON.stringify(event),
    mandatory: isConsumed(row.name),
    replyTo: row.reply_to ?? undefined,
  };
}
