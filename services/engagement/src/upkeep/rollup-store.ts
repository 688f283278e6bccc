// The totals of promotions, and which of them were published. An event has the totals of all time, so that one that is
// lost is made good by the next one.
import { engagementTotals, engagementTypes } from '@promopulse/shared/contracts/engagement';
import type { Database } from '@promopulse/shared/database/database';
import { runApart } from '@promopulse/shared/database/own-connection';
import { presentTime } from '@promopulse/shared/http/schemas';
import { recordEvent } from '@promopulse/shared/outbox/outbox';
import { z } from 'zod';
import { bucketMinutes } from '../rules.ts';

const { view, click, redeem } = engagementTotals.shape;
const typeTotals = z.object({ view, click, redeem });
type TypeTotals = z.infer<typeof typeTotals>;

/** A statement that counts may have begun in the quarter of an hour before the one in which it is committed. */
const overlap = `interval '${2 * bucketMinutes} minutes'`;

const statements = {
  /** The promotions that were counted since the last pass, or ever; and the clock. */
  changed: {
    text: `select now() as read_at, array(
        select distinct promotion_id from receipt_counts
        where accepted > 0 and bucket >= coalesce((select read_to - ${overlap} from rollup_progress), '-infinity')
        order by 1) as promotions`,
    timeoutMs: 20_000,
  },
  progress: {
    name: 'rollup_progress',
    text: `insert into rollup_progress (read_to) values ($1) on conflict (id) do update set read_to = excluded.read_to`,
  },
  totals: `select now() as counted_at, coalesce(jsonb_object_agg(type, jsonb_build_object('count', accepted, 'unique', first_ever)), '{}') as totals,
      (select jsonb_build_object('version', version, 'totals', totals) from rollups where promotion_id = ?) as published
    from (select type, sum(accepted) as accepted, sum(first_ever) as first_ever
      from event_counts where promotion_id = ? group by type) as counted`,
  publish: `insert into rollups (promotion_id, version, totals) values (?, ?, ?::json)
    on conflict (promotion_id) do update set version = excluded.version, totals = excluded.totals`,
};

interface TotalsRow {
  counted_at: string;
  totals: Partial<TypeTotals>;
  published: { version: number; totals: TypeTotals } | null;
}

/** Publishes the totals of every promotion that was counted since the last pass, whichever process made that. */
export async function publishChanged(database: Database, stop: AbortSignal): Promise<void> {
  const [row] = await runApart<{ read_at: Date; promotions: string[] }>(database, statements.changed, []);
  for (const promotion of row?.promotions ?? []) {
    if (stop.aborted) return;
    await publishTotals(database, Number(promotion));
  }
  await database.run(statements.progress, [row?.read_at]);
}

/** Records an event when the totals differ from what was published last. @returns whether they do */
async function publishTotals(database: Database, promotionId: number): Promise<boolean> {
  return await database.transaction(async (em) => {
    const [row]: TotalsRow[] = await em.execute(statements.totals, [promotionId, promotionId]);
    const { counted_at, totals, published } = row as TotalsRow;
    const none = { count: 0, unique: 0 };
    const current = Object.fromEntries(engagementTypes.map((type) => [type, totals[type] ?? none])) as TypeTotals;
    if (published && JSON.stringify(typeTotals.parse(published.totals)) === JSON.stringify(current)) return false;
    const version = (published?.version ?? 0) + 1;
    await em.execute(statements.publish, [promotionId, version, JSON.stringify(current)]);
    const data = { id: promotionId, version, ...current, counted_at: presentTime(new Date(counted_at)) };
    await recordEvent(em, 'engagement.counted', data, { requestId: 'rollup' });
    return true;
  });
}
