import { type AddressInfo, connect, createServer } from 'node:net';
import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';
import { withClient } from '@promopulse/shared/database/provision';
import { eventually } from '../src/eventually.ts';
import {
  amqpUrl,
  brokerVersion,
  createTestDatabase,
  databaseVersion,
  type TestDatabase,
  uniquePrefix,
} from '../src/servers.ts';
import { startTcpProxy, type TcpProxy } from '../src/tcp-proxy.ts';

describe('a database per test file', () => {
  let database: TestDatabase;
  beforeAll(async () => {
    database = await createTestDatabase(['users', 'promotions']);
  });
  afterAll(() => database.drop());

  const query = (service: string, sql: string) => withClient(database.urlFor(service), (client) => client.query(sql));

  test('a service owns the schema of its name and needs not name it to use its tables', async () => {
    await query('users', 'create table cards (id int)');
    const { rows } = await query('users', 'select current_schema as schema, count(*)::int as cards from cards');
    expect(rows).toEqual([{ schema: 'users', cards: 0 }]);
  });

  test.each([
    ['read the tables of another service', 'select * from users.cards'],
    ['create a table in the schema of another service', 'create table users.mine (id int)'],
    ['create a schema', 'create schema more'],
    ['create a table in the public schema', 'create table public.mine (id int)'],
  ])('a service may not %s', async (_what, sql) => {
    await expect(query('promotions', sql)).rejects.toMatchObject({ code: '42501' });
  });

  test('many can be created at the same time, and a dropped one leaves no role', async () => {
    const many = await Promise.all([1, 2, 3, 4].map(() => createTestDatabase(['users'])));
    await Promise.all(many.map((one) => databaseVersion(one.urlFor('users'))));
    await Promise.all(many.map((one) => one.drop()));
    const names = many.map((one) => new URL(one.urlFor('users')).username);
    const { rowCount } = await withClient(database.adminUrl, (client) =>
      client.query('select from pg_roles where rolname = any($1)', [names]),
    );
    expect(rowCount).toBe(0);
  });
});

test('the run has a real RabbitMQ, and each call gives a different prefix', async () => {
  expect(await brokerVersion(amqpUrl())).toMatch(/^\d+\.\d+/);
  expect(uniquePrefix()).not.toBe(uniquePrefix());
});

test('eventually returns the first result, or throws the last error after its time limit', async () => {
  let calls = 0;
  const third = () => {
    calls += 1;
    if (calls < 3) throw new Error('not yet');
    return calls;
  };
  expect(await eventually(third)).toBe(3);
  const never = () => Promise.reject(new Error('still not'));
  await expect(eventually(never, { timeoutMs: 50 })).rejects.toThrow('still not');
});

describe('a TCP proxy', () => {
  const target = createServer((socket) => {
    socket.on('error', () => undefined);
    socket.on('data', (chunk) => {
      heard.push(String(chunk));
      socket.write('answer');
    });
  });
  const heard: string[] = [];
  let proxy: TcpProxy;
  beforeAll(async () => {
    await new Promise<void>((resolve) => target.listen(0, '127.0.0.1', resolve));
    proxy = await startTcpProxy(`tcp://127.0.0.1:${(target.address() as AddressInfo).port}`);
  });
  afterAll(async () => {
    await proxy.close();
    target.close();
  });

  const open = () => {
    const answers: string[] = [];
    const socket = connect(proxy.port, '127.0.0.1');
    socket.on('error', () => undefined);
    socket.on('data', (chunk) => answers.push(String(chunk)));
    return { socket, answers };
  };

  test('that swallows hands on what a client sends, and discards the answers from a certain text on', async () => {
    proxy.swallow('commit');
    const { socket, answers } = open();
    socket.write('insert');
    await eventually(() => expect(answers).toEqual(['answer']));
    socket.write('commit');
    await eventually(() => expect(heard).toEqual(['insert', 'commit']));
    socket.write('more');
    await eventually(() => expect(heard).toHaveLength(3));
    expect(answers).toEqual(['answer']);
    proxy.swallow(undefined);
    const other = open();
    other.socket.write('insert');
    await eventually(() => expect(other.answers).toEqual(['answer']));
  });

  test('that refuses resets every connection, also a new one, until it is told to stop', async () => {
    const before = open();
    before.socket.write('insert');
    await eventually(() => expect(before.answers).toHaveLength(1));
    proxy.refuse(true);
    const during = open();
    await eventually(() => expect([before.socket.destroyed, during.socket.destroyed]).toEqual([true, true]));
    proxy.refuse(false);
    const after = open();
    after.socket.write('insert');
    await eventually(() => expect(after.answers).toEqual(['answer']));
  });
});
