// What `npm run backup` and `npm run restore` refuse, and in which words. Whatever goes wrong, the data stay as they are.
import { spawnSync } from 'node:child_process';
import { cpSync, existsSync, mkdirSync, readdirSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, beforeAll, beforeEach, describe, expect, test } from '@jest/globals';
import { withClient } from '@promopulse/shared/database/provision';
import { type BackupContents, contentsFileName, readBackup } from '../local/backup/backup-folder.ts';
import { copyKeys, keysOfData } from '../local/backup/backup-keys.ts';
import { withBaseBackup } from '../local/backup/base-backup.ts';
import { explainFailure } from '../local/backup/command.ts';
import { readFittingBackup, restoreBackup, verifyBackup } from '../local/backup/restore-backup.ts';
import { takeBackup } from '../local/backup/take-backup.ts';
import { freePort } from '../local/ports.ts';
import { findCluster, type LocalPostgres, startLocalPostgres } from '../local/postgres.ts';
import { runScript, temporaryDataDir } from './support/start-process.ts';

const folder = temporaryDataDir();
const dataDir = join(folder, 'data');
const wantedDataDir = join(dataDir, 'postgres');
const backup = join(folder, 'backup');
const keysFile = join(folder, 'keys.json');
const print = (): void => undefined;
const cluster = findCluster(wantedDataDir, print);

const start = async (durable = false): Promise<LocalPostgres> =>
  await startLocalPostgres({ dataDir: wantedDataDir, port: await freePort(), durable, print });
const rowsIn = async (server: LocalPostgres): Promise<unknown[]> =>
  (await withClient(server.url, (admin) => admin.query('select id from kept order by id'))).rows;
const restore = (from: string, options: { replace?: boolean; keysFile?: string } = {}): Promise<string | undefined> =>
  restoreBackup({
    ...{ backup: readFittingBackup(from, cluster), cluster, wantedDataDir, env: {} },
    ...{ replace: false, keysFile, ...options },
  });
const reasonOf = (work: () => unknown): Promise<string> =>
  (async () => await work())().then(() => 'no error', explainFailure);

beforeAll(async () => {
  const server = await start();
  try {
    await withClient(server.url, (admin) => admin.query('create table kept as select 1 as id'));
    const keys = JSON.stringify({ PII_ENCRYPTION_KEYS: 'new,old', PII_INDEX_KEY: 'index', ACTOR_KEYS: 'actor' });
    writeFileSync(join(cluster.dataDir, 'promopulse.keys.json'), keys, { mode: 0o644 });
    await takeBackup({ url: server.url, target: backup, keys: keysOfData(cluster.dataDir) });
    copyKeys(cluster.dataDir, { target: backup, file: keysFile });
  } finally {
    await server.stop();
  }
}, 120_000);
afterAll(() => rmSync(folder, { recursive: true, force: true }));

function filesIn(path: string): string[] {
  return readdirSync(path, { recursive: true, encoding: 'utf8' });
}

