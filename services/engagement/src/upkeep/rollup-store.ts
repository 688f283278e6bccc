// The totals of promotions, and which of them were published. An event has the totals of all time, so that one that is
// lost is made good by the next one.
import { engagementTotals, engagementTypes } from '@promopulse/shared/contracts/engagement';
import type { Database } from '@promopulse/shared/database/database';
import { presentTime } from '@promopulse/shared/http/schemas';
import { recordEvent } from '@promopulse/shared/outbox/outbox';
import { z } from 'zod';
import { bucketMinutes } from '../rules.ts';

const { view, click, redeem } = engagementTotals.shape;
const typeTotals = z.object({ view, click, redeem });
type TypeTotals = z.infer<typeof typeTotals>;

const statements = {
  /** $1: promotions with events that were accepted since, or a quarter of an hour before; null: all. */
  changed: {
    name: 'rollup_changed',
    text: `select distinct promotion_id from receipt_counts
      where accepted > 0 and bucket >= coalesce($1::timestamptz - interval '${bucketMinutes} minutes', '-infinity')
      order by 1`,
  },
  now: { name: 'rollup_now', text: 'select now()' },
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

export async function readNow(database: Database): Promise<Date> {
  return ((await database.run<{ now: Date }>(statements.now, []))[0] as { now: Date }).now;
}

/** @returns the promotions whose totals may differ from what was published at `since` */
export async function listCounted(database: Database, since: Date | null): Promise<number[]> {
  const rows = await database.run<{ promotion_id: number }>(statements.changed, [since]);
  return rows.map(({ promotion_id }) => promotion_id);
}

/** Records an event when the totals differ from what was published last. @returns whether they do */
export async function publishTotals(database: Database, promotionId: number): Promise<boolean> {
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
