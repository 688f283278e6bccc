import { randomUUID } from 'node:crypto';
import { setTimeout as sleep } from 'node:timers/promises';
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, test } from '@jest/globals';
import { eventually } from '@promopulse/testing/eventually';
import { createTestDatabase, type TestDatabase } from '@promopulse/testing/servers';
import { startTcpProxy, type TcpProxy } from '@promopulse/testing/tcp-proxy';
import { type Database, openDatabase } from '../../src/database/database.ts';
import { tryLease } from '../../src/database/lease.ts';
import { withClient } from '../../src/database/provision.ts';
import { isDatabaseUnavailable, translateDatabaseError, violatedConstraint } from '../../src/database/sqlstate.ts';
import { OutboxMessage } from '../../src/outbox/outbox.ts';

const poolMax = 3;
const uniqueLabel = 'cards_label_key';
let testDatabase: TestDatabase;
let database: Database;

/** Single statements use the pool here. pipelined-connections.test.ts covers the pipelined connections. */
const open = (url: string, schema = 'users') =>
  openDatabase({
    url,
    schema,
    entities: [OutboxMessage],
    migrations: import.meta.dirname,
    poolMax,
    pipelinedConnections: 0,
  });

beforeAll(async () => {
  testDatabase = await createTestDatabase(['users', 'promotions']);
  await withClient(testDatabase.urlFor('users'), (client) =>
    client.query(`create table cards (label text constraint ${uniqueLabel} unique)`),
  );
});
afterAll(() => testDatabase.drop());

beforeEach(async () => {
  database = await open(testDatabase.urlFor('users'));
  await database.run({ text: 'delete from cards' }, []);
});
afterEach(() => database.close());

type Manager = Parameters<Parameters<Database['transaction']>[0]>[0];
const execute = <Row>(em: Manager, sql: string) =>
  em.getConnection().execute<Row[]>(sql, [], 'all', em.getTransactionContext());
const add = (em: Manager, label: string) => execute(em, `insert into cards values ('${label}')`);
const cards = async () =>
  (await database.run<{ label: string }>({ text: 'select label from cards order by label' }, [])).map(
    ({ label }) => label,
  );

/** Ends a server process, as an administrator or a crash would. */
const kill = (pid: number) =>
  withClient(testDatabase.adminUrl, (client) => client.query('select pg_terminate_backend($1)', [pid]));

async function failureOf(work: Promise<unknown>): Promise<unknown> {
  try {
    await work;
  } catch (error) {
    return error;
  }
  throw new Error('the work did not fail');
}

describe('a transaction', () => {
  test('is committed as a whole, then the listeners are called and its result is returned', async () => {
    const seen: Promise<string[]>[] = [];
    database.onCommit(() => seen.push(cards()));
    const result = await database.transaction(async (em) => {
      await add(em, 'a');
      await add(em, 'b');
      return 'done';
    });
    expect(result).toBe('done');
    expect(await Promise.all(seen)).toEqual([['a', 'b']]);
  });

  test('is rolled back as a whole by an error, which is rethrown; no listener is called', async () => {
    let notified = 0;
    database.onCommit(() => {
      notified += 1;
    });
    const work = database.transaction(async (em) => {
      await add(em, 'a');
      throw new RangeError('no');
    });
    await expect(work).rejects.toThrow('no');
    expect(await cards()).toEqual([]);
    expect(notified).toBe(0);
  });

  test('that fails at its commit is rejected, and no listener is called', async () => {
    await database.run({ text: 'create table if not exists late (n int unique deferrable initially deferred)' }, []);
    let notified = 0;
    database.onCommit(() => {
      notified += 1;
    });
    const work = database.transaction((em) => execute(em, 'insert into late values (1), (1)'));
    expect(violatedConstraint(await failureOf(work))).toBe('late_n_key');
    expect(notified).toBe(0);
  });

  test('has an entity manager of its own', async () => {
    const managers = await Promise.all([1, 2].map(() => database.transaction(async (em) => em)));
    expect(managers[0]).not.toBe(managers[1]);
    expect(database.em()).not.toBe(database.em());
  });
});