describe('a backup', () => {
  test('has no key, and only its owner can read it and the copied keys', () => {
    const paths = filesIn(backup);
    expect(paths.filter((path) => path.includes('keys'))).toEqual([]);
    const isOpen = (path: string): boolean => (statSync(path).mode & 0o077) !== 0;
    expect([backup, keysFile, ...paths.map((path) => join(backup, path))].filter(isOpen)).toEqual([]);
    expect(paths.some((path) => /pg_wal.[0-9A-F]{24}$/.test(path))).toBe(true);
  });

  test('does not overwrite anything, and makes no folder on a disk that is not mounted', async () => {
    const options = { DATA_DIR: dataDir };
    const existing = await runScript('backup', [backup], options);
    expect(existing).toEqual({ code: 1, output: expect.stringContaining(`${backup} exists already`) });
    const unmounted = await runScript('backup', [join(folder, 'disk/monday')], options);
    expect(unmounted).toEqual({ code: 1, output: expect.stringContaining('mount its disk') });
    expect(existsSync(join(folder, 'disk'))).toBe(false);
  }, 60_000);

  test('is of npm start only: with DATABASE_URL, without data or with unknown arguments it says what to do', async () => {
    const target = join(folder, 'none');
    const external = await runScript('backup', [target], { DATABASE_URL: 'postgres://a:b@127.0.0.1:1/c' });
    expect(external).toEqual({ code: 1, output: expect.stringContaining('pg_dump') });
    const empty = await runScript('backup', [target], { DATA_DIR: join(folder, 'empty') });
    expect(empty).toEqual({ code: 1, output: expect.stringContaining('Run npm start first') });
    const unknown = await runScript('backup', ['--all'], { DATA_DIR: dataDir });
    expect(unknown).toEqual({ code: 2, output: expect.stringContaining('Usage: npm run backup') });
    expect(existsSync(target)).toBe(false);
  }, 60_000);

  test('of a server that stops meanwhile ends with that reason', async () => {
    const server = await start();
    const read = async () => {
      await withBaseBackup(server.url, async ({ archive }) => {
        await server.stop();
        for await (const _ of archive);
      });
    };
    expect(await reasonOf(read)).toMatch(/^The database was stopped while it was copied\.$/);
  }, 60_000);

  const disk = join(folder, 'small-disk');
  mkdirSync(disk);
  const isMounted = spawnSync('mount', ['-t', 'tmpfs', '-o', 'size=8m', 'none', disk]).status === 0;
  afterAll(() => {
    if (isMounted) spawnSync('umount', [disk]);
  });
  // Only root can mount a disk.
  (isMounted ? test : test.skip)(
    'on a full disk says so, and leaves nothing',
    async () => {
      const full = await runScript('backup', [join(disk, 'monday')], { DATA_DIR: dataDir });
      expect(full).toEqual({ code: 1, output: expect.stringMatching(/There is no new backup\. The disk is full\./) });
      expect(readdirSync(disk)).toEqual([]);
    },
    90_000,
  );

  test.each([
    ['ENOSPC', /^The disk is full\. \(\/backup\/file\)$/],
    ['EACCES', /^This user may not read or write there\. \(\/backup\/file\)$/],
    ['EROFS', /^The disk is read-only\. \(\/backup\/file\)$/],
  ])('names the file and the reason of %s', (code, words) => {
    expect(explainFailure(Object.assign(new Error(code), { code, path: '/backup/file' }))).toMatch(words);
  });
});

