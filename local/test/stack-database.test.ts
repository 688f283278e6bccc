// Which database `npm start` and `npm run psql` use, and the ports that are kept, on a PostgreSQL of their own.
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { chmodSync, existsSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { delimiter, dirname, join, resolve } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';
import { schemaOwners, services } from '@promopulse/shared/contracts/services';
import { changeDatabaseUrl } from '@promopulse/shared/database/connection-settings';
import { withClient } from '@promopulse/shared/database/provision';
import { openKeptPorts } from '../kept-ports.ts';
import { freePort } from '../ports.ts';
import { type LocalPostgres, startLocalPostgres } from '../postgres.ts';
import { startStackDatabase } from '../stack-database.ts';

const root = resolve(import.meta.dirname, '../..');
const folder = mkdtempSync(join(tmpdir(), 'promopulse-database-'));
const print = (): void => undefined;
let server: LocalPostgres;
beforeAll(async () => {
  chmodSync(folder, 0o755);
  const options = { dataDir: join(folder, 'postgres'), port: await freePort(), durable: false, print };
  server = await startLocalPostgres(options);
  await withClient(server.url, (client) => client.query(`create role ada login createdb createrole password 'secret'`));
}, 60_000);
afterAll(async () => {
  await server?.stop();
  rmSync(folder, { recursive: true, force: true });
});

const currentDatabase = (url: string): Promise<string> =>
  withClient(url, async (client) => (await client.query('select current_database() as name')).rows[0].name);

describe('a DATABASE_URL that names no database', () => {
  test.each(['', '/', '/postgres'])('means the database promopulse: …host%s', async (path) => {
    const url = `postgres://ada:secret@127.0.0.1:${server.port}${path}`;
    for (const time of ['first', 'again']) {
      const database = await startStackDatabase({ env: { DATABASE_URL: url }, dataDir: folder, print });
      expect([time, await currentDatabase(database.adminUrl)]).toEqual([time, 'promopulse']);
      for (const service of schemaOwners) {
        expect(await currentDatabase(String(database.urls[service]))).toBe('promopulse');
      }
    }
  });

  test('is not the database that PGDATABASE names, nor one with the name of the user', async () => {
    process.env.PGDATABASE = 'another';
    try {
      expect(await currentDatabase(`postgres://ada:secret@127.0.0.1:${server.port}`)).toBe('postgres');
    } finally {
      delete process.env.PGDATABASE;
    }
  });

  test('a database that is named is used, and not created', async () => {
    const named = changeDatabaseUrl(server.url, { database: 'not_there' });
    const starting = startStackDatabase({ env: { DATABASE_URL: named }, dataDir: folder, print });
    await expect(starting).rejects.toMatchObject({ code: '3D000' });
  });
});

describe('npm run psql', () => {
  /** As on a machine without psql, unless `path` has one. */
  async function psql(args: string[], { input = '', path = dirname(process.execPath) } = {}) {
    const url = changeDatabaseUrl(server.url, { database: 'promopulse' });
    const env = { ...process.env, PATH: path, DATABASE_URL: url, DATA_DIR: folder };
    const child = spawn(process.execPath, ['scripts/psql.ts', ...args], { cwd: root, env });
    let output = '';
    for (const stream of [child.stdout, child.stderr])
      stream.setEncoding('utf8').on('data', (text) => (output += text));
    child.stdin.end(input);
    const [code] = await once(child, 'close');
    return { code, output };
  }

  test('executes one text as the role of the service, and prints a table', async () => {
    const { code, output } = await psql([
      'users',
      '-c',
      `select current_user as "role", null as nothing, '{"a":1}'::jsonb as json`,
    ]);
    expect([code, output]).toEqual([
      0,
      expect.stringMatching(/^ role +\| nothing \| json\n-+\+-+\+-+\n promopulse_users \| +\| \{"a":1\}\n\(1 row\)$/m),
    ]);
  });

  test('a service reads no table of another one, and an error is an exit code', async () => {
    await withClient(changeDatabaseUrl(server.url, { database: 'promopulse' }), (client) =>
      client.query('create table promotions.secrets as select 1 as one'),
    );
    const refused = await psql(['users', '-c', 'select * from promotions.secrets']);
    expect([refused.code, refused.output]).toEqual([1, expect.stringContaining('ERROR:  permission denied')]);
    const administrator = await psql(['-c', 'select * from promotions.secrets']);
    expect([administrator.code, administrator.output]).toEqual([0, expect.stringContaining('(1 row)')]);
  });

  test('reads statements of several lines, lists tables, and goes on after an error', async () => {
    const input = 'select 6\n  * 7 as answer;\n\\dt\nselect wrong;\n\\d secrets\n\\nonsense\n\\q\nselect 1 as late;\n';
    const { code, output } = await psql(['promotions'], { input });
    expect(code).toBe(0);
    for (const words of ['answer', ' 42', 'secrets', 'ERROR:  column "wrong"', 'integer', 'unknown command']) {
      expect(output).toContain(words);
    }
    expect(output).not.toContain('late');
  });

  test('executes the last statement of a file that lacks its semicolon', async () => {
    const { code, output } = await psql([], { input: 'select 6 * 7 as answer' });
    expect([code, output]).toEqual([0, expect.stringContaining(' 42')]);
  });

  test('gives no control character of a stored text to the terminal', async () => {
    const { output } = await psql(['-c', String.raw`select E'\x1b[2J' as text`]);
    expect([output.includes('\u001b'), output]).toEqual([false, expect.stringContaining('[2J')]);
  });

  test('names the services when it knows none of that name', async () => {
    const { code, output } = await psql(['user']);
    expect([code, output]).toEqual([1, expect.stringContaining(services.join(', '))]);
  });

  test('hands over to an installed psql, with the password in no argument', async () => {
    const bin = mkdtempSync(join(folder, 'bin-'));
    writeFileSync(
      join(bin, 'psql'),
      '#!/bin/sh\necho "arguments: $*"; [ "$1" = --version ] || test -n "$PGPASSWORD"\n',
      { mode: 0o755 },
    );
    const path = [bin, process.env.PATH].join(delimiter);
    const { code, output } = await psql(['users', '--csv', '-c', 'select 1'], { path });
    expect([code, output]).toEqual([
      0,
      expect.stringMatching(
        /arguments: --csv -c select 1 postgres(ql)?:\/\/promopulse_users@127\.0\.0\.1:\d+\/promopulse$/m,
      ),
    ]);
  });
});

describe('the ports of npm start', () => {
  test('one that had to move is kept for the next start, and forgotten when the usual one is used again', () => {
    const dataDir = mkdtempSync(join(folder, 'ports-'));
    openKeptPorts(dataDir).keep('users', 8001, 8001);
    expect(existsSync(join(dataDir, 'ports.json'))).toBe(false);
    openKeptPorts(dataDir).keep('users', 23_456, 8001);
    openKeptPorts(dataDir).keep('PostgreSQL', 23_457, 5432);
    expect(openKeptPorts(dataDir).preferred('users', 8001)).toBe(23_456);
    expect(openKeptPorts(dataDir).preferred('promotions', 8002)).toBe(8002);
    openKeptPorts(dataDir).keep('users', 8001, 8001);
    expect(JSON.parse(readFileSync(join(dataDir, 'ports.json'), 'utf8'))).toEqual({ PostgreSQL: 23_457 });
  });

  test.each(['', '{', '{"users":"8001"}', '{"users":70000}', '[]'])('a damaged file counts as none: %j', (text) => {
    const dataDir = mkdtempSync(join(folder, 'ports-'));
    writeFileSync(join(dataDir, 'ports.json'), text);
    expect(openKeptPorts(dataDir).preferred('users', 8001)).toBe(8001);
  });

  test('PostgreSQL comes back on the port to which it had moved', async () => {
    const dataDir = mkdtempSync(join(folder, 'moved-'));
    chmodSync(dataDir, 0o755);
    // Takes the usual port, unless another program on this machine has it already.
    const holder = createServer().on('error', print).listen(5432, '127.0.0.1');
    const portOf = (url: string): number => Number(new URL(url).port);
    const first = await startStackDatabase({ env: {}, dataDir, print });
    await first.stop();
    const second = await startStackDatabase({ env: {}, dataDir, print });
    await second.stop();
    holder.close();
    expect(portOf(first.adminUrl)).not.toBe(5432);
    expect(portOf(second.adminUrl)).toBe(portOf(first.adminUrl));
  }, 90_000);
});
