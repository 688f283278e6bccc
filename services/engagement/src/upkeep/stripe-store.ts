// The stripes of counts: each connection that counts has its own. Those of the past are merged, so that a series of a year
// reads one row for each quarter of an hour.
import type { Database } from '@promopulse/shared/database/database';
import { runApart } from '@promopulse/shared/database/own-connection';
import { addSql, type Counts, eventCounts, receiptCounts } from '../queries.ts';

/** Most events are counted in a bucket that began shortly before. A late one makes a stripe again, which is merged, too. */
const mergedAfter = `interval '1 hour'`;
/** Of one transaction: a statement that counts in one of the rows waits for its end. */
const maxRows = 1_000;

/**
 * Takes only rows that nobody has locked, so that it waits for no statement that counts, and such a statement may wait for
 * it. A row that is removed meanwhile is made again by that statement.
 */
const mergeText = ({ table, columns }: Counts): string => `with free as materialized (
    select promotion_id, type, bucket, stripe from ${table} where stripe <> 0 and bucket < now() - ${mergedAfter}
    limit ${maxRows} for update skip locked
  ), removed as (
    delete from ${table} as held using free
    where (held.promotion_id, held.type, held.bucket, held.stripe) = (free.promotion_id, free.type, free.bucket, free.stripe)
    returning held.*
  ), sums as materialized (
    select promotion_id, type, bucket, ${columns.map((column) => `sum(${column})::bigint as ${column}`).join(', ')}
    from removed group by promotion_id, type, bucket
  ), merged as (${addSql({ table, columns }, { stripe: '0', rows: 'sums' })})
  select count(*)::int as count from removed`;

const merges = [eventCounts, receiptCounts].map((counts) => ({ text: mergeText(counts), timeoutMs: 20_000 }));

/** Merges the stripes of all buckets of more than an hour ago that are not being written. @throws the database's error */
export async function mergeStripes(database: Database, stop: AbortSignal): Promise<void> {
  for (const merge of merges) {
    let count = maxRows;
    while (count === maxRows && !stop.aborted) {
      count = (await runApart<{ count: number }>(database, merge, []))[0]?.count ?? 0;
    }
  }
}
