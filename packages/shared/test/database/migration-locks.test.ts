// A migration that waits for locks: nothing waits long behind it, and it comes through when the locks are free.
import { mkdirSync, mkdtempSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { afterEach, beforeEach, describe, expect, test } from '@jest/globals';
import { eventually } from '@promopulse/testing/eventually';
import { createTestDatabase, type TestDatabase } from '@promopulse/testing/servers';
import pg from 'pg';
import type { DatabaseOptions } from '../../src/database/database.ts';
import { listMigrations, migrate, revert } from '../../src/database/migrations.ts';
import { withShortLocks } from '../../src/database/startup/lock-waits.ts';
import { OutboxMessage } from '../../src/outbox/outbox.ts';
import { createLogger } from '../../src/telemetry/logger.ts';

interface Line {
  level: string;
  msg: string;
  migration?: string;
}

let database: TestDatabase;
let folder: string;
let clients: pg.Client[];
let lines: Line[];
let users: pg.Client;

beforeEach(async () => {
  database = await createTestDatabase(['users', 'promotions']);
  folder = mkdtempSync(join(tmpdir(), 'migrations-'));
  mkdirSync(join(folder, 'migrations'));
  symlinkSync(join(import.meta.dirname, '../../../../node_modules'), join(folder, 'node_modules'));
  clients = [];
  lines = [];
  users = await connect('users');
  await users.query('create table notes (id serial primary key, text text); insert into notes (text) values (1), (2)');
});
afterEach(async () => {
  await Promise.all(clients.map((client) => client.end()));
  rmSync(folder, { recursive: true });
  await database.drop();
});

async function connect(role: string, applicationName = 'test'): Promise<pg.Client> {
  const client = new pg.Client({ connectionString: database.urlFor(role), application_name: applicationName });
  client.on('error', () => undefined);
  await client.connect();
  clients.push(client);
  return client;
}

const options = (): DatabaseOptions => ({
  url: database.urlFor('users'),
  schema: 'users',
  entities: [OutboxMessage],
  migrations: join(folder, 'migrations'),
});
const log = createLogger({
  service: 'test',
  level: 'warn',
  destination: { write: (line) => lines.push(JSON.parse(line)) },
});
const up = (waitMs?: number) => migrate(options(), log, waitMs === undefined ? {} : { waitMs });
const waits = () => lines.filter(({ msg }) => msg === 'a migration waits for a lock');

/** Writes a migration whose `up` is this code, and whose `down` drops the column `added`. */
function write(name: string, code: string, members = ''): void {
  const text = `import { Migration } from '@mikro-orm/migrations';
    export class ${name} extends Migration {
      override name = '${name}';
      ${members}
      override async up() { ${code} }
      override down() { this.addSql('alter table users.notes drop column added'); }
    }`;
  writeFileSync(join(folder, 'migrations', `${name}.ts`), text);
}
const addSql = (...statements: string[]) => statements.map((sql) => `this.addSql(${JSON.stringify(sql)});`).join('\n');
const addColumn = addSql('alter table users.notes add added int');
const outsideTransaction = 'override isTransactional() { return false; }';

async function columns(): Promise<string[]> {
  const { rows } = await users.query(
    "select attname from pg_attribute where attrelid = 'notes'::regclass and attnum > 0",
  );
  return rows.map(({ attname }) => attname);
}

/** Runs `statement` again and again. @returns a function that stops it and tells the longest time, in milliseconds */
function keepRunning(client: pg.Client, statement: string): () => Promise<number> {
  let stopped = false;
  const longest = (async () => {
    let longestMs = 0;
    while (!stopped) {
      const startedAt = performance.now();
      await client.query(statement);
      longestMs = Math.max(longestMs, performance.now() - startedAt);
      await sleep(5);
    }
    return longestMs;
  })();
  return () => {
    stopped = true;
    return longest;
  };
}

async function traffic(): Promise<() => Promise<number>> {
  const statements = [
    'select count(*) from notes',
    "insert into notes (text) values ('x')",
    "update notes set text = 'y' where id = 2",
  ];
  const running = await Promise.all(
    statements.map(async (statement) => keepRunning(await connect('users'), statement)),
  );
  return async () => Math.max(...(await Promise.all(running.map((stop) => stop()))));
}

describe.each([
  ['an open reader', 'select * from notes'],
  ['a writer that keeps a row', "update notes set text = 'z' where id = 1"],
])('behind %s', (_what, statement) => {
  test('a migration lets everything else pass, says what it waits for, and comes through afterwards', async () => {
    write('Migration1', addColumn);
    const holder = await connect('users', 'holder');
    await holder.query('begin');
    await holder.query(statement);
    const stopTraffic = await traffic();
    const migrating = up();
    await sleep(6_000);
    expect(await columns()).not.toContain('added');
    expect(await stopTraffic()).toBeLessThan(1_000);
    expect(waits()).toHaveLength(1);
    expect(waits()[0]).toMatchObject({
      lock: 'AccessExclusiveLock',
      on: 'notes',
      held_by: [{ application_name: 'holder', state: 'idle in transaction', transaction_seconds: expect.any(Number) }],
    });
    expect(JSON.stringify(lines)).not.toContain('select');
    await holder.query('commit');
    expect(await migrating).toEqual(['Migration1']);
    expect(await columns()).toContain('added');
  });
});

test('an attempt that waits for one lock after the other gives all of them up within a second', async () => {
  const tables = Array.from({ length: 16 }, (_, index) => `table_${index}`);
  await users.query(tables.map((table) => `create table ${table} (id int)`).join(';'));
  write('Migration1', addSql(...tables.map((table) => `alter table users.${table} add added int`)));
  // Each lock is free within 230 ms at most, so that none of the waits alone is too long. All together take 2.5 s.
  const readers = await Promise.all(
    tables.slice(1).flatMap((table) =>
      [0, 115].map(async (offsetMs) => {
        const client = await connect('users');
        await sleep(offsetMs);
        return keepRunning(client, `begin; select * from ${table}; select pg_sleep(0.23); commit`);
      }),
    ),
  );
  const stop = keepRunning(await connect('users'), 'select * from table_0');
  const migrating = up();
  await sleep(6_000);
  expect(await stop()).toBeLessThan(1_800); // a second, and what a busy machine adds
  await Promise.all(readers.map((stopReader) => stopReader()));
  expect(await migrating).toEqual(['Migration1']);
});

test('a migration that gets no lock in time changes nothing, and names the variable', async () => {
  write('Migration1', addSql('create table users.made (id int)', 'alter table users.notes add added int'));
  const holder = await connect('users');
  await holder.query('begin; select * from notes');
  await expect(up(1_000)).rejects.toMatchObject({
    name: 'ConfigError',
    message: expect.stringMatching(/^A migration got no lock in 1 s, .*raise MIGRATION_WAIT_SECONDS\.$/),
  });
  expect(lines.at(-1)).toMatchObject({ level: 'error', msg: 'a migration has failed', migration: 'Migration1' });
  expect((await users.query("select to_regclass('made') as made")).rows).toEqual([{ made: null }]);
  await holder.query('commit');
  expect(await up()).toEqual(['Migration1']);
});

test('reverting waits in the same way', async () => {
  write('Migration1', addColumn);
  await up();
  const holder = await connect('users');
  await holder.query('begin; select * from notes');
  const stopTraffic = await traffic();
  const reverting = revert(options(), log);
  await sleep(2_500);
  expect(await stopTraffic()).toBeLessThan(1_000);
  await holder.query('commit');
  expect(await reverting).toBe('Migration1');
  expect(await columns()).not.toContain('added');
});

describe('create index concurrently', () => {
  const createIndex = addSql('create unique index concurrently if not exists notes_text_index on users.notes (text)');
  const isValid = async () => {
    const { rows } = await users.query(
      "select indisvalid from pg_index where indexrelid = to_regclass('notes_text_index')",
    );
    return rows.map(({ indisvalid }) => indisvalid);
  };

  test('waits for a long reader for longer than any time-out, and delays neither readers nor writers', async () => {
    write('Migration1', createIndex.replace('unique', ''), outsideTransaction);
    const reader = await connect('users', 'holder');
    await reader.query('begin isolation level repeatable read');
    await reader.query('select * from notes');
    const stopTraffic = await traffic();
    const migrating = up(0);
    await sleep(4_000);
    expect(await isValid()).toEqual([false]);
    expect(waits()[0]).toMatchObject({ on: 'virtualxid', held_by: [{ application_name: 'holder' }] });
    await reader.query('commit');
    expect(await migrating).toEqual(['Migration1']);
    expect(await stopTraffic()).toBeLessThan(1_000);
    expect(await isValid()).toEqual([true]);
  });

  test('replaces the invalid index that an attempt before it has left', async () => {
    write('Migration1', createIndex, outsideTransaction);
    await users.query('insert into notes (text) values (1)');
    await expect(up()).rejects.toMatchObject({ code: '23505' });
    expect(await isValid()).toEqual([false]);
    await users.query('delete from notes where id = 3');
    expect(await up()).toEqual(['Migration1']);
    expect(await isValid()).toEqual([true]);
  });
});

test('outside a transaction each statement is repeated on its own, and what came before stays', async () => {
  write(
    'Migration1',
    `await this.execute('alter table users.notes add first int');
     ${addSql('insert into users.steps values (1)', 'alter table users.notes add added int')}`,
    outsideTransaction,
  );
  await users.query('create table steps (id int)');
  const holder = await connect('users');
  await holder.query('begin; select * from notes');
  const migrating = up();
  await eventually(() => expect(waits()).not.toEqual([]));
  await sleep(1_000);
  await holder.query('commit');
  await eventually(async () => expect(await columns()).toContain('first'));
  expect(await migrating).toEqual(['Migration1']);
  expect((await users.query('select * from steps')).rows).toEqual([{ id: 1 }]);
});

test('outside a transaction, several statements in one text are one transaction', async () => {
  write(
    'Migration1',
    addSql(
      'alter table users.notes add first int',
      'alter table users.notes add added int; alter table users.missing add x int',
    ),
    outsideTransaction,
  );
  await expect(up()).rejects.toMatchObject({ code: '42P01' });
  expect(await columns()).toEqual(['id', 'text', 'first']);
});

test('columns that become bigint wait many times for a moment, and the migration does not begin again', async () => {
  await users.query('create table starts (at timestamptz default clock_timestamp())');
  const widenIds = JSON.stringify(join(import.meta.dirname, '../../src/database/ids/widen-ids.ts'));
  write(
    'Migration1',
    `const pool = await this.getEntityManager().getDriver().getConnection().getNativeClient();
     await pool.query('insert into users.starts default values');
     const { widenIds } = await import(${widenIds});
     await widenIds(this, { schema: 'users', table: 'notes', columns: ['id'], smallRows: 1 });`,
    outsideTransaction,
  );
  const holder = await connect('users');
  await holder.query('begin; select * from notes');
  const migrating = up();
  await sleep(5_000);
  await holder.query('commit');
  expect(await migrating).toEqual(['Migration1']);
  expect((await users.query('select pg_typeof(max(id))::text as type from notes')).rows).toEqual([{ type: 'bigint' }]);
  expect((await users.query('select from starts')).rowCount).toBe(1);
}, 60_000);

test('withShortLocks repeats a transaction of a migration until its locks are free', async () => {
  const holder = await connect('users');
  await holder.query('begin; select * from notes');
  await users.query('set lock_timeout = 100');
  let attempts = 0;
  const work = withShortLocks(() => {
    attempts++;
    return users.query('alter table notes add added int');
  });
  await eventually(() => expect(attempts).toBeGreaterThan(1));
  await holder.query('commit');
  await work;
  await expect(withShortLocks(() => users.query('alter table notes add added int'))).rejects.toMatchObject({
    code: '42701',
  });
});

describe('the migration lock', () => {
  /** Sessions of the migrators, the one with the lock first. */
  const migrators = async () =>
    (
      await users.query(`select pid, backend_xid, backend_xmin, exists (select from pg_locks where pg_locks.pid = a.pid
          and relation = 'mikro_orm_migrations'::regclass and mode = 'ShareUpdateExclusiveLock' and granted) as holds
        from pg_stat_activity as a where application_name = 'promopulse-users-migrator' order by holds desc`)
    ).rows;

  test('keeps no snapshot and no transaction id, so that neither vacuum nor an index waits for it', async () => {
    write('Migration1', addColumn);
    const holder = await connect('users');
    await holder.query('begin; select * from notes');
    const migrating = up();
    await eventually(async () => {
      expect((await migrators())[0]).toMatchObject({ holds: true, backend_xid: null, backend_xmin: null });
    });
    await holder.query('commit');
    await migrating;
  });

  test('is held by one process, and listing does not need it', async () => {
    write('Migration1', addSql('select pg_sleep(1.5)', 'alter table users.notes add added int'));
    const migrating = [up(), up(), up()];
    await eventually(async () => expect((await migrators())[0]).toMatchObject({ holds: true }));
    const listedAt = performance.now();
    expect(await listMigrations(options(), log)).toEqual([{ name: 'Migration1' }]);
    expect(performance.now() - listedAt).toBeLessThan(1_000);
    expect((await Promise.all(migrating)).flat()).toEqual(['Migration1']);
  });

  test('cannot be taken by another role, nor kept from the service by the name that 0.1.0 used', async () => {
    write('Migration1', addColumn);
    await listMigrations(options(), log);
    await up();
    write('Migration2', addSql('select 1'));
    const stranger = await connect('promotions');
    await stranger.query("select pg_advisory_lock(hashtextextended('promopulse.users.migrations', 0))");
    await expect(
      stranger.query('begin; lock table users.mikro_orm_migrations in share update exclusive mode'),
    ).rejects.toMatchObject({ code: '42501' });
    expect(await up()).toEqual(['Migration2']);
  });

  test('is not taken while a process of 0.1.0 migrates', async () => {
    write('Migration1', addColumn);
    const oldRelease = await connect('users');
    await oldRelease.query("select pg_advisory_lock(hashtextextended('promopulse.users.migrations', 0))");
    const migrating = up();
    await sleep(1_500);
    expect(await columns()).not.toContain('added');
    await oldRelease.query('select pg_advisory_unlock_all()');
    expect(await migrating).toEqual(['Migration1']);
  });

  test('is noticed to be lost: no further statement is executed', async () => {
    write('Migration1', addSql('select pg_sleep(2)'));
    write('Migration2', addColumn);
    const applied: string[] = [];
    const migrating = migrate(options(), log, { onApplied: (name) => applied.push(name) });
    await eventually(async () => {
      const { rows } = await users.query("select from pg_stat_activity where wait_event = 'PgSleep'");
      expect(rows).toHaveLength(1);
    });
    const [{ pid }] = await migrators();
    const other = await connect('users');
    await users.query('select pg_terminate_backend($1)', [pid]);
    await other.query('begin; lock table mikro_orm_migrations in share update exclusive mode');
    await eventually(() => expect(applied).toEqual(['Migration1']));
    await sleep(1_500);
    expect(applied).toEqual(['Migration1']);
    await other.query('commit');
    expect(await migrating).toEqual(['Migration1', 'Migration2']);
  });
});

test('the time-outs of the role do not hold for migrations', async () => {
  write('Migration1', addSql('select pg_sleep(0.5)', 'alter table users.notes add added int'));
  const admin = new pg.Client({ connectionString: database.adminUrl });
  await admin.connect();
  const role = decodeURIComponent(new URL(database.urlFor('users')).username);
  for (const name of ['statement_timeout', 'transaction_timeout', 'idle_in_transaction_session_timeout']) {
    await admin.query(`alter role "${role}" set ${name} = 100`);
  }
  await admin.end();
  expect(await up()).toEqual(['Migration1']);
});
