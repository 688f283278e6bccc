import { setTimeout as sleep } from 'node:timers/promises';
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, test } from '@jest/globals';
import { eventually } from '@promopulse/testing/eventually';
import { createTestDatabase, type TestDatabase } from '@promopulse/testing/servers';
import { startTcpProxy } from '@promopulse/testing/tcp-proxy';
import { type Database, openDatabase } from '../../src/database/database.ts';
import { type HeldLease, Lease, leaseMs, tryLease } from '../../src/database/lease.ts';
import { withClient } from '../../src/database/provision.ts';
import { isDatabaseUnavailable } from '../../src/database/sqlstate.ts';

const poolMax = 3;
let testDatabase: TestDatabase;
let database: Database;
let other: Database;
const cleanUp: (() => unknown)[] = [];

async function open(url: string, schema = 'users'): Promise<Database> {
  const options = { url, schema, entities: [Lease], migrations: import.meta.dirname };
  const opened = await openDatabase({ ...options, poolMax, pipelinedConnections: 0 });
  cleanUp.push(() => opened.close());
  return opened;
}

async function take(on: Database, name = 'relay'): Promise<HeldLease> {
  const lease = await tryLease(on, name);
  if (!lease) throw new Error('still held');
  cleanUp.push(() => lease.end());
  return lease;
}

async function failureOf(work: Promise<unknown>): Promise<unknown> {
  return await work.then(
    () => new Error('the work did not fail'),
    (error: unknown) => error,
  );
}

const sql = (text: string) => withClient(testDatabase.adminUrl, async (client) => (await client.query(text)).rows);

/** Proves that no connection of the pool is held. */
const useWholePool = () =>
  Promise.all(Array.from({ length: 2 * poolMax }, () => database.run({ text: 'select 1' }, [])));

beforeAll(async () => {
  testDatabase = await createTestDatabase(['users', 'promotions']);
  for (const schema of ['users', 'promotions']) {
    const first = await open(testDatabase.urlFor(schema), schema);
    const em = first.em();
    const tables = await em.getPlatform().getSchemaGenerator(em.getDriver(), em).getCreateSchemaSQL({ wrap: false });
    await first.run({ text: tables.replace(/create schema[^;]*;/, '') }, []);
  }
});
afterAll(() => testDatabase.drop());
beforeEach(async () => {
  await sql('truncate users.leases, promotions.leases');
  database = await open(testDatabase.urlFor('users'));
  other = await open(testDatabase.urlFor('users'));
});
afterEach(async () => {
  for (const end of cleanUp.splice(0).reverse()) await end();
});

describe('a lease', () => {
  test('has one holder among all processes until it is released, and is then free at once', async () => {
    const holder = await take(database);
    expect(await tryLease(other, 'relay')).toBeUndefined();
    expect(await tryLease(database, 'relay')).toBeUndefined();
    await holder.release();
    const next = await take(other);
    expect(next.holder).not.toBe(holder.holder);
    expect(await sql('select holder from users.leases')).toEqual([{ holder: next.holder }]);
  });

  test('has one holder when many try at once, and the others leave their connections in the pool', async () => {
    for (let round = 0; round < 10; round += 1) {
      const tries = Array.from({ length: 4 * poolMax }, (_, n) => tryLease(n % 2 ? database : other, 'relay'));
      const held = (await Promise.all(tries)).filter((lease) => lease !== undefined);
      expect(held).toHaveLength(1);
      if (round % 2) await held[0]?.release();
      else held[0]?.end();
      await eventually(async () => await (await take(other)).release());
    }
    await useWholePool();
  });

  test('of another name or of another schema is another lease', async () => {
    await take(database, 'relay');
    await take(database, 'other');
    await take(await open(testDatabase.urlFor('promotions'), 'promotions'), 'relay');
  });

  test('is kept for longer than it lasts, without a statement of its holder', async () => {
    const holder = await take(database);
    await sleep(leaseMs + 1_000);
    expect(await tryLease(other, 'relay')).toBeUndefined();
    expect(holder.lost.aborted).toBe(false);
  });

  test('is free once it has expired, when its holder is silent and its connection is open', async () => {
    const proxy = await startTcpProxy(testDatabase.urlFor('users'));
    const remote = await open(proxy.through(testDatabase.urlFor('users')));
    try {
      const holder = await take(remote);
      proxy.stall();
      const start = performance.now();
      await eventually(() => take(other), { timeoutMs: leaseMs + 2_000 });
      expect(performance.now() - start).toBeGreaterThan(leaseMs - 1_500);
      await eventually(() => expect(holder.lost.aborted).toBe(true));
      holder.end();
    } finally {
      proxy.resume();
      proxy.cut();
      await proxy.close();
    }
  });

  test('is free at once when the connection of its holder ends, and the holder notices', async () => {
    const holder = await take(database);
    await sql(`select pg_terminate_backend(backend_pid) from users.leases`);
    await eventually(() => take(other), { timeoutMs: 1_000 });
    expect(isDatabaseUnavailable(await failureOf(holder.connection.query({ text: 'select 1' })))).toBe(true);
    await eventually(() => expect(holder.lost.aborted).toBe(true));
    holder.end();
    await useWholePool();
  });

  test('that another process has taken is lost to its holder, whose release then frees nothing', async () => {
    const holder = await take(database);
    await sql(`update users.leases set expires_at = now()`);
    const next = await take(other);
    await eventually(() => expect(holder.lost.aborted).toBe(true));
    expect(holder.lost.reason).toEqual(new Error('another process has taken the lease'));
    await holder.release();
    expect(await tryLease(database, 'relay')).toBeUndefined();
    expect(next.lost.aborted).toBe(false);
  });

  test.each([
    ['is from before the clock was set back', `expires_at = now() + interval '1 hour'`],
    ['belongs to an earlier process with the same pid', `backend_start = backend_start - interval '1 ms'`],
    ['belongs to a pid that is gone, as after a restore', 'backend_pid = 2147483647'],
  ])('that %s is free', async (_what, change) => {
    const holder = await take(database);
    await sql(`update users.leases set ${change}`);
    await take(other);
    holder.end();
  });

  test('that is held is tried without a wait for its row', async () => {
    await take(database);
    await withClient(testDatabase.adminUrl, async (client) => {
      await client.query('begin');
      await client.query('select * from users.leases for update');
      const start = performance.now();
      expect(await tryLease(other, 'relay')).toBeUndefined();
      expect(performance.now() - start).toBeLessThan(500);
    });
  });
});
