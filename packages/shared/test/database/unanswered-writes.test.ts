// A write whose answer is lost may have been made. Only then is its outcome unknown.
import { setTimeout as sleep } from 'node:timers/promises';
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, test } from '@jest/globals';
import { eventually } from '@promopulse/testing/eventually';
import { createTestDatabase, type TestDatabase } from '@promopulse/testing/servers';
import { startTcpProxy, type TcpProxy } from '@promopulse/testing/tcp-proxy';
import { type Database, openDatabase } from '../../src/database/database.ts';
import { withClient } from '../../src/database/provision.ts';
import { isDatabaseUnavailable, isUnanswered, translateDatabaseError } from '../../src/database/sqlstate.ts';
import { OutboxMessage } from '../../src/outbox/outbox.ts';

let testDatabase: TestDatabase;
let proxy: TcpProxy;
let database: Database;

beforeAll(async () => {
  testDatabase = await createTestDatabase(['users']);
  await asOwner('create table cards (label text unique)');
});
afterAll(() => testDatabase.drop());

/** Without the proxy. */
const asOwner = (text: string) => withClient(testDatabase.urlFor('users'), (client) => client.query(text));
const count = async (label: string) => (await asOwner(`select from cards where label = '${label}'`)).rowCount as number;
/** Resolves when a session is inside `text`. @returns its process id */
const running = (text: string) =>
  eventually(async () => {
    const { rows } = await withClient(testDatabase.adminUrl, (client) =>
      client.query(
        `select pid from pg_stat_activity where state = 'active' and query like $1 and pid <> pg_backend_pid()`,
        [`%${text}%`],
      ),
    );
    expect(rows).toHaveLength(1);
    return rows[0].pid as number;
  });

/** Until the client has noticed it, it still sends, and cannot know what arrives. */
const cutNoticed = async () => {
  proxy.cut();
  await sleep(100);
};

const insert = (label: string) =>
  database.write({ text: 'insert into cards select $1 returning label' }, [label]).catch((error: unknown) => error);
const insertSlowly = (label: string) =>
  database
    .write({ text: 'insert into cards select $1 from pg_sleep(1.2) returning label' }, [label])
    .catch((error: unknown) => error);
const insertInTransaction = (label: string, during?: () => Promise<void>) =>
  database
    .transaction(async (em) => {
      const execute = (sql: string) => em.getConnection().execute(sql, [], 'run', em.getTransactionContext());
      await execute(`insert into cards values ('${label}')`);
      await during?.();
    })
    .catch((error: unknown) => error);

const unknownOutcome = { kind: 'unavailable', code: 'outcome_unknown', retryAfter: undefined };
const expectNotMade = (error: unknown) => {
  expect(error).not.toHaveProperty('code', 'outcome_unknown');
  expect(translateDatabaseError(error)).toMatchObject({ code: 'unavailable', retryAfter: 1 });
};

const open = (pipelinedConnections: number) =>
  openDatabase({
    url: proxy.through(testDatabase.urlFor('users')),
    schema: 'users',
    entities: [OutboxMessage],
    migrations: import.meta.dirname,
    poolMax: 3,
    pipelinedConnections,
  });

describe.each([
  ['the pool', 0],
  ['a pipelined connection', 2],
])('a write on %s', (_name, pipelinedConnections) => {
  beforeEach(async () => {
    await asOwner('truncate cards');
    proxy = await startTcpProxy(testDatabase.adminUrl);
    database = await open(pipelinedConnections);
    const writeNothing = { text: 'delete from cards where false' };
    await database.run(writeNothing, []);
    if (pipelinedConnections > 0) await eventually(() => expect(proxy.accepted()).toBe(2));
    await database.run(writeNothing, []);
  });
  afterEach(async () => {
    await database.close();
    await proxy.close();
  });

  test('that is made, and whose answer is lost with the connection, has an unknown outcome', async () => {
    proxy.swallow('');
    const failure = insert('made');
    await eventually(async () => expect(await count('made')).toBe(1));
    proxy.cut();
    expect(await failure).toMatchObject(unknownOutcome);
    expect(isDatabaseUnavailable(await failure)).toBe(true); // a consumer tries its message again
  });

  test('that is made, and whose answer does not come in time, has an unknown outcome', async () => {
    proxy.swallow('');
    expect(await insert('late')).toMatchObject(unknownOutcome);
    expect(await count('late')).toBe(1);
  });

  test('that the server ends when it closes the connection is not made, and may be repeated', async () => {
    const failure = insertSlowly('ended');
    const pid = await running('insert into cards');
    await withClient(testDatabase.adminUrl, (client) => client.query('select pg_terminate_backend($1)', [pid]));
    expectNotMade(await failure);
    expect(await count('ended')).toBe(0);
  });

  test('that waits too long for a lock is not made, and may be repeated', async () => {
    await withClient(testDatabase.urlFor('users'), async (holder) => {
      await holder.query(`begin; insert into cards values ('locked')`);
      expectNotMade(await insert('locked'));
      await holder.query('rollback');
    });
    expect(await count('locked')).toBe(0);
  });

  test('that finds no server is not made, and may be repeated', async () => {
    await cutNoticed();
    await proxy.close();
    expectNotMade(await insert('unsent'));
    proxy = await startTcpProxy(testDatabase.adminUrl);
  });
});

describe('a transaction', () => {
  beforeEach(async () => {
    await asOwner('truncate cards');
    proxy = await startTcpProxy(testDatabase.adminUrl);
    database = await open(0);
  });
  afterEach(async () => {
    await database.close();
    await proxy.close();
  });

  test('that is committed, and whose answer is lost with the connection, has an unknown outcome', async () => {
    proxy.swallow('commit');
    const failure = insertInTransaction('made');
    await eventually(async () => expect(await count('made')).toBe(1));
    proxy.cut();
    expect(await failure).toMatchObject(unknownOutcome);
  });

  test('that is committed, and whose answer does not come in time, has an unknown outcome', async () => {
    proxy.swallow('commit');
    expect(await insertInTransaction('late')).toMatchObject(unknownOutcome);
    expect(await count('late')).toBe(1);
  });

  test('whose connection is lost before COMMIT is sent is not made, and may be repeated', async () => {
    expectNotMade(await insertInTransaction('lost', cutNoticed));
    expect(await count('lost')).toBe(0);
  });

  test('whose statement gets no answer in time is not made, and may be repeated', async () => {
    proxy.swallow('insert into');
    expectNotMade(await insertInTransaction('silent'));
    expect(await count('silent')).toBe(0);
  });
});

test.each(['57P01', '57014', '55P03', '40001', '23505', 'ECONNREFUSED'])('%s says that nothing was made', (code) => {
  expect(isUnanswered({ code })).toBe(false);
});
test.each(['08006', '40003', 'ECONNRESET', 'EPIPE', 'ETIMEDOUT'])('%s leaves the outcome unknown', (code) => {
  expect(isUnanswered({ cause: { code } })).toBe(true);
});
