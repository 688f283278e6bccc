// `npm run dev` and the containers of docker-compose.dev.yml: the restart after a change of a source file.
import { type ChildProcess, spawn, spawnSync } from 'node:child_process';
import { once } from 'node:events';
import { appendFileSync, mkdirSync, mkdtempSync, renameSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { afterEach, beforeEach, expect, test } from '@jest/globals';
import { eventually } from '@promopulse/testing/eventually';

const script = resolve(import.meta.dirname, '../scripts/dev.ts');
/** A program that prints its start and its end, and needs half a second to stop. */
const program = `
console.log('started');
const timer = setInterval(() => undefined, 1_000);
process.once('SIGTERM', () => setTimeout(() => { clearInterval(timer); console.log('ended'); }, 500));
`;

let folder: string;
let dev: ChildProcess;
let output: string;

beforeEach(async () => {
  folder = mkdtempSync(join(tmpdir(), 'promopulse-dev-'));
  mkdirSync(join(folder, 'src/room'), { recursive: true });
  mkdirSync(join(folder, 'shared/src'), { recursive: true });
  writeFileSync(join(folder, 'src/main.ts'), program);
  writeFileSync(join(folder, 'src/room/file.ts'), '');
  output = '';
  // By a pattern and by a path, as in its two uses.
  dev = spawn(process.execPath, [script, 'src/main.ts', 'sr*', 'shared/src'], { cwd: folder });
  dev.stdout?.setEncoding('utf8').on('data', (text: string) => {
    output += text;
  });
  await expectStarts(1);
});
afterEach(async () => {
  const exited = once(dev, 'exit');
  if (dev.kill('SIGTERM')) await exited;
  rmSync(folder, { recursive: true, force: true });
});

const occurrences = (word: string): number => output.split('\n').filter((line) => line === word).length;

/** Waits for this number of starts, and then as long as a further one would take. */
async function expectStarts(count: number): Promise<void> {
  await eventually(() => expect(occurrences('started')).toBe(count), { timeoutMs: 15_000 });
  await sleep(300);
  expect(occurrences('started')).toBe(count);
}

function saveByRename(path: string): void {
  writeFileSync(join(folder, `${path}.new`), String(Math.random()));
  renameSync(join(folder, `${path}.new`), join(folder, path));
}

test('a file is noticed each time an editor saves it by renaming, and when it is changed in place', async () => {
  for (let count = 2; count <= 5; count += 1) {
    saveByRename('src/room/file.ts');
    await expectStarts(count);
  }
  appendFileSync(join(folder, 'src/room/file.ts'), '\n');
  await expectStarts(6);
}, 60_000);

test('a file in a folder that is created later is noticed', async () => {
  mkdirSync(join(folder, 'shared/src/new/room'), { recursive: true });
  writeFileSync(join(folder, 'shared/src/new/room/query.sql'), '');
  await expectStarts(2);
  saveByRename('shared/src/new/room/query.sql');
  await expectStarts(3);
}, 30_000);

test('each switch of a branch by git is noticed, also one that replaces folders and a whole root', async () => {
  const git = (...args: string[]) => {
    const identity = ['-c', 'user.name=Ada', '-c', 'user.email=ada@example.com', '-c', 'core.hooksPath=/dev/null'];
    const { status, stderr } = spawnSync('git', [...identity, ...args], { cwd: folder, encoding: 'utf8' });
    expect({ status, stderr: status === 0 ? '' : stderr }).toEqual({ status: 0, stderr: '' });
  };
  writeFileSync(join(folder, 'shared/src/query.sql'), 'select 1');
  await expectStarts(2);
  git('init', '--quiet', '--initial-branch=main');
  git('add', '.');
  git('commit', '--quiet', '--message=one');
  git('checkout', '--quiet', '-b', 'other');
  git('rm', '--quiet', '-r', 'src/room', 'shared');
  git('commit', '--quiet', '--message=two');
  await expectStarts(3);
  for (const [branch, count] of [
    ['main', 4],
    ['other', 5],
    ['main', 6],
  ] as const) {
    git('checkout', '--quiet', branch);
    await expectStarts(count);
  }
  saveByRename('src/room/file.ts');
  await expectStarts(7);
  saveByRename('shared/src/query.sql');
  await expectStarts(8);
  saveByRename('shared/src/query.sql');
  await expectStarts(9);
}, 90_000);

test('a new folder that the pattern names is noticed, and files in it too', async () => {
  mkdirSync(join(folder, 'srv'));
  writeFileSync(join(folder, 'srv/late.ts'), '');
  await expectStarts(2);
  saveByRename('srv/late.ts');
  await expectStarts(3);
  saveByRename('srv/late.ts');
  await expectStarts(4);
}, 60_000);

test('a file beside the folders starts nothing', async () => {
  writeFileSync(join(folder, 'notes.ts'), '');
  mkdirSync(join(folder, 'other'));
  await sleep(1_000);
  expect(occurrences('started')).toBe(1);
});

test('a file that is not a source starts nothing', async () => {
  writeFileSync(join(folder, 'src/.file.ts.swp'), '');
  await sleep(1_000);
  expect(occurrences('started')).toBe(1);
});

test('changes while the program stops cause one restart, after the program has ended', async () => {
  saveByRename('src/room/file.ts');
  await eventually(() => expect(output).toContain('restarting'));
  saveByRename('src/room/file.ts');
  await expectStarts(2);
  expect(output).toMatch(/^started\ndev: src\/room\/file\.ts has changed: restarting\nended\nstarted\n$/);
});

test('a program that failed is started again after the next change', async () => {
  writeFileSync(join(folder, 'src/main.ts'), 'process.exit(1);');
  await eventually(() => expect(output).toContain('dev: waiting for a change'), { timeoutMs: 15_000 });
  writeFileSync(join(folder, 'src/main.ts'), program);
  await expectStarts(2);
}, 30_000);

test('SIGTERM ends the program in order, and then the watcher', async () => {
  const exited = once(dev, 'exit');
  dev.kill('SIGTERM');
  expect(await exited).toEqual([0, null]);
  expect(output).toBe('started\nended\n');
});
