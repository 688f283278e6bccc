// The projections: the state of other services that this one keeps. Events change a row only to a higher version, so any
// order of them converges. An owner's answer is the authority: it also replaces a higher version, unless the row has
// changed since the owner was asked (decision 0015).

import { z } from 'zod';
import { promotionState } from '../../contracts/promotions.ts';
import { eventPrefix } from '../../contracts/services.ts';
import { userState } from '../../contracts/users.ts';
import type { Database } from '../../database/database.ts';

export const ownerNames = ['promotions', 'users'] as const;
/** An owner of projected state. */
export type OwnerName = (typeof ownerNames)[number];

/** @returns undefined for an event of a service that is not projected */
export function ownerOf(eventName: string): OwnerName | undefined {
  return ownerNames.find((owner) => eventName.startsWith(eventPrefix(owner)));
}

/** The fields used here, of events and of owners' answers. Nothing else is parsed, so all else may change. */
export const projectedPromotion = promotionState
  .pick({ id: true, version: true })
  .extend({ status: z.string().min(1) });
export const projectedUser = userState.pick({ id: true, version: true });

/** What one row holds: of a promotion its status, of a user whether it is deleted. */
export interface ProjectedState {
  id: number;
  version: number;
  status?: string;
  deleted?: boolean;
}

export const tables = {
  promotions: {
    table: 'cached_promotions',
    id: 'promotion_id',
    content: 'status',
    type: 'text',
    digested: { id: 'promotion_id', version: 'version', status: 'status' },
    present: 'lost_at is null',
  },
  users: {
    table: 'known_users',
    id: 'user_id',
    content: 'deleted',
    type: 'boolean',
    digested: { id: 'user_id', version: 'version' },
    present: 'lost_at is null and not deleted',
  },
} as const;

function statementsOf(owner: OwnerName) {
  const text = eventText(owner);
  return {
    event: { name: `projection_${owner}_event`, row: rowOf(owner), text },
    events: { name: `projection_${owner}_events`, failsWhenLocked: true, text },
    ...answerStatements(owner),
    ...rowStatements(owner),
  };
}

const givenRows = (type: string) => `unnest($1::bigint[], $2::${type}[], $3::int[])`;
const sameContent = (content: string) => `(held.${content}, held.version) = (excluded.${content}, excluded.version)`;

/** $1 of the statement is an array with one id. */
function rowOf(owner: OwnerName): (values: readonly unknown[]) => string {
  return ([ids]) => `${tables[owner].table} ${ids}`;
}

/**
 * For different rows. $4: epoch. A version that contradicts its row makes it doubtful: an owner's versions never go back.
 * It answers one row when all are applied or none is, and otherwise the ids of those that are not.
 */
function eventText(owner: OwnerName): string {
  const { table, id, content, type } = tables[owner];
  const isNewer = 'held.version < excluded.version';
  return `with source as (
        select coalesce((select epoch from projection_sources where service = '${owner}'), $4) = $4 as current
      ), changed as (
        insert into ${table} as held (${id}, ${content}, version)
        select given.* from ${givenRows(type)} as given, source where source.current
        on conflict (${id}) do update set
          ${content} = case when ${isNewer} then excluded.${content} else held.${content} end,
          version = greatest(held.version, excluded.version),
          changed_at = case when ${isNewer} then now() else held.changed_at end,
          doubted_at = case when ${isNewer} and held.lost_at is null then held.doubted_at else now() end
        where held.lost_at is not null or not (${sameContent(content)})
        returning ${id} as id, doubted_at is null as applied
      )
      select source.current, changed.id as superseded from source left join changed on not changed.applied`;
}

/** $4: when the owner was asked, by this database's clock. */
function answerStatements(owner: OwnerName) {
  const { table, id, content, type } = tables[owner];
  const same = sameContent(content);
  const outranked = 'held.version < excluded.version or held.changed_at < $4';
  const replace = `on conflict (${id}) do update set
      ${content} = excluded.${content}, version = excluded.version,
      changed_at = case when ${same} and held.lost_at is null then held.changed_at else now() end,
      verified_at = greatest(held.verified_at, excluded.verified_at),
      doubted_at = case when held.doubted_at > $4 then held.doubted_at end,
      lost_at = null`;
  return {
    answer: {
      name: `projection_${owner}_answer`,
      row: rowOf(owner),
      text: `insert into ${table} as held (${id}, ${content}, version, verified_at)
        select *, $4::timestamptz from ${givenRows(type)} ${replace}
        where ${outranked} or ${same} and held.lost_at is null`,
    },
    /** Writes no row that is the same. */
    page: {
      name: `projection_${owner}_page`,
      text: `insert into ${table} as held (${id}, ${content}, version)
        select * from ${givenRows(type)} ${replace}
        where case when ${same} and held.lost_at is null then held.doubted_at <= $4 else ${outranked} end
        returning changed_at = now() as corrected`,
    },
  };
}

