// A crash of the PostgreSQL that all gateways count in, on a server of its own: its table of buckets is unlogged.
import { createSecretKey, randomBytes } from 'node:crypto';
import { rmSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, test } from '@jest/globals';
import type { Database } from '@promopulse/shared/database/database';
import { provision, withClient } from '@promopulse/shared/database/provision';
import { createLogger } from '@promopulse/shared/telemetry/logger';
import { eventually } from '@promopulse/testing/eventually';
import { freePort } from '../local/ports.ts';
import { type LocalPostgres, startLocalPostgres } from '../local/postgres.ts';
import { openGatewayDatabase } from '../services/gateway/src/gateway-database.ts';
import { SharedBuckets } from '../services/gateway/src/rate-limit/bucket-store.ts';
import { Buckets } from '../services/gateway/src/rate-limit/buckets.ts';
import { temporaryDataDir } from './support/start-process.ts';

const folder = temporaryDataDir();
const logLines: string[] = [];
let server: LocalPostgres;
let gatewayUrl: string;
let database: Database;
let store: SharedBuckets;

beforeAll(async () => {
  const dataDir = join(folder, 'postgres');
  server = await startLocalPostgres({ dataDir, port: await freePort(), durable: true, print: () => undefined });
  const { urls } = await provision(server.url, { database: 'promopulse', services: ['gateway'] });
  gatewayUrl = String(urls.gateway);
}, 60_000);
afterAll(async () => {
  store?.close();
  await database?.close();
  await server?.stop();
  rmSync(folder, { recursive: true, force: true });
});

/** Kills a process of the server. The server then ends all others and recovers, as after a crash. */
async function crash(): Promise<void> {
  await withClient(server.url, async (client) => {
    const { rows } = await client.query<{ pid: number }>(
      "select pid from pg_stat_activity where usename = 'promopulse_gateway' limit 1",
    );
    process.kill(Number(rows[0]?.pid), 'SIGKILL');
  });
}

test('empties the buckets: each gateway serves on, and counts in the database again by itself', async () => {
  const log = createLogger({
    service: 'test',
    level: 'info',
    destination: { write: (line) => void logLines.push(line) },
  });
  database = await openGatewayDatabase({ DATABASE_URL: gatewayUrl }, log);
  const policies = [{ name: 'hourly', quota: 5, windowSeconds: 3_600 }];
  store = new SharedBuckets({ database, policies, key: createSecretKey(randomBytes(32)), log });
  const admittedBy = async (buckets: Buckets, client: string): Promise<number> => {
    const decisions = await Promise.all(Array.from({ length: 9 }, () => buckets.take(client, 1)));
    return decisions.filter(({ isAdmitted }) => isAdmitted).length;
  };
  const buckets = new Buckets(policies, { store });
  expect(await admittedBy(buckets, 'key:a')).toBe(5);
  expect(await admittedBy(new Buckets(policies, { store }), 'key:a')).toBe(0);

  await crash().catch(() => undefined);
  expect(await admittedBy(buckets, 'key:b')).toBe(5);
  await eventually(
    async () => {
      await buckets.take(`key:${Math.random()}`, 1);
      const { rows } = await withClient(gatewayUrl, (client) => client.query('select from rate_buckets'));
      expect(rows.length).toBeGreaterThan(0);
    },
    { timeoutMs: 30_000, everyMs: 300 },
  );
  // Another gateway knows nothing of the units that were spent before the crash.
  expect(await admittedBy(new Buckets(policies, { store }), 'key:a')).toBe(5);
  expect(logLines.filter((line) => line.includes('counts alone')).length).toBeLessThanOrEqual(1);
}, 60_000);