describe('a prepared statement', () => {
  test('returns the types of the driver: dates, numbers, null and objects', async () => {
    const rows = await database.run(
      { name: 'values', text: 'select $1::timestamptz as at, $2::int as n, null as nothing, $3::jsonb as data' },
      [new Date(1), 5, JSON.stringify({ a: [1] })],
    );
    expect(rows).toEqual([{ at: new Date(1), n: 5, nothing: null, data: { a: [1] } }]);
  });

  test('is prepared once per connection', async () => {
    const { connection, query } = await hold();
    for (let n = 0; n < 3; n++) await query({ name: 'one', text: 'select 1' });
    expect(await query({ text: "select name from pg_prepared_statements where name = 'one'" })).toHaveLength(1);
    connection.end();
  });

  test('that writes calls the listeners, unless it fails', async () => {
    let notified = 0;
    database.onCommit(() => {
      notified += 1;
    });
    const insert = { name: 'insert', text: 'insert into cards values ($1) returning label' };
    expect(await database.write(insert, ['a'])).toEqual([{ label: 'a' }]);
    expect(notified).toBe(1);
    expect(violatedConstraint(await failureOf(database.write(insert, ['a'])))).toBe(uniqueLabel);
    expect(notified).toBe(1);
  });

  async function hold() {
    const connection = await database.connect();
    return { connection, query: connection.query.bind(connection) };
  }
});

describe('a unique violation', () => {
  test('is identified by its constraint, through MikroORM and through the driver, and does not count as unavailable', async () => {
    await database.run(
      {
        text: 'create table if not exists outbox (id serial, event_id uuid unique, name text, subject text, data jsonb, created_at timestamptz)',
      },
      [],
    );
    const row = { event_id: randomUUID(), name: 'user.created', subject: '1', data: {} };
    await database.em().insert(OutboxMessage, row);
    const errors = [
      await failureOf(database.em().insert(OutboxMessage, row)),
      await failureOf(database.run({ text: 'insert into outbox (event_id) values ($1)' }, [row.event_id])),
    ];
    for (const error of errors) {
      expect(violatedConstraint(error)).toBe('outbox_event_id_key');
      expect(translateDatabaseError(error)).toBeUndefined();
    }
  });

  test.each([[undefined], [null], ['23505'], [{ code: '23503', constraint: 'x' }], [new Error('23505')]])(
    'is not %p',
    (error) => {
      expect(violatedConstraint(error)).toBeUndefined();
    },
  );

  test('under concurrency one succeeds and the others get the constraint that they violate', async () => {
    const results = await Promise.allSettled(
      Array.from({ length: 20 }, () => database.transaction((em) => add(em, 'same'))),
    );
    const rejections = results.flatMap((result) => (result.status === 'rejected' ? [result.reason] : []));
    expect(rejections).toHaveLength(19);
    expect(new Set(rejections.map(violatedConstraint))).toEqual(new Set([uniqueLabel]));
    expect(await cards()).toEqual(['same']);
  });
});

describe('a backend killed in the middle of a transaction', () => {
  const killOwnBackend = (em: Manager) => execute(em, 'select pg_terminate_backend(pg_backend_pid())');

  test('leaves the pool usable: after three times its size the next request succeeds at once, and closing is fast', async () => {
    for (let n = 0; n < 3 * poolMax; n++) {
      const error = await failureOf(database.transaction(killOwnBackend));
      expect(isDatabaseUnavailable(error)).toBe(true);
    }
    const start = performance.now();
    await Promise.all(Array.from({ length: poolMax }, (_, n) => database.transaction((em) => add(em, `after ${n}`))));
    expect(performance.now() - start).toBeLessThan(5_000);
    expect(await cards()).toHaveLength(poolMax);
    const closing = performance.now();
    await database.close();
    expect(performance.now() - closing).toBeLessThan(2_000);
  });

  test('while the transaction is idle, or all of them at once, loses only that work', async () => {
    const pids: number[] = [];
    const work = Array.from({ length: poolMax }, () =>
      database.transaction(async (em) => {
        const [row] = await execute<{ pid: number }>(em, 'select pg_backend_pid() as pid');
        pids.push(Number(row?.pid));
        await add(em, `never ${row?.pid}`);
        await sleep(500);
        await add(em, `nor this ${row?.pid}`);
      }),
    );
    const settled = Promise.allSettled(work);
    await eventually(() => expect(pids).toHaveLength(poolMax));
    await Promise.all(pids.map(kill));
    for (const result of await settled) {
      expect(result.status === 'rejected' && isDatabaseUnavailable(result.reason)).toBe(true);
    }
    expect(await cards()).toEqual([]);
    await database.transaction((em) => add(em, 'after'));
    expect(await cards()).toEqual(['after']);
  });

  test('or while it is idle in the pool affects no request after the first one', async () => {
    const rows = await Promise.all(
      Array.from({ length: poolMax }, () =>
        database.run<{ pid: number }>({ text: 'select pg_backend_pid() as pid, pg_sleep(0.05)' }, []),
      ),
    );
    await Promise.all(rows.map(([row]) => kill(Number(row?.pid))));
    await eventually(() => database.run({ text: 'select 1' }, []), { timeoutMs: 1_000 });
    await Promise.all(Array.from({ length: 2 * poolMax }, () => database.run({ text: 'select 1' }, [])));
  });
});

