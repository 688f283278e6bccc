// How a leading relay publishes its batches: read, publish with confirms, mark. Rows are marked only after their
// confirm, so a crash publishes a batch again and never loses it. The next batch is prefetched while the confirms of
// this one arrive, to overlap the round trips of database and broker.
import type { PublishOutcome } from '../messaging/broker.ts';
import type { Leading, OutboxRow } from './lead.ts';
import { statements } from './statements.ts';

interface BatchOptions extends Leading {
  /** Maximum number of rows in a batch. */
  batchSize: number;
}

/**
 * Publishes the waiting rows of a leader, batch by batch. States between two batches:
 * - empty: the last batch was not full, or a row of it has failed. Its confirmed rows are marked. The next batch is read
 *   from the table, which returns the failed rows first.
 * - prefetched: the last batch was full and none of it has failed. Its rows are not marked yet, and the next batch is read already.
 */
export class BatchPublisher {
  readonly #leading: Leading;
  readonly #batchSize: number;
  /** Read, and to be published next. */
  #prefetched: OutboxRow[] | undefined;
  /** Ids of rows that are confirmed and not marked yet. */
  #unmarked: readonly string[] = [];

  constructor({ batchSize, ...leading }: BatchOptions) {
    this.#leading = leading;
    this.#batchSize = batchSize;
  }

  /**
   * Publishes one batch. While its confirms arrive, the batch before it is marked and, if it is full, the next is read.
   * Rows that no queue takes are parked.
   * @returns how many rows it found and how many of these failed
   * @throws the database's error
   */
  async publishNext(): Promise<{ found: number; failed: number }> {
    const { broker, lead, leaderConnection } = this.#leading;
    const unmarked = this.#unmarked;
    const rows = this.#prefetched ?? (await this.#read(unmarked));
    const ids = rows.map(({ id }) => id);
    const [outcomes, prefetched] = await Promise.all([
      rows.length > 0 ? broker.publish(rows.map((row) => lead.toMessage(row))) : [],
      rows.length === this.#batchSize ? this.#read([...unmarked, ...ids]) : undefined,
      this.#mark(unmarked),
    ]);
    const idsOf = (outcome: PublishOutcome): string[] => ids.filter((_, index) => outcomes[index] === outcome);
    const confirmed = idsOf('confirmed');
    const unroutable = idsOf('unroutable');
    if (unroutable.length > 0) await leaderConnection.query(statements.park, [unroutable]);
    const failed = rows.length - confirmed.length - unroutable.length;
    const continues = prefetched !== undefined && failed === 0;
    // Otherwise the prefetched rows are dropped, so that the failed rows are published before those that follow.
    if (!continues) await this.#mark(confirmed);
    this.#prefetched = continues ? prefetched : undefined;
    this.#unmarked = continues ? confirmed : [];
    return { found: rows.length, failed };
  }

  /** Marks what is confirmed and not marked yet. For the end of the lead. */
  async markConfirmed(): Promise<void> {
    await this.#mark(this.#unmarked);
  }

  #read(excludedIds: readonly string[]): Promise<OutboxRow[]> {
    return this.#leading.leaderConnection.query<OutboxRow>(statements.readBatch, [this.#batchSize, excludedIds]);
  }

  async #mark(ids: readonly string[]): Promise<void> {
    if (ids.length > 0) await this.#leading.leaderConnection.query(statements.mark, [ids]);
  }
}
