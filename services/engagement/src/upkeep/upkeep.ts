// What one replica does for all: it makes the days ahead, publishes totals, removes old days, and merges stripes of counts.
// It is the one that holds a lease, for as long as it can. So totals are published once in an interval, however many
// replicas there are.
import { sleep } from '@promopulse/shared/backoff';
import type { Database } from '@promopulse/shared/database/database';
import { tryLease } from '@promopulse/shared/database/lease';
import { describeError } from '@promopulse/shared/telemetry/describe-error';
import { type Logger, warnRepeatedly } from '@promopulse/shared/telemetry/logger';
import type { Metrics } from '@promopulse/shared/telemetry/metrics';
import { addDays, countDaysAhead, removeDays } from './partition-store.ts';
import { publishChanged } from './rollup-store.ts';
import { mergeStripes } from './stripe-store.ts';

const daysEveryMs = 60_000;
const stripesEveryMs = 300_000;
/** How often a replica without the lease tries to get it. */
const tryEveryMs = 2_000;

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
export function startUpkeep(options: UpkeepOptions): () => Promise<void> {
  const stopping = new AbortController();
  const running = tryToLead(options, stopping.signal);
  return async () => {
    stopping.abort();
    await running;
  };
}

/** Never rejects. */
async function tryToLead(options: UpkeepOptions, signal: AbortSignal): Promise<void> {
  while (!signal.aborted) {
    await attempt(options, signal, 'lead', async () => {
      const lease = await tryLease(options.database, 'upkeep');
      if (!lease) return; // another replica has it
      try {
        await doJobs(options, AbortSignal.any([signal, lease.lost]));
      } finally {
        await lease.release();
      }
    });
    await sleep(tryEveryMs, signal);
  }
}

/** One job at a time, until `stop` aborts. The first totals come after an interval: another leader may just have sent some. */
async function doJobs(options: UpkeepOptions, stop: AbortSignal): Promise<void> {
  const { database, retentionDays, rollupSeconds } = options;
  const jobs = [
    { name: 'days', everyMs: daysEveryMs, dueAt: 0, work: () => addDays(database) },
    {
      name: 'rollup',
      everyMs: rollupSeconds * 1_000,
      dueAt: dueIn(rollupSeconds * 1_000),
      work: () => publishChanged(database, stop),
    },
    { name: 'old days', everyMs: daysEveryMs, dueAt: 0, work: () => removeDays(database, retentionDays, stop) },
    { name: 'stripes', everyMs: stripesEveryMs, dueAt: 0, work: () => mergeStripes(database, stop) },
  ];
  while (!stop.aborted) {
    for (const job of jobs) {
      if (stop.aborted || performance.now() < job.dueAt) continue;
      await attempt(options, stop, job.name, job.work);
      job.dueAt = dueIn(job.everyMs);
    }
    const nextAt = Math.min(...jobs.map(({ dueAt }) => dueAt));
    await sleep(Math.max(0, nextAt - performance.now()), stop);
  }
}

function dueIn(ms: number): number {
  return performance.now() + ms;
}

/** Never rejects: it logs an error, and the work is done again later. */
async function attempt(
  { log }: UpkeepOptions,
  stop: AbortSignal,
  job: string,
  work: () => Promise<unknown>,
): Promise<void> {
  try {
    await work();
  } catch (error) {
    if (!stop.aborted) warnRepeatedly(log, { job, reason: describeError(error, 0, false) }, 'upkeep failed');
  }
}
