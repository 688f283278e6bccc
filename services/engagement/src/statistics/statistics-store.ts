// Reads the counts. Each answer is one statement, so its figures are of one moment.
import type { Database } from '@promopulse/shared/database/database';
import { runInLane } from '@promopulse/shared/database/statement-lane';
import { bucketMinutes } from '../rules.ts';

export const granularities = ['15m', 'hour', 'day'] as const;
type Granularity = (typeof granularities)[number];

export interface SeriesQuery {
  promotion_id: number;
  types: readonly string[];
  from: Date;
  to: Date;
  granularity: Granularity;
  /** A name of the IANA database. */
  timeZone: string;
}

export interface SeriesPoint {
  at: Date;
  /** The end of the point: the beginning of the next one. */
  until: Date;
  raw: number;
  /** Users and visitors who were seen for the first time on that day of UTC. */
  first_of_day: number;
  /** What an owner that was set back has lost counts the other way round. */
  joined: number;
  left: number;
  active: number;
  /** Receipts that were given in it. */
  duplicate: number;
  late: number;
  rejected: number;
  /** Of the whole range; in the first point only. */
  totals: Totals | null;
}

interface Totals {
  raw: number;
  /** Whether no event of the promotion occurred outside of the range. */
  is_all: boolean;
  /** Users and visitors who were seen for the first time ever. */
  first_ever: number;
  duplicate: number;
  late: number;
  rejected: number;
}

/**
 * The key of a point, as expressions over the parameters of `seriesText`. A day begins at midnight of its time zone, however
 * many hours it has, so its key is a local time. Hours and quarters are counted from the first one.
 */
interface Points {
  first: string;
  end: string;
  step: string;
  keyOf(time: string): string;
  at(key: string): string;
}

const same = (key: string): string => key;
const quarter = `${bucketMinutes} minutes`;

const points: Record<Granularity, Points> = {
  '15m': {
    first: `date_bin('${quarter}', $2::timestamptz, '2000-01-01T00:00:00Z')`,
    end: '$3::timestamptz',
    step: quarter,
    keyOf: (time) => `date_bin('${quarter}', ${time}, bounds.first)`,
    at: same,
  },
  hour: {
    first: `date_trunc('hour', $2::timestamptz, $4)`,
    end: '$3::timestamptz',
    step: '1 hour',
    keyOf: (time) => `date_bin('1 hour', ${time}, bounds.first)`,
    at: same,
  },
  day: {
    first: `date_trunc('day', $2::timestamptz at time zone $4)`,
    end: '$3::timestamptz at time zone $4',
    step: '1 day',
    keyOf: (time) => `date_trunc('day', ${time} at time zone $4)`,
    // Of a midnight that comes twice the first, and of one that does not come the moment in its place.
    at: (key) => `(((${key}) - interval '1 minute') at time zone $4 + interval '1 minute')`,
  },
};

const sums = (columns: readonly string[]): string =>
  columns.map((column) => `coalesce(sum(${column}), 0)::bigint as ${column}`).join(', ');

/** What a receipt can be beside `accepted`, which the counts of events have. */
const receipts = ['duplicate', 'late', 'rejected'] as const;

/** How far a point can begin before `from`, or end after `to`. */
const margin = `interval '2 days'`;

