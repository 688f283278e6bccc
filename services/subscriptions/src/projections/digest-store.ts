// Statements over a whole projection: what it holds, to be compared with its owner and to be reported.
import { type BucketDigest, bucketSize, type ProjectionSummary } from '@promopulse/shared/contracts/snapshot';
import type { Database } from '@promopulse/shared/database/database';
import { bucketSql, digestSql } from '@promopulse/shared/database/digest';
import { type OwnerName, tables } from './store.ts';

function statementsOf(owner: OwnerName) {
  const { table, id, digested, present } = tables[owner];
  return {
    /** $1, $2: buckets, inclusive. */
    digests: {
      name: `projection_${owner}_digests`,
      text: `select ${bucketSql(id)} as bucket, count(*)::int as count, (${digestSql(digested)})::text as digest
        from ${table}
        where ${id} between $1::bigint * ${bucketSize} and $2::bigint * ${bucketSize} + ${bucketSize - 1} and ${present}
        group by 1 order by 1`,
    },
    lastBucket: {
      name: `projection_${owner}_last_bucket`,
      text: `select coalesce(${bucketSql(`max(${id})`)}, -1) as bucket from ${table}`,
    },
    summary: {
      name: `projection_${owner}_summary`,
      text: `select
          greatest((select max(${id}) from ${table}), (select max(${id}) from subscriptions), 0) as highest_id,
          (select count(*)::int from ${table} where lost_at is not null) as lost,
          (select count(*)::int from ${table} join subscriptions using (${id}) where lost_at is not null)
            as subscriptions_of_lost`,
    },
  };
}

const statements = { promotions: statementsOf('promotions'), users: statementsOf('users') };

export async function listDigests(
  database: Database,
  owner: OwnerName,
  from: number,
  to: number,
): Promise<BucketDigest[]> {
  return await database.run<BucketDigest>(statements[owner].digests, [from, to]);
}

/** @returns the highest bucket that has a row, -1 when there is none */
export async function readLastBucket(database: Database, owner: OwnerName): Promise<number> {
  return ((await database.run<{ bucket: number }>(statements[owner].lastBucket, []))[0] as { bucket: number }).bucket;
}

export async function summarize(database: Database, owner: OwnerName): Promise<ProjectionSummary> {
  return (await database.run<ProjectionSummary>(statements[owner].summary, []))[0] as ProjectionSummary;
}
