// One process of a service or of the gateway, started, killed and stopped by its process id.
import { type ChildProcess, spawn } from 'node:child_process';
import { closeSync, openSync } from 'node:fs';
import { resolve } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';

const ownRoot = resolve(import.meta.dirname, '..');
const readyTimeoutMs = 90_000;
/** A service ends within SHUTDOWN_TIMEOUT_MS (10 s) after SIGTERM. The rest is a margin for a busy machine. */
const exitTimeoutMs = 15_000;

/** An exit that was not requested, or a stop that did not succeed. */
export interface Exit {
  replica: string;
  /** Milliseconds since the epoch. */
  at: number;
  code: number | null;
  signal: string | null;
  reason: string;
}

interface Options {
  /** A service, or `gateway`. */
  part: string;
  /** Distinguishes the replicas of a part; the name is `<part>-<number>`. */
  number: number;
  port: number;
  /** Port of the internal listener, which has the health of a service. Undefined for the gateway. */
  internalPort?: number | undefined;
  /** Port of the metrics. Undefined: none. */
  metricsPort?: number | undefined;
  /** Of the release that it runs. Default: this checkout. */
  root?: string | undefined;
  /** Port for Node's inspector. Undefined: no inspector. */
  inspector?: number | undefined;
  env: Record<string, string>;
  logFile: string;
  /** Unexpected exits are appended here. */
  exits: Exit[];
}

/**
 * States: stopped, starting, ready, frozen, stopping; then stopped again. `#expected` says how the process may end in
 * its present state: not at all while it starts and runs, by SIGKILL after `kill` and `waitForCrash`, with exit code 0
 * after `stop`. Any other end is recorded in `exits`.
 */
export class Replica {
  readonly name: string;
  readonly part: string;
  readonly port: number;
  readonly internalPort: number | undefined;
  readonly metricsPort: number | undefined;
  readonly inspector: number | undefined;
  readonly #options: Options;
  #child: ChildProcess | undefined;
  #ended: Promise<void> = Promise.resolve();
  #expected: 'no exit' | 'SIGKILL' | 'exit code 0' = 'no exit';

  constructor(options: Options) {
    this.name = `${options.part}-${options.number}`;
    this.part = options.part;
    this.port = options.port;
    this.internalPort = options.internalPort;
    this.metricsPort = options.metricsPort;
    this.inspector = options.inspector;
    this.#options = options;
  }

  /** Undefined while the process does not run. */
  pid(): number | undefined {
    const child = this.#child;
    return child?.exitCode === null && child.signalCode === null ? child.pid : undefined;
  }

  /**
   * Resolves when `/health/ready` answers 200.
   * @param script Node's arguments in place of the part's own main.ts
   * @throws Error when the process ends or is not ready within 90 s
   */
  async start(script: readonly string[] = [`services/${this.part}/src/main.ts`]): Promise<void> {
    const child = this.#spawn(script);
    this.#child = child;
    this.#expected = 'no exit';
    const killAtExit = (): void => void child.kill('SIGKILL');
    process.once('exit', killAtExit);
    this.#ended = new Promise((settle) => {
      child.once('exit', (code, signal) => {
        process.off('exit', killAtExit);
        this.#checkExit(code, signal);
        settle();
      });
    });
    await this.#waitForReady(child);
  }

  /** SIGKILL. */
  kill(): Promise<void> {
    return this.#end('SIGKILL');
  }

  /** SIGSTOP: the process keeps its connections and locks but does nothing. */
  freeze(): void {
    this.#child?.kill('SIGSTOP');
  }

  /** SIGCONT. */
  thaw(): void {
    this.#child?.kill('SIGCONT');
  }

  /** SIGTERM. @returns the time until the exit, in milliseconds */
  async stop(): Promise<number> {
    const startedAt = performance.now();
    await this.#end('SIGTERM');
    return performance.now() - startedAt;
  }

  /** SIGUSR2: a crash-main.ts then kills itself at its crash point. @returns whether it did so in time */
  async waitForCrash(timeoutMs: number): Promise<boolean> {
    this.#expected = 'SIGKILL';
    this.#child?.kill('SIGUSR2');
    const crashed = await Promise.race([this.#ended.then(() => true), sleep(timeoutMs, false)]);
    if (!crashed) this.#expected = 'no exit';
    return crashed;
  }

  #spawn(script: readonly string[]): ChildProcess {
    const { inspector, env, logFile, port, internalPort, metricsPort, root = ownRoot } = this.#options;
    const log = openSync(logFile, 'a', 0o600);
    const inspectorFlags = inspector ? [`--inspect=127.0.0.1:${inspector}`, '--inspect-publish-uid=http'] : [];
    const child = spawn(process.execPath, [...inspectorFlags, ...script], {
      cwd: root,
      env: {
        ...inheritedEnvironment(),
        ...env,
        PORT: String(port),
        ...(internalPort && { INTERNAL_PORT: String(internalPort) }),
        ...(metricsPort && { METRICS_PORT: String(metricsPort) }),
      },
      stdio: ['ignore', log, log],
      // A session of its own: Ctrl-C in the terminal reaches only the parent process, which stops replicas in order.
      detached: true,
    });
    closeSync(log);
    return child;
  }

  #checkExit(code: number | null, signal: string | null): void {
    const isExpected =
      (this.#expected === 'SIGKILL' && signal === 'SIGKILL') || (this.#expected === 'exit code 0' && code === 0);
    if (!isExpected) this.#record(code, signal, `expected ${this.#expected}`);
  }

  #record(code: number | null, signal: string | null, reason: string): void {
    this.#options.exits.push({ replica: this.name, at: Date.now(), code, signal, reason });
  }

  async #waitForReady(child: ChildProcess): Promise<void> {
    const deadline = Date.now() + readyTimeoutMs;
    while (Date.now() < deadline) {
      if (child.exitCode !== null || child.signalCode !== null) throw new Error(`${this.name} ended while it started`);
      if (await isReady(this.internalPort ?? this.port)) return;
      await sleep(100);
    }
    throw new Error(`${this.name} was not ready within ${readyTimeoutMs / 1_000} s`);
  }

  async #end(signal: 'SIGKILL' | 'SIGTERM'): Promise<void> {
    if (!this.#child?.pid) return;
    this.#expected = signal === 'SIGKILL' ? 'SIGKILL' : 'exit code 0';
    this.#child.kill(signal);
    this.#child.kill('SIGCONT'); // a frozen process handles no SIGTERM
    const inTime = await Promise.race([this.#ended.then(() => true), sleep(exitTimeoutMs, false)]);
    if (inTime) return;
    this.#record(null, null, `still running ${exitTimeoutMs} ms after ${signal}`);
    this.#child.kill('SIGKILL');
    await this.#ended;
  }
}

/** The caller's environment must not configure the services. */
function inheritedEnvironment(): Record<string, string> {
  const { PATH = '', NODE_COMPILE_CACHE } = process.env;
  return { PATH, NODE_ENV: 'production', TZ: 'UTC', ...(NODE_COMPILE_CACHE && { NODE_COMPILE_CACHE }) };
}

async function isReady(port: number): Promise<boolean> {
  try {
    const response = await fetch(`http://127.0.0.1:${port}/health/ready`, { signal: AbortSignal.timeout(2_000) });
    await response.arrayBuffer();
    return response.status === 200;
  } catch {
    return false;
  }
}
