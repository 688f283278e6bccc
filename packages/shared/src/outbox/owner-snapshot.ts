// Reads what an owner has, for the consumers of its events. Each answer is one statement, so that the rows, the epoch and
// the position belong together.
import type { BucketDigest, OwnerPosition } from '../contracts/snapshot.ts';
import { bucketSize } from '../contracts/snapshot.ts';
import type { Database } from '../database/database.ts';
import { bucketSql, digestSql } from '../database/digest.ts';
import type { Statement } from '../database/prepared.ts';
import { unavailable } from '../errors.ts';
import { presentTime } from '../http/schemas.ts';
import { isSameServerSql, positionSql } from './publication.ts';

/** The table whose rows are read, and the columns that consumers get. `updated_at` changes with every change of a row. */
export interface SnapshotSource {
  table: string;
  columns: readonly ('id' | 'status' | 'version')[];
}

export interface PageRange {
  after_id: number;
  limit: number;
  up_to_id?: number | undefined;
  changed_since?: Date | undefined;
  ids?: readonly number[] | undefined;
}

export interface DigestRange {
  from_bucket: number;
  limit: number;
}

interface OwnerRow {
  epoch: string;
  position: number;
  read_at: Date;
  isSameServer: boolean;
}

const maxId = 2_147_483_647;

const ownerColumns = `epoch, ${positionSql} as position, now() as read_at, ${isSameServerSql} as "isSameServer"`;

/** @throws unavailable when the database is on another server than its epoch */
export async function readPage(database: Database, source: SnapshotSource, range: PageRange) {
  const { after_id, up_to_id = maxId, limit, changed_since, ids } = range;
  const filters = [
    ...(changed_since
      ? [{ name: 'changed', sql: 'updated_at > $4::timestamptz', value: changed_since.toISOString() }]
      : []),
    ...(ids ? [{ name: 'ids', sql: `id = any($${changed_since ? 5 : 4}::int[])`, value: ids }] : []),
  ];
  const statement = pageStatement(source, filters);
  const values = [after_id, up_to_id, limit, ...filters.map(({ value }) => value)];
  return await readOwner<{ items: unknown[] }>(database, statement, values);
}

/** @throws unavailable when the database is on another server than its epoch */
export function readDigests(database: Database, source: SnapshotSource, { from_bucket, limit }: DigestRange) {
  const statement = digestsStatement(source);
  return readOwner<{ items: BucketDigest[]; last_bucket: number }>(database, statement, [from_bucket, limit]);
}

/** $1: id before the first, $2: last id, $3: limit. Each combination of filters is a statement of its own, with its plan. */
function pageStatement(
  { table, columns }: SnapshotSource,
  filters: readonly { name: string; sql: string }[],
): Statement {
  const conditions = ['id > $1::int', 'id <= $2::int', ...filters.map(({ sql }) => sql)].join(' and ');
  return {
    name: ['snapshot_page', ...filters.map(({ name }) => name)].join('_'),
    text: `select ${ownerColumns}, (
             select coalesce(json_agg(page), '[]') from (
               select ${columns.join(', ')} from ${table} where ${conditions} order by id limit $3::int
             ) as page) as items
           from publication`,
  };
}

/** $1: first bucket, $2: number of buckets. */
function digestsStatement({ table, columns }: SnapshotSource): Statement {
  const digested = { id: 'id', version: 'version', ...(columns.includes('status') && { status: 'status' }) };
  return {
    name: 'snapshot_digests',
    text: `select ${ownerColumns}, coalesce((select ${bucketSql('max(id)')} from ${table}), -1) as last_bucket, (
             select coalesce(json_agg(digests), '[]') from (
               select ${bucketSql('id')} as bucket, count(*) as count, ${digestSql(digested)}::text as digest
               from ${table} where id >= $1::bigint * ${bucketSize} and id < ($1::bigint + $2) * ${bucketSize}
               group by 1 order by 1
             ) as digests) as items
           from publication`,
  };
}

async function readOwner<Answer>(
  database: Database,
  statement: Statement,
  values: readonly unknown[],
): Promise<OwnerPosition & Answer> {
  const [row] = await database.run<OwnerRow & Answer>(statement, values);
  if (!row?.isSameServer)
    throw unavailable('The database has moved to another server. Retry after the time in Retry-After.');
  const { isSameServer: _checked, read_at, ...rest } = row;
  return { ...rest, read_at: presentTime(read_at) } as OwnerPosition & Answer;
}
