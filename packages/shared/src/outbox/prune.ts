// Deletes published rows after the retention time, beside the lead and never awaited by it. It goes through the ids in
// ranges and remembers where it is: the index entries of deleted rows stay until the table is vacuumed, and to pass them
// again for each range would cost more with each range. Rows that wait, are parked or were published late are passed;
// a new pass from the first id finds them.
// Partitions by day would make a deletion free. Then each batch of the relay would look into the index of each partition.
import { sleep } from '../backoff.ts';
import type { Database } from '../database/database.ts';
import { runApart } from '../database/own-connection.ts';
import type { Logger } from '../telemetry/logger.ts';
import { statements } from './statements.ts';

interface PruneOptions {
  database: Database;
  log: Logger;
  /** How long published rows are kept, in seconds. */
  retentionSeconds: number;
  /** Milliseconds between two times at which it looks for old rows. */
  pruneEveryMs: number;
}

interface PrunedRange {
  /** Null when there is no row above the position. */
  last: string | null;
  continues: boolean;
}

/** The pause after a statement, as a multiple of its time: the pruning uses a tenth of the time of one connection. */
const pauseFactor = 9;

const passEveryMs = 3_600_000;

/** Prunes until `signal` aborts. Never rejects. */
export async function pruneUntil(signal: AbortSignal, options: PruneOptions): Promise<void> {
  let position = '0';
  let nextPass = Date.now() + passEveryMs;
  while (!signal.aborted) {
    await sleep(options.pruneEveryMs, signal);
    if (Date.now() >= nextPass) {
      position = '0';
      nextPass = Date.now() + passEveryMs;
    }
    try {
      position = await pruneFrom(position, signal, options);
    } catch (error) {
      if (!signal.aborted) options.log.warn({ err: error }, 'published events could not be pruned');
    }
  }
}

/** @returns the id up to which the rows were deleted or passed */
async function pruneFrom(from: string, signal: AbortSignal, options: PruneOptions): Promise<string> {
  const { database, retentionSeconds } = options;
  let position = from;
  while (!signal.aborted) {
    const startedAt = performance.now();
    const [range] = await runApart<PrunedRange>(database, statements.prune, [position, retentionSeconds]);
    position = range?.last ?? position;
    if (!range?.continues) break;
    await sleep((performance.now() - startedAt) * pauseFactor, signal);
  }
  return position;
}
