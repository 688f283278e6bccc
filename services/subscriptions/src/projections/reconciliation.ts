// Reads each owner's snapshot page by page through the upserts of events: at the start, soon after an event was
// dead-lettered, and at an interval. The queue need not be bound before: without a queue an event stays in its owner's
// outbox, so no event is lost between the snapshot and the first delivery.
import { sleep } from '@promopulse/shared/backoff';
import { tryLock } from '@promopulse/shared/database/advisory-lock';
import type { Database } from '@promopulse/shared/database/database';
import type { Logger } from '@promopulse/shared/telemetry/logger';
import type { OwnerClient, Owners } from './owner-client.ts';
import { applyPromotions, applyUsers, markReconciled, type Source, sourceStates, sources } from './store.ts';

const pageSize = 500;
const checkEveryMs = 1_000;

interface ReconciliationOptions {
  database: Database;
  owners: Owners;
  /** Milliseconds from one complete reading of a snapshot to the next. */
  intervalMs: number;
  log: Logger;
}

/** @returns a function that stops it at once, also in the middle of a snapshot */
export function startReconciliation(options: ReconciliationOptions): () => Promise<void> {
  const stop = new AbortController();
  const running = (async () => {
    while (!stop.signal.aborted) {
      await reconcileDueSources(options, stop.signal).catch((error: unknown) => {
        if (!stop.signal.aborted) options.log.warn({ err: error }, 'cannot reconcile yet');
      });
      await sleep(checkEveryMs, stop.signal);
    }
  })();
  return async () => {
    stop.abort();
    await running;
  };
}

async function reconcileDueSources(options: ReconciliationOptions, stop: AbortSignal): Promise<void> {
  const { database, intervalMs, log } = options;
  const states = await sourceStates(database);
  const due = sources.filter((source) => {
    const state = states.get(source);
    return !state?.reconciled || (state.reconciled_seconds_ago ?? 0) * 1000 > intervalMs;
  });
  if (due.length === 0) return;
  const lock = await tryLock(database, 'reconciliation');
  if (!lock) return; // another replica reconciles
  try {
    for (const source of due) {
      const before = states.get(source);
      const advanced = await readSource(options, source, stop);
      await markReconciled(database, source, before?.invalidations ?? 0);
      report(log, source, advanced, before?.reconciled ?? false);
    }
  } finally {
    lock.end();
  }
}

function readSource({ database, owners }: ReconciliationOptions, source: Source, stop: AbortSignal): Promise<number> {
  return source === 'promotions'
    ? readSnapshot(owners.promotions, (states) => applyPromotions(database, states), stop)
    : readSnapshot(owners.users, (states) => applyUsers(database, states), stop);
}

/** @returns how many rows were inserted or got a higher version */
async function readSnapshot<State extends { id: number }>(
  owner: OwnerClient<State>,
  apply: (states: State[]) => Promise<number>,
  stop: AbortSignal,
): Promise<number> {
  let advanced = 0;
  let afterId = 0;
  for (;;) {
    const page = await owner.page(afterId, pageSize, stop);
    if (page.length > 0) advanced += await apply(page);
    if (page.length < pageSize) return advanced;
    afterId = page.at(-1)?.id ?? afterId;
  }
}

/** Rows that a repeated reading advances belong to a late or lost event. 0 are expected, but for events in flight. */
function report(log: Logger, source: Source, advanced: number, repeated: boolean): void {
  if (!repeated) log.info({ source, rows: advanced }, 'projection filled from its owner');
  else if (advanced > 0) log.warn({ source, rows: advanced }, 'reconciliation advanced rows');
}
