// `npm start` as a process of its own, as a user starts it.
import { type ChildProcess, execFile, spawn, spawnSync } from 'node:child_process';
import { chmodSync, existsSync, mkdtempSync, readdirSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import { commandOf } from '../../local/processes.ts';

const root = resolve(import.meta.dirname, '../..');

export interface StartProcess {
  pid: number;
  url: string;
  /** Its output so far, of both streams. */
  output(): string;
  signal(name: NodeJS.Signals): void;
  /** @returns the exit code, or null after a signal it did not handle */
  exited: Promise<number | null>;
}

/** A folder that every account can enter: as root, PostgreSQL runs as another account and keeps its data there. */
export function temporaryDataDir(): string {
  const folder = mkdtempSync(join(tmpdir(), 'promopulse-start-'));
  chmodSync(folder, 0o755);
  return folder;
}

/** Starts it without DATABASE_URL and AMQP_URL of the test run; `env` may set them. */
export function spawnStart(
  dataDir: string,
  port: number,
  env: Record<string, string> = {},
  checkout = root,
): StartProcess {
  const { DATABASE_URL, AMQP_URL, ...inherited } = process.env;
  const child: ChildProcess = spawn(process.execPath, ['scripts/start.ts'], {
    cwd: checkout,
    env: { ...inherited, DATA_DIR: dataDir, PORT: String(port), ...env },
    stdio: ['ignore', 'pipe', 'pipe'],
  });
  let output = '';
  for (const stream of [child.stdout, child.stderr]) {
    stream?.setEncoding('utf8').on('data', (text: string) => {
      output += text;
    });
  }
  return {
    pid: Number(child.pid),
    url: `http://localhost:${port}`,
    output: () => output,
    signal: (name) => void child.kill(name),
    exited: new Promise((settle) => child.once('close', (code) => settle(code))),
  };
}

/** Command lines of running processes that contain the folder, such as that of its PostgreSQL server. */
export function processesNaming(folder: string): string[] {
  const lines = existsSync('/proc/self/cmdline')
    ? readdirSync('/proc').map((name) => (/^\d+$/.test(name) ? commandOf(Number(name)) : ''))
    : spawnSync('ps', ['-A', '-o', 'args='], { encoding: 'utf8' }).stdout.split('\n');
  return lines.filter((line) => line.includes(folder));
}

/** Runs a file of scripts/ to its end, on the data of `dataDir`. */
export function runScript(
  name: string,
  args: readonly string[],
  env: Record<string, string>,
): Promise<{ code: number | null; output: string }> {
  const { DATABASE_URL, AMQP_URL, ...inherited } = process.env;
  return new Promise((resolve) => {
    const options = { cwd: root, env: { ...inherited, ...env } };
    execFile(process.execPath, [`scripts/${name}.ts`, ...args], options, (error, stdout, stderr) => {
      resolve({ code: error === null ? 0 : Number(error.code), output: `${stdout}${stderr}` });
    });
  });
}
