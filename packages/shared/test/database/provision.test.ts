// What a service's role may not do, tried as a role that somebody else controls.
import { randomBytes } from 'node:crypto';
import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';
import { createTestDatabase, type TestDatabase } from '@promopulse/testing/servers';
import pg from 'pg';
import { type Provisioned, provision, unprovision, withClient } from '../../src/database/provision.ts';

const cluster = String(process.env.TEST_DATABASE_URL);
const services = ['users', 'promotions'];
let testDatabase: TestDatabase;
let otherDatabase: TestDatabase;

beforeAll(async () => {
  testDatabase = await createTestDatabase(services);
  otherDatabase = await createTestDatabase(['users']);
  await as(
    'users',
    `create table users.leases (name text primary key); create sequence users.ids;
    create function users.secret() returns int language sql return 1`,
  );
});
afterAll(async () => {
  await testDatabase.drop();
  await otherDatabase.drop();
});

const query = (url: string | undefined, sql: string) =>
  withClient(String(url), async (client) => (await client.query(sql)).rows);
const as = (service: string, sql: string) => query(testDatabase.urlFor(service), sql);
const withDatabase = (url: string, database: string): string =>
  Object.assign(new URL(url), { pathname: `/${database}` }).href;
const failureOf = (work: Promise<unknown>): Promise<unknown> =>
  work.then(
    () => new Error('it was allowed'),
    (error: unknown) => error,
  );
const usersRole = () => new URL(testDatabase.urlFor('users')).username;
const insufficientPrivilege = '42501';

describe('the role of a service', () => {
  test.each([
    ['read the tables of another', () => 'select * from users.leases'],
    ['lock the tables of another', () => 'begin; lock table users.leases'],
    ['lock the rows of another', () => 'select * from users.leases for update'],
    ['write into the tables of another', () => `insert into users.leases values ('relay')`],
    ['use up the ids of another', () => `select nextval('users.ids')`],
    ['call the functions of another', () => 'select users.secret()'],
    ['create a table in the schema of another', () => 'create table users.mine (id int)'],
    ['create a table in the schema public', () => 'create table public.mine (id int)'],
    ['create a schema', () => 'create schema mine'],
    ['drop the schema of another', () => 'drop schema users cascade'],
    ['create a temporary table', () => 'create temporary table mine (id int)'],
    ['create a temporary function', () => 'create function pg_temp.mine() returns int language sql return 1'],
    ['become another', () => `set role ${usersRole()}`],
    ['log in as another', () => `alter role ${usersRole()} password 'mine'`],
    ['create a role', () => 'create role mine'],
    ['raise its own connection limit', () => 'alter role current_user connection limit -1'],
    ['create a database', () => 'create database mine'],
    ['change the server', () => `alter system set max_connections = 1`],
    ['run a program', () => `copy (select 1) to program 'true'`],
    ['read a file', () => `select pg_read_file('PG_VERSION')`],
  ])('cannot %s', async (_what, sql) => {
    expect(await failureOf(as('promotions', sql()))).toMatchObject({ code: insufficientPrivilege });
  });

  test.each([
    ['postgres', () => 'postgres'],
    ['template1', () => 'template1'],
    ['of other services', () => new URL(otherDatabase.adminUrl).pathname.slice(1)],
  ])('cannot connect to the database %s', async (_what, name) => {
    const url = withDatabase(testDatabase.urlFor('promotions'), name());
    expect(await failureOf(withClient(url, async () => undefined))).toMatchObject({ code: insufficientPrivilege });
  });

  test('cannot end, cancel or read the statements of another', async () => {
    await withClient(testDatabase.urlFor('users'), async (users) => {
      const { rows } = await users.query('select pg_backend_pid() as pid');
      for (const end of ['pg_terminate_backend', 'pg_cancel_backend']) {
        const failure = await failureOf(as('promotions', `select ${end}(${rows[0].pid})`));
        expect(failure).toMatchObject({ code: insufficientPrivilege });
      }
      expect(await as('promotions', `select query from pg_stat_activity where pid = ${rows[0].pid}`)).toEqual([
        { query: '<insufficient privilege>' },
      ]);
    });
  });

  test('has time-outs for sessions that set none', async () => {
    const shown = async (name: string) => (await as('promotions', `show ${name}`))[0][name];
    expect(await shown('statement_timeout')).toBe('1min');
    expect(await shown('lock_timeout')).toBe('10s');
    expect(await shown('idle_in_transaction_session_timeout')).toBe('1min');
  });

  test('has a limit of connections, beyond which others still connect', async () => {
    const limits = await withClient(testDatabase.adminUrl, (admin) =>
      admin.query('select rolconnlimit from pg_roles where rolname = $1', [usersRole()]),
    );
    expect(limits.rows).toEqual([{ rolconnlimit: 40 }]);
    await withProvisioned({ connectionLimit: 3 }, async ({ urls }) => {
      const clients = Array.from({ length: 3 }, () => new pg.Client({ connectionString: urls.promotions }));
      await Promise.all(clients.map((client) => client.connect()));
      expect(await failureOf(withClient(String(urls.promotions), async () => undefined))).toMatchObject({
        code: '53300', // too_many_connections
      });
      await withClient(String(urls.users), (client) => client.query('select 1'));
      await Promise.all(clients.map((client) => client.end()));
    });
  });
});

