// A PostgreSQL that takes connections by TLS only, and everything that connects to it.
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdirSync, rmSync, writeFileSync } from 'node:fs';
import { createServer, type Server, type Socket } from 'node:net';
import { join, resolve } from 'node:path';
import { text } from 'node:stream/consumers';
import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';
import { type Database, type DatabaseOptions, openDatabase } from '@promopulse/shared/database/database';
import { migrate } from '@promopulse/shared/database/migrations';
import { type Provisioned, provision, withClient } from '@promopulse/shared/database/provision';
import { isDatabaseUnavailable, isUnanswered } from '@promopulse/shared/database/sqlstate';
import { createMemoryHub } from '@promopulse/shared/messaging/in-memory/broker';
import { OutboxMessage } from '@promopulse/shared/outbox/outbox';
import { databaseOptionsOf, startService } from '@promopulse/shared/service';
import { createLogger } from '@promopulse/shared/telemetry/logger';
import { client } from '@promopulse/testing/client';
import { eventually } from '@promopulse/testing/eventually';
import { testKeys } from '@promopulse/testing/service';
import { startTcpProxy, type TcpProxy } from '@promopulse/testing/tcp-proxy';
import { freePort } from '../local/ports.ts';
import { loadServices } from '../local/services.ts';
import { spawnStart, temporaryDataDir } from './support/start-process.ts';
import { startTlsPostgres, type TlsPostgres } from './support/tls-postgres.ts';

const root = resolve(import.meta.dirname, '..');
const silent = createLogger({ service: 'test', level: 'silent' });
const keys = { PII_ENCRYPTION_KEYS: testKeys[0], PII_INDEX_KEY: testKeys[2] };
const users = (await loadServices()).find(({ name }) => name === 'users');
if (!users) throw new Error('there is no users service');

let server: TlsPostgres;
let provisioned: Provisioned;

beforeAll(async () => {
  server = await startTlsPostgres();
  provisioned = await provision(server.url(), { database: 'app', services: ['users'] });
}, 60_000);
afterAll(() => server.stop());

/** The users service's URL, with other parameters. */
function usersUrl(parameters?: string, hostname?: string): string {
  const url = new URL(String(provisioned.urls.users));
  if (parameters !== undefined) url.search = parameters;
  if (hostname !== undefined) url.hostname = hostname;
  return url.href;
}
const modes: [string, () => string][] = [
  ['sslmode=require', () => 'sslmode=require'],
  ['ssl=true', () => 'ssl=true'],
  ['sslmode=verify-ca', () => `sslmode=verify-ca&sslrootcert=${server.file('ca.crt')}`],
  ['sslmode=verify-full', () => `sslmode=verify-full&sslrootcert=${server.file('ca.crt')}`],
];
const optionsFor = (url: string): DatabaseOptions => ({
  url,
  schema: 'users',
  entities: [OutboxMessage],
  migrations: import.meta.dirname,
});
const many = <Result>(count: number, one: (n: number) => Promise<Result>) =>
  Promise.all(Array.from({ length: count }, (_, n) => one(n)));

async function run(script: string, args: string[], env: Record<string, string>) {
  const child = spawn(process.execPath, [join(root, script), ...args], {
    env: { PATH: process.env.PATH, ...env },
    stdio: ['ignore', 'pipe', 'pipe'],
  });
  const [out, err, [code]] = await Promise.all([text(child.stdout), text(child.stderr), once(child, 'exit')]);
  return { code, out, err };
}

