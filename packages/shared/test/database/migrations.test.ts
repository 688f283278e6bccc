import { execFile } from 'node:child_process';
import { cpSync, mkdtempSync, readdirSync, readFileSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, test } from '@jest/globals';
import { childEnvironment } from '@promopulse/testing/child-environment';
import { eventually } from '@promopulse/testing/eventually';
import { fullScale } from '@promopulse/testing/scale';
import { createTestDatabase, type TestDatabase } from '@promopulse/testing/servers';
import { startTcpProxy } from '@promopulse/testing/tcp-proxy';
import type { DatabaseOptions } from '../../src/database/database.ts';
import { migrate, revert, waitForMigrations } from '../../src/database/migrations.ts';
import { withClient } from '../../src/database/provision.ts';
import { OutboxMessage } from '../../src/outbox/outbox.ts';
import { createLogger } from '../../src/telemetry/logger.ts';

const silent = createLogger({ service: 'test', level: 'silent' });
const services = join(import.meta.dirname, '../../../../services');

const namesIn = (folder: string) =>
  readdirSync(folder)
    .filter((name) => name.endsWith('.ts'))
    .map((name) => name.replace('.ts', ''))
    .sort();
const allNames = namesIn(join(services, 'users/src/migrations'));

/** The lock of 0.1.0, which this release takes as well. */
const oldReleaseLock = "select pg_advisory_lock(hashtextextended('promopulse.users.migrations', 0))";

let database: TestDatabase;
beforeEach(async () => {
  database = await createTestDatabase(['users']);
});
afterEach(() => database.drop());

const optionsFor = (url: string): DatabaseOptions => ({
  url,
  schema: 'users',
  entities: [OutboxMessage],
  migrations: join(services, 'users/src/migrations'),
});
const query = async <Row>(sql: string): Promise<Row[]> =>
  (await withClient(database.adminUrl, (client) => client.query(sql))).rows;
const appliedNames = async () =>
  (await query<{ name: string }>('select name from users.mikro_orm_migrations order by id')).map(({ name }) => name);

describe('an empty database', () => {
  test('is migrated once by five replicas at the same time, and all of them succeed, each time', async () => {
    for (let round = 0; round < (fullScale ? 10 : 3); round++) {
      const applied = await Promise.all(
        Array.from({ length: 5 }, () => migrate(optionsFor(database.urlFor('users')), silent)),
      );
      expect(applied.flat()).toEqual(allNames);
      expect(await appliedNames()).toEqual(allNames);
      await database.drop();
      database = await createTestDatabase(['users']);
    }
  }, 120_000); // fifty migrations

  test('is consistent after some replicas migrate while others revert, and none of them fails', async () => {
    const options = optionsFor(database.urlFor('users'));
    await Promise.all([
      migrate(options, silent),
      revert(options, silent),
      migrate(options, silent),
      revert(options, silent),
    ]);
    const [row] = await query<{ migrated: boolean }>("select to_regclass('users.outbox') is not null as migrated");
    expect(row?.migrated).toBe((await appliedNames()).length > 0);
  });
});

describe('migrations that the release before does not survive', () => {
  const [contract = ''] = allNames.filter((name) => name.endsWith('_wide_ids'));
  const options = (): DatabaseOptions => ({ ...optionsFor(database.urlFor('users')), contractMigrations: [contract] });

  test('wait for the command `up` when only those are asked for that it survives, and a service starts without them', async () => {
    await migrate(options(), silent);
    for (let applied = allNames.length; applied > 1; applied -= 1) await revert(options(), silent);
    const [first, ...later] = allNames;
    expect(await appliedNames()).toEqual([first]);
    const expected = later.filter((name) => name !== contract);
    expect(await migrate(options(), silent, { onlyExpand: true })).toEqual(expected);
    await waitForMigrations(options(), silent, 0);
    expect(await migrate(options(), silent, { onlyExpand: true })).toEqual([]);
    expect(await migrate(options(), silent)).toEqual([contract]);
  }, 60_000);

  test('are applied to an empty schema, which no release has used', async () => {
    expect(await migrate(options(), silent, { onlyExpand: true })).toEqual(allNames);
  });
});

