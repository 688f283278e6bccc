// A failover on real servers: a standby gives no answer as the owner, and begins a new epoch once it is promoted.
import { execFileSync } from 'node:child_process';
import { rmSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, test } from '@jest/globals';
import { userState } from '@promopulse/shared/contracts/users';
import { type Database, openDatabase } from '@promopulse/shared/database/database';
import { migrate } from '@promopulse/shared/database/migrations';
import { provision, withClient } from '@promopulse/shared/database/provision';
import { isDatabaseUnavailable } from '@promopulse/shared/database/sqlstate';
import { ensureEpoch } from '@promopulse/shared/outbox/epoch';
import { readPage } from '@promopulse/shared/outbox/owner-snapshot';
import type { ServiceDefinition } from '@promopulse/shared/service';
import { databaseOptionsOf } from '@promopulse/shared/service/schema-definition';
import { createLogger } from '@promopulse/shared/telemetry/logger';
import { freePort } from '../local/ports.ts';
import { type LocalPostgres, startLocalPostgres } from '../local/postgres.ts';
import { loadServices } from '../local/services.ts';
import { temporaryDataDir } from './support/start-process.ts';

const silent = createLogger({ service: 'test', level: 'silent' });
const users = (await loadServices()).find(({ name }) => name === 'users') as ServiceDefinition;
const source = { table: 'users', contract: userState } as const;
const firstPage = (database: Database) => readPage(database, source, { after_id: 0, limit: 10 });
const insertUser = async (database: Database): Promise<number> => {
  const text = `insert into users (first_name, last_name, email_encrypted, email_index)
    values ('Ada', 'Lovelace', '', gen_random_uuid()::text) returning id`;
  return (await database.run<{ id: number }>({ text }, []))[0]?.id ?? 0;
};

const folder = temporaryDataDir();
let server: LocalPostgres | undefined;
let database: Database | undefined;
let serviceUrl = '';

const start = async (name: string): Promise<LocalPostgres> => {
  const dataDir = join(folder, name);
  server = await startLocalPostgres({ dataDir, port: await freePort(), durable: true, print: () => undefined });
  return server;
};
async function open(port: number): Promise<Database> {
  const url = new URL(serviceUrl);
  url.port = String(port);
  database = await openDatabase(databaseOptionsOf(users, url.href));
  return database;
}
async function stop(): Promise<void> {
  await database?.close();
  await server?.stop();
  database = undefined;
  server = undefined;
}

beforeAll(async () => {
  const primary = await start('primary');
  const { urls } = await provision(primary.url, { database: 'promopulse', services: ['users'] });
  serviceUrl = String(urls.users);
  await migrate(databaseOptionsOf(users, serviceUrl), silent);
}, 60_000);
afterAll(async () => {
  await stop();
  rmSync(folder, { recursive: true, force: true });
});

test('a standby is unavailable, and begins a new epoch with ids far above when it is promoted', async () => {
  const primary = await open(server?.port ?? 0);
  const epoch = await ensureEpoch(primary, silent);
  expect(await insertUser(primary)).toBe(1);
  await stop();
  const [copy, original] = [join(folder, 'standby'), join(folder, 'primary')];
  execFileSync('cp', ['-a', original, copy]);
  execFileSync('cp', ['-p', join(original, 'PG_VERSION'), join(copy, 'standby.signal')]); // of the same owner

  const { url, port } = await start('standby');
  const standby = await open(port);
  const failure: unknown = await ensureEpoch(standby, silent).catch((error: unknown) => error);
  expect(isDatabaseUnavailable(failure)).toBe(true);
  await expect(firstPage(standby)).rejects.toMatchObject({ kind: 'unavailable' });

  await withClient(url, (client) => client.query('select pg_promote()'));
  await expect(firstPage(standby)).rejects.toMatchObject({ kind: 'unavailable' });
  const next = await ensureEpoch(standby, silent);
  expect(next).not.toBe(epoch);
  expect(await insertUser(standby)).toBeGreaterThan(100_000);
  const page = await firstPage(standby);
  expect(page.epoch).toBe(next);
  expect(JSON.parse(page.items.text)).toMatchObject([{ id: 1 }, {}]);
}, 60_000);
