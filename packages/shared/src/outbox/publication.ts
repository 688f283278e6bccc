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
