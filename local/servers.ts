// The real PostgreSQL and RabbitMQ of a run, with the operations that stop, crash and start them again.
import { chmodSync, mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { freePort } from './ports.ts';
import { type LocalPostgres, startLocalPostgres } from './postgres.ts';
import { commandOf } from './processes.ts';
import { type LocalRabbit, startLocalRabbit } from './rabbitmq.ts';
import { ensureRabbit } from './rabbitmq-programs.ts';

type Say = (line: string) => void;
/** Registers a function that stops what was just started. At the end all of them run, in reverse order. */
export type Keep = (stop: () => Promise<unknown>) => void;

export interface Postgres {
  /** The administrator's URL; it bypasses every proxy. */
  url(): string;
  port(): number;
  /** What the server writes: its data directory and its log file. */
  paths(): string[];
  /**
   * `fast`: the server rolls back transactions and closes connections. `immediate`: it ends without a checkpoint, as
   * in a crash, and replays its log at the next start. `kill`: SIGKILL to the postmaster alone, which leaves its
   * child processes orphaned.
   */
  stop(how: 'fast' | 'immediate' | 'kill'): Promise<void>;
  start(): Promise<void>;
}

/** Other accounts may enter the folder: as root the servers run as accounts of their own. */
export function temporaryFolder(keep: Keep, isKept: () => boolean): string {
  const folder = mkdtempSync(join(tmpdir(), 'promopulse-chaos-'));
  chmodSync(folder, 0o755);
  keep(async () => {
    if (!isKept()) rmSync(folder, { recursive: true, force: true });
  });
  return folder;
}

export async function startPostgres(folder: string, say: Say, keep: Keep): Promise<Postgres> {
  const dataDir = join(folder, 'postgres');
  // Chaos ends the server on purpose, which is no news.
  const start = async (port: number): Promise<LocalPostgres> =>
    await startLocalPostgres({ dataDir, port, durable: true, print: say, onUnexpectedExit: () => undefined });
  let server = await start(await freePort());
  keep(async () => {
    await server.stop();
    rmSync(server.dataDir, { recursive: true, force: true });
    if (!server.dataDir.startsWith(folder)) rmSync(dirname(server.dataDir), { recursive: true, force: true });
  });
  return {
    url: () => server.url,
    port: () => server.port,
    paths: () => [server.dataDir, server.logFile],
    stop: async (how) => {
      if (how === 'fast') await server.stop();
      else await signalPostmaster(server.dataDir, how === 'kill' ? 'SIGKILL' : 'SIGQUIT');
    },
    start: async () => {
      server = await start(server.port);
    },
  };
}

/** Signals the process of the server's pid file and waits until it has ended. */
async function signalPostmaster(dataDir: string, signal: 'SIGQUIT' | 'SIGKILL'): Promise<void> {
  const pid = Number(readFileSync(join(dataDir, 'postmaster.pid'), 'utf8').split('\n')[0]);
  process.kill(pid, signal);
  while (commandOf(pid) !== '') await sleep(20);
}

/** @throws Error when there is no RabbitMQ, and none can be installed or unpacked */
export async function startRabbit(folder: string, say: Say, keep: Keep): Promise<LocalRabbit> {
  await ensureRabbit(say);
  const node = await startLocalRabbit({ dir: join(folder, 'rabbitmq'), print: say });
  keep(() => node.stop());
  return node;
}
