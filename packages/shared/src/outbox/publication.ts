// Which life of the database a service publishes from (docs/decisions/0015-epochs-and-sequences.md).
import { defineEntity, p } from '@mikro-orm/postgresql';

/** Part of every service's entities. The table has one row. */
export const Publication = defineEntity({
  name: 'Publication',
  tableName: 'publication',
  properties: {
    id: p.integer().primary().autoincrement(false),
    /** Names one uninterrupted life of this database. Random, because a counter would be set back with the database. */
    epoch: p.uuid().defaultRaw('gen_random_uuid()'),
    /** `pg_control_system().system_identifier`: which cluster the database was in when the epoch began. */
    system_identifier: p.text().nullable(),
    /** Changes with a point-in-time recovery and with the promotion of a standby. */
    timeline: p.text().nullable(),
  },
});

const systemIdentifierSql = '(select system_identifier::text from pg_control_system())';

/** Null on a standby. The control file would show the timeline of a promoted standby only after a checkpoint. */
const timelineSql = 'case when not pg_is_in_recovery() then left(pg_walfile_name(pg_current_wal_insert_lsn()), 8) end';

/** For an update of `publication`. */
export const setServerSql = `system_identifier = ${systemIdentifierSql}, timeline = ${timelineSql}`;

/** Whether the server is the one in which the epoch began. For a statement that reads from `publication`. */
export const isSameServerSql = `coalesce(system_identifier = ${systemIdentifierSql} and timeline = ${timelineSql}, false)`;

/** The last id that the outbox has given, 0 before the first. */
export const positionSql = `coalesce(pg_sequence_last_value(pg_get_serial_sequence('outbox', 'id')::regclass), 0)::float`;
