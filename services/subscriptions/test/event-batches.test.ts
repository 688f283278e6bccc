// Events are applied in batches, and each of them ends as if it had been applied alone.
import { randomUUID } from 'node:crypto';
import { afterAll, beforeAll, beforeEach, describe, expect, test } from '@jest/globals';
import type { Database } from '@promopulse/shared/database/database';
import { withClient } from '@promopulse/shared/database/provision';
import { EventBatches, type StateEvent } from '@promopulse/shared/projections/events/event-batches';
import { adoptEpoch, invalidate } from '@promopulse/shared/projections/rows/source-store';
import { projections } from '../src/active-check/projections.ts';
import { type BareDatabase, openBareDatabase } from './bare-database.ts';

let bare: BareDatabase;
let database: Database;
/** Numbers of events in the statements so far, in order. */
let statements: number[];
/** Thrown in place of the next statements. */
let failures: Error[];
let batches: EventBatches;
let nextId = 1;

beforeAll(async () => {
  bare = await openBareDatabase();
  database = bare.database;
});
afterAll(() => bare?.drop());
beforeEach(() => {
  statements = [];
  failures = [];
  batches = new EventBatches({
    ...database,
    run: async (statement, values) => {
      statements.push((values[0] as number[]).length);
      const failure = failures.shift();
      if (failure) throw failure;
      return await database.run(statement, values);
    },
  });
});

const epoch = randomUUID();
const event = (id: number, version = 1, { status = 'active', of = epoch } = {}): StateEvent => ({
  kind: 'state',
  projection: projections.owners.promotions,
  publication: { epoch: of, lead: 'lead', sequencenumber: 1 },
  state: { id, version, status },
});
/** Ids that no test before has used. */
const newIds = (count: number): number[] => {
  nextId += count;
  return Array.from({ length: count }, (_, index) => nextId - count + index);
};
const applyAll = (events: readonly StateEvent[]) => Promise.allSettled(events.map((each) => batches.apply(each)));
const allApplied = (count: number) => Array.from({ length: count }, () => ({ status: 'fulfilled', value: 'applied' }));
const rowsOf = (ids: readonly number[]) =>
  database.run<{ promotion_id: number; status: string; version: number; doubted: boolean }>(
    {
      text: `select promotion_id, status, version, doubted_at is not null as doubted
        from cached_promotions where promotion_id = any($1::bigint[]) order by 1`,
    },
    [ids],
  );
const versionsOf = async (ids: readonly number[]) => (await rowsOf(ids)).map(({ version }) => version);

describe('events that come together', () => {
  test('are applied by one statement, those of 600 rows by two', async () => {
    const ids = newIds(600);
    expect(await applyAll(ids.map((id) => event(id)))).toEqual(allApplied(600));
    expect(statements).toEqual([500, 100]);
    expect(await versionsOf(ids)).toEqual(ids.map(() => 1));
  });

  test('of one row are applied in their order, and none of them counts as late', async () => {
    const [id = 0, other = 0] = newIds(2);
    const events = [1, 2, 3, 4, 5].map((version) => event(id, version));
    expect(await applyAll([...events, event(other)])).toEqual(allApplied(6));
    expect(statements).toEqual([2, 1, 1, 1, 1]);
    expect(await rowsOf([id])).toEqual([{ promotion_id: id, status: 'active', version: 5, doubted: false }]);
  });

  test('have outcomes of their own: applied, repeated, late, or with a version that contradicts the row', async () => {
    const [fresh = 0, repeated = 0, late = 0, contradicting = 0] = newIds(4);
    await applyAll([event(repeated, 3), event(late, 3), event(contradicting, 3)]);
    const outcomes = await applyAll([
      event(contradicting, 3, { status: 'ended' }),
      event(late, 2),
      event(repeated, 3),
      event(fresh, 3),
    ]);
    expect(statements).toEqual([3, 4]);
    const values = outcomes.map((outcome) => outcome.status === 'fulfilled' && outcome.value);
    expect(values).toEqual(['superseded', 'superseded', 'applied', 'applied']);
    const doubted = (await rowsOf([fresh, repeated, late, contradicting])).map((row) => row.doubted);
    expect(doubted).toEqual([false, false, true, true]);
  });

  test('of two epochs do not share a statement, and only those of the current one change a row', async () => {
    const ids = newIds(6);
    await invalidate(database, 'promotions');
    await adoptEpoch(database, 'promotions', { epoch, position: 1, read_at: new Date().toISOString() });
    const events = ids.map((id, index) => event(id, 1, { of: index % 2 === 0 ? epoch : randomUUID() }));
    const outcomes = (await applyAll(events)).map((outcome) => outcome.status === 'fulfilled' && outcome.value);
    expect(outcomes).toEqual(ids.map((_, index) => (index % 2 === 0 ? 'applied' : 'other_epoch')));
    expect(statements).toEqual([3, 1, 1, 1]);
    expect((await rowsOf(ids)).length).toBe(3);
  });
});

describe('one event of a batch of 200', () => {
  test('that cannot be stored fails alone, with the error of the database, and alone again', async () => {
    const ids = newIds(200);
    const events = ids.map((id) => event(id));
    const poison = event(ids[77] as number, 1, { status: 'a\0b' });
    events[77] = poison;
    const outcomes = await applyAll(events);
    expect(outcomes[77]).toMatchObject({ status: 'rejected', reason: { code: '22021' } });
    expect(outcomes.toSpliced(77, 1)).toEqual(allApplied(199));
    expect(statements.length).toBeLessThan(30);
    const before = statements.length;
    const [later = 0] = newIds(1);
    const repeated = await applyAll([poison, event(later)]);
    expect(repeated).toMatchObject([{ status: 'rejected' }, { status: 'fulfilled', value: 'applied' }]);
    expect(statements.slice(before)).toEqual([1, 1]);
  });

  test('whose row is locked holds up no other, is applied after the lock, and before those of its row', async () => {
    const ids = newIds(200);
    const [locked = 0] = ids.slice(120);
    await applyAll([event(locked, 1)]);
    await withClient(bare.url, async (holder) => {
      await holder.query('begin');
      await holder.query('select from subscriptions.cached_promotions where promotion_id = $1 for update', [locked]);
      const order: string[] = [];
      const second = batches.apply(event(locked, 2)).then((outcome) => order.push(`2 ${outcome}`));
      const others = ids.filter((id) => id !== locked).map((id) => event(id));
      expect(await applyAll(others)).toEqual(allApplied(199));
      const third = batches.apply(event(locked, 3)).then((outcome) => order.push(`3 ${outcome}`));
      const following = newIds(50);
      expect(await applyAll(following.map((id) => event(id)))).toEqual(allApplied(50));
      expect(order).toEqual([]);
      await holder.query('rollback');
      await Promise.all([second, third]);
      expect(order).toEqual(['2 applied', '3 applied']);
    });
    expect(await rowsOf([locked])).toMatchObject([{ version: 3, doubted: false }]);
  });
});

test('a lost connection is the error of every event, and the next attempt is a batch again', async () => {
  const events = newIds(100).map((id) => event(id));
  failures = [Object.assign(new Error('Connection terminated unexpectedly'))];
  const outcomes = await applyAll(events);
  expect(outcomes.map(({ status }) => status)).toEqual(events.map(() => 'rejected'));
  expect(await applyAll(events)).toEqual(allApplied(100));
  expect(statements).toEqual([100, 100]);
});

test('one event that comes alone is applied at once, in one statement', async () => {
  const [id = 0] = newIds(1);
  await expect(batches.apply(event(id))).resolves.toBe('applied');
  expect(statements).toEqual([1]);
});
