// The service while its schema is migrated: under load, by a job of its own, and with the connections it may have.
import { cpSync, mkdtempSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, test } from '@jest/globals';
import { migrate } from '@promopulse/shared/database/migrations';
import { withClient } from '@promopulse/shared/database/provision';
import { type RunningService, startService } from '@promopulse/shared/service';
import { databaseOptionsOf } from '@promopulse/shared/service/schema-definition';
import { createLogger } from '@promopulse/shared/telemetry/logger';
import { client } from '@promopulse/testing/client';
import { eventually } from '@promopulse/testing/eventually';
import {
  amqpUrl,
  createTestDatabase,
  deleteTopology,
  type TestDatabase,
  uniquePrefix,
} from '@promopulse/testing/servers';
import { startTestService, type TestService } from '@promopulse/testing/service';
import { promotions } from '../src/service.ts';

const silent = createLogger({ service: 'test', level: 'silent' });
const promotion = { name: 'Summer', start_at: '2030-01-01T00:00:00Z', end_at: '2030-02-01T00:00:00Z' };

describe('a migration of the table that requests use', () => {
  let service: TestService;
  let folder: string;
  beforeAll(async () => {
    service = await startTestService(promotions, { APPLIED_REPLY_TIMEOUT_MS: '0' });
    folder = mkdtempSync(join(tmpdir(), 'migrations-'));
    symlinkSync(join(import.meta.dirname, '../../../node_modules'), join(folder, 'node_modules'));
    cpSync(promotions.migrations, join(folder, 'migrations'), { recursive: true });
  });
  afterAll(async () => {
    rmSync(folder, { recursive: true });
    await service.close();
  });

  function writeMigration(name: string, column: string): void {
    const text = `import { Migration } from '@mikro-orm/migrations';
      export class ${name} extends Migration {
        override name = '${name}';
        override up() { this.addSql('alter table promotions.promotions add ${column} int'); }
      }`;
    writeFileSync(join(folder, 'migrations', `${name}.ts`), text);
  }

  /** Sends requests of each kind one after the other. @returns a function that stops and tells how they went */
  function startTraffic(id: number) {
    const kinds: Record<string, () => Promise<{ status: number }>> = {
      read: () => service.api.get(`/promotions/${id}`),
      list: () => service.api.get('/promotions?limit=5'),
      create: () => service.api.post('/promotions', promotion),
      edit: () => service.api.patch(`/promotions/${id}`, { name: `Summer ${Date.now()}` }),
    };
    const found = { requests: 0, serverErrors: 0, longestMs: 0 };
    let stopped = false;
    const running = Object.values(kinds).map(async (send) => {
      while (!stopped) {
        const startedAt = performance.now();
        const { status } = await send();
        found.requests++;
        if (status >= 500) found.serverErrors++;
        found.longestMs = Math.max(found.longestMs, performance.now() - startedAt);
        await sleep(10);
      }
    });
    return async () => {
      stopped = true;
      await Promise.all(running);
      return found;
    };
  }

  test.each([
    ['an open reader', 'Migration30000101000000', 'select * from promotions'],
    ['a writer that keeps a row', 'Migration30000101000001', 'select from promotions where id = 1 for update'],
  ])('behind %s: no request fails, none takes a second, and it is applied when that ends', async (_what, name, sql) => {
    const [first, other] = [
      await service.api.post('/promotions', promotion),
      await service.api.post('/promotions', promotion),
    ];
    expect([first.status, other.status]).toEqual([201, 201]);
    writeMigration(name, `added_${name.toLowerCase()}`);
    await withClient(String(service.env.DATABASE_URL), async (holder) => {
      await holder.query('begin');
      await holder.query(sql);
      const stopTraffic = startTraffic(other.body.id);
      const options = databaseOptionsOf(
        { ...promotions, migrations: join(folder, 'migrations') },
        String(service.env.DATABASE_URL),
      );
      const migrating = migrate(options, silent);
      await sleep(8_000);
      const { requests, serverErrors, longestMs } = await stopTraffic();
      expect({ serverErrors, enough: requests > 100 }).toEqual({ serverErrors: 0, enough: true });
      expect(longestMs).toBeLessThan(1_000);
      await holder.query('commit');
      expect(await migrating).toEqual([name]);
    });
  });
});

