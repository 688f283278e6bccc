// Several gateways that count together, on a real PostgreSQL. A gateway here is its buckets and its own connections.
import { createSecretKey, randomBytes } from 'node:crypto';
import { setTimeout as sleep } from 'node:timers/promises';
import { afterAll, afterEach, beforeAll, describe, expect, test } from '@jest/globals';
import type { Database } from '@promopulse/shared/database/database';
import { withClient } from '@promopulse/shared/database/provision';
import { createLogger } from '@promopulse/shared/telemetry/logger';
import { eventually } from '@promopulse/testing/eventually';
import { createTestDatabase, type TestDatabase } from '@promopulse/testing/servers';
import { startTcpProxy, type TcpProxy } from '@promopulse/testing/tcp-proxy';
import { openGatewayDatabase } from '../src/gateway-database.ts';
import { SharedBuckets } from '../src/rate-limit/bucket-store.ts';
import { Buckets, type Decision, leaseUnitsOf } from '../src/rate-limit/buckets.ts';
import { type Policy, secondsPerUnit } from '../src/rate-limit/gcra.ts';

const key = createSecretKey(randomBytes(32));
let testDatabase: TestDatabase;
let proxy: TcpProxy;
const closers: (() => unknown)[] = [];

interface Replica {
  buckets: Buckets;
  store: SharedBuckets;
  database: Database;
  logLines: string[];
}

/** @param shiftSeconds how much its monotonic clock is ahead */
async function startReplica(policies: readonly Policy[], url: string, shiftSeconds = 0): Promise<Replica> {
  const logLines: string[] = [];
  const destination = { write: (line: string) => void logLines.push(line) };
  const log = createLogger({ service: 'gateway', level: 'info', destination });
  const database = await openGatewayDatabase({ DATABASE_URL: url }, log);
  const store = new SharedBuckets({ database, policies, key, log });
  closers.push(
    () => store.close(),
    () => database.close(),
  );
  const buckets = new Buckets(policies, { store, now: () => performance.now() / 1_000 + shiftSeconds });
  return { buckets, store, database, logLines };
}
const startReplicas = (policies: readonly Policy[], count = 4, url = testDatabase.urlFor('gateway')) =>
  Promise.all(Array.from({ length: count }, () => startReplica(policies, url)));

const sql = (text: string, values: unknown[] = []) =>
  withClient(testDatabase.urlFor('gateway'), async (client) => (await client.query(text, values)).rows);

beforeAll(async () => {
  testDatabase = await createTestDatabase(['gateway']);
  proxy = await startTcpProxy(testDatabase.urlFor('gateway'));
  const { database } = await startReplica([{ name: 'p', quota: 2, windowSeconds: 1 }], testDatabase.urlFor('gateway'));
  await database.run({ text: 'select 1' }, []);
}, 60_000);
afterEach(async () => {
  for (const close of closers.splice(0).reverse()) await close();
});
afterAll(async () => {
  await proxy.close();
  await testDatabase.drop();
});

/** Asks all replicas as fast as they answer. @returns what was admitted, and the seconds that it took */
async function hammer(replicas: readonly Replica[], client: string, forMs: number) {
  const startedAt = performance.now();
  let [admitted, refused] = [0, 0];
  await Promise.all(
    replicas.map(async ({ buckets }) => {
      while (performance.now() - startedAt < forMs) {
        const decisions = await Promise.all(Array.from({ length: 5 }, () => buckets.take(client, 1)));
        const granted = decisions.filter(({ isAdmitted }) => isAdmitted).length;
        admitted += granted;
        refused += decisions.length - granted;
        await sleep(2);
      }
    }),
  );
  return { admitted, refused, seconds: (performance.now() - startedAt) / 1_000 };
}

