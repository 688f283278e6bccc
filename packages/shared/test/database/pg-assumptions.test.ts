// What database/ assumes of node-postgres beyond its documentation. A test that fails after an upgrade of pg names the
// assumption, and the code that relies on it.
import { Socket } from 'node:net';
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, test } from '@jest/globals';
import { MikroORM } from '@mikro-orm/postgresql';
import { createTestDatabase, type TestDatabase } from '@promopulse/testing/servers';
import { startTcpProxy, type TcpProxy } from '@promopulse/testing/tcp-proxy';
import pg from 'pg';
import { ormOptions, poolOf } from '../../src/database/database.ts';
import { queryOf } from '../../src/database/prepared.ts';
import { isDatabaseUnavailable, isUnanswered } from '../../src/database/sqlstate.ts';
import { OutboxMessage } from '../../src/outbox/outbox.ts';
import { JsonText } from '../../src/values/json-text.ts';

let testDatabase: TestDatabase;
let proxy: TcpProxy;
let connectionString: string;
const ends: (() => Promise<unknown>)[] = [];

beforeAll(async () => {
  testDatabase = await createTestDatabase(['users']);
});
afterAll(() => testDatabase.drop());
beforeEach(async () => {
  proxy = await startTcpProxy(testDatabase.adminUrl);
  connectionString = proxy.through(testDatabase.urlFor('users'));
});
afterEach(async () => {
  for (const end of ends.splice(0)) await end();
  await proxy.close();
});

function newPool(config: pg.PoolConfig = {}): pg.Pool {
  const pool = new pg.Pool({ connectionString, max: 1, ...config });
  pool.on('error', () => undefined);
  ends.push(async () => {
    if (!pool.ending) await pool.end();
  });
  return pool;
}

async function newClient(config: pg.ClientConfig = {}): Promise<pg.Client> {
  const client = new pg.Client({ connectionString, ...config });
  client.on('error', () => undefined);
  await client.connect();
  ends.push(() => client.end());
  return client;
}

const failureOf = (work: Promise<unknown>) =>
  work.then(
    () => {
      throw new Error('the work did not fail');
    },
    (error: unknown) => error,
  );
const isReady = (client: unknown) => (client as { readyForQuery: boolean }).readyForQuery;

test("a transaction of MikroORM passes a QueryConfig and its values on to node-postgres: values and types are pg's", async () => {
  const orm = new MikroORM(
    ormOptions({ url: connectionString, schema: 'users', entities: [OutboxMessage], migrations: import.meta.dirname }),
  );
  type Context = { executeQuery(query: object): Promise<{ rows: object[] }> };
  const rows = await orm.em.fork().transactional(async (em) => {
    const context = em.getTransactionContext<Context>() as Context;
    const text = 'select $1::json as json, $2::bigint as big, now() as time, txid_current() = $3::bigint as same';
    const [current] = await em.execute<{ id: string }[]>('select txid_current()::text as id');
    const values = ['{"b":1.50}', '7', current?.id];
    return (await context.executeQuery({ sql: queryOf({ text }, values), parameters: values })).rows;
  });
  expect(rows).toEqual([{ json: new JsonText('{"b":1.50}'), big: 7, time: expect.any(Date), same: true }]);
  await orm.close();
});

describe('the pool', () => {
  test('of MikroORM is one of node-postgres, and its `options` are the settings of a connection', async () => {
    const orm = new MikroORM(
      ormOptions({
        url: connectionString,
        schema: 'users',
        entities: [OutboxMessage],
        migrations: import.meta.dirname,
      }),
    );
    const pool = await poolOf(orm);
    const url = new URL(connectionString);
    expect(pool).toBeInstanceOf(pg.Pool);
    expect(pool.options).toMatchObject({
      host: url.hostname,
      port: Number(url.port),
      user: url.username,
      password: decodeURIComponent(url.password),
      database: url.pathname.slice(1),
      max: 5,
    });
    await orm.close();
  });

  test('calls an `options.onConnect` that was set later, and waits for it before the first query', async () => {
    const pool = newPool();
    pool.options.onConnect = (client: pg.ClientBase) => client.query(`set application_name = 'prepared'`);
    expect((await pool.query('show application_name')).rows).toEqual([{ application_name: 'prepared' }]);
  });

  test('closes a connection that a listener of `release` ends, by its own look at `_ending`', async () => {
    const pool = newPool();
    pool.on('release', (_error, client) => void (client as unknown as pg.Client).end());
    const { rows: before } = await pool.query('select pg_backend_pid() as pid');
    const { rows: after } = await pool.query('select pg_backend_pid() as pid');
    expect(after).not.toEqual(before);
  });

  test('says by `ending` whether it was ended: a second end is an error', async () => {
    const pool = newPool();
    expect(pool.ending).toBe(false);
    await pool.end();
    expect(pool.ending).toBe(true);
    await expect(pool.end()).rejects.toThrow('more than once');
  });
});

