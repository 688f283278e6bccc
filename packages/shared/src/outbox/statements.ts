// The SQL of the relay and of the epoch.
import type { Statement } from '../database/prepared.ts';
import { isSameServerSql, positionSql, setServerSql } from './publication.ts';

/** How many rows a statement inspects for their number and age. A backlog can have millions. */
const maxInspectedRows = 10_000;

/** Rows in one statement of the pruning, which takes a few milliseconds. */
const pruneBatchSize = 1_000;

/** How far a new epoch raises the ids: more than a set-back database can have given unseen. */
const idGap = 100_000;

const waits = 'published_at is null and parked_at is null';
const isParked = 'published_at is null and parked_at is not null';
const waitingRows = `from (select created_at from outbox where ${waits} order by id limit ${maxInspectedRows}) as waiting_rows`;
/** Ids of the outbox are only passed on, so they are text. Order by `outbox.id`: `id` would order by the text. */
const eventColumns =
  'outbox.id::text as id, event_id, name, subject, data, request_id, actor, trace_parent, reply_to, created_at';

const publicationColumns = `epoch, ${isSameServerSql} as "isSameServer", system_identifier is not null as "isServerKnown"`;

export const statements = {
  /** $1: limit, $2: ids to leave out. */
  readBatch: {
    name: 'outbox_waiting',
    text: `select ${eventColumns}
           from outbox where ${waits} and id not in (select unnest($2::bigint[])) order by outbox.id limit $1`,
  },
  /** $1: ids. */
  mark: { name: 'outbox_mark', text: 'update outbox set published_at = now() where id = any($1::bigint[])' },
  /** $1: ids. */
  park: { name: 'outbox_park', text: 'update outbox set parked_at = now() where id = any($1::bigint[])' },
  /** The oldest parked row of each name, each found by one look into the index. */
  oldestParked: {
    name: 'outbox_oldest_parked',
    text: `with recursive names as (
             (select name from outbox where ${isParked} order by name limit 1)
             union all
             select (select name from outbox where ${isParked} and name > names.name order by name limit 1)
             from names where name is not null)
           select oldest.* from names cross join lateral (
             select ${eventColumns} from outbox where ${isParked} and outbox.name = names.name order by outbox.id limit 1
           ) as oldest`,
  },
  /** $1: name, $2: id before the first, $3: limit. */
  readParked: {
    name: 'outbox_parked',
    text: `select ${eventColumns} from outbox where ${isParked} and name = $1 and id > $2 order by outbox.id limit $3`,
  },
  /** $1: epoch, $2: holder of the lease. `isComplete` is false when more rows wait than are inspected. */
  watermark: {
    name: 'outbox_watermark',
    text: `select now() as now, coalesce(min(created_at), now()) as watermark,
                  count(*) < ${maxInspectedRows} as "isComplete", ${positionSql} as position,
                  (select ${isSameServerSql} and epoch = $1::uuid from publication) as "isSameEpoch",
                  exists (select from leases where name = 'relay' and holder = $2::uuid) as "isLeader" ${waitingRows}`,
  },
  backlog: {
    name: 'outbox_backlog',
    text: `select count(*)::int as waiting,
                  coalesce(extract(epoch from now() - min(created_at)), 0)::float as oldest_seconds,
                  (select count(*)::int from (select 1 from outbox where ${isParked} limit ${maxInspectedRows}) as parked_rows)
                    as parked ${waitingRows}`,
  },
  /**
   * Deletes from the first rows above an id. $1: the id, $2: how long published rows are kept, in seconds. `last` is the
   * id before the first row that will be old soon: a row that is a minute too late, or never, is passed.
   */
  prune: {
    name: 'outbox_prune',
    text: `with read as materialized (
             select id, created_at < now() - make_interval(secs => $2 + 60)
                      or coalesce(published_at < now() - make_interval(secs => $2), false) as is_passed
             from outbox where id > $1::bigint order by id limit ${pruneBatchSize}),
           bounds as (
             select coalesce(min(id) filter (where not is_passed) - 1, max(id)) as last,
                    count(*) = ${pruneBatchSize} and bool_and(is_passed) as continues from read),
           deleted as (
             delete from outbox where id > $1::bigint and id <= (select last from bounds)
               and published_at < now() - make_interval(secs => $2))
           select last::text as last, coalesce(continues, false) as continues from bounds`,
  },
  publication: { name: 'publication', text: `select ${publicationColumns} from publication` },
  createPublication: { text: 'insert into publication (id) values (1) on conflict (id) do nothing' },
  lockPublication: { text: `select ${publicationColumns} from publication for update` },
  rememberServer: { text: `update publication set ${setServerSql}` },
  beginEpoch: { text: `update publication set epoch = gen_random_uuid(), ${setServerSql} returning epoch` },
  /** $1: the sequence, $2: the highest id known elsewhere, $3: the last id that it may give. The names are quoted already. */
  raiseIds: (table: string, column: string): Statement => ({
    text: `select setval($1::text::regclass, least($3::bigint, ${idGap} + greatest(
             $2::bigint, pg_sequence_last_value($1::text::regclass), (select max(${column}) from ${table}))))::float as "lastId"`,
  }),
};
