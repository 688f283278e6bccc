// The tables of projections, for the entities of a service.
import { defineEntity, p } from '@mikro-orm/postgresql';

/** What the rows of every projection have, for the question whether they can be relied on (decision 0015). */
export function relianceColumns() {
  return {
    version: p.integer(),
    /** When the owner was last asked about this row; null when only events and readings have set it. */
    verified_at: p.datetime().nullable(),
    /** When the content changed last. An owner's answer that was read later outranks it, whatever its version. */
    changed_at: p.datetime().defaultRaw('now()'),
    /** Since when an event contradicts the row. The owner's answer ends it. */
    doubted_at: p.datetime().nullable(),
    /** Since when the owner has no such row, although this service has seen it: its database lost the row. */
    lost_at: p.datetime().nullable(),
  };
}

/** The rows in doubt and the lost ones are few, and are looked for often. */
export function relianceIndexes<Id extends string>(table: string, id: Id) {
  return [
    { name: `${table}_doubted_index`, properties: [id], where: 'doubted_at is not null' },
    { name: `${table}_lost_index`, properties: [id], where: 'lost_at is not null' },
  ];
}

/** How complete the projection of each owner is: one row per owner. */
export const ProjectionSource = defineEntity({
  name: 'ProjectionSource',
  tableName: 'projection_sources',
  properties: {
    service: p.string().length(50).primary(),
    /** Everything that the owner committed before this time has been published and applied. */
    watermark: p.datetime().nullable(),
    /** When the owner was last read completely enough; null before that, and from an invalidation on. */
    reconciled_at: p.datetime().nullable(),
    /** How often the projection was invalidated. A reading during which it grows does not count. */
    invalidations: p.integer().default(0),
    invalidated_at: p.datetime().nullable(),
    /** Whether the next reading must compare every row, not only what has changed since `read_to`. */
    complete_needed: p.boolean().default(true),
    /** When every row was last compared. */
    compared_at: p.datetime().nullable(),
    /** The owner's clock when its last reading began. */
    read_to: p.datetime(6).nullable(),
    /** The life of the owner's database that the rows are from. Only an answer of the owner changes it. */
    epoch: p.string().length(50).nullable(),
    /** The last id that the owner's outbox had given. */
    position: p.bigint('number').default(0),
    /** The session of the consumer that applies heartbeats, and how many it has applied. */
    session: p.string().length(50).nullable(),
    beats: p.integer().default(0),
    /** How many rows repeated readings have corrected. */
    corrected: p.integer().default(0),
  },
});
