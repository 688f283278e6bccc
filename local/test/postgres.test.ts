// The PostgreSQL of `npm start`, in folders and states in which a start is difficult.
import { spawn } from 'node:child_process';
import { chmodSync, chownSync, mkdirSync, mkdtempSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { afterAll, afterEach, beforeAll, describe, expect, test } from '@jest/globals';
import { withClient } from '@promopulse/shared/database/provision';
import { isRoot } from '../accounts.ts';
import { freePort } from '../ports.ts';
import { type LocalPostgres, startLocalPostgres } from '../postgres.ts';

const folder = mkdtempSync(join(tmpdir(), 'promopulse-postgres-'));
const dataDir = join(folder, 'data');
const printed: string[] = [];
const servers: LocalPostgres[] = [];
beforeAll(() => chmodSync(folder, 0o755));
afterEach(async () => {
  for (const server of servers.splice(0)) await server.stop();
  printed.length = 0;
});
afterAll(() => rmSync(folder, { recursive: true, force: true }));

async function start(options: { dataDir?: string; port?: number } = {}): Promise<LocalPostgres> {
  const port = options.port ?? (await freePort());
  const server = await startLocalPostgres({
    dataDir,
    durable: false,
    print: (line) => printed.push(line),
    ...options,
    port,
  });
  servers.push(server);
  return server;
}

const query = async (server: LocalPostgres, sql: string) =>
  (await withClient(server.url, (client) => client.query(sql))).rows;

describe('a local PostgreSQL', () => {
  test('keeps its data through a restart, listens on 127.0.0.1 only, and creates no socket file', async () => {
    const first = await start();
    await query(first, 'create table kept as select 42 as answer');
    await first.stop();
    const second = await start();
    expect(await query(second, 'select answer from kept')).toEqual([{ answer: 42 }]);
    expect(await query(second, 'show listen_addresses')).toEqual([{ listen_addresses: '127.0.0.1' }]);
    expect(await query(second, 'show unix_socket_directories')).toEqual([{ unix_socket_directories: '' }]);
  }, 60_000);

  test('rejects a connection with a wrong password', async () => {
    const server = await start();
    const urlWithWrongPassword = Object.assign(new URL(server.url), { password: 'guess' }).href;
    await expect(withClient(urlWithWrongPassword, async () => undefined)).rejects.toMatchObject({ code: '28P01' });
  }, 30_000);

  test('logs no value of a failed statement', async () => {
    const server = await start();
    await expect(query(server, `select 1 / length('') where 'ada@example.com' <> ''`)).rejects.toMatchObject({
      code: '22012',
    });
    const log = readFileSync(server.logFile, 'utf8');
    expect(log).toContain('division by zero');
    expect(log).not.toContain('ada@');
  }, 30_000);

  test('chooses another port below the ephemeral range when its port is taken', async () => {
    const port = await freePort();
    const holder = createServer();
    await new Promise<void>((resolve) => holder.listen(port, '127.0.0.1', resolve));
    try {
      const server = await start({ port });
      expect(server.port).not.toBe(port);
      expect(server.port).toBeLessThan(32_768);
    } finally {
      holder.close();
    }
  }, 30_000);

  test('stops a server that is still running on the same data, and starts again', async () => {
    const orphan = await start();
    await query(orphan, 'create table late as select 7 as answer');
    const server = await start();
    expect(printed.join()).toContain('left behind');
    expect(await query(server, 'select answer from late')).toEqual([{ answer: 7 }]);
  }, 60_000);

  test('starts in spite of a stale pid file with the number of another process', async () => {
    const before = await start();
    await before.stop();
    const bystander = spawn(process.execPath, ['-e', 'setInterval(() => {}, 1000)'], { stdio: 'ignore' });
    try {
      const owner = statSync(dataDir);
      writeFileSync(join(dataDir, 'postmaster.pid'), `${bystander.pid}\n${dataDir}\n1\n5432\n\n\n\nready\n`, {
        mode: 0o600,
      });
      if (isRoot) chownSync(join(dataDir, 'postmaster.pid'), owner.uid, owner.gid);
      const server = await start();
      expect(await query(server, 'select 1 as one')).toEqual([{ one: 1 }]);
      expect(bystander.exitCode).toBeNull();
    } finally {
      bystander.kill();
    }
  }, 60_000);

  test('names data of another major version, and does not touch it', async () => {
    const old = join(folder, 'old');
    mkdirSync(old);
    writeFileSync(join(old, 'PG_VERSION'), '17\n');
    await expect(start({ dataDir: old })).rejects.toThrow(/written by PostgreSQL 17, this is 18/);
  }, 30_000);

  test('does not touch a folder with other content', async () => {
    const other = join(folder, 'other');
    mkdirSync(other);
    writeFileSync(join(other, 'thesis.txt'), 'mine');
    await expect(start({ dataDir: other })).rejects.toThrow('neither empty nor a PostgreSQL data folder');
    expect(readFileSync(join(other, 'thesis.txt'), 'utf8')).toBe('mine');
  }, 30_000);

  test('below a folder that only its owner can enter, keeps the data elsewhere and prints where (as root)', async () => {
    const closed = join(folder, 'closed');
    mkdirSync(closed, { mode: 0o700 });
    const wanted = join(closed, '.data', 'postgres');
    const server = await start({ dataDir: wanted });
    try {
      expect(await query(server, 'select 1 as one')).toEqual([{ one: 1 }]);
      if (isRoot) expect(printed.join()).toContain(server.dataDir);
      else expect(server.dataDir).toBe(wanted);
      await server.stop();
      await query(await start({ dataDir: wanted }), 'create table kept as select 42 as answer');
      await servers.at(-1)?.stop();
      const again = await start({ dataDir: wanted });
      expect(again.dataDir).toBe(server.dataDir);
      expect(await query(again, 'select answer from kept')).toEqual([{ answer: 42 }]);
      await again.stop();

      rmSync(join(closed, '.data'), { recursive: true });
      const empty = await start({ dataDir: wanted });
      expect(await query(empty, `select to_regclass('kept') as kept`)).toEqual([{ kept: null }]);
      if (isRoot) expect(printed.at(-2)).toContain(`rm -rf ${server.dataDir}.removed`);
    } finally {
      await Promise.all(servers.map((one) => one.stop()));
      rmSync(dirname(server.dataDir), { recursive: true, force: true });
    }
  }, 120_000);
});
