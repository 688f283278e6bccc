// The projections: the state of other services that this one keeps. Events change a row only to a higher version, so any
// order of them converges. An owner's answer is the authority: it also replaces a higher version, unless the row has
// changed since the owner was asked (decision 0015).
import type { Database } from '../../database/database.ts';
import type { ProjectedState, Projection } from '../definition.ts';
import { statementsOf } from './row-statements.ts';
import type { ClockReading } from './source-store.ts';

/**
 * `applied`: the row now equals the event. `superseded`: it does not, and the owner will be asked. `other_epoch`: the
 * event is from another life of the owner's database; nothing was changed.
 */
export type EventOutcome = 'applied' | 'superseded' | 'other_epoch';

/** Waits for the lock of its row. @throws the database's error */
export async function applyEvent(
  database: Database,
  projection: Projection,
  state: ProjectedState,
  epoch: string,
): Promise<EventOutcome> {
  const rows = await database.run<AppliedRow>(statementsOf(projection).event, [
    ...columnsOf(projection, [state]),
    epoch,
  ]);
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
  projection: Projection,
  states: readonly ProjectedState[],
  epoch: string,
): Promise<EventOutcome[]> {
  const values = [...columnsOf(projection, inOrder(states)), epoch];
  const rows = await database.run<AppliedRow>(statementsOf(projection).events, values);
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
  projection: Projection,
  state: ProjectedState,
  readAt: ClockReading,
): Promise<void> {
  await database.run(statementsOf(projection).answer, [...columnsOf(projection, [state]), readAt]);
}

/** The same about different rows, by one statement. */
export async function applyAnswers(
  database: Database,
  projection: Projection,
  states: readonly ProjectedState[],
  readAt: ClockReading,
): Promise<void> {
  if (states.length === 0) return;
  await database.run(statementsOf(projection).answers, [...columnsOf(projection, inOrder(states)), readAt]);
}

/** @returns how many rows were inserted or had another content */
export async function applyPage(
  database: Database,
  projection: Projection,
  states: readonly ProjectedState[],
  readAt: ClockReading,
): Promise<number> {
  const values = [...columnsOf(projection, states), readAt];
  const rows = await database.run<{ corrected: boolean }>(statementsOf(projection).page, values);
  return rows.filter(({ corrected }) => corrected).length;
}

/** In the order of the pages that reconciliation writes: two statements that lock the same rows then end in no deadlock. */
function inOrder(states: readonly ProjectedState[]): ProjectedState[] {
  return states.toSorted((a, b) => a.id - b.id);
}

function columnsOf({ contents }: Projection, states: readonly ProjectedState[]): unknown[][] {
  const valuesOf = (field: string): unknown[] => states.map((state) => state[field]);
  return ['id', ...contents.map(({ column }) => column), 'version'].map(valuesOf);
}

interface LostRow {
  id: number;
  newly_lost: boolean;
}

const newlyLost = (rows: readonly LostRow[]): number[] =>
  rows.filter(({ newly_lost }) => newly_lost).map(({ id }) => id);

/**
 * Marks rows that the owner does not have, unless they have changed since it was asked.
 * @returns the ids that were not marked before
 */
export async function markLost(
  database: Database,
  projection: Projection,
  ids: readonly number[],
  readAt: ClockReading,
): Promise<number[]> {
  if (ids.length === 0) return [];
  return newlyLost(await database.run<LostRow>(statementsOf(projection).lost, [ids, readAt]));
}

/** The same for all ids of a range but those that the owner has. */
export async function markLostInRange(
  database: Database,
  projection: Projection,
  { from, to, present }: { from: number; to: number; present: readonly number[] },
  readAt: ClockReading,
): Promise<number[]> {
  return newlyLost(await database.run<LostRow>(statementsOf(projection).lostInRange, [from, to, present, readAt]));
}

/** Until the owner has answered, nobody relies on the row. */
export async function doubt(database: Database, projection: Projection, id: number): Promise<void> {
  await database.run(statementsOf(projection).doubt, [id]);
}

/** @returns the ids of at most `maxIdsOfPage` doubtful rows */
export async function listDoubted(database: Database, projection: Projection): Promise<number[]> {
  return (await database.run<{ id: number }>(statementsOf(projection).doubted, [])).map(({ id }) => id);
}
