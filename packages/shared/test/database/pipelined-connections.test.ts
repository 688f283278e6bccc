// Single statements share a few connections: what one of them does, or what becomes of a connection, and the others.
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
const pipelines = 2;
/** On one connection. */
const deepest = 8;
let place: TestDatabase;
let proxy: TcpProxy;
let database: Database;
let pool: Connection[];

beforeAll(async () => {
  place = await createTestDatabase(['users']);
  await withClient(place.urlFor('users'), (client) =>
    client.query(`create table cards (label text primary key); insert into cards values ('there')`),
  );
});
afterAll(() => place.drop());

beforeEach(async () => {
  proxy = await startTcpProxy(place.adminUrl);
  const url = proxy.through(place.urlFor('users'));
  const common = { schema: 'users', entities: [OutboxMessage], migrations: import.meta.dirname };
  database = await openDatabase({ ...common, url, poolMax, pipelinedConnections: pipelines });
  await allOpen();
  pool = await Promise.all(Array.from({ length: poolMax }, () => database.connect()));
});
afterEach(async () => {
  for (const connection of pool) connection.release();
  await database.close();
  await proxy.close();
});

const many = <Result>(count: number, one: (n: number) => Promise<Result>) =>
  Promise.all(Array.from({ length: count }, (_, n) => one(n)));
const pidOf = async (text = 'select pg_backend_pid() as pid') =>
  (await database.run<{ pid: number }>({ text }, []))[0]?.pid as number;
/** They open one by one while there is more to do than those that are open can do at once. */
const allOpen = () =>
  eventually(async () => {
    const pids = await many(8, () => pidOf('select pg_backend_pid() as pid, pg_sleep(0.01)'));
    expect(new Set(pids).size).toBe(pipelines);
  });

test('while every connection of the pool is taken, hundreds at once are answered, each with its own, over a few connections', async () => {
  const text = 'select $1::int as n, pg_backend_pid() as pid';
  const rows = await many(pipelines * deepest, (n) => database.run<{ n: number; pid: number }>({ text }, [n]));
  expect(rows.map(([row]) => row?.n)).toEqual(rows.map((_, n) => n));
  expect(new Set(rows.map(([row]) => row?.pid)).size).toBe(pipelines);
});

test('a statement with a name is prepared once, also by many that are sent before the first is answered', async () => {
  const named = { name: 'twice', text: 'select 2 * $1::int as twice' };
  for (let round = 0; round < 3; round += 1) {
    const rows = await many(pipelines * deepest, (n) => database.run<{ twice: number }>(named, [n]));
    expect(rows.map(([row]) => row?.twice)).toEqual(rows.map((_, n) => 2 * n));
  }
});

test('one that fails fails alone: those before and behind it are committed', async () => {
  const insert = { name: 'add', text: 'insert into cards values ($1) returning label' };
  const labels = Array.from({ length: pipelines * deepest }, (_, n) => (n % 4 === 3 ? 'there' : `card ${n}`));
  const results = await Promise.allSettled(labels.map((label) => database.write(insert, [label])));
  expect(results.map(({ status }) => status)).toEqual(
    labels.map((label) => (label === 'there' ? 'rejected' : 'fulfilled')),
  );
  const rows = await database.run({ text: `delete from cards where label like 'card %' returning label` }, []);
  expect(rows).toHaveLength(12);
});

test('one that waits for a lock holds up nobody who comes later, as long as another connection is free', async () => {
  const update = { text: `update cards set label = label where label = 'there' returning label` };
  await withClient(place.urlFor('users'), async (client) => {
    await client.query('begin');
    await client.query(`select from cards where label = 'there' for update`);
    const waiting = database.write(update, []);
    await sleep(50);
    const start = performance.now();
    for (let n = 0; n < 50; n += 1) await pidOf();
    expect(performance.now() - start).toBeLessThan(900);
    await client.query('rollback');
    expect(await waiting).toEqual([{ label: 'there' }]);
  });
});

test('one that has answered nothing for half a second is left alone, also by many at once', async () => {
  const slow = many(pipelines, () => pidOf('select pg_backend_pid() as pid, pg_sleep(1.2)'));
  await sleep(700);
  pool.pop()?.release();
  const start = performance.now();
  await many(20, () => pidOf());
  expect(performance.now() - start).toBeLessThan(400);
  await slow;
});

test('what finds every connection full takes one of the pool, and waits for it no longer than two seconds', async () => {
  const full = many(pipelines * deepest, () => pidOf('select pg_backend_pid() as pid, pg_sleep(0.3)'));
  const start = performance.now();
  const error = await pidOf().catch((reason: unknown) => reason);
  expect(isDatabaseUnavailable(error)).toBe(true);
  expect(performance.now() - start).toBeLessThan(3_500);
  const carriers = new Set(await full);
  pool.pop()?.release();
  const again = many(pipelines * deepest, () => pidOf('select pg_backend_pid() as pid, pg_sleep(0.05)'));
  expect(carriers).not.toContain(await pidOf());
  await again;
});

test('closing lets what is under way finish', async () => {
  const slow = pidOf('select pg_backend_pid() as pid, pg_sleep(0.5)');
  for (const connection of pool.splice(0)) connection.release();
  await database.close();
  expect(await slow).toEqual(expect.any(Number));
  expect(isDatabaseUnavailable(await pidOf().catch((reason: unknown) => reason))).toBe(true);
});

test('closing does not wait for a server that has fallen silent', async () => {
  for (const connection of pool.splice(0)) connection.release();
  proxy.stall();
  const start = performance.now();
  await database.close();
  expect(performance.now() - start).toBeLessThan(2_500);
  proxy.cut();
});

describe('a connection that', () => {
  beforeEach(() => {
    for (const connection of pool.splice(0)) connection.release();
  });

  test('is ended by the server fails what is under way on it as unavailable, and the next statement works', async () => {
    const slow = await many(2, async () => {
      const asked = pidOf('select pg_backend_pid() as pid, pg_sleep(1.5)');
      asked.catch(() => undefined);
      return { asked };
    });
    await eventually(async () => {
      const rows = await withClient(place.adminUrl, (client) =>
        client.query(`select pg_terminate_backend(pid) from pg_stat_activity
          where application_name = 'promopulse-users' and state = 'active' and query like '%pg_sleep(1.5)%'`),
      );
      expect(rows.rowCount).toBe(2);
    });
    for (const { asked } of slow)
      expect(isDatabaseUnavailable(await asked.catch((error: unknown) => error))).toBe(true);
    await many(50, () => pidOf());
    await allOpen();
  });

  test('cannot be opened is not tried for ever: settings of the URL that only the driver knows do no harm', async () => {
    const url = new URL(place.urlFor('users'));
    url.search = '?sslmode=verify-full&sslrootcert=/nowhere/root.crt&options=-c%20search_path%3Dpublic';
    const common = { schema: 'users', entities: [OutboxMessage], migrations: import.meta.dirname };
    const other = await openDatabase({ ...common, url: url.href, poolMax, pipelinedConnections: pipelines });
    const asked = () => other.run<{ label: string }>({ text: 'select label from cards' }, []);
    for (let n = 0; n < 5; n += 1) expect(await many(8, asked)).toEqual(Array(8).fill([{ label: 'there' }]));
    await other.close();
  });

  test('falls silent is given up after three seconds, and replaced', async () => {
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
