// The stripes of counts: each connection that counts has its own. Those of the past are merged, so that a series of a year
// reads one row for each quarter of an hour.
import type { Database } from '@promopulse/shared/database/database';
import { runApart } from '@promopulse/shared/database/own-connection';
import { addSql, type Counts, eventCounts, receiptCounts } from '../queries.ts';

/** Most events are counted in a bucket that began shortly before. An older one makes a stripe again, which is merged, too. */
const mergedAfter = `interval '1 hour'`;
/** Of one transaction: a statement that counts in one of the rows waits for its end. */
const maxRows = 1_000;
/** Of one pass and table: the other jobs of upkeep wait. */
const maxTransactions = 50;

/**
 * Takes only rows that nobody has locked: it waits for no statement that counts. A statement that waits for a row of it
 * finds the row removed, and makes it again.
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

/** Merges stripes of buckets that began more than an hour ago, at most 50,000 of each table. @throws the database's error */
export async function mergeStripes(database: Database, stop: AbortSignal): Promise<void> {
  for (const merge of merges) {
    for (let count = maxRows, done = 0; count === maxRows && done < maxTransactions && !stop.aborted; done += 1) {
      count = (await runApart<{ count: number }>(database, merge, []))[0]?.count ?? 0;
    }
  }
}