describe('4 gateways and one caller', () => {
  test.each<Policy>([
    { name: 'fast', quota: 200, windowSeconds: 1 },
    { name: 'slow', quota: 20, windowSeconds: 4 },
    { name: 'long', quota: 300, windowSeconds: 60 },
  ])('admit together at most the quota, and not much less: %j', async (policy) => {
    const replicas = await startReplicas([policy]);
    const { admitted, refused, seconds } = await hammer(replicas, `key:${policy.name}`, 3_000);
    const inSpan = policy.quota + seconds / secondsPerUnit(policy);
    const lease = replicas.length * leaseUnitsOf([policy]);
    process.stderr.write(
      `rate limit ${policy.name}: ${admitted} admitted and ${refused} refused by 4 gateways in ${seconds.toFixed(2)} s; ` +
        `quota + D/T = ${inSpan.toFixed(1)}, with leases ${(inSpan + lease).toFixed(1)}\n`,
    );
    expect(admitted).toBeLessThanOrEqual(inSpan + lease);
    // What a lease has left when a second is over is lost. A caller that asks all the time leaves nothing.
    expect(admitted).toBeGreaterThanOrEqual(0.9 * inSpan - lease);
  });

  test('with the clock of one gateway 10 s off admit no more', async () => {
    const policy: Policy = { name: 'skewed', quota: 30, windowSeconds: 3 };
    const url = testDatabase.urlFor('gateway');
    const { now } = Date;
    const replicas = await Promise.all([0, 0, 0, 10].map((shift) => startReplica([policy], url, shift)));
    try {
      Date.now = () => now() + 10_000;
      const { admitted, seconds } = await hammer(replicas, 'key:skewed', 2_000);
      const inSpan = policy.quota + seconds / secondsPerUnit(policy);
      expect(admitted).toBeLessThanOrEqual(inSpan + 4);
      expect(admitted).toBeGreaterThanOrEqual(0.9 * inSpan - 4);
    } finally {
      Date.now = now;
    }
  });

  test('a caller is refused by every gateway when one of them has given it all', async () => {
    const policy: Policy = { name: 'once', quota: 6, windowSeconds: 60 };
    const [first, ...others] = await startReplicas([policy]);
    const decisions = await Promise.all(Array.from({ length: 6 }, () => first?.buckets.take('key:once', 1)));
    expect(decisions.map((decision) => decision?.isAdmitted)).toEqual(Array(6).fill(true));
    for (const { buckets } of others) expect((await buckets.take('key:once', 1)).isAdmitted).toBe(false);
  });
});

