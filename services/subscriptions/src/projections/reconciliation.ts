// Cold start and safety net: reads each owner's snapshot page by page through the same guarded upserts, at the start,
// soon after an event was set aside, and now and then. The queue need not be bound first: an event that finds no
// queue stays in its owner's outbox, so nothing can fall between the snapshot and the first delivery.
import { sleep } from '@promopulse/shared/backoff';
import { tryLock } from '@promopulse/shared/database/advisory-lock';
import type { Database } from '@promopulse/shared/database/database';
import type { Logger } from '@promopulse/shared/telemetry/logger';
import type { OwnerClient } from './owner-client.ts';
import { type Projections, type PromotionState, type Source, sources, type UserState } from './store.ts';

const pageSize = 500;
const lookEveryMs = 1_000;

interface ReconciliationOptions {
  database: Database;
  projections: Projections;
  owners: { users: OwnerClient<UserState>; promotions: OwnerClient<PromotionState> };
  /** Milliseconds between two readings of a snapshot that nothing called for. */
  intervalMs: number;
  log: Logger;
}

/** @returns how to stop it: at once, in the middle of a snapshot */
export function startReconciliation(options: ReconciliationOptions): () => Promise<void> {
  const stop = new AbortController();
  const running = (async () => {
    while (!stop.signal.aborted) {
      await reconcileWhatIsDue(options, stop.signal).catch((error: unknown) => {
        if (!stop.signal.aborted) options.log.warn({ err: error }, 'cannot reconcile yet');
      });
      await sleep(lookEveryMs, stop.signal);
    }
  })();
  return async () => {
    stop.abort();
    await running;
  };
}

async function reconcileWhatIsDue(options: ReconciliationOptions, stop: AbortSignal): Promise<void> {
  const { database, projections, owners, intervalMs, log } = options;
  const states = await projections.state();
  const due = sources.filter((source) => {
    const state = states.get(source);
    return !state?.reconciled || (state.reconciled_seconds_ago ?? 0) * 1000 > intervalMs;
  });
  if (due.length === 0) return;
  const lock = await tryLock(database, 'reconciliation');
  if (!lock) return; // another replica is at it
  try {
    for (const source of due) {
      const before = states.get(source);
      const advanced =
        source === 'promotions'
          ? await readSnapshot(owners.promotions, projections.applyPromotions, stop)
          : await readSnapshot(owners.users, projections.applyUsers, stop);
      await projections.markReconciled(source, before?.invalidations ?? 0);
      report(log, source, advanced, before?.reconciled ?? false);
    }
  } finally {
    lock.end();
  }
}

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

/** A later reading that moves rows on means an event was late or lost: expected 0, but for events under way. */
function report(log: Logger, source: Source, advanced: number, repeated: boolean): void {
  if (!repeated) log.info({ source, rows: advanced }, 'projection filled from its owner');
  else if (advanced > 0) log.warn({ source, rows: advanced }, 'reconciliation moved rows on');
}
