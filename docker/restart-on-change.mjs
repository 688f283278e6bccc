// For docker-compose.dev.yml: runs a service and starts it anew whenever its sources change. Node's own --watch loses
// a file that an editor saves by renaming (https://github.com/nodejs/node/issues/54774); folders stay what they are.
import { spawn } from 'node:child_process';
import { readdirSync, watch } from 'node:fs';
import { join } from 'node:path';

const roots = ['src', '../../packages/shared/src'];
let child;
let stopping = false;
let changed;

function start() {
  child = spawn(process.execPath, ['src/main.ts'], { stdio: 'inherit' });
  child.once('exit', (code) => {
    child = undefined;
    if (stopping) process.exit(code ?? 1);
  });
}

function restart() {
  if (stopping) return;
  console.log('sources changed: starting again');
  if (!child) return start(); // it had failed
  child.once('exit', () => stopping || start());
  child.kill('SIGTERM');
}

for (const root of roots) {
  const folders = readdirSync(root, { recursive: true, withFileTypes: true }).filter((entry) => entry.isDirectory());
  for (const folder of [root, ...folders.map((entry) => join(entry.parentPath, entry.name))]) {
    watch(folder, () => {
      clearTimeout(changed);
      changed = setTimeout(restart, 200); // one save is several events
    });
  }
}
for (const signal of ['SIGTERM', 'SIGINT']) {
  process.on(signal, () => {
    stopping = true;
    if (child) child.kill(signal);
    else process.exit(0);
  });
}
start();