describe('the shared buckets', () => {
  const two: Policy[] = [
    { name: 'burst', quota: 5, windowSeconds: 1 },
    { name: 'steady', quota: 8, windowSeconds: 60 },
  ];
  const take = async ({ buckets }: Replica, client: string, cost = 1): Promise<Decision> =>
    await buckets.take(client, cost);
  const names = ({ limits }: Decision) => limits.map(({ policy }) => policy.name);

  test('of two policies the right one is named, by a gateway that has not served the caller before', async () => {
    const [one, other] = (await startReplicas(two, 2)) as [Replica, Replica];
    for (let count = 0; count < 5; count += 1) expect((await take(one, 'key:two')).isAdmitted).toBe(true);
    expect(names(await take(other, 'key:two'))).toEqual(['burst']);
    await sleep(1_050);
    for (let count = 0; count < 3; count += 1) expect((await take(other, 'key:two')).isAdmitted).toBe(true);
    expect(names(await take(one, 'key:two'))).toEqual(['steady']);
  });

  test('who is refused and waits exactly Retry-After is admitted', async () => {
    const policy: Policy = { name: 'wait', quota: 3, windowSeconds: 4 };
    const [one, other] = (await startReplicas([policy], 2)) as [Replica, Replica];
    for (let count = 0; count < 3; count += 1) await take(one, 'key:wait');
    for (const cost of [1, 2]) {
      const { isAdmitted, retryAfterSeconds, limits } = await take(other, 'key:wait', cost);
      expect(isAdmitted).toBe(false);
      expect(retryAfterSeconds).toBeGreaterThanOrEqual(Number(limits[0]?.moreAfterSeconds));
      await sleep(retryAfterSeconds * 1_000);
      expect((await take(other, 'key:wait', cost)).isAdmitted).toBe(true);
    }
  });

  test('a refusal changes no row', async () => {
    const [replica] = (await startReplicas([{ name: 'once', quota: 2, windowSeconds: 60 }], 1)) as [Replica];
    await take(replica, 'key:silent', 2);
    const states = () => sql(`select xmin::text, tats from rate_buckets order by key`);
    const before = await states();
    const other = await startReplica([{ name: 'once', quota: 2, windowSeconds: 60 }], testDatabase.urlFor('gateway'));
    for (let count = 0; count < 5; count += 1) expect((await take(other, 'key:silent')).isAdmitted).toBe(false);
    expect(await states()).toEqual(before);
  });

  test('the callers of one moment share a statement, in both orders, without a deadlock', async () => {
    const replicas = await startReplicas([{ name: 'many', quota: 1_000, windowSeconds: 1 }], 2);
    const clients = Array.from({ length: 150 }, (_, index) => `key:many-${index}`);
    for (let round = 0; round < 5; round += 1) {
      const decisions = await Promise.all(
        replicas.flatMap(({ buckets }, index) =>
          (index === 0 ? clients : clients.toReversed()).map(async (client) => await buckets.take(client, 50)),
        ),
      );
      expect(decisions.every(({ isAdmitted }) => isAdmitted)).toBe(true);
    }
    const deadlocks = replicas.flatMap(({ logLines }) => logLines.filter((line) => line.includes('40P01')));
    expect(deadlocks).toEqual([]);
  });

  test('the table has no address and no actor', async () => {
    const [replica] = (await startReplicas(two, 1)) as [Replica];
    await take(replica, 'address:203.0.113.77');
    const rows = await sql('select rate_buckets::text as text, length(key) as bytes from rate_buckets');
    expect(rows.every(({ bytes }) => bytes === 32)).toBe(true);
    expect(JSON.stringify(rows)).not.toContain(Buffer.from('203.0.113.77').toString('hex'));
  });

  test('when the clock of the database is set back, a caller waits for a window at most', async () => {
    const policy: Policy = { name: 'back', quota: 4, windowSeconds: 1 };
    const [replica] = (await startReplicas([policy], 1)) as [Replica];
    await take(replica, 'key:back');
    await sql('update rate_buckets set tats = array[tats[1] + 86400]');
    const fresh = await startReplica([policy], testDatabase.urlFor('gateway'));
    const refused = await take(fresh, 'key:back');
    expect([refused.isAdmitted, refused.retryAfterSeconds]).toEqual([false, 1]);
  });

  test('full buckets are deleted, and others are kept', async () => {
    await sql('delete from rate_buckets');
    const [replica] = (await startReplicas([{ name: 'kept', quota: 2, windowSeconds: 60 }], 1)) as [Replica];
    await take(replica, 'key:kept');
    await sql(`insert into rate_buckets (key, tats)
      select int8send(n), array[extract(epoch from now()) - 90, extract(epoch from now()) - 61]
      from generate_series(1, 25000) as n`);
    expect(await replica.store.prune()).toBe(25_000);
    expect(await sql('select count(*)::int from rate_buckets')).toEqual([{ count: 1 }]);
  });
});

test('without the database each gateway counts alone, warns once, and counts with the others again by itself', async () => {
  const policy: Policy = { name: 'away', quota: 10, windowSeconds: 60 };
  const replicas = (await startReplicas([policy], 2, proxy.through(testDatabase.urlFor('gateway')))) as [
    Replica,
    Replica,
  ];
  const admittedBy = async ({ buckets }: Replica, client: string): Promise<number> => {
    const decisions = await Promise.all(Array.from({ length: 20 }, () => buckets.take(client, 1)));
    return decisions.filter(({ isAdmitted }) => isAdmitted).length;
  };
  expect((await admittedBy(replicas[0], 'key:1')) + (await admittedBy(replicas[1], 'key:1'))).toBe(10);
  proxy.stall();
  const started = performance.now();
  for (const replica of replicas) expect(await admittedBy(replica, 'key:2')).toBe(10);
  for (const replica of replicas) expect(await admittedBy(replica, 'key:3')).toBe(10);
  // Four times half a second at most, and not the time-outs of four statements.
  expect(performance.now() - started).toBeLessThan(6_000);
  proxy.resume();
  proxy.cut();
  await eventually(
    async () => {
      for (const { buckets, logLines } of replicas) {
        await buckets.take(`key:${Math.random()}`, 1);
        expect(logLines.join()).toContain('together again');
      }
    },
    { timeoutMs: 15_000, everyMs: 200 },
  );
  expect((await admittedBy(replicas[0], 'key:4')) + (await admittedBy(replicas[1], 'key:4'))).toBe(10);
  for (const { logLines } of replicas) {
    expect(logLines.filter((line) => line.includes('counts alone'))).toHaveLength(1);
  }
}, 30_000);
