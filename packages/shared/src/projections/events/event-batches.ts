// Applies events in batches (decision 0029). The promise: each event gets an outcome or an error of its own, as if it had
// been applied alone, and of one row the events are applied in the order in which they came.
import type { Database } from '../../database/database.ts';
import { isDatabaseUnavailable, isLockTimeout, isStatementTimeout } from '../../database/sqlstate.ts';
import type { Projection } from '../definition.ts';
import { applyEvent, applyEvents, type EventOutcome } from '../rows/store.ts';
import type { ProjectedMessage } from './events.ts';

export type StateEvent = Extract<ProjectedMessage, { kind: 'state' }>;

interface Entry extends PromiseWithResolvers<EventOutcome> {
  event: StateEvent;
}

/** Maximum number of rows that one statement changes. */
const maxBatch = 500;
/** Number of statements that a failed batch is divided into: in three rounds they find one event among 500. */
const parts = 8;

export class EventBatches {
  readonly #database: Database;
  readonly #owners = new Map<Projection, OwnerBatches>();

  constructor(database: Database) {
    this.#database = database;
  }

  /**
   * For another attempt, call it again with the same object: an event that has failed alone is not put into a batch again.
   * @throws the database's error
   */
  apply(event: StateEvent): Promise<EventOutcome> {
    let batches = this.#owners.get(event.projection);
    if (!batches) {
      batches = new OwnerBatches(this.#database);
      this.#owners.set(event.projection, batches);
    }
    return batches.apply(event);
  }
}

/**
 * The events of one owner. States of an event:
 * - waiting: for the end of this turn, or of the statement at work. There is one at a time.
 * - in a batch: one statement applies up to `maxBatch` events of different rows, or none of them.
 * - divided: that statement has failed, perhaps because of one event. Smaller statements apply its events, beside the
 *   batches that follow.
 * - apart: it was divided down to itself, it has failed alone before, or an event of its row is apart or divided. A
 *   statement of its own waits for the lock of the row, after those of the row that came before it.
 */
class OwnerBatches {
  readonly #database: Database;
  #waiting: Entry[] = [];
  #isBusy = false;
  /** By row: resolves when the last event of the row that is divided or apart is settled. */
  readonly #apart = new Map<number, Promise<unknown>>();
  readonly #failedAlone = new WeakSet<StateEvent>();

  constructor(database: Database) {
    this.#database = database;
  }

  apply(event: StateEvent): Promise<EventOutcome> {
    const entry = { event, ...Promise.withResolvers<EventOutcome>() };
    if (this.#failedAlone.has(event)) void this.#applyApart(entry);
    else this.#waiting.push(entry);
    this.#startIfIdle();
    return entry.promise;
  }

  #startIfIdle(): void {
    if (this.#isBusy || this.#waiting.length === 0) return;
    this.#isBusy = true;
    // The other messages of this read of the socket join the batch. A statement leaves at the end of the turn anyway.
    setImmediate(async () => {
      await this.#applyTogether(this.#takeBatch());
      this.#isBusy = false;
      this.#startIfIdle();
    });
  }

  /** The first waiting events of one epoch, one of each row. */
  #takeBatch(): Entry[] {
    const batch = new Map<number, Entry>();
    const left: Entry[] = [];
    const epoch = this.#waiting[0]?.event.publication.epoch;
    for (const entry of this.#waiting) {
      const { state, publication } = entry.event;
      if (this.#apart.has(state.id)) void this.#applyApart(entry);
      else if (publication.epoch === epoch && !batch.has(state.id) && batch.size < maxBatch) batch.set(state.id, entry);
      else left.push(entry);
    }
    this.#waiting = left;
    return [...batch.values()];
  }

  /** Resolves when its first statement has ended. Never rejects. @param batch of one epoch */
  async #applyTogether(batch: readonly Entry[]): Promise<void> {
    if (await this.#isSettledTogether(batch)) return;
    for (const { event, promise } of batch) this.#keepApart(event.state.id, promise);
    void this.#divide(batch);
  }

  /** Resolves when all its events are settled, each by an outcome or an error. @param batch has failed */
  async #divide(batch: readonly Entry[]): Promise<void> {
    const [only] = batch;
    if (only && batch.length === 1) return await this.#applyAlone(only);
    const size = Math.ceil(batch.length / parts);
    const starts = Array.from({ length: Math.ceil(batch.length / size) }, (_, index) => index * size);
    await Promise.all(
      starts.map(async (start) => {
        const part = batch.slice(start, start + size);
        if (!(await this.#isSettledTogether(part))) await this.#divide(part);
      }),
    );
  }

  /**
   * Applies the events by one statement, and settles all of them or none.
   * @returns false when it has failed perhaps because of one event; any other error settles all of them
   */
  async #isSettledTogether(batch: readonly Entry[]): Promise<boolean> {
    const [first] = batch;
    if (!first) return true;
    const { projection, publication } = first.event;
    try {
      const states = batch.map(({ event }) => event.state);
      const outcomes = await applyEvents(this.#database, projection, states, publication.epoch);
      for (const [index, { resolve }] of batch.entries()) resolve(outcomes[index] as EventOutcome);
    } catch (error) {
      if (isPerhapsOfOneEvent(error)) return false;
      for (const { reject } of batch) reject(error);
    }
    return true;
  }

  /** After the events of its row that came before it. */
  async #applyApart(entry: Entry): Promise<void> {
    const { id } = entry.event.state;
    const before = this.#apart.get(id);
    this.#keepApart(id, entry.promise);
    await before;
    await this.#applyAlone(entry);
  }

  async #applyAlone({ event, resolve, reject }: Entry): Promise<void> {
    const { projection, state, publication } = event;
    try {
      resolve(await applyEvent(this.#database, projection, state, publication.epoch));
    } catch (error) {
      if (isPerhapsOfOneEvent(error)) this.#failedAlone.add(event);
      reject(error);
    }
  }

  #keepApart(id: number, promise: Promise<unknown>): void {
    const settled = promise
      .catch(() => undefined)
      .then(() => {
        if (this.#apart.get(id) === settled) this.#apart.delete(id);
      });
    this.#apart.set(id, settled);
  }
}

/** Whether the statement may succeed without one of its events: a locked row, or a state that cannot be stored. */
function isPerhapsOfOneEvent(error: unknown): boolean {
  return isLockTimeout(error) || isStatementTimeout(error) || !isDatabaseUnavailable(error);
}
