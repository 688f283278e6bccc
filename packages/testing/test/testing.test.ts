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
