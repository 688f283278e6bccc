// Work that waits for a lock, kept apart from the work that does not. The promise: however many requests wait for the
// lock of one row, those for other rows are answered. How long a lock is held cannot be known before, so
// - the first attempt waits for a lock for `lockProbeMs` only. After that the server has rolled it back;
// - it is then repeated, and waits for up to `lockWaitMs`. At most `maxRunning` repetitions run at a time, and at most
//   one for each row: the others wait in this process and occupy no connection;
// - work for a row that has such waiters joins them without an attempt of its own.
import { isLockTimeout } from '../sqlstate.ts';

/** `lock_timeout` of a first attempt, in milliseconds: the commits of other requests take less. */
export const lockProbeMs = 50;
/** `lock_timeout` of a repetition, in milliseconds. */
export const lockWaitMs = 1_000;
/** Maximum time before a repetition begins, in milliseconds. Requests that change one row in turn may need as long. */
const maxQueueMs = 2_000;

/** @param isRepeated whether to wait for a lock for `lockWaitMs`, not for `lockProbeMs` only */
type Work<Result> = (isRepeated: boolean) => Promise<Result>;

interface Waiter {
  row: string | symbol;
  start(): unknown;
  fail(): void;
}

export class LockWaiters {
  readonly #maxRunning: number;
  /** In the order of their arrival, each with the timer of its time limit. */
  readonly #queue = new Map<Waiter, NodeJS.Timeout>();
  /** The rows of the repetitions that run. */
  readonly #running = new Set<string | symbol>();
  /** The number of waiters of each row, queued or running. */
  readonly #waiters = new Map<string | symbol, number>();

  constructor(maxRunning: number) {
    this.#maxRunning = maxRunning;
  }

  /** How much work waits for a lock for longer than a moment, or for its turn to do so. */
  get waiting(): number {
    return this.#queue.size + this.#running.size;
  }

  /**
   * @param row names the row whose lock the work may wait for, undefined while it is not known. It is called only after
   * some work has waited.
   * @param work must have changed nothing when it fails by SQLSTATE 55P03
   * @throws what `work` throws; its 55P03 also when no repetition could begin in time
   */
  async attempt<Result>(row: (() => string | undefined) | undefined, work: Work<Result>): Promise<Result> {
    const name = this.#waiters.size > 0 ? row?.() : undefined;
    if (name !== undefined && this.#waiters.has(name)) return await this.#wait(name, work);
    try {
      return await work(false);
    } catch (error) {
      if (!isLockTimeout(error)) throw error;
      return await this.#wait(row?.() ?? Symbol('unknown row'), work);
    }
  }

  #wait<Result>(row: string | symbol, work: Work<Result>): Promise<Result> {
    return new Promise((resolve, reject) => {
      const waiter: Waiter = {
        row,
        start: () => this.#repeat(row, work).then(resolve, reject),
        fail: () => {
          this.#count(row, -1);
          reject(Object.assign(new Error('The lock of the row was not released in time'), { code: '55P03' }));
        },
      };
      this.#count(row, 1);
      this.#queue.set(
        waiter,
        setTimeout(() => this.#fail(waiter), maxQueueMs),
      );
      this.#startNext();
    });
  }

  async #repeat<Result>(row: string | symbol, work: Work<Result>): Promise<Result> {
    const queuedBefore = [...this.#queue.keys()].filter((waiter) => waiter.row === row);
    try {
      return await work(true);
    } catch (error) {
      // They have waited for the same lock for as long.
      if (isLockTimeout(error)) for (const waiter of queuedBefore) this.#fail(waiter);
      throw error;
    } finally {
      this.#running.delete(row);
      this.#count(row, -1);
      this.#startNext();
    }
  }

  /** Takes a waiter out of the queue. @returns whether it was still there */
  #dequeue(waiter: Waiter): boolean {
    clearTimeout(this.#queue.get(waiter));
    return this.#queue.delete(waiter);
  }

  #fail(waiter: Waiter): void {
    if (this.#dequeue(waiter)) waiter.fail();
  }

  #startNext(): void {
    for (const waiter of this.#queue.keys()) {
      if (this.#running.size >= this.#maxRunning) return;
      if (this.#running.has(waiter.row)) continue;
      this.#dequeue(waiter);
      this.#running.add(waiter.row);
      waiter.start();
    }
  }

  #count(row: string | symbol, change: number): void {
    const count = (this.#waiters.get(row) ?? 0) + change;
    if (count > 0) this.#waiters.set(row, count);
    else this.#waiters.delete(row);
  }
}
