// What a lane does with the statements that it gets. The connections are stubs: a test decides when a statement ends.
import { setTimeout as sleep } from 'node:timers/promises';
import { expect, test } from '@jest/globals';
import type { Connection, Database } from '../../src/database/database.ts';
import { runInLane } from '../../src/database/statement-lane.ts';

/** A database whose statements end when `end` is called, in the order in which they began. */
function stubDatabase() {
  const running: { value: unknown; settle(error?: unknown): void }[] = [];
  const begun: unknown[] = [];
  const query = <Row>(_statement: unknown, [value]: readonly unknown[] = []): Promise<Row[]> =>
    new Promise((resolve, reject) => {
      begun.push(value);
      running.push({ value, settle: (error) => (error ? reject(error) : resolve([value as Row])) });
    });
  const connection: Connection = { query, release: () => undefined, end: () => undefined };
  const database = { connect: async () => connection } as unknown as Database;
  const end = async (error?: unknown): Promise<void> => {
    while (running.length === 0) await sleep(5); // the lane rests, because the machine was busy
    running.shift()?.settle(error);
    await new Promise((resolve) => setImmediate(resolve));
  };
  return { database, begun, running, end };
}

const run = (database: Database, value: number, lane = 'deep_offset') =>
  runInLane<number>(database, lane, { text: 'select $1' }, [value]);

test('runs one statement at a time, in the order in which they came; another lane is free', async () => {
  const { database, begun, running, end } = stubDatabase();
  const results = [1, 2, 3].map((value) => run(database, value));
  const other = run(database, 9, 'long_page');
  await new Promise((resolve) => setImmediate(resolve));
  expect(begun).toEqual([1, 9]);
  for (let count = 0; count < 4; count += 1) await end();
  expect(await Promise.all(results)).toEqual([[1], [2], [3]]);
  expect(await other).toEqual([9]);
  expect(running).toEqual([]);
});

test('rejects at once what is beyond a hundred waiting ones, and what waits for longer than a second', async () => {
  const { database, begun, end } = stubDatabase();
  const first = run(database, 0);
  const waiting = Array.from({ length: 100 }, (_, index) => run(database, index + 1));
  const outcomes = Promise.allSettled(waiting);
  const rejection = { code: 'overloaded', retryAfter: 1, headers: { 'Promopulse-Reached-Limit': 'deep_offset' } };
  await expect(run(database, 200)).rejects.toMatchObject(rejection);
  const started = performance.now();
  for (const outcome of await outcomes) expect(outcome).toMatchObject({ status: 'rejected', reason: rejection });
  expect(performance.now() - started).toBeGreaterThan(500);
  await end();
  expect(await first).toEqual([0]);
  expect(begun).toEqual([0]);
});

test('rests after a long statement for as long as it took, and then begins the next one', async () => {
  const { database, begun, end } = stubDatabase();
  const first = run(database, 1);
  const second = run(database, 2);
  await new Promise((resolve) => setTimeout(resolve, 200));
  await end();
  expect(await first).toEqual([1]);
  expect(begun).toEqual([1]);
  const started = performance.now();
  while (begun.length < 2) await new Promise((resolve) => setTimeout(resolve, 5));
  expect(performance.now() - started).toBeGreaterThan(100);
  await end();
  expect(await second).toEqual([2]);
});

test('a statement that exceeds its time limit is overloaded; other errors are as they are, and the lane goes on', async () => {
  const { database, end } = stubDatabase();
  const outcomes = Promise.allSettled([1, 2, 3].map((value) => run(database, value)));
  await new Promise((resolve) => setImmediate(resolve));
  await end(Object.assign(new Error('canceling statement due to statement timeout'), { code: '57014' }));
  await end(new Error('Connection terminated'));
  await end();
  expect(await outcomes).toMatchObject([
    { status: 'rejected', reason: { code: 'overloaded' } },
    { status: 'rejected', reason: { message: 'Connection terminated' } },
    { status: 'fulfilled', value: [3] },
  ]);
});
