// Single statements share a few connections: how one statement, or a failed connection, affects the others.
import { setTimeout as sleep } from 'node:timers/promises';
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, test } from '@jest/globals';
import { eventually } from '@promopulse/testing/eventually';
import { createTestDatabase, type TestDatabase } from '@promopulse/testing/servers';
import { startTcpProxy, type TcpProxy } from '@promopulse/testing/tcp-proxy';
import { type Connection, type Database, openDatabase } from '../../src/database/database.ts';
import { withClient } from '../../src/database/provision.ts';
import { isDatabaseUnavailable } from '../../src/database/sqlstate.ts';
import { OutboxMessage } from '../../src/outbox/outbox.ts';

const poolMax = 3;
/** For reads, and as many for statements that can wait for a lock. */
const connections = 2;
/** Reads in flight on one connection. */
const maxDepth = 16;
let testDatabase: TestDatabase;
let proxy: TcpProxy;
let database: Database;
let pool: Connection[];

beforeAll(async () => {
  testDatabase = await createTestDatabase(['users']);
  await withClient(testDatabase.urlFor('users'), (client) =>
    client.query(`create table cards (label text primary key); insert into cards values ('existing')`),
  );
});
afterAll(() => testDatabase.drop());

beforeEach(async () => {
  proxy = await startTcpProxy(testDatabase.adminUrl);
  const url = proxy.through(testDatabase.urlFor('users'));
  const common = { schema: 'users', entities: [OutboxMessage], migrations: import.meta.dirname };
  database = await openDatabase({ ...common, url, poolMax, pipelinedConnections: 2 * connections });
  await allOpen();
  pool = await Promise.all(Array.from({ length: poolMax }, () => database.connect()));
});
afterEach(async () => {
  for (const connection of pool) connection.release();
  await database.close();
  await proxy.close();
});

const releasePool = () => {
  for (const connection of pool.splice(0)) connection.release();
};
const many = <Result>(count: number, one: (n: number) => Promise<Result>) =>
  Promise.all(Array.from({ length: count }, (_, n) => one(n)));
const pidOf = async (text = 'select pg_backend_pid() as pid') =>
  (await database.run<{ pid: number }>({ text }, []))[0]?.pid as number;
/** They open one at a time, while all open ones are busy. */
const allOpen = () =>
  eventually(async () => {
    const pids = await many(8, () => pidOf('select pg_backend_pid() as pid, pg_sleep(0.01)'));
    expect(new Set(pids).size).toBe(connections);
  });

test('while the pool is exhausted, many statements at once get their own results over a few connections', async () => {
  const text = 'select $1::int as n, pg_backend_pid() as pid';
  const rows = await many(connections * maxDepth, (n) => database.run<{ n: number; pid: number }>({ text }, [n]));
  expect(rows.map(([row]) => row?.n)).toEqual(rows.map((_, n) => n));
  expect(new Set(rows.map(([row]) => row?.pid)).size).toBe(connections);
});

test('a named statement is prepared once, also if it is sent many times before the first answer', async () => {
  const named = { name: 'twice', text: 'select 2 * $1::int as twice' };
  for (let round = 0; round < 3; round += 1) {
    const rows = await many(connections * maxDepth, (n) => database.run<{ twice: number }>(named, [n]));
    expect(rows.map(([row]) => row?.twice)).toEqual(rows.map((_, n) => 2 * n));
  }
});

test('a statement that fails does not affect those before and behind it', async () => {
  releasePool();
  const insert = { name: 'add', text: 'insert into cards values ($1) returning label' };
  const labels = Array.from({ length: 16 }, (_, n) => (n % 4 === 3 ? 'existing' : `card ${n}`));
  const results = await Promise.allSettled(labels.map((label) => database.write(insert, [label])));
  expect(results.map(({ status }) => status)).toEqual(
    labels.map((label) => (label === 'existing' ? 'rejected' : 'fulfilled')),
  );
  const rows = await database.run({ text: `delete from cards where label like 'card %' returning label` }, []);
  expect(rows).toHaveLength(12);
});