test('a server that is not available yet is waited for', async () => {
  const proxy = await startTcpProxy(database.adminUrl);
  proxy.limit(0);
  try {
    const waiting = migrate(optionsFor(proxy.through(database.urlFor('users'))), silent);
    await eventually(() => expect(proxy.accepted()).toBeGreaterThanOrEqual(1));
    proxy.limit(undefined);
    expect(await waiting).toEqual(allNames);
  } finally {
    await proxy.close();
  }
});

test('a server that becomes unavailable between the lock and the migrations is waited for', async () => {
  const proxy = await startTcpProxy(database.adminUrl);
  try {
    await withClient(database.urlFor('users'), async (holder) => {
      await holder.query(oldReleaseLock);
      const waiting = migrate(optionsFor(proxy.through(database.urlFor('users'))), silent);
      waiting.catch(() => undefined);
      await eventually(async () => {
        const [row] = await query<{ made: boolean }>(
          "select to_regclass('users.mikro_orm_migrations') is not null as made",
        );
        expect(row?.made).toBe(true);
      });
      proxy.limit(0);
      await holder.query('select pg_advisory_unlock_all()');
      await eventually(() => expect(proxy.accepted()).toBeGreaterThanOrEqual(2));
      proxy.limit(undefined);
      expect(await waiting).toEqual(allNames);
    });
  } finally {
    await proxy.close();
  }
});

test('a database that does not exist is neither waited for nor created', async () => {
  const url = new URL(database.urlFor('users'));
  url.pathname = '/nowhere';
  await expect(migrate(optionsFor(url.href), silent)).rejects.toMatchObject({ code: '3D000' });
});

test('a migration that fails is rolled back, comes through, and leaves the lock free', async () => {
  const options = optionsFor(database.urlFor('users'));
  await withClient(database.urlFor('users'), (client) => client.query('create table users (id int)'));
  await expect(migrate(options, silent)).rejects.toMatchObject({ code: '42P07' });
  expect(await query("select to_regclass('users.outbox') as outbox")).toEqual([{ outbox: null }]);
  await withClient(database.urlFor('users'), (client) => client.query('drop table users'));
  expect(await migrate(options, silent)).toEqual(allNames);
});

test('reverting without an applied migration does nothing', async () => {
  expect(await revert(optionsFor(database.urlFor('users')), silent)).toBeUndefined();
});

