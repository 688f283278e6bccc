// The projections: the state of other services that this one keeps. Events, owners' answers and snapshots go through the
// same two upserts. A row changes only to a higher version, so any order of them converges on the owner's last state.
import { promotionState } from '@promopulse/shared/contracts/promotions';
import { userState } from '@promopulse/shared/contracts/users';
import type { Database } from '@promopulse/shared/database/database';
import type { z } from 'zod';

export const ownerNames = ['promotions', 'users'] as const;
/** An owner of projected state. */
export type OwnerName = (typeof ownerNames)[number];

/** The fields used here, of events and of owners' answers. Nothing else is parsed, so all else may change. */
export const projectedPromotion = promotionState.pick({ id: true, status: true, version: true });
export const projectedUser = userState.pick({ id: true, version: true });

export type PromotionState = z.infer<typeof projectedPromotion>;
export type UserState = z.infer<typeof projectedUser> & { deleted?: boolean };

const statements = {
  promotions: {
    name: 'projection_promotions',
    text: `insert into cached_promotions as cached (promotion_id, status, version, verified_at)
      select *, $4::timestamptz from unnest($1::int[], $2::text[], $3::int[])
      on conflict (promotion_id) do update set
        status = excluded.status, version = excluded.version,
        verified_at = greatest(cached.verified_at, excluded.verified_at)
      where cached.version < excluded.version
         or (cached.version = excluded.version and excluded.verified_at is not null)
      returning promotion_id`,
  },
  users: {
    name: 'projection_users',
    text: `insert into known_users as known (user_id, version, deleted)
      select * from unnest($1::int[], $2::int[], $3::boolean[])
      on conflict (user_id) do update set version = excluded.version, deleted = excluded.deleted
      where known.version < excluded.version
      returning user_id`,
  },
  heartbeat: {
    name: 'projection_heartbeat',
    text: `insert into projection_sources as source (service, watermark) values ($1, $2)
      on conflict (service) do update set watermark = greatest(source.watermark, excluded.watermark)`,
  },
  invalidate: {
    name: 'projection_invalidate',
    text: `insert into projection_sources as source (service, invalidations) values ($1, 1)
      on conflict (service) do update set reconciled_at = null, invalidations = source.invalidations + 1`,
  },
  reconciled: {
    name: 'projection_reconciled',
    text: `insert into projection_sources as source (service, reconciled_at) values ($1, now())
      on conflict (service) do update set reconciled_at = excluded.reconciled_at where source.invalidations = $2`,
  },
  states: {
    name: 'projection_states',
    text: `select service, invalidations, reconciled_at is not null as reconciled,
                  extract(epoch from now() - watermark)::float as behind_seconds,
                  extract(epoch from now() - reconciled_at)::float as reconciled_seconds_ago
           from projection_sources`,
  },
};

export interface ProjectionState {
  service: OwnerName;
  invalidations: number;
  reconciled: boolean;
  /** Age in seconds of the last moment up to which the projection is complete; null before the first heartbeat. */
  behind_seconds: number | null;
  reconciled_seconds_ago: number | null;
}

/**
 * @param readAt the database's clock before the owner was asked; undefined for the state of an event
 * @returns how many rows were inserted or got a higher version
 */
export async function applyPromotions(
  database: Database,
  states: readonly PromotionState[],
  readAt?: Date,
): Promise<number> {
  const ids = states.map(({ id }) => id);
  const statuses = states.map(({ status }) => status);
  const versions = states.map(({ version }) => version);
  return (await database.run(statements.promotions, [ids, statuses, versions, readAt ?? null])).length;
}

/** @returns how many rows were inserted or got a higher version */
export async function applyUsers(database: Database, states: readonly UserState[]): Promise<number> {
  const ids = states.map(({ id }) => id);
  const versions = states.map(({ version }) => version);
  const deleted = states.map((state) => state.deleted ?? false);
  return (await database.run(statements.users, [ids, versions, deleted])).length;
}

export async function applyHeartbeat(database: Database, owner: OwnerName, watermark: Date): Promise<void> {
  await database.run(statements.heartbeat, [owner, watermark]);
}

/** After an event was dead-lettered: the projection of its owner is incomplete until the next reconciliation. */
export async function invalidate(database: Database, owner: OwnerName): Promise<void> {
  await database.run(statements.invalidate, [owner]);
}

/** @param invalidations their number before the snapshot was read; if it has grown, the projection stays unreconciled */
export async function markReconciled(database: Database, owner: OwnerName, invalidations: number): Promise<void> {
  await database.run(statements.reconciled, [owner, invalidations]);
}

export async function projectionStates(database: Database): Promise<Map<OwnerName, ProjectionState>> {
  const rows = await database.run<ProjectionState>(statements.states, []);
  return new Map(rows.map((row) => [row.service, row]));
}
