// Deletes idempotency keys after their retention time. A key is valid until it is deleted. Every replica does so: a
// batch passes the rows that another replica is deleting.
import { settleWithin, sleep } from '../../backoff.ts';
import type { Logger } from '../../telemetry/logger.ts';
import type { Database } from '../database.ts';
import { runApart } from '../own-connection.ts';
import { isDatabaseUnavailable } from '../sqlstate.ts';

interface PruneOptions {
  database: Database;
  log: Logger;
  /** How long a key is kept, in seconds. */
  retentionSeconds: number;
  /** Milliseconds between two times at which it looks for old keys. Default 30,000. */
  everyMs?: number;
}

/** Rows in one statement, which takes a few milliseconds. */
const batchSize = 1_000;
/** The pause after a statement, as a multiple of its time: the pruning uses a tenth of the time of one connection. */
const pauseFactor = 9;
const stopTimeoutMs = 1_000;

/** $1: how long a key is kept, in seconds. */
const prune = {
  text: `delete from idempotency_keys where ctid = any(array(
           select ctid from idempotency_keys where created_at < now() - make_interval(secs => $1)
           order by created_at limit ${batchSize} for update skip locked))
         returning 1`,
};

/** @returns the function that stops it, which never rejects */
export function startKeyPruning({ everyMs = 30_000, ...options }: PruneOptions): () => Promise<void> {
  const stopping = new AbortController();
  const done = pruneUntil(stopping.signal, everyMs, options);
  return async () => {
    stopping.abort();
    await settleWithin(stopTimeoutMs, done);
  };
}

async function pruneUntil(signal: AbortSignal, everyMs: number, options: PruneOptions): Promise<void> {
  const { database, log, retentionSeconds } = options;
  while (!signal.aborted) {
    await sleep(everyMs * (0.5 + Math.random() / 2), signal); // replicas that started together do not prune together
    try {
      await pruneBatches(database, retentionSeconds, signal);
    } catch (error) {
      if (!signal.aborted && !isDatabaseUnavailable(error))
        log.warn({ err: error }, 'idempotency keys cannot be pruned');
    }
  }
}

async function pruneBatches(database: Database, retentionSeconds: number, signal: AbortSignal): Promise<void> {
  while (!signal.aborted) {
    const startedAt = performance.now();
    const deleted = await runApart(database, prune, [retentionSeconds]);
    if (deleted.length < batchSize) return;
    await sleep((performance.now() - startedAt) * pauseFactor, signal);
  }
}