describe('the command', () => {
  let copy: string;
  beforeAll(() => {
    copy = mkdtempSync(join(tmpdir(), 'migrations-'));
    symlinkSync(join(services, '../node_modules'), join(copy, 'node_modules')); // the same packages
    cpSync(join(services, 'users/src'), join(copy, 'src'), { recursive: true });
    cpSync(join(services, 'users/package.json'), join(copy, 'package.json'));
  });
  afterAll(() => rmSync(copy, { recursive: true }));

  function run(args: string[], env: Record<string, string> = {}) {
    return new Promise<{ code: number; out: string; err: string }>((resolve) => {
      execFile(
        process.execPath,
        [join(copy, 'src/migrate.ts'), ...args],
        { env: { ...childEnvironment, ...env } },
        (error, out, err) => resolve({ code: Number(error?.code ?? 0), out, err }),
      );
    });
  }
  const onDatabase = (...args: string[]) => run(args, { DATABASE_URL: database.urlFor('users') });
  const migrationNames = () => namesIn(join(copy, 'src/migrations'));
  const eachLine = (line: (name: string) => string, names: readonly string[] = allNames) => names.map(line).join('');

  test('run by five processes at once on an empty database succeeds in all of them and applies each migration once', async () => {
    for (let round = 0; round < (fullScale ? 10 : 1); round++) {
      const results = await Promise.all(Array.from({ length: 5 }, () => onDatabase('up')));
      expect(results.map(({ code, err }) => ({ code, err }))).toEqual(Array(5).fill({ code: 0, err: '' }));
      expect(results.map(({ out }) => out).sort()).toEqual([
        eachLine((name) => `applied ${name}\n`),
        ...Array(4).fill('nothing to apply\n'),
      ]);
      expect(await appliedNames()).toEqual(allNames);
      await database.drop();
      database = await createTestDatabase(['users']);
    }
  }, 300_000); // fifty processes

  test('lists, applies (once, also by several processes) and reverts migrations, and prints what it did', async () => {
    const together = async (...commands: string[]) => {
      const results = await Promise.all(commands.map((command) => onDatabase(command)));
      expect(results.map(({ code, err }) => ({ code, err }))).toEqual(Array(results.length).fill({ code: 0, err: '' }));
      return results.map(({ out }) => out);
    };
    const pending = eachLine((name) => `pending  ${name}\n`);
    expect(await together('current', 'list', 'down')).toEqual(['none\n', pending, 'nothing to revert\n']);
    expect((await together('up', 'up', 'up', 'up', 'up')).sort()).toEqual([
      eachLine((name) => `applied ${name}\n`),
      ...Array(4).fill('nothing to apply\n'),
    ]);
    expect(await appliedNames()).toEqual(allNames);
    const [current, list] = await together('current', 'list');
    expect(current).toBe(`${allNames.at(-1)}\n`);
    const applied = eachLine((name) => `applied {2}${name} {2}\\d{4}-\\d\\d-\\d\\dT[\\d:.]+Z\\n`);
    expect(list).toMatch(new RegExp(`^${applied}$`));
    for (const name of allNames.toReversed()) expect(await together('down')).toEqual([`reverted ${name}\n`]);
    expect(await query("select to_regclass('users.users') as users")).toEqual([{ users: null }]);
  }, 120_000); // a dozen processes

  test('shows its usage for unknown arguments, and exits with 2', async () => {
    const unknown = [[], ['toString'], ['up', '--force'], ['expand', 'all'], ['create', 'a', 'b']];
    const results = await Promise.all(unknown.map((args) => run(args, { DATABASE_URL: 'postgres://127.0.0.1:1/x' })));
    for (const { code, out, err } of results) {
      expect({ code, out }).toEqual({ code: 2, out: '' });
      expect(err).toMatch(/^Usage: node src\/migrate\.ts <command>\n {2}current /);
    }
    expect(migrationNames()).toEqual(allNames);
  });

  test('names DATABASE_URL if it is missing, and exits with 2', async () => {
    const message = 'The environment is not valid:\n  - DATABASE_URL is not set\n';
    expect(await run(['up'])).toEqual({ code: 2, out: '', err: message });
  });

  test('create reports that nothing changed, without a database', async () => {
    expect(await run(['create'])).toEqual({ code: 0, out: 'the entities have not changed\n', err: '' });
    expect(migrationNames()).toEqual(allNames);
  });

  test('create writes the changes of the entities, up applies them and down reverts them', async () => {
    const file = join(copy, 'src/entities.ts');
    const entities = readFileSync(file, 'utf8');
    writeFileSync(file, entities.replace('version: p', 'nickname: p.string().length(40).nullable(),\n    version: p'));
    const { code, out, err } = await run(['create', 'nickname']);
    expect({ code, err }).toEqual({ code: 0, err: '' });
    const [name] = out.match(/Migration\d{14}_nickname(?=\.ts)/) ?? [];
    expect(migrationNames()).toContain(name);
    const migration = readFileSync(join(copy, 'src/migrations', `${name}.ts`), 'utf8');
    expect(migration).toContain('alter table "users"."users" add "nickname" varchar(40) null');
    expect(migration).toContain('alter table "users"."users" drop column "nickname"');
    expect((await run(['create'])).out).toBe('the entities have not changed\n');

    expect((await onDatabase('up')).out).toBe(eachLine((each) => `applied ${each}\n`, [...allNames, String(name)]));
    const columns = () =>
      query("select from information_schema.columns where table_schema = 'users' and column_name = 'nickname'");
    expect(await columns()).toHaveLength(1);
    expect((await onDatabase('down')).out).toContain('_nickname');
    expect(await columns()).toHaveLength(0);
  });
});
