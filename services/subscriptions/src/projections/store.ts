// What this service knows of its neighbours. Events, owners' answers and snapshots all go through the same two
// upserts, guarded by the version, so any mix and any order of them converges on the owner's last state.
import type { PromotionStatus } from '@promopulse/shared/contracts/promotions';
import type { Database } from '@promopulse/shared/database/database';

export const sources = ['promotions', 'users'] as const;
/** The services whose state is remembered here. */
export type Source = (typeof sources)[number];

export interface PromotionState {
  id: number;
  status: PromotionStatus;
  version: number;
}
export interface UserState {
  id: number;
  version: number;
  deleted?: boolean;
}

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
    name: 'projection_distrust',
    text: `insert into projection_sources as source (service, invalidations) values ($1, 1)
      on conflict (service) do update set reconciled_at = null, invalidations = source.invalidations + 1`,
  },
  reconciled: {
    name: 'projection_reconciled',
    text: `insert into projection_sources as source (service, reconciled_at) values ($1, now())
      on conflict (service) do update set reconciled_at = excluded.reconciled_at where source.invalidations = $2`,
  },
  state: {
    name: 'projection_state',
    text: `select service, invalidations, reconciled_at is not null as reconciled,
                  extract(epoch from now() - watermark)::float as behind_seconds,
                  extract(epoch from now() - reconciled_at)::float as reconciled_seconds_ago
           from projection_sources`,
  },
};

export interface SourceState {
  service: Source;
  invalidations: number;
  reconciled: boolean;
  /** Age in seconds of what is known to be complete; null before the first heartbeat. */
  behind_seconds: number | null;
  reconciled_seconds_ago: number | null;
}

export function createProjections(database: Database) {
  return {
    /**
     * @param verifiedAt the database's clock before the owner was asked; undefined for what came by event
     * @returns how many rows were new or moved on
     */
    applyPromotions: async (states: readonly PromotionState[], verifiedAt?: Date): Promise<number> => {
      const columns = [
        states.map(({ id }) => id),
        states.map(({ status }) => status),
        states.map(({ version }) => version),
      ];
      return (await database.run(statements.promotions, [...columns, verifiedAt ?? null])).length;
    },

    applyUsers: async (states: readonly UserState[]): Promise<number> => {
      const ids = states.map(({ id }) => id);
      const versions = states.map(({ version }) => version);
      const deleted = states.map((state) => state.deleted ?? false);
      return (await database.run(statements.users, [ids, versions, deleted])).length;
    },

    applyHeartbeat: async (source: Source, watermark: Date): Promise<void> => {
      await database.run(statements.heartbeat, [source, watermark]);
    },

    /** An event of this source was set aside: what we hold is not complete until the next reconciliation. */
    invalidate: async (source: Source): Promise<void> => {
      await database.run(statements.invalidate, [source]);
    },

    /** @param invalidations as `state` said before the snapshot was read; if it grew since, the source stays unreconciled */
    markReconciled: async (source: Source, invalidations: number): Promise<void> => {
      await database.run(statements.reconciled, [source, invalidations]);
    },

    state: async (): Promise<Map<Source, SourceState>> => {
      const rows = await database.run<SourceState>(statements.state, []);
      return new Map(rows.map((row) => [row.service, row]));
    },
  };
}

export type Projections = ReturnType<typeof createProjections>;