describe('with TLS, the connections', () => {
  const ownSession = 'select pid, ssl from pg_stat_ssl where pid = pg_backend_pid()';
  const encrypted = [{ pid: expect.any(Number), ssl: true }];

  test.each(modes)('of %s are encrypted, of every kind', async (_mode, parameters) => {
    const database = await openDatabase(optionsFor(usersUrl(parameters())));
    try {
      expect(await database.em().getConnection().execute(ownSession)).toEqual(encrypted);
      const held = await database.connect();
      expect(await held.query({ text: ownSession })).toEqual(encrypted);
      held.release();
      // Until a pipelined connection is open, the pool takes the statements.
      for (let round = 0; round < 5; round += 1) {
        for (const rows of await many(20, () => database.run({ text: `${ownSession} -- run` }, []))) {
          expect(rows).toEqual(encrypted);
        }
      }
      const sessions = await server.sessions('app');
      expect(sessions.filter(({ query }) => query.endsWith('-- run')).length).toBeGreaterThan(1);
      expect(sessions.filter(({ ssl }) => !ssl)).toEqual([]);
    } finally {
      await database.close();
    }
  });

  test('of the migrator are encrypted', async () => {
    const folder = join(import.meta.dirname, `migrations-${process.pid}`);
    mkdirSync(folder);
    try {
      const body = `this.addSql("create table seen as ${ownSession}");`;
      writeFileSync(
        join(folder, 'Migration20260101000000_seen.ts'),
        `import { Migration } from '@mikro-orm/migrations';
        export class Migration20260101000000_seen extends Migration { override up() { ${body} } }`,
      );
      expect(await migrate({ ...optionsFor(usersUrl()), migrations: folder }, silent)).toHaveLength(1);
      const rows = await withClient(usersUrl(), async (admin) => {
        const seen = await admin.query('select pid, ssl from seen');
        await admin.query('drop table seen, mikro_orm_migrations');
        return seen.rows;
      });
      expect(rows).toEqual(encrypted);
    } finally {
      rmSync(folder, { recursive: true });
    }
  });

  test('of a service are encrypted, its relay among them, and it serves', async () => {
    const env = { ...keys, HOST: '127.0.0.1', PORT: '0', LOG_LEVEL: 'silent', DATABASE_URL: usersUrl() };
    const service = await startService(users, env, { connectBroker: createMemoryHub().connect });
    try {
      const api = client(service.url);
      const body = (n: number) => ({ first_name: 'Ada', last_name: 'Lovelace', email: `ada${n}@example.com` });
      const created = await many(10, (n) => api.post('/users', body(n)));
      expect(created.map(({ status }) => status)).toEqual(Array(10).fill(201));
      for (const { status } of await many(20, () => api.get('/users/1'))) expect(status).toBe(200);
      await eventually(async () => expect((await api.get('/health')).body.outbox.waiting).toBe(0));
      const sessions = (await server.sessions('app')).filter(({ application }) => application === 'promopulse-users');
      expect(sessions.length).toBeGreaterThan(2);
      expect(sessions.filter(({ ssl }) => !ssl)).toEqual([]);
    } finally {
      await service.close();
    }
  });

  test('of the commands are encrypted: the server takes no others', async () => {
    const { migrations } = databaseOptionsOf(users, '');
    const migrated = await run(join(migrations, '../migrate.ts').replace(root, ''), ['up'], {
      DATABASE_URL: usersUrl(),
    });
    expect(migrated).toMatchObject({ code: 0, err: '' });
    const restored = await run(
      'packages/shared/src/commands/after-restore.ts',
      ['users', '--without', 'subscriptions'],
      { DATABASE_URL: usersUrl() },
    );
    expect(restored).toMatchObject({ code: 0, err: '', out: expect.stringContaining('users begins the epoch') });
  });

  test('of npm start are encrypted: it provisions and uses the server of DATABASE_URL', async () => {
    const dataDir = temporaryDataDir();
    const url = server.url().replace('/postgres?', '/started?');
    const stack = spawnStart(dataDir, await freePort(), { DATABASE_URL: url });
    try {
      await eventually(() => expect(stack.output()).toContain('PromoPulse is up'), { timeoutMs: 60_000 });
      expect((await client(stack.url).get('/health')).status).toBe(200);
      const sessions = await server.sessions('started');
      expect(new Set(sessions.map(({ role }) => role)).size).toBeGreaterThanOrEqual(3);
      expect(sessions.filter(({ ssl }) => !ssl)).toEqual([]);
    } finally {
      stack.signal('SIGTERM');
      await stack.exited;
      rmSync(dataDir, { recursive: true, force: true });
    }
  }, 90_000);

  test('show a client certificate to a server that wants one', async () => {
    const certificate = `sslcert=${server.file('client.crt')}&sslkey=${server.file('client.key')}`;
    const parameters = `sslmode=verify-full&sslrootcert=${server.file('ca.crt')}`;
    const options = { database: 'with_certificate', services: ['users'] };
    await expect(provision(server.url(parameters), options)).rejects.toMatchObject({ code: '28000' });
    const { urls } = await provision(server.url(`${parameters}&${certificate}`), options);
    const database = await openDatabase(optionsFor(String(urls.users)));
    const read = () => database.run({ text: 'select client_dn from pg_stat_ssl where pid = pg_backend_pid()' }, []);
    for (const rows of (await many(3, () => many(20, read))).flat())
      expect(rows).toEqual([{ client_dn: '/CN=postgres' }]);
    await database.close();
  });
});
