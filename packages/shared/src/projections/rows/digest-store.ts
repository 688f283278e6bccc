// Statements over a whole projection: what it holds, to be compared with its owner and to be reported.
import { type BucketDigest, bucketSize, type ProjectionSummary } from '../../contracts/snapshot.ts';
import type { Database } from '../../database/database.ts';
import { bucketSql, digestSql } from '../../database/digest.ts';
import { oncePerProjection, type Projection } from '../definition.ts';

const statementsOf = oncePerProjection(({ owner, table, id, digested, present, dependents }) => ({
  /** $1, $2: buckets, inclusive. */
  digests: {
    name: `projection_${owner}_digests`,
    text: `select ${bucketSql(id)} as bucket, count(*)::int as count, (${digestSql(digested)})::text as digest
        from ${table}
        where ${id} between $1::bigint * ${bucketSize} and $2::bigint * ${bucketSize} + ${bucketSize - 1} and ${present}
        group by 1 order by 1`,
  },
  nextBucket: {
    name: `projection_${owner}_next_bucket`,
    text: `select ${bucketSql(`min(${id})`)} as bucket from ${table} where ${id} >= $1::bigint * ${bucketSize}`,
  },
  summary: {
    name: `projection_${owner}_summary`,
    text: `select
          greatest((select max(${id}) from ${table}), ${dependents ? `(select max(${id}) from ${dependents}), ` : ''}0) as highest_id,
          (select count(*) from ${table} where lost_at is not null) as lost,
          ${dependents ? `(select count(*) from ${table} join ${dependents} using (${id}) where lost_at is not null)` : '0'}
            as subscriptions_of_lost`,
  },
}));

export async function listDigests(
  database: Database,
  projection: Projection,
  from: number,
  to: number,
): Promise<BucketDigest[]> {
  return await database.run<BucketDigest>(statementsOf(projection).digests, [from, to]);
}

/** @returns the first bucket from `from` on that has a row, null when there is none */
export async function readNextBucket(database: Database, projection: Projection, from: number): Promise<number | null> {
  return (
    (await database.run<{ bucket: number | null }>(statementsOf(projection).nextBucket, [from]))[0]?.bucket ?? null
  );
}

export async function summarize(database: Database, projection: Projection): Promise<ProjectionSummary> {
  return (await database.run<ProjectionSummary>(statementsOf(projection).summary, []))[0] as ProjectionSummary;
}
