// One process of the mesh, started, killed and stopped by its pid. An exit that nobody asked for is written down.
import { type ChildProcess, spawn } from 'node:child_process';
import { closeSync, openSync } from 'node:fs';
import { resolve } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';

const root = resolve(import.meta.dirname, '..');
const readyWithinMs = 90_000;
/** A service promises to end within SHUTDOWN_TIMEOUT_MS (10 s); the rest is the machine's. */
const endsWithinMs = 15_000;

export interface Exit {
  replica: string;
  at: number;
  code: number | null;
  signal: string | null;
  why: string;
}

export interface Replica {
  name: string;
  part: string;
  port: number;
  /** Where Node's inspector listens, if it does. */
  inspector: number | undefined;
  /** Undefined while it does not run. */
  pid(): number | undefined;
  /** Resolves when it says that it is ready. `script` in place of its own main.ts. */
  start(script?: readonly string[]): Promise<void>;
  /** Ends at once. */
  kill(): Promise<void>;
  /** Stops it in its tracks, and lets it go on. */
  freeze(): void;
  thaw(): void;
  /** SIGTERM. @returns how long it took, in milliseconds */
  stop(): Promise<number>;
  /** Tells a service-main.ts to kill itself when its moment comes. @returns false when it did not in time */
  dies(withinMs: number): Promise<boolean>;
}

interface Options {
  part: string;
  number: number;
  port: number;
  inspector?: number | undefined;
  env: Record<string, string>;
  logFile: string;
  /** Where exits that nobody asked for, and stops that went wrong, are written down. */
  exits: Exit[];
}

export function createReplica({ part, number, port, inspector, env, logFile, exits }: Options): Replica {
  const name = `${part}-${number}`;
  let child: ChildProcess | undefined;
  let gone: Promise<void> = Promise.resolve();
  let expected: 'no exit' | 'SIGKILL' | 'exit 0' = 'no exit';

  function judge(code: number | null, signal: string | null): void {
    const fine = (expected === 'SIGKILL' && signal === 'SIGKILL') || (expected === 'exit 0' && code === 0);
    if (!fine) exits.push({ replica: name, at: Date.now(), code, signal, why: `expected ${expected}` });
  }

  async function waitForReady(started: ChildProcess): Promise<void> {
    const deadline = Date.now() + readyWithinMs;
    while (Date.now() < deadline) {
      if (started.exitCode !== null || started.signalCode !== null) throw new Error(`${name} ended while it started`);
      if (await isReady(port)) return;
      await sleep(100);
    }
    throw new Error(`${name} was not ready within ${readyWithinMs / 1_000} s`);
  }

  async function end(signal: 'SIGKILL' | 'SIGTERM'): Promise<void> {
    if (!child?.pid) return;
    expected = signal === 'SIGKILL' ? 'SIGKILL' : 'exit 0';
    child.kill(signal);
    child.kill('SIGCONT'); // frozen, it would not hear it
    const inTime = await Promise.race([gone.then(() => true), sleep(endsWithinMs, false)]);
    if (inTime) return;
    exits.push({
      replica: name,
      at: Date.now(),
      code: null,
      signal: null,
      why: `still there ${endsWithinMs} ms later`,
    });
    child.kill('SIGKILL');
    await gone;
  }

  return {
    name,
    part,
    port,
    inspector,
    pid: () => (child?.exitCode === null && child.signalCode === null ? child.pid : undefined),
    start: async (script = [`services/${part}/src/main.ts`]) => {
      const log = openSync(logFile, 'a', 0o600);
      // A session of its own, so that the terminal's Ctrl-C reaches only us and it is stopped in order.
      const inspected = inspector ? [`--inspect=127.0.0.1:${inspector}`, '--inspect-publish-uid=http'] : [];
      const started = spawn(process.execPath, [...inspected, ...script], {
        cwd: root,
        env: { ...inherited(), ...env, PORT: String(port) },
        stdio: ['ignore', log, log],
        detached: true,
      });
      closeSync(log);
      child = started;
      expected = 'no exit';
      const killAtExit = (): void => void started.kill('SIGKILL');
      process.once('exit', killAtExit);
      gone = new Promise((settle) => {
        started.once('exit', (code, signal) => {
          process.off('exit', killAtExit);
          judge(code, signal);
          settle();
        });
      });
      await waitForReady(started);
    },
    kill: () => end('SIGKILL'),
    freeze: () => void child?.kill('SIGSTOP'),
    thaw: () => void child?.kill('SIGCONT'),
    stop: async () => {
      const before = performance.now();
      await end('SIGTERM');
      return performance.now() - before;
    },
    dies: async (withinMs) => {
      expected = 'SIGKILL';
      child?.kill('SIGUSR2');
      const died = await Promise.race([gone.then(() => true), sleep(withinMs, false)]);
      if (!died) expected = 'no exit';
      return died;
    },
  };
}

/** Nothing of the caller's environment may configure the mesh. */
function inherited(): Record<string, string> {
  return { PATH: process.env.PATH ?? '', NODE_ENV: 'production', TZ: 'UTC' };
}

async function isReady(port: number): Promise<boolean> {
  try {
    const answer = await fetch(`http://127.0.0.1:${port}/health/ready`, { signal: AbortSignal.timeout(2_000) });
    await answer.arrayBuffer();
    return answer.status === 200;
  } catch {
    return false;
  }
}