describe('a client', () => {
  test('has `readyForQuery`, which is false from a query until its answer', async () => {
    const client = await newClient();
    expect(isReady(client)).toBe(true);
    const query = client.query('select 1');
    expect(isReady(client)).toBe(false);
    await query;
    expect(isReady(client)).toBe(true);
  });

  test('takes a query right after an error, before the server is ready, and sends it then', async () => {
    const client = await newClient();
    const failed = failureOf(client.query('select 1 / $1::int', [0]));
    expect(await failed).toMatchObject({ code: '22012' });
    expect((await client.query('select 1 as n')).rows).toEqual([{ n: 1 }]);
  });

  test('takes `query_timeout` from a query as well', async () => {
    const client = await newClient();
    const query: pg.QueryConfig & pg.ClientConfig = { text: 'select pg_sleep(1)', query_timeout: 100 };
    expect(await failureOf(client.query(query))).toMatchObject({ message: 'Query read timeout' });
  });

  test('prepares no named statement for a query whose name is empty', async () => {
    const client = await newClient();
    expect((await client.query({ name: '', text: 'select $1::int as n', values: [1] })).rows).toEqual([{ n: 1 }]);
    expect((await client.query('select from pg_prepared_statements')).rowCount).toBe(0);
  });

  test('does not prepare a named statement again by itself when its plan is invalid', async () => {
    const client = await newClient();
    const named = { name: 'named', text: 'select * from plans' };
    await client.query('create table plans (n int)');
    await client.query(named);
    await client.query('alter table plans alter n type bigint');
    const routine = 'RevalidateCachedQuery';
    for (let n = 0; n < 2; n += 1)
      expect(await failureOf(client.query(named))).toMatchObject({ code: '0A000', routine });
    await client.query('discard all');
    expect(await failureOf(client.query(named))).toMatchObject({ code: '26000' });
  });
});

describe('a client with `pipeline`', () => {
  const pipelined = () => newClient({ pipeline: true } as pg.ClientConfig);

  test('sends a query before the one before it is answered', async () => {
    const client = await pipelined();
    proxy.stall();
    const answered: number[] = [];
    const queries = [1, 2].map(async (n) => {
      const { rows } = await client.query('select now()::text as now, $1::int as n', [n]);
      answered.push(n);
      return rows[0];
    });
    proxy.resume();
    await Promise.all(queries);
    expect(answered).toEqual([1, 2]);
  });

  test('gives each query a transaction of its own: an error leaves those behind it alone', async () => {
    const client = await pipelined();
    const results = await Promise.allSettled([
      client.query('select 1 as n'),
      client.query('select 1 / $1::int', [0]),
      client.query('select 3 as n'),
    ]);
    expect(results.map(({ status }) => status)).toEqual(['fulfilled', 'rejected', 'fulfilled']);
  });

  test('ends only after its queries are answered', async () => {
    const client = await pipelined();
    const slow = client.query('select pg_sleep(0.3)');
    await client.end();
    expect((await slow).rowCount).toBe(1);
  });

  test('closes its connection when a query is not answered in time, and fails all queries on it', async () => {
    const client = await newClient({ pipeline: true, query_timeout: 300 } as pg.ClientConfig);
    const errors = await Promise.all([1, 2].map(() => failureOf(client.query('select pg_sleep(1)'))));
    for (const error of errors) expect(isUnanswered(error)).toBe(true);
    expect(isDatabaseUnavailable(await failureOf(client.query('select 1')))).toBe(true);
  });

  test('uses the socket that the function `stream` returns', async () => {
    const sockets: Socket[] = [];
    const stream = () => {
      sockets.push(new Socket());
      return sockets[0] as Socket;
    };
    await newClient({ pipeline: true, stream } as pg.ClientConfig);
    expect(sockets[0]?.remotePort).toBe(Number(new URL(connectionString).port));
  });
});

describe('an error of the driver has no code, but the message', () => {
  test('"timeout exceeded when trying to connect" when the pool has no free connection', async () => {
    const pool = newPool({ connectionTimeoutMillis: 2_000 });
    const client = await pool.connect();
    const error = await failureOf(pool.connect());
    expect(error).toMatchObject({ message: 'timeout exceeded when trying to connect' });
    expect([isDatabaseUnavailable(error), isUnanswered(error)]).toEqual([true, false]);
    client.release();
  });

  test('"Cannot use a pool after calling end on the pool"', async () => {
    const pool = newPool();
    await pool.end();
    const error = await failureOf(pool.query('select 1'));
    expect(error).toMatchObject({ message: 'Cannot use a pool after calling end on the pool' });
    expect([isDatabaseUnavailable(error), isUnanswered(error)]).toEqual([true, false]);
  });

  test('"Query read timeout", and "Connection terminated" for the queries behind it', async () => {
    const client = await newClient({ pipeline: true, query_timeout: 300 } as pg.ClientConfig);
    const first = failureOf(client.query('select pg_sleep(1)'));
    await new Promise((resolve) => setTimeout(resolve, 100));
    const second = failureOf(client.query('select pg_sleep(1)'));
    expect(await first).toMatchObject({ message: 'Query read timeout' });
    expect((await second) as Error).toMatchObject({ message: expect.stringMatching(/^Connection terminated/) });
    expect([isUnanswered(await first), isUnanswered(await second)]).toEqual([true, true]);
  });

  test('"Client has encountered a connection error" for a query after the connection was lost', async () => {
    const client = await newClient();
    const lost = new Promise((resolve) => client.once('error', resolve));
    proxy.cut();
    await lost;
    const error = await failureOf(client.query('select 1'));
    expect((error as Error).message).toMatch(/^Client has encountered a connection error/);
    expect(isDatabaseUnavailable(error)).toBe(true);
  });
});
