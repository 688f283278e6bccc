// Keeps each projection equal to its owner. It reads an owner after an invalidation (what has changed since the last
// reading, or every row when that is not enough), compares every row at an interval, and reads rows in doubt. Each owner has
// a loop of its own, in one replica at a time.
import { sleep } from '../../backoff.ts';
import type { ServiceName } from '../../contracts/services.ts';
import type { Database } from '../../database/database.ts';
import { tryLease } from '../../database/lease.ts';
import { describeError } from '../../telemetry/describe-error.ts';
import { type Logger, warnRepeatedly } from '../../telemetry/logger.ts';
import type { AnyProjections } from '../definition.ts';
import type { ProjectionCounts } from '../projection-metrics.ts';
import { summarize } from '../rows/digest-store.ts';
import { adoptEpoch, invalidate, markReconciled, type SourceState, sourceStates } from '../rows/source-store.ts';
import type { OwnerClient } from './owner-client.ts';
import {
  EpochChanged,
  readChanges,
  readCompletely,
  readDoubted,
  type SnapshotOptions,
  type SnapshotReading,
} from './snapshot-reader.ts';

const checkEveryMs = 1_000;
/** A reading holds a connection of the pool. The others are for the relay, for transactions and for other work. */
const maxReadings = 2;
const maxLoggedIds = 20;

interface ReconciliationOptions {
  database: Database;
  clients: readonly OwnerClient[];
  /** Milliseconds from one comparison of every row to the next. */
  intervalMs: number;
  log: Logger;
  counts: Pick<ProjectionCounts, 'read' | 'corrected'>;
}

/** The projections as `/health` shows them, by the name of their owner. */
export async function describeProjections(
  database: Database,
  { all }: AnyProjections,
): Promise<Record<string, object>> {
  const states = await sourceStates(database);
  const described = all.map(async (projection) => {
    const state = states.get(projection.owner);
    if (!state) return [];
    const { epoch, position, read_to, complete_needed, ...shown } = state;
    const { lost, subscriptions_of_lost } = await summarize(database, projection);
    return [[projection.owner, { ...shown, lost, subscriptions_of_lost }] as const];
  });
  return Object.fromEntries((await Promise.all(described)).flat());
}

/** Nothing is relied on from before a start: this database may have been set back, and the queue may have been lost. */
export async function invalidateAll(database: Database, { all }: AnyProjections): Promise<void> {
  for (const { owner } of all) await invalidate(database, owner);
}

/**
 * States, per owner: waiting (until `wake`, at most a second), or reading. An error ends a reading; the next one begins
 * after the wait.
 */
export class Reconciliation {
  readonly #options: ReconciliationOptions;
  readonly #stop = new AbortController();
  #running: Promise<unknown> = Promise.resolve();
  #readings = 0;
  readonly #waiting: (() => void)[] = [];
  #wakeUp = new AbortController();

  constructor(options: ReconciliationOptions) {
    this.#options = options;
  }

  /** @returns a function that stops it at once, also in the middle of a reading */
  start(): () => Promise<void> {
    this.#running = Promise.all(this.#options.clients.map((client) => this.#loop(client)));
    return async () => {
      this.#stop.abort();
      await this.#running;
    };
  }

  /** Ends the wait of all owners. */
  wake(): void {
    const waiting = this.#wakeUp;
    this.#wakeUp = new AbortController();
    waiting.abort();
  }

