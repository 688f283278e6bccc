// A migration behind an autovacuum, on a server of its own, where autovacuum looks for work every second. The short
// waits of a migration end before the server would end the autovacuum for it.
import { mkdirSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { join, resolve } from 'node:path';
import { afterAll, beforeAll, expect, test } from '@jest/globals';
import { migrate } from '@promopulse/shared/database/migrations';
import { provision, withClient } from '@promopulse/shared/database/provision';
import type { ServiceDefinition } from '@promopulse/shared/service';
import { databaseOptionsOf } from '@promopulse/shared/service/schema-definition';
import { createLogger } from '@promopulse/shared/telemetry/logger';
import { eventually } from '@promopulse/testing/eventually';
import { freePort } from '../local/ports.ts';
import { type LocalPostgres, startLocalPostgres } from '../local/postgres.ts';
import { loadServices } from '../local/services.ts';
import { temporaryDataDir } from './support/start-process.ts';

const users = (await loadServices()).find(({ name }) => name === 'users') as ServiceDefinition;
const folder = temporaryDataDir();
const migrations = join(folder, 'migrations');
let server: LocalPostgres;

beforeAll(async () => {
  server = await startLocalPostgres({
    dataDir: join(folder, 'data'),
    port: await freePort(),
    durable: false,
    print: () => undefined,
  });
  mkdirSync(migrations);
  symlinkSync(resolve(import.meta.dirname, '../node_modules'), join(folder, 'node_modules'));
  writeFileSync(
    join(migrations, 'Migration1.ts'),
    `import { Migration } from '@mikro-orm/migrations';
    export class Migration1 extends Migration {
      override name = 'Migration1';
      override up() { this.addSql('alter table users.notes add added int'); }
    }`,
  );
}, 60_000);
afterAll(async () => {
  await server?.stop();
  rmSync(folder, { recursive: true, force: true });
});

test('an autovacuum of the table is ended, and the migration is applied', async () => {
  const { adminUrl, urls } = await provision(server.url, { database: 'promopulse', services: ['users'] });
  await withClient(String(urls.users), async (owner) => {
    // Throttled, this vacuum takes many minutes.
    await owner.query(`create table notes (id int, text text) with
      (autovacuum_vacuum_threshold = 1, autovacuum_vacuum_cost_delay = 100, autovacuum_vacuum_cost_limit = 1)`);
    await owner.query("insert into notes select n, repeat('x', 500) from generate_series(1, 50000) as n");
    await owner.query('delete from notes where id % 2 = 0');
  });
  const vacuums = async () =>
    await withClient(adminUrl, async (admin) => (await admin.query('select from pg_stat_progress_vacuum')).rowCount);
  await withClient(adminUrl, async (admin) => {
    await admin.query("alter system set autovacuum_naptime = '1s'");
    await admin.query('select pg_reload_conf()');
  });
  await eventually(async () => expect(await vacuums()).toBe(1), { timeoutMs: 30_000, everyMs: 200 });
  const lines: Record<string, unknown>[] = [];
  const log = createLogger({
    service: 'test',
    level: 'warn',
    destination: { write: (line) => void lines.push(JSON.parse(line)) },
  });
  const options = databaseOptionsOf({ ...users, migrations }, String(urls.users));
  expect(await migrate(options, log, { waitMs: 20_000 })).toEqual(['Migration1']);
  expect(lines[0]).toMatchObject({ on: 'notes', held_by: [{ background: true }] });
}, 90_000);
