// DIRECT_DATABASE_URL leads past a pooler of transactions to PostgreSQL itself. Here DATABASE_URL leads to nobody.
import { join } from 'node:path';
import { afterAll, beforeAll, expect, test } from '@jest/globals';
import { createTestDatabase, type TestDatabase } from '@promopulse/testing/servers';
import { changeDatabaseUrl } from '../../src/database/connection-settings.ts';
import { type Database, openDatabase } from '../../src/database/database.ts';
import { withClient } from '../../src/database/provision.ts';
import { explainRefusedConnection, isDatabaseUnavailable } from '../../src/database/sqlstate.ts';
import { OutboxMessage } from '../../src/outbox/outbox.ts';
import { Publication } from '../../src/outbox/publication.ts';
import { explain } from '../../src/process.ts';
import { loadServiceConfig } from '../../src/service/service-config.ts';
import { openMigratedDatabase } from '../../src/service/service-database.ts';
import { createLogger } from '../../src/telemetry/logger.ts';

const silent = createLogger({ service: 'test', level: 'silent' });
const noPooler = 'postgres://users@127.0.0.1:1/app';
let testDatabase: TestDatabase;

beforeAll(async () => {
  testDatabase = await createTestDatabase(['users']);
});
afterAll(() => testDatabase.drop());

const options = (directUrl?: string) => ({
  url: noPooler,
  directUrl,
  schema: 'users',
  entities: [OutboxMessage, Publication],
  migrations: join(import.meta.dirname, '../../../../services/users/src/migrations'),
});
const failureOf = (work: Promise<unknown>) =>
  work.then(
    () => undefined,
    (error: unknown) => error,
  );

test('migrations, the epoch and sessions of their own use it; statements use DATABASE_URL', async () => {
  const directUrl = `${testDatabase.urlFor('users')}?application_name=direct`;
  const env = { DATABASE_URL: noPooler, DIRECT_DATABASE_URL: directUrl };
  const config = loadServiceConfig(env, { defaultPort: 0, config: {} }, { usesRabbit: false });
  const database = await openMigratedDatabase(options(), silent, config);
  try {
    const session = await database.connect();
    const text = `select application_name as name, current_setting('search_path') as path from pg_stat_activity
      where pid = pg_backend_pid()`;
    expect(await session.query({ text })).toEqual([{ name: 'direct', path: '"users"' }]);
    session.release();
    const statements = [
      () => database.run({ text }, []),
      () => database.write({ text }, []),
      () => database.transaction(async () => 1),
    ];
    for (const statement of statements) expect(isDatabaseUnavailable(await failureOf(statement()))).toBe(true);
  } finally {
    await database.close();
  }
});

test('a session that the server ends does no harm, and the next one is new', async () => {
  const database: Database = await openDatabase(options(testDatabase.urlFor('users')));
  const pidOf = async () => {
    const session = await database.connect();
    const [row] = await session.query<{ pid: number }>({ text: 'select pg_backend_pid() as pid' });
    return { session, pid: Number(row?.pid) };
  };
  const end = (pid: number) =>
    withClient(testDatabase.adminUrl, (admin) => admin.query('select pg_terminate_backend($1, 5000)', [pid]));
  const held = await pidOf();
  await end(held.pid);
  expect(isDatabaseUnavailable(await failureOf(held.session.query({ text: 'select 1' })))).toBe(true);
  held.session.end();
  const idle = await pidOf();
  idle.session.release();
  await end(idle.pid);
  const last = await pidOf();
  expect(new Set([held.pid, idle.pid, last.pid]).size).toBe(3);
  last.session.release();
  await database.close();
});

test('a wrong one is named when a start fails by it, and DATABASE_URL when that is wrong', async () => {
  const wrongPassword = changeDatabaseUrl(testDatabase.urlFor('users'), { password: 'wrong' });
  const startWith = (env: Record<string, string>) => {
    const config = loadServiceConfig(env, { defaultPort: 0, config: {} }, { usesRabbit: false });
    return failureOf(openMigratedDatabase({ ...options(), url: config.DATABASE_URL }, silent, config));
  };
  const right = testDatabase.urlFor('users');
  const rejects = 'The database rejects the user or the password of';
  for (const MIGRATE of ['on', 'off']) {
    const direct = await startWith({ DATABASE_URL: right, DIRECT_DATABASE_URL: wrongPassword, MIGRATE });
    expect(explain(direct)).toBe(`${rejects} DIRECT_DATABASE_URL.`);
    expect(explain(await startWith({ DATABASE_URL: wrongPassword, MIGRATE }))).toBe(`${rejects} DATABASE_URL.`);
  }
});

test('the refusal of PgBouncer to set parameters of a session is explained', () => {
  const refusal = Object.assign(new Error('unsupported startup parameter: options'), { code: '08P01' });
  expect(explainRefusedConnection(refusal)).toContain('ignore_startup_parameters');
  expect(explainRefusedConnection(Object.assign(new Error('query_wait_timeout'), { code: '08P01' }))).toBeUndefined();
});