describe('a restore is refused, before anything is changed,', () => {
  const changed = join(folder, 'changed');
  const change = (edit: (contents: BackupContents) => void): void => {
    const file = join(changed, contentsFileName);
    const contents = JSON.parse(readFileSync(file, 'utf8')) as BackupContents;
    edit(contents);
    writeFileSync(file, JSON.stringify(contents));
  };
  beforeEach(() => {
    rmSync(changed, { recursive: true, force: true });
    cpSync(backup, changed, { recursive: true });
  });

  test.each([
    [
      'of a folder without a backup',
      () => rmSync(changed, { recursive: true }),
      /^There is no complete backup in .*changed/,
    ],
    [
      'of a backup that is not complete',
      () => rmSync(join(changed, contentsFileName)),
      /^There is no complete backup in/,
    ],
    [
      'with a list that is cut off',
      () => writeFileSync(join(changed, contentsFileName), '{'),
      /list of files .* is damaged/,
    ],
    [
      'with a changed manifest',
      () => writeFileSync(join(changed, 'backup_manifest'), '{}'),
      /damaged: backup_manifest/,
    ],
    ['with a changed file', () => writeFileSync(join(changed, 'PG_VERSION'), '17\n'), /damaged: PG_VERSION differs/],
    ['with a file cut off', () => writeFileSync(join(changed, 'global/pg_control'), ''), /damaged: global\/pg_control/],
    ['without a file', () => rmSync(join(changed, 'backup_label')), /not complete: backup_label is missing/],
    [
      'with changed WAL',
      () => {
        const [name = ''] = readdirSync(join(changed, 'pg_wal')).filter((each) => /^\w{24}$/.test(each));
        writeFileSync(join(changed, 'pg_wal', name), Buffer.alloc(16_777_216));
      },
      /damaged: pg_wal\/\w{24} differs/,
    ],
    ['of another format', () => change((contents) => Object.assign(contents, { format: 2 })), /of another release/],
    [
      'that leads out of its folder',
      () => change(({ folders }) => folders.push('../out')),
      /list of files .* is damaged/,
    ],
    [
      'of another major version',
      () => change((contents) => Object.assign(contents, { postgres: '17.6' })),
      /PostgreSQL 17\.6, and this is 18/,
    ],
    [
      'of another platform',
      () => change((contents) => Object.assign(contents, { platform: 'aix-ppc64' })),
      /made on aix-ppc64/,
    ],
  ])(
    '%s',
    async (_what, damage, words) => {
      damage();
      expect(await reasonOf(() => restore(changed, { replace: true }))).toMatch(words);
      expect(readdirSync(dataDir).filter((name) => /restoring|replaced/.test(name))).toEqual([]);
    },
    60_000,
  );

  test('while there are data, by a usage without a folder, and with other keys or none', async () => {
    expect(await reasonOf(() => restore(backup))).toMatch(/^There are data in .* already\. With --replace/);
    const unnamed = await runScript('restore', [], { DATA_DIR: dataDir });
    expect(unnamed).toEqual({ code: 2, output: expect.stringContaining('Usage: npm run restore') });
    const other = join(folder, 'other-keys.json');
    writeFileSync(other, JSON.stringify({ PII_ENCRYPTION_KEYS: 'new', PII_INDEX_KEY: 'index' }));
    expect(await reasonOf(() => restore(backup, { replace: true, keysFile: other }))).toMatch(/lacks keys/);
    const elsewhere = findCluster(join(folder, 'elsewhere/postgres'), print);
    const options = { backup: readBackup(backup), cluster: elsewhere, wantedDataDir: elsewhere.dataDir };
    const keyless = () => restoreBackup({ ...options, replace: false, keysFile: undefined, env: {} });
    expect(await reasonOf(keyless)).toMatch(/keys of this backup are not here/);
    expect(existsSync(elsewhere.dataDir)).toBe(false);
  }, 60_000);

  test('while a server runs on the data', async () => {
    const server = await start();
    try {
      const { code, output } = await runScript('restore', [backup, '--replace'], { DATA_DIR: dataDir });
      expect({ code, output }).toEqual({ code: 1, output: expect.stringMatching(/A server runs on .*Stop npm start/) });
    } finally {
      await server.stop();
    }
  }, 60_000);
});

test('a restored cluster is on a new timeline, keeps the former data, and its own backup can be restored', async () => {
  const first = await start();
  await withClient(first.url, (admin) => admin.query('insert into kept values (2)'));
  await first.stop();
  const former = await restore(backup, { replace: true });
  expect(existsSync(join(String(former), 'PG_VERSION'))).toBe(true);

  const second = await start(true);
  const again = join(folder, 'again');
  try {
    expect(await rowsIn(second)).toEqual([{ id: 1 }]);
    await withClient(second.url, (admin) => admin.query('insert into kept values (3)'));
    await takeBackup({ url: second.url, target: again, keys: keysOfData(cluster.dataDir) });
  } finally {
    await second.stop();
  }
  await verifyBackup(readBackup(again));
  await restore(again, { replace: true });
  const third = await start();
  try {
    expect(await rowsIn(third)).toEqual([{ id: 1 }, { id: 3 }]);
    const timeline = 'select timeline_id from pg_control_checkpoint()';
    expect((await withClient(third.url, (admin) => admin.query(timeline))).rows).toEqual([{ timeline_id: 3 }]);
  } finally {
    await third.stop();
  }
}, 180_000);
