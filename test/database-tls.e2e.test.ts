// A PostgreSQL that takes connections by TLS only, and everything that connects to it.

import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdirSync, rmSync, writeFileSync } from 'node:fs';
import { type AddressInfo, connect, createServer, type Socket } from 'node:net';
import { join, resolve } from 'node:path';
import { text } from 'node:stream/consumers';
import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';
import { type Database, type DatabaseOptions, openDatabase } from '@promopulse/shared/database/database';
import { migrate } from '@promopulse/shared/database/migrations';
import { type Provisioned, provision, withClient } from '@promopulse/shared/database/provision';
import { isDatabaseUnavailable } from '@promopulse/shared/database/sqlstate';
import { createMemoryHub } from '@promopulse/shared/messaging/in-memory/broker';
import { OutboxMessage } from '@promopulse/shared/outbox/outbox';
import { startService } from '@promopulse/shared/service';
import { databaseOptionsOf } from '@promopulse/shared/service/schema-definition';
import { createLogger } from '@promopulse/shared/telemetry/logger';
import { childEnvironment } from '@promopulse/testing/child-environment';
import { client } from '@promopulse/testing/client';
import { eventually } from '@promopulse/testing/eventually';
import { testKeys } from '@promopulse/testing/service';
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
    env: { ...childEnvironment, ...env },
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
    const dataDir = temporaryDataDir();
    const { connect: connectBroker } = createMemoryHub({ deadLetterDir: dataDir });
    const service = await startService(users, env, { connectBroker });
    try {
      const api = client(service.url);
      const body = (n: number) => ({ first_name: 'Ada', last_name: 'Lovelace', email: `ada${n}@example.com` });
      const created = await many(10, (n) => api.post('/users', body(n)));
      expect(created.map(({ status }) => status)).toEqual(Array(10).fill(201));
      for (const { status } of await many(20, () => api.get('/users/1'))) expect(status).toBe(200);
      await eventually(async () =>
        expect((await client(service.internalUrl).get('/health')).body.outbox.waiting).toBe(0),
      );
      const sessions = (await server.sessions('app')).filter(({ application }) => application === 'promopulse-users');
      expect(sessions.length).toBeGreaterThan(2);
      expect(sessions.filter(({ ssl }) => !ssl)).toEqual([]);
    } finally {
      await service.close();
      rmSync(dataDir, { recursive: true, force: true });
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
      ['users', '--without', 'subscriptions', '--without', 'engagement'],
      { DATABASE_URL: usersUrl() },
    );
    expect(restored).toMatchObject({ code: 0, err: '', out: expect.stringContaining('users begins the epoch') });
  }, 60_000);

  test('of npm start are encrypted: it provisions and uses the server of DATABASE_URL', async () => {
    const dataDir = temporaryDataDir();
    const stack = spawnStart(dataDir, await freePort(), { DATABASE_URL: server.url() });
    try {
      await eventually(() => expect(stack.output()).toContain('PromoPulse is up'), { timeoutMs: 60_000 });
      await eventually(async () => expect((await client(stack.url).get('/health')).status).toBe(200));
      const sessions = await server.sessions('promopulse');
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

describe('a start fails at once, and says in one line why the server and DATABASE_URL do not fit:', () => {
  const required = { ...keys, LOG_LEVEL: 'warn', AMQP_URL: 'amqp://127.0.0.1:1', PORT: '0', HOST: '127.0.0.1' };

  test.each([
    ['without TLS', () => usersUrl(''), /If it takes TLS only, add sslmode=verify-full to DATABASE_URL/],
    [
      'the wrong CA',
      () => usersUrl(`sslmode=verify-full&sslrootcert=${server.file('other.crt')}`),
      /trusted CA: .*sslrootcert/,
    ],
    [
      'the wrong CA, whatever the host',
      () => usersUrl(`sslmode=verify-ca&sslrootcert=${server.file('other.crt')}`),
      /trusted CA/,
    ],
    [
      'the wrong CA, also with ssl=true',
      () => usersUrl(`ssl=true&sslrootcert=${server.file('other.crt')}`),
      /trusted CA/,
    ],
    ['no CA of its own', () => usersUrl('sslmode=verify-full'), /trusted CA: .*sslrootcert/],
    ['another host', () => usersUrl(undefined, '127.0.0.1'), /is for another host than that of DATABASE_URL/],
    [
      'a file that is not there',
      () => usersUrl('sslmode=verify-full&sslrootcert=/nowhere'),
      /sslrootcert that cannot be read \(ENOENT\)/,
    ],
    ['an unknown parameter', () => usersUrl('sslmod=require'), /has the parameter sslmod, which is not supported/],
  ])(
    '%s',
    async (_what, url, reason) => {
      const startedAt = performance.now();
      const start = await run('services/users/src/main.ts', [], { ...required, DATABASE_URL: url() });
      expect(performance.now() - startedAt).toBeLessThan(20_000); // it waits 30 s for a server that is away
      expect(start).toMatchObject({ code: 1, out: '' });
      expect(start.err).toMatch(/^The users service cannot start\. /);
      expect(start.err).toMatch(reason);
      expect(start.err.trim().split('\n').length).toBeLessThanOrEqual(2);
      expect(start.err).not.toContain(new URL(String(provisioned.urls.users)).password);
    },
    60_000,
  );

  test('a server without TLS, to the service and to its commands', async () => {
    const plain = createServer((socket) => socket.once('data', () => socket.write('N')).on('error', () => undefined));
    await once(plain.listen(0, 'localhost'), 'listening');
    const url = new URL(usersUrl());
    url.port = String((plain.address() as AddressInfo).port);
    const env = { ...required, DATABASE_URL: url.href };
    const reason = 'The database server offers no TLS, and DATABASE_URL asks for it (sslmode).\n';
    const start = await run('services/users/src/main.ts', [], env);
    expect(start).toEqual({ code: 1, out: '', err: `The users service cannot start. ${reason}` });
    const list = await run('services/users/src/migrate.ts', ['list'], env);
    expect(list).toEqual({ code: 1, out: '', err: `The migration command has failed. ${reason}` });
    const args = ['users', '--without', 'subscriptions', '--without', 'engagement'];
    const restore = await run('packages/shared/src/commands/after-restore.ts', args, env);
    expect(restore).toEqual({ code: 1, out: '', err: reason });
    plain.close();
  }, 90_000);
});

describe('pipelined over TLS,', () => {
  let proxy: RecordingProxy;
  let database: Database;
  const pidOf = async (sql = 'select pg_backend_pid() as pid') =>
    (await database.run<{ pid: number }>({ text: sql }, []))[0]?.pid as number;

  beforeAll(async () => {
    proxy = await startRecordingProxy(Number(new URL(usersUrl()).port));
    const url = new URL(usersUrl());
    url.port = String(proxy.port);
    database = await openDatabase({ ...optionsFor(url.href), pipelinedConnections: 1 });
    await eventually(async () => {
      const slow = 'select pg_backend_pid() as pid, pg_sleep(0.01)';
      expect(new Set(await many(6, () => pidOf(slow))).size).toBe(1);
    });
  });
  afterAll(async () => {
    await database.close();
    proxy.close();
  });

  // node-postgres: after `connect`, `client.connection.stream` is the TLS socket that it writes to.
  test('the statements of one turn go out in one TLS record, and so in one write', async () => {
    const text = 'select $1::int as n, pg_backend_pid() as pid';
    const before = proxy.records();
    const rows = await many(8, (n) => database.run<{ n: number; pid: number }>({ text }, [n]));
    expect(proxy.records() - before).toBe(1);
    expect(rows.map(([row]) => row?.n)).toEqual([0, 1, 2, 3, 4, 5, 6, 7]);
    expect(new Set(rows.map(([row]) => row?.pid)).size).toBe(1);
  });

  test('a named statement is prepared once, and a large one passes', async () => {
    const named = { name: 'length', text: 'select length($1) as length' };
    const sizes = [1, 100_000, 2, 1_000_000, 3];
    const rows = await Promise.all(sizes.map((size) => database.run(named, ['x'.repeat(size)])));
    expect(rows).toEqual(sizes.map((length) => [{ length }]));
  });

  test('a lost connection fails its statements as unavailable, and a write as of unknown outcome', async () => {
    const slow = [
      pidOf('select pg_backend_pid() as pid, pg_sleep(5)'),
      database.write({ text: 'select 1 from pg_sleep(5)' }, []),
    ].map((statement) => statement.catch((error: unknown) => error));
    await eventually(async () => {
      const waiting = (await server.sessions('app')).filter(({ query }) => query.includes('pg_sleep(5)'));
      expect(waiting.length).toBeGreaterThan(0);
    });
    proxy.cut();
    const [read, written] = await Promise.all(slow);
    expect(isDatabaseUnavailable(read)).toBe(true);
    expect(written).toMatchObject({ code: 'outcome_unknown' });
    expect(await eventually(() => pidOf())).toEqual(expect.any(Number));
  });
});

interface RecordingProxy {
  port: number;
  /** Number of TLS records with application data that clients have sent. */
  records(): number;
  cut(): void;
  close(): void;
}

const applicationData = 23;

async function startRecordingProxy(target: number): Promise<RecordingProxy> {
  const sockets = new Set<Socket>();
  let records = 0;
  const proxy = createServer((socket) => {
    const upstream = connect(target, '127.0.0.1');
    let pending = Buffer.alloc(0);
    let isFirst = true;
    socket.on('data', (chunk) => {
      // The request for TLS comes first, in clear: 8 bytes. A record: type, version (2 bytes), length (2 bytes).
      pending = Buffer.concat([pending, isFirst ? chunk.subarray(8) : chunk]);
      isFirst = false;
      const length = () => (pending.length < 5 ? Number.POSITIVE_INFINITY : 5 + pending.readUInt16BE(3));
      for (; pending.length >= length(); pending = pending.subarray(length())) {
        if (pending[0] === applicationData) records += 1;
      }
      upstream.write(chunk);
    });
    upstream.on('data', (chunk) => socket.write(chunk));
    for (const each of [socket, upstream]) {
      sockets.add(each);
      each.on('error', () => undefined).on('close', () => [socket, upstream].map((one) => one.destroy()));
    }
  });
  await once(proxy.listen(0, 'localhost'), 'listening');
  const cut = () => {
    for (const socket of sockets) socket.resetAndDestroy();
    sockets.clear();
  };
  return {
    port: (proxy.address() as AddressInfo).port,
    records: () => records,
    cut,
    close: () => {
      cut();
      proxy.close();
    },
  };
}