function rowStatements(owner: OwnerName) {
  const { table, id, present } = tables[owner];
  return {
    doubt: {
      name: `projection_${owner}_doubt`,
      text: `update ${table} set doubted_at = now() where ${id} = $1`,
    },
    doubted: {
      name: `projection_${owner}_doubted`,
      text: `select ${id} as id from ${table} where doubted_at is not null order by ${id} limit 500`,
    },
    /**
     * $1 to $2: ids, inclusive. $3: those that the owner has. $4: when it was asked. The answer ends every doubt that is
     * older, also about a row that is known to be lost or deleted.
     */
    lost: {
      name: `projection_${owner}_lost`,
      text: `update ${table} set
          lost_at = case when ${present} then now() else lost_at end,
          changed_at = case when ${present} then now() else changed_at end,
          doubted_at = case when doubted_at > $4 then doubted_at end
        where ${id} between $1 and $2 and ${id} not in (select unnest($3::bigint[])) and changed_at < $4
          and (${present} or doubted_at <= $4)
        returning ${id} as id, coalesce(lost_at = now(), false) as newly_lost`,
    },
  };
}

const statements = { promotions: statementsOf('promotions'), users: statementsOf('users') };

/**
 * `applied`: the row now equals the event. `superseded`: it does not, and the owner will be asked. `other_epoch`: the
 * event is from another life of the owner's database; nothing was changed.
 */
export type EventOutcome = 'applied' | 'superseded' | 'other_epoch';

/** Waits for the lock of its row. @throws the database's error */
export async function applyEvent(
  database: Database,
  owner: OwnerName,
  state: ProjectedState,
  epoch: string,
): Promise<EventOutcome> {
  const rows = await database.run<AppliedRow>(statements[owner].event, [...columnsOf(owner, [state]), epoch]);
  return outcomesOf([state], rows)[0] as EventOutcome;
}

/**
 * Applies events of one epoch by one statement, or none of them.
 * @param states of different rows
 * @returns their outcomes, in order
 * @throws the database's error; SQLSTATE 55P03 also when a row stays locked for a moment
 */
export async function applyEvents(
  database: Database,
  owner: OwnerName,
  states: readonly ProjectedState[],
  epoch: string,
): Promise<EventOutcome[]> {
  // In the order of the pages that reconciliation writes: two statements that lock the same rows then end in no deadlock.
  const sorted = states.toSorted((a, b) => a.id - b.id);
  const rows = await database.run<AppliedRow>(statements[owner].events, [...columnsOf(owner, sorted), epoch]);
  return outcomesOf(states, rows);
}

interface AppliedRow {
  current: boolean;
  superseded: number | null;
}

function outcomesOf(states: readonly ProjectedState[], rows: readonly AppliedRow[]): EventOutcome[] {
  if (!rows[0]?.current) return states.map(() => 'other_epoch');
  const superseded = new Set(rows.map((row) => row.superseded));
  return states.map(({ id }) => (superseded.has(id) ? 'superseded' : 'applied'));
}

/** @param readAt this database's clock before the owner was asked */
export async function applyAnswer(
  database: Database,
  owner: OwnerName,
  state: ProjectedState,
  readAt: Date,
): Promise<void> {
  await database.run(statements[owner].answer, [...columnsOf(owner, [state]), readAt]);
}

/** @returns how many rows were inserted or had another content */
export async function applyPage(
  database: Database,
  owner: OwnerName,
  states: readonly ProjectedState[],
  readAt: Date,
): Promise<number> {
  const values = [...columnsOf(owner, states), readAt];
  const rows = await database.run<{ corrected: boolean }>(statements[owner].page, values);
  return rows.filter(({ corrected }) => corrected).length;
}

function columnsOf(owner: OwnerName, states: readonly ProjectedState[]): unknown[][] {
  const contents = states.map(({ status, deleted }) => (owner === 'promotions' ? status : (deleted ?? false)));
  return [states.map(({ id }) => id), contents, states.map(({ version }) => version)];
}

/** Marks rows that the owner does not have, unless they have changed since it was asked. @returns the ids that were not marked before */
export async function markLost(
  database: Database,
  owner: OwnerName,
  { from, to, present }: { from: number; to: number; present: readonly number[] },
  readAt: Date,
): Promise<number[]> {
  const values = [from, to, present, readAt];
  const rows = await database.run<{ id: number; newly_lost: boolean }>(statements[owner].lost, values);
  return rows.filter(({ newly_lost }) => newly_lost).map(({ id }) => id);
}

/** Until the owner has answered, nobody relies on the row. */
export async function doubt(database: Database, owner: OwnerName, id: number): Promise<void> {
  await database.run(statements[owner].doubt, [id]);
}

/** @returns the ids of at most 500 doubtful rows */
export async function listDoubted(database: Database, owner: OwnerName): Promise<number[]> {
  return (await database.run<{ id: number }>(statements[owner].doubted, [])).map(({ id }) => id);
}