describe('a migrator', () => {
  /** What the service's role may do with a table that the migrator owns. */
  async function expectOnlyRowsOf(url: string | undefined, table: string): Promise<void> {
    await query(url, `insert into ${table} (label) values ('a'); update ${table} set label = 'b'`);
    expect(await query(url, `select label from ${table}`)).toEqual([{ label: 'b' }]);
    await query(url, `delete from ${table}; select setval('${table}_id_seq', 10)`);
    const statements = [
      `alter table ${table} add more int`,
      `drop table ${table}`,
      `truncate ${table}`,
      `create index on ${table} (label)`,
      'create table users.mine (id int)',
      'create function users.mine() returns int language sql return 1',
      'alter schema users rename to mine',
      'drop schema users cascade',
    ];
    for (const statement of statements) {
      expect(await failureOf(query(url, statement))).toMatchObject({ code: insufficientPrivilege });
    }
  }

  test('owns the schema, and the role of the service can only read and change rows', async () => {
    await withProvisioned({ migrators: true }, async ({ urls, migratorUrls }) => {
      await query(migratorUrls.users, 'create table cards (id serial, label text)'); // found by the search path
      await expectOnlyRowsOf(urls.users, 'cards');
      for (const url of [urls.promotions, migratorUrls.promotions]) {
        expect(await failureOf(query(url, 'select * from users.cards'))).toMatchObject({ code: insufficientPrivilege });
      }
      expect(
        await failureOf(query(urls.users, `set role ${new URL(String(migratorUrls.users)).username}`)),
      ).toMatchObject({ code: insufficientPrivilege });
    });
  });

  test('takes over what the role of the service owned before, and a call without it is then refused', async () => {
    await withProvisioned({}, async ({ urls }, again) => {
      await query(urls.users, 'create table cards (id serial, label text)');
      const { migratorUrls } = await again({ migrators: true });
      await expectOnlyRowsOf(urls.users, 'cards');
      await query(migratorUrls.users, 'alter table cards add more int');
      await again({ migrators: true });
      await expect(again({})).rejects.toThrow('exists and belongs to role');
    });
  });
});

describe('an administrator who is no superuser', () => {
  const name = `admin_${randomBytes(4).toString('hex')}`;
  const adminUrl = Object.assign(new URL(cluster), { username: name, password: name }).href;
  beforeAll(() =>
    withClient(cluster, async (superuser) => {
      await superuser.query(`create role ${name} login createrole createdb password '${name}'`);
      await superuser.query(`grant connect on database postgres to ${name}`);
    }),
  );
  afterAll(() =>
    withClient(cluster, (superuser) =>
      superuser.query(`drop owned by ${name}`).then(() => superuser.query(`drop role ${name}`)),
    ),
  );

  test('provisions a database of its own, with and without migrators, as often as wanted', async () => {
    await withProvisioned(
      {},
      async ({ urls, ownRoles }, again) => {
        expect(ownRoles).toBe(true);
        await query(urls.users, 'create table cards (id int)');
        expect(await failureOf(query(urls.promotions, 'select * from users.cards'))).toMatchObject({
          code: insufficientPrivilege,
        });
        expect(await failureOf(query(urls.users, 'create temporary table t (id int)'))).toMatchObject({
          code: insufficientPrivilege,
        });
        await again({});
        const { migratorUrls } = await again({ migrators: true });
        await query(migratorUrls.users, 'alter table cards add more int');
        expect(await failureOf(query(urls.users, 'drop table cards'))).toMatchObject({ code: insufficientPrivilege });
      },
      adminUrl,
    );
  });

  test('provisions a database that it does not own, which then stays open to PUBLIC', async () => {
    const database = `test_${randomBytes(6).toString('hex')}`;
    await withClient(cluster, async (superuser) => {
      await superuser.query(`create database ${database} template template0`);
      await superuser.query(`grant create on database ${database} to ${name}`);
    });
    try {
      const { urls } = await provision(adminUrl, { database, services });
      await query(urls.users, 'create table cards (id int)');
    } finally {
      await withClient(withDatabase(cluster, database), (superuser) =>
        superuser.query(`drop owned by ${name} cascade`),
      );
      await unprovision(cluster, { database, services });
    }
  });
});

type Options = Omit<Parameters<typeof provision>[1], 'database' | 'services'>;

async function withProvisioned(
  options: Options,
  work: (provisioned: Provisioned, again: (options: Options) => Promise<Provisioned>) => Promise<void>,
  adminUrl = cluster,
): Promise<void> {
  const common = { database: `test_${randomBytes(6).toString('hex')}`, services };
  const again = (changed: Options) => provision(adminUrl, { ...common, ...changed });
  try {
    await work(await again(options), again);
  } finally {
    await unprovision(cluster, common);
  }
}