describe('a start', () => {
  let database: TestDatabase;
  let prefix: string;
  let running: RunningService | undefined;
  let lines: Record<string, unknown>[];
  beforeEach(async () => {
    database = await createTestDatabase(['promotions']);
    prefix = uniquePrefix();
    lines = [];
  });
  afterEach(async () => {
    await running?.close();
    running = undefined;
    await database.drop();
    await deleteTopology(prefix);
  });

  const url = () => database.urlFor('promotions');
  async function start(env: Record<string, string>): Promise<RunningService> {
    const complete = {
      HOST: '127.0.0.1',
      PORT: '0',
      DATABASE_URL: url(),
      AMQP_URL: amqpUrl(),
      AMQP_PREFIX: prefix,
      ...env,
    };
    const logDestination = { write: (line: string) => void lines.push(JSON.parse(line)) };
    running = await startService(promotions, complete, { logDestination });
    return running;
  }

  test('with MIGRATE=off waits for the migration command, and then serves', async () => {
    const starting = start({ MIGRATE: 'off' });
    await eventually(() =>
      expect(lines).toContainEqual(expect.objectContaining({ level: 'warn', pending: expect.anything() })),
    );
    await sleep(1_000);
    const applied = await migrate(databaseOptionsOf(promotions, url()), silent);
    expect(applied.length).toBeGreaterThan(0);
    const { url: serving } = await starting;
    expect((await client(serving).get('/promotions')).status).toBe(200);
    expect(lines.filter(({ pending }) => pending)).toHaveLength(1);
  });

  test('with MIGRATE=off and a pending migration fails after the wait, with the command and the variable', async () => {
    await expect(start({ MIGRATE: 'off', MIGRATION_WAIT_SECONDS: '1' })).rejects.toMatchObject({
      name: 'ConfigError',
      message: expect.stringMatching(
        /^MIGRATE=off, and \d+ migrations are pending \(the first: Migration\d+_initial\)\. Run `node src\/migrate\.ts up` .* or set MIGRATE=on\.$/,
      ),
    });
    await withClient(database.adminUrl, async (admin) => {
      const { rows } = await admin.query("select from pg_tables where schemaname = 'promotions'");
      expect(rows).toEqual([]);
    });
  });

  test('with MIGRATE=off serves on the schema of a newer release', async () => {
    await migrate(databaseOptionsOf(promotions, url()), silent);
    await withClient(url(), (owner) => owner.query("insert into mikro_orm_migrations (name) values ('Migration3000')"));
    await start({ MIGRATE: 'off', MIGRATION_WAIT_SECONDS: '0' });
  });

  test('is refused for an unknown MIGRATE or wait, by name', async () => {
    const wrong = { MIGRATE: 'never', MIGRATION_WAIT_SECONDS: '-1' };
    const error = await start(wrong).catch((reason: unknown) => reason as Error);
    expect((error as Error).message).toMatch(/MIGRATE is not valid[\s\S]*MIGRATION_WAIT_SECONDS is not valid/);
  });

  const limitRole = (limit: number) =>
    withClient(database.adminUrl, (admin) =>
      admin.query(`alter role "${new URL(url()).username}" connection limit ${limit}`),
    );
  const warnings = () => lines.filter(({ during_rollout }) => during_rollout);

  test('warns once when a rollout may exceed the connection limit of its role', async () => {
    await limitRole(17);
    await start({});
    expect(warnings()).toEqual([
      expect.objectContaining({ level: 'warn', connections: 9, during_rollout: 18, allowed: 17, limit: 'role' }),
    ]);
  });

  test('says nothing when a rollout fits', async () => {
    await limitRole(18);
    await start({});
    expect(warnings()).toEqual([]);
  });

  test('fails when the role may not have the connections of one process, and names the variables', async () => {
    await limitRole(8);
    await expect(start({})).rejects.toMatchObject({
      name: 'ConfigError',
      message:
        "DATABASE_POOL_MAX + DATABASE_PIPELINED_CONNECTIONS is 9, but the role's connection limit allows 8. " +
        'Lower the two variables, or raise the limit.',
    });
  });

  test('fails when the server has too few connections', async () => {
    await limitRole(-1);
    await expect(start({ DATABASE_POOL_MAX: '100' })).rejects.toMatchObject({
      message: expect.stringMatching(/is 104, but max_connections allows 9\d\. /),
    });
  });

  test('fails when the database has too few connections', async () => {
    await withClient(database.adminUrl, (admin) =>
      admin.query(`alter database "${new URL(url()).pathname.slice(1)}" connection limit 6`),
    );
    await expect(start({})).rejects.toMatchObject({
      message: expect.stringContaining("is 9, but the database's connection limit allows 6. "),
    });
  });
});
