// The real PostgreSQL and RabbitMQ of a run, and the ways to take them away and bring them back.
import { chmodSync, mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { aptInstall, canAptInstall } from './apt.ts';
import { freePort } from './ports.ts';
import { type LocalPostgres, startLocalPostgres } from './postgres.ts';
import { commandOf } from './processes.ts';
import { findRabbit, type LocalRabbit, startLocalRabbit } from './rabbitmq.ts';

type Say = (line: string) => void;
/** Handed every stop as soon as there is something to stop; called in the reverse order. */
export type Keep = (stop: () => Promise<unknown>) => void;

export interface Postgres {
  /** Of the administrator, past every proxy. */
  url(): string;
  port(): number;
  /** What it keeps and writes: data and log. */
  paths(): string[];
  /**
   * Fast: transactions are rolled back, connections cut. Immediate: as in a crash, the log is replayed. Kill: the
   * first process dies alone, by SIGKILL, and the others find themselves orphans.
   */
  stop(how: 'fast' | 'immediate' | 'kill'): Promise<void>;
  start(): Promise<void>;
}

/** Open to enter: as root the servers run as other accounts. */
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
      else await endAtOnce(server.dataDir, how === 'kill' ? 'SIGKILL' : 'SIGQUIT');
    },
    start: async () => {
      server = await start(server.port);
    },
  };
}

/** To the server whose number is in its own pid file: no tidy end, no checkpoint. */
async function endAtOnce(dataDir: string, signal: 'SIGQUIT' | 'SIGKILL'): Promise<void> {
  const pid = Number(readFileSync(join(dataDir, 'postmaster.pid'), 'utf8').split('\n')[0]);
  process.kill(pid, signal);
  while (commandOf(pid) !== '') await sleep(20);
}

export async function startRabbit(folder: string, say: Say, keep: Keep): Promise<LocalRabbit> {
  if (!findRabbit()) {
    if (!canAptInstall()) {
      throw new Error('rabbitmq-server is not installed (as root on Debian and Ubuntu it is installed when absent)');
    }
    await aptInstall(['rabbitmq-server'], say);
  }
  const node = await startLocalRabbit({ dir: join(folder, 'rabbitmq'), print: say });
  keep(() => node.stop());
  return node;
}