/** $1: promotion. $2, $3: from, to. $4: time zone. $5: types. The points are those that have a part of the range. */
function seriesText(granularity: Granularity): string {
  const { first, end, step, keyOf, at } = points[granularity];
  const near = `bucket >= $2::timestamptz - ${margin} and bucket < $3::timestamptz + ${margin}`;
  return `with bounds as materialized (select ${first} as first, $4::text as time_zone
    ), shown as materialized (
      select key, ${at('key')} as at, ${at(`key + interval '${step}'`)} as until
      from bounds, generate_series(bounds.first, ${end}, '${step}') as key where ${at('key')} < $3
    ), counts as materialized (
      select ${keyOf('bucket')} as key, sum(accepted)::bigint as raw, sum(first_of_day)::bigint as first_of_day,
        sum(first_ever)::bigint as first_ever
      from event_counts, bounds where promotion_id = $1 and type = any($5::text[]) and ${near} group by 1
    ), changes as materialized (
      select ${keyOf('bucket')} as key, sum(joined)::bigint as joined, sum("left")::bigint as "left"
      from subscription_changes, bounds where promotion_id = $1 and bucket < $3::timestamptz + ${margin} group by 1
    ), receipts as materialized (
      select ${keyOf('bucket')} as key, ${sums(receipts)}
      from receipt_counts, bounds where promotion_id = $1 and type = any($5::text[]) and ${near} group by 1
    ), outside as materialized (
      select not exists (select from event_counts where promotion_id = $1 and type = any($5::text[])
        and (bucket < (select min(at) from shown) or bucket >= (select max(until) from shown))) as is_all
    ), before as materialized (
      select coalesce(sum(joined - "left"), 0) as active from changes, bounds where key < bounds.first
    ), totals as materialized (
      select in_range.*, outside.*, given.*
      from (select ${sums(['raw', 'first_ever'])} from counts join shown using (key)) as in_range, outside,
        (select ${sums(receipts)} from receipts join shown using (key)) as given
    )
    select at, until, coalesce(raw, 0) as raw, coalesce(first_of_day, 0) as first_of_day,
      greatest(coalesce(joined, 0), 0) + greatest(-coalesce("left", 0), 0) as joined,
      greatest(coalesce("left", 0), 0) + greatest(-coalesce(joined, 0), 0) as "left",
      ((select active from before) + sum(coalesce(joined, 0) - coalesce("left", 0)) over (order by key))::bigint as active,
      ${receipts.map((column) => `coalesce(${column}, 0) as ${column}`).join(', ')},
      case when key = bounds.first then (select to_jsonb(totals) from totals) end as totals
    from bounds, shown left join counts using (key) left join changes using (key) left join receipts using (key)
    order by key`;
}

const statements = {
  series: {
    '15m': { name: 'statistics_15m', text: seriesText('15m') },
    hour: { name: 'statistics_hour', text: seriesText('hour') },
    day: { name: 'statistics_day', text: seriesText('day') },
  },
  /** $1: promotion, or null: all of them. A day before the horizon counts as removed, also while it is still there. */
  reconciliation: {
    timeoutMs: 20_000,
    text: `select receipts.*, counts.counters, kept.rows + removed.rows as rows, removed.rows as rows_removed
      from (select ${sums(['received', 'accepted', 'duplicate', 'late', 'rejected'])} from receipt_counts
          where $1::bigint is null or promotion_id = $1) as receipts,
        (select coalesce(sum(accepted), 0)::bigint as counters from event_counts
          where $1::bigint is null or promotion_id = $1) as counts,
        (select count(*) as rows from events where ($1::bigint is null or promotion_id = $1)
          and day >= (select first_day from event_horizon)) as kept,
        (select coalesce(sum(count), 0)::bigint as rows from removed_events
          where $1::bigint is null or promotion_id = $1) as removed`,
  },
};

/** A series with more points is read beside few others. */
const maxCheapPoints = 1_000;

/** @throws the database's error: SQLSTATE 22023 when it does not know the time zone; overloaded */
export function readSeries(database: Database, query: SeriesQuery, expectedPoints: number): Promise<SeriesPoint[]> {
  const { promotion_id, types, from, to, granularity, timeZone } = query;
  const values = [promotion_id, from.toISOString(), to.toISOString(), timeZone, types];
  const statement = statements.series[granularity];
  return expectedPoints > maxCheapPoints
    ? runInLane(database, 'statistics', statement, values)
    : database.run(statement, values);
}

export interface ReconciliationFigures {
  received: number;
  accepted: number;
  duplicate: number;
  late: number;
  rejected: number;
  counters: number;
  rows: number;
  rows_removed: number;
}

/** It reads every stored event, a second for about 10 million. @throws overloaded when another one runs, or it takes 20 s */
export async function readReconciliation(
  database: Database,
  promotionId: number | null,
): Promise<ReconciliationFigures> {
  const { reconciliation } = statements;
  const rows = await runInLane<ReconciliationFigures>(database, 'reconciliation', reconciliation, [promotionId]);
  return rows[0] as ReconciliationFigures;
}
