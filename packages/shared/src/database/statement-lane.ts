// Statements whose cost a caller decides, for example by a deep offset. On a shared connection other statements would
// wait behind them, and many at once would occupy every connection and the server's CPU. So the statements of a lane run
// one at a time, on a connection of their own, whatever number of them is asked for.
import { type DomainError, overloaded } from '../errors.ts';
import type { Database } from './database.ts';
import { runApart } from './own-connection.ts';
import type { Statement } from './prepared.ts';
import { isStatementTimeout } from './sqlstate.ts';

/** A statement waits for its turn this long. Callers that repeat a rejected request at once are slowed down by it. */
const maxWaitMs = 1_000;
const maxWaiting = 100;
/** After a statement that took longer than this, the lane rests for as long, so that it uses half of a CPU at most. */
const restAfterMs = 50;

/** Of one lane: statements that wait for their turn now, and those that were rejected since the start. */
interface LaneFigures {
  lane: string;
  waiting: number;
  rejected: number;
}

/**
 * States: free, running one statement, or resting. While it is not free, others wait in the order in which they came. A
 * waiting statement gets its turn, or is rejected after `maxWaitMs`.
 */
class StatementLane {
  readonly #name: string;
  #free = true;
  readonly #waiting = new Set<() => void>();
  #rejected = 0;

  constructor(name: string) {
    this.#name = name;
  }

  figures(): LaneFigures {
    return { lane: this.#name, waiting: this.#waiting.size, rejected: this.#rejected };
  }

  /** @throws overloaded when there are too many before it, or when the work exceeds the time limit of a statement */
  async run<Result>(work: () => Promise<Result>): Promise<Result> {
    if (!this.#free) await this.#wait();
    this.#free = false;
    const startedAt = performance.now();
    try {
      return await work();
    } catch (error) {
      throw isStatementTimeout(error) ? this.#reject(error) : error;
    } finally {
      const tookMs = performance.now() - startedAt;
      if (tookMs > restAfterMs) setTimeout(() => this.#passOn(), tookMs).unref();
      else this.#passOn();
    }
  }

  #wait(): Promise<void> {
    if (this.#waiting.size >= maxWaiting) throw this.#reject();
    return new Promise((resolve, reject) => {
      const proceed = (): void => {
        clearTimeout(timer);
        resolve();
      };
      const timer = setTimeout(() => {
        this.#waiting.delete(proceed);
        reject(this.#reject());
      }, maxWaitMs);
      this.#waiting.add(proceed);
    });
  }

  #reject(cause?: unknown): DomainError {
    this.#rejected += 1;
    return overloaded(this.#name, cause);
  }

  /** If a statement waits, the lane does not become free in between, so that no newer one comes before it. */
  #passOn(): void {
    const [next] = this.#waiting;
    if (next) {
      this.#waiting.delete(next);
      next();
    } else this.#free = true;
  }
}

const lanesByDatabase = new WeakMap<Database, Map<string, StatementLane>>();

/** Of the lanes that were used. */
export function laneFigures(database: Database): LaneFigures[] {
  return [...(lanesByDatabase.get(database)?.values() ?? [])].map((lane) => lane.figures());
}

/**
 * Like `database.run`, for a statement that may be costly. Of each lane one statement runs at a time in this process.
 * @param lane names the reason of the cost, as the header `Promopulse-Reached-Limit` shows it
 * @throws overloaded when its turn does not come within a second, or it exceeds its time limit
 */
export function runInLane<Row>(
  database: Database,
  lane: string,
  statement: Statement,
  values: readonly unknown[],
): Promise<Row[]> {
  let lanes = lanesByDatabase.get(database);
  if (!lanes) {
    lanes = new Map();
    lanesByDatabase.set(database, lanes);
  }
  let found = lanes.get(lane);
  if (!found) {
    found = new StatementLane(lane);
    lanes.set(lane, found);
  }
  return found.run(() => runApart<Row>(database, statement, values));
}
