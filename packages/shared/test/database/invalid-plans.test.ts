// A prepared statement that no longer fits its tables, or that the session does not have, was not executed. It is sent
// again once, without a name.
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, test } from '@jest/globals';
import { eventually } from '@promopulse/testing/eventually';
import { createTestDatabase, type TestDatabase } from '@promopulse/testing/servers';
import { type Database, openDatabase } from '../../src/database/database.ts';
import { withClient } from '../../src/database/provision.ts';
import { isPlanInvalid } from '../../src/database/sqlstate.ts';
import { OutboxMessage } from '../../src/outbox/outbox.ts';

let testDatabase: TestDatabase;
let database: Database;

beforeAll(async () => {
  testDatabase = await createTestDatabase(['users']);
});
afterAll(() => testDatabase.drop());

const asOwner = (text: string) => withClient(testDatabase.urlFor('users'), (client) => client.query(text));
const read = { name: 'read_cards', text: 'select label from cards where label = $1' };
const insert = { name: 'add_card', text: 'insert into cards values ($1) returning label' };
const slowInsert = {
  name: 'add_slowly',
  text: 'insert into cards select $1 from pg_sleep(0.2) returning label',
};
const count = async (label: string) => (await asOwner(`select from cards where label = '${label}'`)).rowCount;
const times = <Result>(number: number, work: () => Promise<Result>) =>
  Promise.all(Array.from({ length: number }, work));

describe.each([
  ['the pool', 0],
  ['pipelined connections', 4],
])('on %s', (_name, pipelinedConnections) => {
  beforeEach(async () => {
    await asOwner('drop table if exists cards; create table cards (label varchar(20))');
    database = await openDatabase({
      url: testDatabase.urlFor('users'),
      schema: 'users',
      entities: [OutboxMessage],
      migrations: import.meta.dirname,
      pipelinedConnections,
    });
    // Every connection has prepared both.
    for (let round = 0; round < 4; round += 1) await times(20, () => database.run(read, ['x']));
    for (let round = 0; round < 4; round += 1) await times(20, () => database.write(insert, ['first']));
  });
  afterEach(() => database.close());

  test('reads and writes succeed after a column of their result has changed its type, and a write is made once', async () => {
    await asOwner('alter table cards alter column label type varchar(40)');
    await times(20, () => database.write(insert, ['second']));
    expect(await count('second')).toBe(20);
    for (const rows of await times(20, () => database.run(read, ['second']))) expect(rows).toHaveLength(20);
  });

  test('the connections with old plans are replaced', async () => {
    const prepared = { text: `select from pg_prepared_statements where name = 'read_cards'` };
    await asOwner('alter table cards alter column label type text');
    await eventually(async () => {
      await times(20, () => database.run(read, ['first']));
      expect(await database.run(prepared, [])).toHaveLength(1);
    });
  });

  test('another statement in flight on the same connection is executed once', async () => {
    const slow = times(2, () => database.write(slowInsert, ['slow']));
    const others = times(6, () => database.write(insert, ['third']));
    await asOwner('alter table cards alter column label type varchar(50)');
    await Promise.all([slow, others, times(6, () => database.write(insert, ['third']))]);
    expect([await count('slow'), await count('third')]).toEqual([2, 12]);
  });

  test('statements succeed after their sessions were reset, as a pooler does between two clients', async () => {
    await times(12, () => database.run({ text: 'discard all' }, []));
    await times(20, () => database.write(insert, ['fourth']));
    expect(await count('fourth')).toBe(20);
    expect(await database.run(read, ['fourth'])).toHaveLength(20);
  });

  test('a statement that the session has already is executed', async () => {
    await times(40, () => database.run({ text: `prepare duplicate as select 1` }, []).catch(() => undefined));
    for (const rows of await times(20, () => database.run({ name: 'duplicate', text: 'select 2 as n' }, []))) {
      expect(rows).toEqual([{ n: 2 }]);
    }
  });

  test('another statement that the server does not support fails', async () => {
    const failure = await database.run({ text: 'select count(*) from cards for update' }, []).catch((error) => error);
    expect(failure).toMatchObject({ code: '0A000' });
    expect(isPlanInvalid(failure)).toBe(false);
  });
});

test('a held connection reports the error, so that its holder can end it', async () => {
  await asOwner('drop table if exists cards; create table cards (label varchar(20))');
  database = await openDatabase({
    url: testDatabase.urlFor('users'),
    schema: 'users',
    entities: [OutboxMessage],
    migrations: import.meta.dirname,
  });
  const connection = await database.connect();
  await connection.query(read, ['x']);
  await asOwner('alter table cards alter column label type text');
  expect(isPlanInvalid(await connection.query(read, ['x']).catch((error: unknown) => error))).toBe(true);
  connection.end();
  await database.close();
});