test('a statement that waits for a lock does not delay later ones', async () => {
  releasePool();
  const update = { text: `update cards set label = label where label = 'existing' returning label` };
  await withClient(testDatabase.urlFor('users'), async (client) => {
    await client.query('begin');
    await client.query(`select from cards where label = 'existing' for update`);
    const waiting = database.write(update, []);
    await sleep(50);
    const settled: string[] = [];
    const waited = waiting.finally(() => settled.push('waited'));
    await many(20, () => pidOf()).then(() => settled.push('others'));
    await client.query('rollback');
    expect(await waited).toEqual([{ label: 'existing' }]);
    expect(settled).toEqual(['others', 'waited']);
  });
});

test('a connection that has been silent for half a second gets no new statements', async () => {
  const slow = many(connections, () => pidOf('select pg_backend_pid() as pid, pg_sleep(1.2)'));
  await sleep(700);
  pool.pop()?.release();
  const start = performance.now();
  await many(20, () => pidOf());
  expect(performance.now() - start).toBeLessThan(400);
  await slow;
});

test('a statement that finds every connection full uses the pool, and waits for it for two seconds at most', async () => {
  const full = many(connections * maxDepth, () => pidOf('select pg_backend_pid() as pid, pg_sleep(0.1)'));
  const start = performance.now();
  const error = await pidOf().catch((reason: unknown) => reason);
  expect(isDatabaseUnavailable(error)).toBe(true);
  expect(performance.now() - start).toBeLessThan(3_500);
  const carriers = new Set(await full);
  pool.pop()?.release();
  const again = many(connections * maxDepth, () => pidOf('select pg_backend_pid() as pid, pg_sleep(0.05)'));
  expect(carriers).not.toContain(await pidOf());
  await again;
});

test('closing lets statements in flight finish', async () => {
  const slow = pidOf('select pg_backend_pid() as pid, pg_sleep(0.5)');
  releasePool();
  await database.close();
  expect(await slow).toEqual(expect.any(Number));
  expect(isDatabaseUnavailable(await pidOf().catch((reason: unknown) => reason))).toBe(true);
});

test('closing does not wait for a server that no longer answers', async () => {
  releasePool();
  proxy.stall();
  const start = performance.now();
  await database.close();
  expect(performance.now() - start).toBeLessThan(2_500);
  proxy.cut();
});

describe('a connection that', () => {
  beforeEach(() => releasePool());

  test('is ended by the server fails its statements in flight as unavailable, and the next statement succeeds', async () => {
    const slow = await many(2, async () => {
      const query = pidOf('select pg_backend_pid() as pid, pg_sleep(1.5)');
      query.catch(() => undefined);
      return { query };
    });
    await eventually(async () => {
      const rows = await withClient(testDatabase.adminUrl, (client) =>
        client.query(`select pg_terminate_backend(pid) from pg_stat_activity
          where application_name = 'promopulse-users' and state = 'active' and query like '%pg_sleep(1.5)%'`),
      );
      expect(rows.rowCount).toBe(2);
    });
    for (const { query } of slow)
      expect(isDatabaseUnavailable(await query.catch((error: unknown) => error))).toBe(true);
    await many(50, () => pidOf());
    await allOpen();
  });

  test('cannot be opened is not retried without end: the pool serves the statements', async () => {
    const url = proxy.through(testDatabase.urlFor('users'));
    const common = { schema: 'users', entities: [OutboxMessage], migrations: import.meta.dirname };
    const other = await openDatabase({ ...common, url, poolMax, pipelinedConnections: 2 * connections });
    for (const connection of await many(poolMax, () => other.connect())) connection.release();
    const before = proxy.accepted();
    proxy.limit(0); // only the open connections of the pool go on
    const readCards = () => other.run<{ label: string }>({ text: 'select label from cards' }, []);
    for (let n = 0; n < 5; n += 1) expect(await many(8, readCards)).toEqual(Array(8).fill([{ label: 'existing' }]));
    expect(proxy.accepted() - before).toBe(1);
    await other.close();
  });

  test('becomes silent is replaced after three seconds', async () => {
    proxy.stall();
    const start = performance.now();
    const errors = await many(10, () => pidOf().catch((error: unknown) => error));
    for (const error of errors) expect(isDatabaseUnavailable(error)).toBe(true);
    expect(performance.now() - start).toBeLessThan(5_000);
    const before = proxy.accepted();
    proxy.cut();
    proxy.resume();
    await eventually(() => pidOf());
    await many(50, () => pidOf());
    await eventually(async () => {
      await many(8, () => pidOf('select pg_backend_pid() as pid, pg_sleep(0.01)'));
      expect(proxy.accepted()).toBeGreaterThan(before);
    });
  });
});
