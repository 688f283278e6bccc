// `npm run dev`: `npm start`, started again after every change of a source file. Not `node --watch`, which loses sight
// of a file once an editor has saved it by renaming (https://github.com/nodejs/node/issues/54774).
import { type ChildProcess, spawn } from 'node:child_process';
import { globSync, watch } from 'node:fs';
import { join, resolve } from 'node:path';
import { waitForExit } from '../local/accounts.ts';

const root = resolve(import.meta.dirname, '..');
/** An editor's save is several events; a branch switch is many. */
const settleMs = 200;

let stack = startStack();
let stopping = false;
let restarting: Promise<void> = Promise.resolve();
let timer: NodeJS.Timeout | undefined;

for (const folder of globSync(['packages/*/src', 'services/*/src'], { cwd: root })) {
  watch(join(root, folder), { recursive: true }, (_event, file) => {
    if (!file || !/\.(ts|sql|json)$/.test(file)) return;
    clearTimeout(timer);
    timer = setTimeout(() => {
      restarting = restarting.then(() => restart(join(folder, file)));
    }, settleMs);
  });
}

for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP'] as const) {
  process.on(signal, async () => {
    stopping = true;
    stack.kill(signal); // a later one makes it end at once
    await waitForExit(stack, 30_000);
    process.exit(0);
  });
}

function startStack(): ChildProcess {
  const child = spawn(process.execPath, [join(root, 'scripts/start.ts')], { cwd: root, stdio: 'inherit' });
  child.once('exit', (code) => {
    if (code) process.stdout.write('dev: waiting for a change …\n');
  });
  return child;
}

async function restart(file: string): Promise<void> {
  if (stopping) return;
  process.stdout.write(`\ndev: ${file} has changed\n`);
  stack.kill('SIGTERM');
  await waitForExit(stack, 30_000);
  if (!stopping) stack = startStack();
}