describe('a server that is unavailable', () => {
  let proxy: TcpProxy;
  beforeEach(async () => {
    proxy = await startTcpProxy(testDatabase.adminUrl);
  });
  afterEach(() => proxy.close());

  const expectUnavailable = (error: unknown) => {
    expect(isDatabaseUnavailable(error)).toBe(true);
    expect(translateDatabaseError(error)).toMatchObject({ kind: 'unavailable', code: 'unavailable', retryAfter: 1 });
  };

  test('does not prevent opening and closing; queries fail as unavailable', async () => {
    const url = proxy.through(testDatabase.urlFor('users'));
    await proxy.close();
    const unreachable = await open(url);
    expectUnavailable(await failureOf(unreachable.run({ text: 'select 1' }, [])));
    expectUnavailable(await failureOf(unreachable.transaction((em) => add(em, 'x'))));
    expectUnavailable(await failureOf(unreachable.em().find(OutboxMessage, {})));
    expectUnavailable(await failureOf(unreachable.connect()));
    expectUnavailable(await failureOf(tryLease(unreachable, 'relay')));
    await unreachable.close();
  });

  test('that accepts connections and sends nothing fails queries as unavailable within seconds', async () => {
    proxy.stall();
    const silent = await open(proxy.through(testDatabase.urlFor('users')));
    const start = performance.now();
    expectUnavailable(await failureOf(silent.run({ text: 'select 1' }, [])));
    expect(performance.now() - start).toBeLessThan(4_000);
    await silent.close();
  });

  test('that becomes silent fails queries in flight as unavailable within seconds, and is used again later', async () => {
    const flaky = await open(proxy.through(testDatabase.urlFor('users')));
    await flaky.transaction((em) => add(em, 'before'));
    await flaky.run({ text: 'select 1' }, []);
    proxy.stall();
    const start = performance.now();
    const failures = await Promise.all([
      failureOf(flaky.run({ text: 'select 1' }, [])),
      failureOf(flaky.transaction((em) => add(em, 'during'))),
    ]);
    for (const failure of failures) expectUnavailable(failure);
    expect(performance.now() - start).toBeLessThan(10_000);
    proxy.cut();
    proxy.resume();
    await eventually(() => flaky.transaction((em) => add(em, 'after')), { timeoutMs: 5_000 });
    await Promise.all(Array.from({ length: 2 * poolMax }, () => flaky.run({ text: 'select 1' }, [])));
    expect(await cards()).toEqual(['after', 'before']);
    await flaky.close();
  });

  test('that becomes silent leaves no connection in the pool that still waits for an answer', async () => {
    const flaky = await open(proxy.through(testDatabase.urlFor('users')));
    await flaky.run({ text: 'select 1' }, []);
    proxy.stall();
    expectUnavailable(await failureOf(flaky.em().find(OutboxMessage, {})));
    expect(proxy.accepted()).toBe(1);
    proxy.resume();
    await flaky.run({ text: 'select 1' }, []);
    expect(proxy.accepted()).toBe(2);
    await flaky.close();
  });

  test('that resets its connections fails queries in flight as unavailable, and is used again at once', async () => {
    const flaky = await open(proxy.through(testDatabase.urlFor('users')));
    const slow = failureOf(flaky.run({ text: 'select pg_sleep(1.5)' }, []));
    const inTransaction = failureOf(flaky.transaction((em) => execute(em, 'select pg_sleep(1.5)')));
    await eventually(() => expect(proxy.accepted()).toBe(2));
    await sleep(300);
    proxy.cut();
    expectUnavailable(await slow);
    expectUnavailable(await inTransaction);
    await flaky.run({ text: 'select 1' }, []);
    await flaky.close();
  });
});

