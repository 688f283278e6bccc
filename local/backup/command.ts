// What `npm run backup` and `npm run restore` have in common: which data they are about, who else uses them, and how a
// failure is told.
import { existsSync } from 'node:fs';
import { join, resolve } from 'node:path';
import { findCluster, findLocalPostgres } from '../postgres.ts';
import type { Cluster } from '../postgres-cluster.ts';
import { startServer } from '../stack-database.ts';
import { acquireLock } from '../start-lock.ts';
import { BackupError } from './backup-folder.ts';

export interface StackData {
  /** `.data`, or DATA_DIR. */
  dataDir: string;
  wantedDataDir: string;
  cluster: Cluster;
}

const print = (line: string): void => void process.stderr.write(`${line}\n`);
const silent = (): void => undefined;

/** @throws BackupError with DATABASE_URL, because those data are not of `npm start` */
export function findStackData(env: NodeJS.ProcessEnv): StackData {
  if (env.DATABASE_URL) {
    throw new BackupError(
      'DATABASE_URL is set, and this command is for the PostgreSQL of npm start. ' +
        'Use pg_dump and pg_restore for that server: docs/backup.md.',
    );
  }
  const dataDir = resolve(import.meta.dirname, '../..', env.DATA_DIR || '.data');
  const wantedDataDir = join(dataDir, 'postgres');
  return { dataDir, wantedDataDir, cluster: findCluster(wantedDataDir, print) };
}

interface UsedServer {
  url: string;
  /** Stops the server if it was started here. */
  stop(): Promise<void>;
}

/** The server of a running `npm start`; else it is started. @throws BackupError when there are no data */
export async function useServer({ dataDir, wantedDataDir, cluster }: StackData): Promise<UsedServer> {
  if (!existsSync(join(cluster.dataDir, 'PG_VERSION'))) {
    throw new BackupError(`There are no data in ${cluster.dataDir}. Run npm start first, or set DATA_DIR.`);
  }
  const url = findLocalPostgres(wantedDataDir, silent);
  if (url !== undefined) return { url, stop: async () => undefined };
  lockData(dataDir);
  const server = await startServer({ dataDir, print });
  return { url: server.url, stop: () => server.stop() };
}

/** Until this process ends. @throws BackupError when another one uses the data */
export function lockData(dataDir: string): void {
  const lock = acquireLock(join(dataDir, 'lock'));
  if ('heldBy' in lock) {
    throw new BackupError(`Another PromoPulse (process ${lock.heldBy}) uses ${dataDir}. Stop it first.`);
  }
  process.once('exit', lock.release);
}

/** @throws BackupError when a server runs on the data, also one that a killed `npm start` left behind */
export function checkNoServer({ wantedDataDir, cluster }: StackData): void {
  if (findLocalPostgres(wantedDataDir, silent) === undefined) return;
  throw new BackupError(
    `A server runs on ${cluster.dataDir}. Stop npm start first, and start it again after the restore.`,
  );
}

/** By system code or SQLSTATE. */
const reasons: Record<string, string> = {
  ENOSPC: 'The disk is full.',
  EDQUOT: 'The quota of the disk is used up.',
  EACCES: 'This user may not read or write there.',
  EPERM: 'This user may not read or write there.',
  EROFS: 'The disk is read-only.',
  EIO: 'The disk has an error.',
  '57P01': 'The database was stopped while it was copied.',
  ECONNREFUSED: 'The database was stopped.',
  ECONNRESET: 'The database was stopped while it was copied.',
};

/** @returns the reason in one sentence or two, with the path of a file that could not be written */
export function explainFailure(error: unknown): string {
  if (error instanceof BackupError) return error.message;
  const { code = '', message, path, dest } = error as NodeJS.ErrnoException & { dest?: string };
  const reason = reasons[code] ?? (/^Connection terminated/.test(message) ? reasons['57P01'] : undefined);
  if (reason === undefined) return message;
  const place = dest ?? path;
  return place === undefined ? reason : `${reason} (${place})`;
}
