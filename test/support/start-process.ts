// `npm start` as a process of its own, as a user has it: started by a test, watched from outside.
import { type ChildProcess, spawn, spawnSync } from 'node:child_process';
import { chmodSync, existsSync, mkdtempSync, readdirSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import { commandOf } from '../../local/processes.ts';

const root = resolve(import.meta.dirname, '../..');

export interface StartProcess {
  pid: number;
  url: string;
  /** Everything it has written so far, on both streams. */
  output(): string;
  signal(name: NodeJS.Signals): void;
  /** @returns the exit code, or null after a signal it did not handle */
  exited: Promise<number | null>;
}

/** Open to enter, so that root's PostgreSQL keeps its data there. */
export function temporaryDataDir(): string {
  const folder = mkdtempSync(join(tmpdir(), 'promopulse-start-'));
  chmodSync(folder, 0o755);
  return folder;
}

/** Without the databases and brokers that the test run itself uses. */
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

/** Command lines of running processes that name the folder, such as the PostgreSQL server on it. */
export function processesNaming(folder: string): string[] {
  const lines = existsSync('/proc/self/cmdline')
    ? readdirSync('/proc').map((name) => (/^\d+$/.test(name) ? commandOf(Number(name)) : ''))
    : spawnSync('ps', ['-A', '-o', 'args='], { encoding: 'utf8' }).stdout.split('\n');
  return lines.filter((line) => line.includes(folder));
}
