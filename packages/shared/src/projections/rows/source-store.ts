// How far each owner's projection can be relied on: one row per owner in `projection_sources`.
import type { ServiceName } from '../../contracts/services.ts';
import type { OwnerPosition } from '../../contracts/snapshot.ts';
import type { Database } from '../../database/database.ts';

/**
 * A session of heartbeats, $1 for example, in the present life of this database. A failover to another server may lose
 * events without a heartbeat among them: its new epoch ends the session (packages/shared/src/outbox/epoch.ts).
 */
const sessionSql = (session: string) => `${session} || '/' || left((select epoch from publication)::text, 8)`;

const statements = {
  /** $2: whether every row must be compared. $3: a new session of heartbeats, or null. */
  invalidate: {
    name: 'source_invalidate',
    text: `insert into projection_sources as source (service, invalidations, invalidated_at, session)
      values ($1, 1, now(), ${sessionSql('$3::text')})
      on conflict (service) do update set
        reconciled_at = null, invalidations = source.invalidations + 1, invalidated_at = now(),
        complete_needed = source.complete_needed or $2,
        session = coalesce(excluded.session, source.session), beats = case when $3::text is null then source.beats else 0 end`,
  },
  /**
   * One compare-and-set. It fails when another session has taken over, when this database was set back, when the epoch is
   * not the current one, when the owner has been set back, or when the watermark is ahead of the clock. A heartbeat from
   * before the last reading may have a lower position than the reading, and shows nothing.
   */
  heartbeat: {
    name: 'source_heartbeat',
    text: `with applied as (
        update projection_sources set
          watermark = greatest(case when watermark <= now() then watermark end, least($4, now())),
          beats = beats + 1, position = greatest(position, $5)
        where service = $1 and session = ${sessionSql('$2::text')} and beats = $3 and $4 <= now() + interval '1 second'
          and coalesce(epoch, $6) = $6 and (position <= $5 or $4 < read_to)
        returning 1
      )
      select case when exists (select from applied) then 'applied'
                  when $4 > now() + interval '1 second' then 'clock'
                  when session is distinct from ${sessionSql('$2::text')} or beats <> $3 then 'session'
                  when epoch <> $6 then 'epoch'
                  else 'set_back' end as outcome
      from projection_sources where service = $1`,
  },
  /** $2, $3: the epoch of an owner's answer, and its position. */
  adoptEpoch: {
    name: 'source_adopt_epoch',
    text: `update projection_sources set
        epoch = $2, position = $3, complete_needed = true,
        reconciled_at = null, invalidations = invalidations + 1, invalidated_at = now()
      where service = $1 and epoch is distinct from $2`,
  },
  /** $2: the invalidations before the reading. $3, $4: where the owner was. $5: whether every row was compared. */
  reconciled: {
    name: 'source_reconciled',
    text: `update projection_sources set
        reconciled_at = now(), read_to = $4, corrected = corrected + $6,
        position = case when $5 then $3 else greatest(position, $3) end,
        complete_needed = complete_needed and not $5,
        compared_at = case when $5 then now() else compared_at end
      where service = $1 and invalidations = $2
      returning 1`,
  },
  states: {
    name: 'source_states',
    text: `select service, invalidations, reconciled_at is not null as reconciled, epoch, position, read_to, corrected,
                  complete_needed,
                  extract(epoch from now() - watermark)::float as behind_seconds,
                  extract(epoch from now() - reconciled_at)::float as reconciled_seconds_ago,
                  extract(epoch from now() - compared_at)::float as compared_seconds_ago
           from projection_sources`,
  },
};

export interface SourceState {
  service: ServiceName;
  invalidations: number;
  reconciled: boolean;
  /** The life of the owner's database that the rows are from; null before the first reading. */
  epoch: string | null;
  position: number;
  /** The owner's clock when its last reading began. */
  read_to: Date | null;
  corrected: number;
  /** Whether the next reading must compare every row. */
  complete_needed: boolean;
  /** Age in seconds of the last moment up to which the projection is complete; null before the first heartbeat. */
  behind_seconds: number | null;
  reconciled_seconds_ago: number | null;
  compared_seconds_ago: number | null;
}

/** From here on nothing that is held of this owner is relied on, until it was read again. */
export async function invalidate(
  database: Database,
  owner: ServiceName,
  { complete = false, session }: { complete?: boolean; session?: string | undefined } = {},
): Promise<void> {
  await database.run(statements.invalidate, [owner, complete, session ?? null]);
}

/**
 * The owner has answered from another life of its database. From here on the events of this life are applied, those of
 * the former one are not, and nothing that is held is relied on until every row was compared.
 */
export async function adoptEpoch(database: Database, owner: ServiceName, read: OwnerPosition): Promise<void> {
  await database.run(statements.adoptEpoch, [owner, read.epoch, read.position]);
}

export interface Heartbeat {
  watermark: Date;
  epoch: string;
  position: number;
  /** The session that applies heartbeats, and how many it has applied before this one. */
  session: string;
  beats: number;
}

export type HeartbeatOutcome = 'applied' | 'clock' | 'session' | 'epoch' | 'set_back';

export async function applyHeartbeat(
  database: Database,
  owner: ServiceName,
  { watermark, epoch, position, session, beats }: Heartbeat,
): Promise<HeartbeatOutcome> {
  const values = [owner, session, beats, watermark, position, epoch];
  const [row] = await database.run<{ outcome: HeartbeatOutcome }>(statements.heartbeat, values);
  return row?.outcome ?? 'session';
}

/**
 * @param invalidations their number before the reading; if it has grown, the projection stays unreconciled
 * @returns whether it counts
 */
export async function markReconciled(
  database: Database,
  owner: ServiceName,
  { invalidations, read, complete, corrected }: Reading,
): Promise<boolean> {
  const values = [owner, invalidations, read.position, read.read_at, complete, corrected];
  return (await database.run(statements.reconciled, values)).length === 1;
}

interface Reading {
  invalidations: number;
  read: OwnerPosition;
  /** Whether every row was compared. */
  complete: boolean;
  corrected: number;
}

export async function sourceStates(database: Database): Promise<Map<ServiceName, SourceState>> {
  const rows = await database.run<SourceState>(statements.states, []);
  return new Map(rows.map((row) => [row.service, row]));
}

/**
 * A reading of this database's clock, with its microseconds: a Date has milliseconds, and what has changed in the same one
 * before the reading would look as if it had changed after it.
 */
export type ClockReading = string;

/** The expression that reads the clock. */
export const clockSql = 'now()::text';

const clock = { name: 'projection_clock', text: `select ${clockSql} as reading` };

export async function readClock(database: Database): Promise<ClockReading> {
  return ((await database.run<{ reading: ClockReading }>(clock, []))[0] as { reading: ClockReading }).reading;
}
