// Runs a program and restarts it after every change of a source file: node dev.ts [program] [folder…]. Without arguments
// (`npm run dev`) the program is `npm start`; in the containers of docker-compose.dev.yml it is one service.
// Watches folders instead of files: on Linux Node loses a file that an editor saves by renaming, with `--watch`
// (https://github.com/nodejs/node/issues/54774) and with a recursive `fs.watch`.
import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { type FSWatcher, globSync, readdirSync, statSync, watch } from 'node:fs';
import { join, normalize, sep } from 'node:path';

const [program = 'scripts/start.ts', ...folders] = process.argv.slice(2);
const roots = folders.length > 0 ? folders : ['packages/*/src', 'services/*/src'];
/** One save causes several events, the switch of a branch many. */
const settleMs = 200;
const stopTimeoutMs = 30_000;

let child = start();
let isRestarting = false;
let isStopping = false;
let watchers: FSWatcher[] = [];
let timer: NodeJS.Timeout | undefined;
const changedPaths = new Set<string>();

watchFolders();
for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP'] as const) {
  process.on(signal, async () => {
    isStopping = true;
    await stop(child, signal); // a second signal is passed on too, and ends the program at once
    process.exit(0);
  });
}

function start(): ChildProcess {
  const started = spawn(process.execPath, [...process.execArgv, program], { stdio: 'inherit' });
  started.once('exit', (code) => {
    if (code) print('waiting for a change …');
  });
  return started;
}

async function stop(running: ChildProcess, signal: NodeJS.Signals): Promise<void> {
  if (running.exitCode !== null || running.signalCode !== null) return;
  const exited = once(running, 'exit');
  running.kill(signal);
  const killTimer = setTimeout(() => running.kill('SIGKILL'), stopTimeoutMs);
  await exited;
  clearTimeout(killTimer);
}

/** A change that comes while the program stops needs no restart of its own: the program is not started yet. */
async function restart(path: string): Promise<void> {
  if (isStopping || isRestarting) return;
  isRestarting = true;
  print(`${path} has changed: restarting`);
  await stop(child, 'SIGTERM');
  isRestarting = false;
  if (!isStopping) child = start();
}

/** The new watchers are opened before the old ones are closed. */
function watchFolders(): void {
  const previous = watchers;
  watchers = watchedFolders().flatMap((folder) => {
    try {
      const watcher = watch(folder, (_event, file) => onChange(join(folder, file ?? '')));
      return watcher.on('error', () => undefined); // Windows reports that the folder was deleted
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code === 'ENOENT') return []; // deleted meanwhile: the folder above tells it
      throw error;
    }
  });
  for (const watcher of previous) watcher.close();
}

function onChange(path: string): void {
  changedPaths.add(path);
  clearTimeout(timer);
  timer = setTimeout(handleChanges, settleMs);
}

function handleChanges(): void {
  try {
    watchFolders(); // the change may have added folders or replaced them
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'ENOENT') throw error;
    timer = setTimeout(handleChanges, settleMs); // a folder was deleted while it was read
    return;
  }
  const rootsNow = globSync(roots);
  const source = [...changedPaths].find(
    (path) =>
      (/\.(ts|sql|json)$/.test(path) || isFolder(path)) &&
      rootsNow.some((root) => isWithin(path, root) || isWithin(root, path)),
  );
  changedPaths.clear();
  if (source) void restart(source);
}

/**
 * Every folder below the roots, and the folders above them: the switch of a branch deletes a root and creates it again,
 * and a new service is a new root.
 */
function watchedFolders(): string[] {
  const above = roots.flatMap((root) => {
    const names = normalize(root).split(sep);
    return names.map((_, length) => names.slice(0, length).join(sep)).filter(Boolean);
  });
  const below = globSync(roots).flatMap((root) => {
    const entries = isFolder(root) ? readdirSync(root, { recursive: true, withFileTypes: true }) : [];
    const folders = entries.filter((entry) => entry.isDirectory());
    return [root, ...folders.map(({ parentPath, name }) => join(parentPath, name))];
  });
  const outer = ['.', ...globSync(above)].filter((folder) => isFolder(folder) && !/(^|[\\/])\.\.$/.test(folder));
  return [...new Set([...outer, ...below].map(normalize))];
}

function isWithin(path: string, folder: string): boolean {
  return normalize(path) === normalize(folder) || normalize(path).startsWith(normalize(folder) + sep);
}

function isFolder(path: string): boolean {
  return statSync(path, { throwIfNoEntry: false })?.isDirectory() ?? false;
}

function print(line: string): void {
  process.stdout.write(`dev: ${line}\n`);
}