describe('a time limit', () => {
  test('of two seconds ends a statement, which is reported as unavailable', async () => {
    const start = performance.now();
    const error = await failureOf(database.run({ text: 'select pg_sleep(10)' }, []));
    expect(performance.now() - start).toBeLessThan(4_000);
    expect(error).toMatchObject({ code: '57014' });
    expect(translateDatabaseError(error)).toMatchObject({ kind: 'unavailable' });
  });

  test('of one second ends the wait for a lock, which is reported as unavailable', async () => {
    await database.run({ text: "insert into cards values ('locked')" }, []);
    const update = { text: "update cards set label = 'locked' where label = 'locked'" };
    const error = await database.transaction(async (em) => {
      await execute(em, "select * from cards where label = 'locked' for update");
      return await failureOf(database.run(update, []));
    });
    expect(error).toMatchObject({ code: '55P03' });
    expect(translateDatabaseError(error)).toMatchObject({ kind: 'unavailable' });
    await database.run(update, []);
  });

  test('of two seconds ends the wait for a connection of the pool, which is reported as unavailable', async () => {
    const busy = await Promise.all(Array.from({ length: poolMax }, () => database.connect()));
    const start = performance.now();
    const error = await failureOf(database.run({ text: 'select 1' }, []));
    expect(performance.now() - start).toBeLessThan(4_000);
    expect(translateDatabaseError(error)).toMatchObject({ kind: 'unavailable' });
    for (const connection of busy) connection.end();
    await database.run({ text: 'select 1' }, []);
  });
});

describe("a service's role", () => {
  test.each([
    ['read', 'select * from users.cards'],
    ['write', "insert into users.cards values ('x')"],
    ['change', 'alter table users.cards add x int'],
  ])("cannot %s another service's tables", async (_what, text) => {
    const otherService = await open(testDatabase.urlFor('promotions'), 'promotions');
    const error = await failureOf(otherService.run({ text }, []));
    expect(error).toMatchObject({ code: '42501' });
    expect(translateDatabaseError(error)).toBeUndefined();
    await otherService.close();
  });

  test('finds its own tables without naming the schema', async () => {
    expect(await database.run({ text: 'select current_schema() as schema' }, [])).toEqual([{ schema: 'users' }]);
  });
});

describe('the classification of errors', () => {
  test.each([
    'ECONNREFUSED',
    'ECONNRESET',
    'ENOTFOUND',
    '08006',
    '08P01',
    '53300',
    '57P01',
    '57P03',
    '40001',
    '40P01',
    '55P03',
  ])('%s means that the database is unavailable', (code) => {
    expect(isDatabaseUnavailable({ code })).toBe(true);
    expect(isDatabaseUnavailable({ cause: { code } })).toBe(true);
  });

  test.each(['23505', '22003', '42P01', '42501', '28P01', '3D000', '57P04', 'ENOENT', '', 42])(
    '%s means that the statement is wrong',
    (code) => {
      expect(isDatabaseUnavailable({ code })).toBe(false);
    },
  );

  test('only a sequence beyond its limit or its column means that there are no more ids', () => {
    const codeOf = (error: object) => translateDatabaseError(error)?.code;
    expect(codeOf({ code: '2200H' })).toBe('ids_exhausted');
    expect(codeOf({ cause: { code: '22003', routine: 'int84' } })).toBe('ids_exhausted');
    expect(codeOf({ code: '22003', routine: 'int4pl' })).toBeUndefined();
  });

  test.each([[undefined], [null], ['ECONNREFUSED'], [new Error('ECONNREFUSED')]])(
    '%p is not a database error',
    (error) => {
      expect(isDatabaseUnavailable(error)).toBe(false);
      expect(translateDatabaseError(error)).toBeUndefined();
    },
  );
});
