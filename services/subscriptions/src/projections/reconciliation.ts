// Reads each owner's snapshot page by page through the upserts of events: at the start, soon after an event was
// dead-lettered, and at an interval. The queue need not be bound before: without a queue an event stays in its owner's
// outbox, so no event is lost between the snapshot and the first delivery.
import { sleep } from '@promopulse/shared/backoff';
import { tryLock } from '@promopulse/shared/database/advisory-lock';
import type { Database } from '@promopulse/shared/database/database';
import type { Logger } from '@promopulse/shared/telemetry/logger';
import type { OwnerClient, Owners } from './owner-client.ts';
import { applyPromotions, applyUsers, markReconciled, type OwnerName, ownerNames, projectionStates } from './store.ts';

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
      await reconcileDueOwners(options, stop.signal).catch((error: unknown) => {
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

async function reconcileDueOwners(options: ReconciliationOptions, stop: AbortSignal): Promise<void> {
  const { database, intervalMs, log } = options;
  const states = await projectionStates(database);
  const due = ownerNames.filter((owner) => {
    const state = states.get(owner);
    return !state?.reconciled || (state.reconciled_seconds_ago ?? 0) * 1000 > intervalMs;
  });
  if (due.length === 0) return;
  const lock = await tryLock(database, 'reconciliation');
  if (!lock) return; // another replica reconciles
  try {
    for (const owner of due) {
      const before = states.get(owner);
      const advanced = await readOwner(options, owner, stop);
      await markReconciled(database, owner, before?.invalidations ?? 0);
      report(log, owner, advanced, before?.reconciled ?? false);
    }
  } finally {
    lock.end();
  }
}

function readOwner({ database, owners }: ReconciliationOptions, owner: OwnerName, stop: AbortSignal): Promise<number> {
  return owner === 'promotions'
    ? readSnapshot(owners.promotions, (states) => applyPromotions(database, states), stop)
    : readSnapshot(owners.users, (states) => applyUsers(database, states), stop);
}

/** @returns how many rows were inserted or got a higher version */
async function readSnapshot<State extends { id: number }>(
  client: OwnerClient<State>,
  apply: (states: State[]) => Promise<number>,
  stop: AbortSignal,
): Promise<number> {
  let advanced = 0;
  let afterId = 0;
  for (;;) {
    const page = await client.page(afterId, pageSize, stop);
    if (page.length > 0) advanced += await apply(page);
    if (page.length < pageSize) return advanced;
    afterId = page.at(-1)?.id ?? afterId;
  }
}

/** A repeated reconciliation should change no row. A changed row means that its event was late or lost. */
function report(log: Logger, owner: OwnerName, advanced: number, repeated: boolean): void {
  if (!repeated) log.info({ source: owner, rows: advanced }, 'projection filled from its owner');
  else if (advanced > 0) log.warn({ source: owner, rows: advanced }, 'reconciliation advanced rows');
}
