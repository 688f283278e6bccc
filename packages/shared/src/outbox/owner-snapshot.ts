// Reads what an owner has, for the consumers of its events. Each answer is one statement, so that the rows, the epoch and
// the position belong together.
import type { z } from 'zod';
import { maxId } from '../contracts/ids.ts';
import { bucketSize, type OwnerPosition } from '../contracts/snapshot.ts';
import type { Database } from '../database/database.ts';
import { bucketSql, digestSql } from '../database/digest.ts';
import { runApart } from '../database/own-connection.ts';
import type { Statement } from '../database/prepared.ts';
import { unavailable } from '../errors.ts';
import { presentTime } from '../http/schemas.ts';
import type { JsonText } from '../values/json-text.ts';
import { fieldSql } from './payload.ts';
import { isSameServerSql, positionSql } from './publication.ts';

/** The table whose rows are read, and the fields of its contract that consumers get. */
export interface SnapshotSource {
  table: string;
  /** Has `id` and `version`. A `status` is digested, too. */
  contract: z.ZodObject;
  /** Whether the table has `updated_at`, which changes with every change of a row. Default: true. */
  hasChanges?: boolean;
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

const ownerColumns = `epoch, ${positionSql} as position, now() as read_at, ${isSameServerSql} as "isSameServer"`;

/** @throws unavailable when the database is on another server than its epoch */
export function readPage(database: Database, { table, contract }: SnapshotSource, range: PageRange) {
  const { after_id, up_to_id = maxId, limit, changed_since, ids } = range;
  const values: unknown[] = [after_id, up_to_id, limit];
  const conditions = ['id > $1::bigint', 'id <= $2::bigint'];
  if (changed_since) conditions.push(`updated_at > $${values.push(changed_since.toISOString())}::timestamptz`);
  if (ids) conditions.push(`id = any($${values.push(ids)}::bigint[])`);
  const columns = Object.keys(contract.shape).map((field) => `${fieldSql(contract, field)} as "${field}"`);
  // With a limit, the planner expects changed rows everywhere and reads the table from the first id on. So they are
  // found first, and then sorted.
  const materialized = changed_since ? 'as materialized' : 'as not materialized';
  // Without a name, because the best plan depends on the values.
  const text = `with selected ${materialized} (select ${columns.join(', ')} from ${table} where ${conditions.join(' and ')})
    select ${ownerColumns}, (
      select coalesce(json_agg(page), '[]') from (select * from selected order by id limit $3::int) as page) as items
    from publication`;
  // Requests wait for single rows, which are found quickly: no connection is taken for them.
  const run: Run = ids ? (...read) => database.run(...read) : apart(database);
  return readOwner<{ items: JsonText }>(run, { text }, values);
}

/** @throws unavailable when the database is on another server than its epoch */
export function readDigests(database: Database, { table, contract }: SnapshotSource, range: DigestRange) {
  const digested = { id: 'id', version: 'version', ...('status' in contract.shape && { status: 'status' }) };
  // One scan of the index for each bucket: to group all rows by an expression would sort them on the disk.
  const text = `select ${ownerColumns}, coalesce((select ${bucketSql('max(id)')} from ${table}), -1) as last_bucket,
      (select ${bucketSql('min(id)')} from ${table} where id >= ($1::bigint + $2::int) * ${bucketSize}) as next_bucket, (
      select coalesce(json_agg(digests), '[]') from (
        select bucket, counted.* from generate_series($1::bigint, $1::bigint + $2::int - 1) as bucket
        cross join lateral (
          select count(*) as count, ${digestSql(digested)}::text as digest
          from ${table} where id >= bucket * ${bucketSize} and id < (bucket + 1) * ${bucketSize}
        ) as counted
        where count > 0 order by bucket
      ) as digests) as items
    from publication`;
  const { from_bucket, limit } = range;
  return readOwner<{ items: JsonText; last_bucket: number; next_bucket: number | null }>(apart(database), { text }, [
    from_bucket,
    limit,
  ]);
}

type Run = Database['run'];

function apart(database: Database): Run {
  return (...read) => runApart(database, ...read);
}

async function readOwner<Answer>(
  run: Run,
  statement: Statement,
  values: readonly unknown[],
): Promise<OwnerPosition & Answer> {
  const [row] = await run<OwnerRow & Answer>(statement, values);
  if (!row?.isSameServer)
    throw unavailable('The database has moved to another server. Retry after the time in Retry-After.');
  const { isSameServer: _checked, read_at, ...rest } = row;
  return { ...rest, read_at: presentTime(read_at) } as OwnerPosition & Answer;
}
