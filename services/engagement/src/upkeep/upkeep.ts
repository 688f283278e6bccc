// What one replica does for all: it publishes totals, makes the days ahead, and removes old ones. Which replica: the one
// that holds a lease.
import { sleep } from '@promopulse/shared/backoff';
import type { Database } from '@promopulse/shared/database/database';
import { tryLease } from '@promopulse/shared/database/lease';
import { describeError } from '@promopulse/shared/telemetry/describe-error';
import { type Logger, warnRepeatedly } from '@promopulse/shared/telemetry/logger';
import type { Metrics } from '@promopulse/shared/telemetry/metrics';
import { addDays, countDaysAhead, removeDays } from './partition-store.ts';
import { listCounted, publishTotals, readNow } from './rollup-store.ts';

const daysEveryMs = 60_000;

interface UpkeepOptions {
  database: Database;
  log: Logger;
  /** How long events are kept beyond the days in which they are accepted. */
  retentionDays: number;
  rollupSeconds: number;
}

export function measureUpkeep(metrics: Metrics, database: Database): void {
  const ahead = metrics.source('days', () => countDaysAhead(database));
  metrics.gauge(
    {
      name: 'promopulse_engagement_partitions_ahead',
      help: 'Days after today for which events can be stored, at most 3; -1: not even today.',
    },
    () => ahead(),
  );
}

/** @returns the function that stops it */
export function startUpkeep({ retentionDays, rollupSeconds, ...options }: UpkeepOptions): () => Promise<void> {
  const stopping = new AbortController();
  const { signal } = stopping;
  const { database } = options;
  const rollup = new Rollup(database);
  const running = Promise.all([
    // The days ahead come first, and apart: removing old ones may wait for a backup.
    repeat('days', daysEveryMs, signal, { ...options, work: () => addDays(database) }),
    repeat('old days', daysEveryMs, signal, { ...options, work: (stop) => removeDays(database, retentionDays, stop) }),
    repeat('rollup', rollupSeconds * 1_000, signal, { ...options, work: (stop) => rollup.publish(stop) }),
  ]);
  return async () => {
    stopping.abort();
    await running;
  };
}

interface Job extends Pick<UpkeepOptions, 'database' | 'log'> {
  work(stop: AbortSignal): Promise<unknown>;
}

/** Does the work in the replica that has the lease of this name. Never rejects. */
async function repeat(name: string, everyMs: number, signal: AbortSignal, { database, log, work }: Job): Promise<void> {
  while (!signal.aborted) {
    await sleep(everyMs * (0.8 + Math.random() * 0.2), signal);
    if (signal.aborted) return;
    try {
      const lease = await tryLease(database, `upkeep.${name}`);
      if (!lease) continue; // another replica does it
      try {
        await work(AbortSignal.any([signal, lease.lost]));
      } finally {
        await lease.release();
      }
    } catch (error) {
      if (!signal.aborted) warnRepeatedly(log, { job: name, reason: describeError(error, 0, false) }, 'upkeep failed');
    }
  }
}

/** Looks at the promotions that were counted since its last pass; in its first one, at all. */
class Rollup {
  readonly #database: Database;
  #since: Date | null = null;

  constructor(database: Database) {
    this.#database = database;
  }

  async publish(stop: AbortSignal): Promise<void> {
    const now = await readNow(this.#database);
    for (const promotion of await listCounted(this.#database, this.#since)) {
      if (stop.aborted) return;
      await publishTotals(this.#database, promotion);
    }
    this.#since = now;
  }
}
