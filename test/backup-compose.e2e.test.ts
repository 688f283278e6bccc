// The order of `npm run backup -- --compose` and `npm run restore -- --compose`, with a program in the place of docker that
// writes down how it is called. The real programs are called by .ci/run.
import { chmodSync, existsSync, mkdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, beforeEach, expect, test } from '@jest/globals';
import { runScript, temporaryDataDir } from './support/start-process.ts';

const folder = temporaryDataDir();
const [bin, calls, restored] = [join(folder, 'bin'), join(folder, 'calls'), join(folder, 'restored')];
const docker = `#!/bin/sh
echo "$*" >> '${calls}'
case "$*" in
  *"$FAILS"*) cat > /dev/null; echo 'as it was told' >&2; exit 3 ;;
  *pg_dump*) printf 'PGDMP and so on' ;;
  *'pg_restore --list'*) cat > /dev/null ;;
  *'pg_restore -U'*) cat > '${restored}' ;;
  *'select exists'*) echo "$HAS_TABLES" ;;
esac
`;
mkdirSync(bin);
writeFileSync(join(bin, 'docker'), docker);
chmodSync(join(bin, 'docker'), 0o755);
beforeEach(() => {
  for (const path of [calls, restored, join(folder, 'dump')]) rmSync(path, { recursive: true, force: true });
  writeFileSync(calls, '');
});
afterAll(() => rmSync(folder, { recursive: true, force: true }));

const dump = join(folder, 'dump');
const run = (name: string, args: readonly string[], env: { FAILS?: string; HAS_TABLES?: string } = {}) =>
  runScript(name, [...args, '--compose'], {
    PATH: `${bin}:${process.env.PATH}`,
    ...{ FAILS: 'nothing of that', HAS_TABLES: 'f', ...env },
  });
/** What docker compose was asked for, without the texts of SQL. */
const called = (): string[] =>
  readFileSync(calls, 'utf8')
    .trim()
    .split('\n')
    .map((line) => line.replace(/ -X -v ON_ERROR_STOP=1 -Atc/, '').replace(/promopulse_replaced_\d+/, 'former'));

test('a dump is checked and restored apart; then names are changed, epochs begun and services started', async () => {
  expect(await run('backup', [dump])).toEqual({ code: 0, output: expect.stringContaining('keep those of .env') });
  expect(called()).toEqual([
    'compose exec -T postgres pg_dump -U promopulse -d promopulse -Fc --no-unlogged-table-data',
    'compose exec -T postgres pg_restore --list',
  ]);
  expect(await run('restore', [dump, '--check'])).toEqual({ code: 0, output: expect.stringContaining('is complete') });

  writeFileSync(calls, '');
  const { code, output } = await run('restore', [dump, '--replace'], { HAS_TABLES: 't' });
  expect({ code, output }).toEqual({
    code: 0,
    output: expect.stringMatching(/former data are in promopulse_replaced_/),
  });
  expect(readFileSync(restored, 'utf8')).toBe('PGDMP and so on');
  const psql = (name: string): string => `compose exec -T postgres psql -U promopulse -d ${name}`;
  const afterRestore = (service: string): string =>
    `compose run --rm --no-deps -T ${service} node ../../packages/shared/src/commands/after-restore.ts ${service}`;
  expect(called()).toEqual([
    'compose up -d --wait postgres',
    expect.stringContaining(`${psql('promopulse')} select exists`),
    `${psql('postgres')} drop database if exists promopulse_restoring with (force)`,
    `${psql('postgres')} create database promopulse_restoring template template0`,
    'compose exec -T postgres pg_restore -U promopulse -d promopulse_restoring --exit-on-error',
    'compose stop gateway users promotions subscriptions engagement',
    expect.stringContaining(`${psql('postgres')} select pg_terminate_backend`),
    `${psql('postgres')} alter database promopulse rename to former; alter database promopulse_restoring rename to promopulse`,
    'compose exec -T postgres bash /docker-entrypoint-initdb.d/10-services.sh',
    `${afterRestore('users')} --without subscriptions --without engagement`,
    `${afterRestore('promotions')} --without subscriptions --without engagement`,
    `${afterRestore('subscriptions')} --without engagement`,
    `${afterRestore('engagement')} --without subscriptions`,
    'compose up -d --wait',
  ]);
}, 60_000);

test('a dump that fails leaves no backup, and one that was changed is not restored', async () => {
  const failed = await run('backup', [dump], { FAILS: 'pg_dump' });
  expect(failed).toEqual({ code: 1, output: expect.stringMatching(/pg_dump failed|postgres failed: as it was told/) });
  const unreadable = await run('backup', [dump], { FAILS: '--list' });
  expect(unreadable.code).toBe(1);
  expect([existsSync(dump), existsSync(`${dump}.partial`)]).toEqual([false, false]);

  await run('backup', [dump]);
  writeFileSync(join(dump, 'promopulse.dump'), 'PGDMP');
  writeFileSync(calls, '');
  expect(await run('restore', [dump])).toEqual({ code: 1, output: expect.stringContaining('promopulse.dump differs') });
  expect(readFileSync(calls, 'utf8')).toBe('');
}, 60_000);

test('tables end a restore that was not told to replace them, and a failure leaves the services alone', async () => {
  await run('backup', [dump]);
  const refused = await run('restore', [dump], { HAS_TABLES: 't' });
  expect(refused).toEqual({ code: 1, output: expect.stringMatching(/has tables already\. With --replace/) });
  const failed = await run('restore', [dump], { FAILS: 'pg_restore -U' });
  expect(failed).toEqual({ code: 1, output: expect.stringContaining('as it was told') });
  expect(called().filter((line) => /^compose (stop|run)|rename/.test(line))).toEqual([]);
}, 60_000);

test('without docker the reason is one sentence', async () => {
  const node = join(folder, 'no-docker');
  mkdirSync(node);
  const { code, output } = await runScript('backup', [dump, '--compose'], { PATH: node });
  expect({ code, output }).toEqual({
    code: 1,
    output: 'There is no new backup. There is no docker on this machine.\n',
  });
}, 60_000);