  async #loop(client: OwnerClient): Promise<void> {
    const { signal } = this.#stop;
    const { log } = this.#options;
    let nextWake = this.#wakeUp.signal;
    while (!signal.aborted) {
      await this.#reconcileIfDue(client).catch((error: unknown) => {
        if (!signal.aborted) {
          warnRepeatedly(
            log,
            { source: client.projection.owner, reason: describeError(error, 0, false) },
            'cannot reconcile yet',
          );
        }
        nextWake = this.#wakeUp.signal; // after an error a wake-up does not shorten the wait
      });
      await sleep(checkEveryMs, AbortSignal.any([signal, nextWake]));
      nextWake = this.#wakeUp.signal;
    }
  }

  /** Again when the owner's database was replaced: before its rows are read, its events must count. */
  async #reconcileIfDue(client: OwnerClient): Promise<void> {
    for (let attempt = 1; ; attempt += 1) {
      try {
        return await this.#readIfDue(client);
      } catch (error) {
        if (!(error instanceof EpochChanged)) throw error;
        await adoptEpoch(this.#options.database, client.projection.owner, error.read);
        if (attempt === 2) throw error;
      }
    }
  }

  /** At most `maxReadings` at a time, in the order in which they asked. */
  async #inTurn<Result>(read: () => Promise<Result>): Promise<Result> {
    if (this.#readings === maxReadings) await new Promise<void>((resolve) => this.#waiting.push(resolve));
    else this.#readings += 1;
    try {
      this.#stop.signal.throwIfAborted();
      return await read();
    } finally {
      const next = this.#waiting.shift();
      if (next) next();
      else this.#readings -= 1;
    }
  }

  async #readIfDue(client: OwnerClient): Promise<void> {
    const { database, intervalMs, log, counts } = this.#options;
    const { owner } = client.projection;
    const state = await readState(database, owner);
    const options = { database, client, stop: this.#stop.signal, epoch: state.epoch };
    const isComparisonDue = (state.compared_seconds_ago ?? Number.POSITIVE_INFINITY) * 1000 > intervalMs;
    if (!state.reconciled || isComparisonDue) {
      const hasRead = await this.#inTurn(async () => {
        const lease = await tryLease(database, `reconciliation.${owner}`);
        if (!lease) return false; // another replica reconciles
        try {
          const stop = AbortSignal.any([options.stop, lease.lost]);
          await this.#reconcile({ ...options, stop }, state, isComparisonDue);
          return true;
        } finally {
          await lease.release();
        }
      });
      if (!hasRead) return;
    }
    const doubted = await readDoubted(options);
    if (!doubted) return;
    report(log, owner, doubted, true);
    counts.corrected(owner, { corrected: doubted.corrected, lost: doubted.lost.length });
  }

  async #reconcile(options: SnapshotOptions, state: SourceState, isComparisonDue: boolean): Promise<void> {
    const { database, client } = options;
    const { owner } = client.projection;
    const { log, counts } = this.#options;
    const { invalidations } = state;
    const startedAt = performance.now();
    const { reading, complete } = await readOwner(options, state, isComparisonDue);
    const wasFilled = state.read_to !== null;
    const corrected = wasFilled ? reading.corrected + reading.lost.length : 0;
    const isValid = await markReconciled(database, owner, { invalidations, read: reading.read, complete, corrected });
    report(log, owner, reading, wasFilled);
    counts.read(owner, {
      kind: complete ? 'complete' : 'changes',
      seconds: (performance.now() - startedAt) / 1_000,
      corrected: wasFilled ? reading.corrected : 0,
      lost: wasFilled ? reading.lost.length : 0,
    });
    if (!isValid) this.wake(); // it was invalidated meanwhile
  }
}

/** An invalidation creates the row of an owner that has none yet. */
async function readState(database: Database, owner: ServiceName): Promise<SourceState> {
  const state = (await sourceStates(database)).get(owner);
  if (state) return state;
  await invalidate(database, owner);
  return await readState(database, owner);
}

/** Reads the changes only, when that is enough: the owner's database is the same, and further on than before. */
async function readOwner(
  options: SnapshotOptions,
  state: SourceState,
  isComparisonDue: boolean,
): Promise<{ reading: SnapshotReading; complete: boolean }> {
  const { hasChanges } = options.client.projection;
  if (hasChanges && state.read_to && !state.complete_needed && !isComparisonDue) {
    const reading = await readChanges(options, state.read_to);
    if (reading.read.position >= state.position) return { reading, complete: false };
  }
  return { reading: await readCompletely(options), complete: true };
}

/** A repeated reading should change no row. A changed row means that its event was late or lost. */
function report(log: Logger, owner: ServiceName, { corrected, lost }: SnapshotReading, repeated: boolean): void {
  if (!repeated) log.info({ source: owner, rows: corrected }, 'projection filled from its owner');
  else if (corrected > 0) log.warn({ source: owner, rows: corrected }, 'reconciliation corrected rows');
  if (lost.length > 0) {
    const ids = lost.slice(0, maxLoggedIds);
    log.error({ source: owner, rows: lost.length, ids }, 'the owner has lost rows that this service has seen');
  }
}
