// The data folder of the embedded PostgreSQL (in PostgreSQL's words a cluster): how it is created and checked, and the
// programs that work on it.
import { spawnSync } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import { existsSync, readdirSync, readFileSync, renameSync, rmdirSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { type Account, asAccount, makePrivateFolder, writePrivateFile } from './accounts.ts';

export interface Cluster {
  /** The folder of the programs. */
  bin: string;
  /** Runs the programs and owns the data. */
  account: Account;
  dataDir: string;
  logFile: string;
}

const passwordFile = 'promopulse.password';
/** Beside the data, for personal data: without them the data cannot be read. */
export const keysFileName = 'promopulse.keys.json';

export function postgresVersion(cluster: Cluster): string {
  return runProgram(cluster, 'postgres', ['--version']).match(/\d+(\.\d+)*/)?.[0] ?? '';
}

/**
 * Whether the folder holds a cluster; false when it is empty or missing.
 * @throws Error when it holds something else, data of another major version, or belongs to another user
 */
export function hasCluster({ dataDir }: Cluster, version: string): boolean {
  const found = filesIn(dataDir);
  if (found.length === 0) return false;
  if (!found.includes('PG_VERSION')) {
    throw new Error(`${dataDir} is neither empty nor a PostgreSQL data folder. Set DATA_DIR to another folder`);
  }
  const written = readFileSync(join(dataDir, 'PG_VERSION'), 'utf8').trim();
  if (written === version.split('.')[0]) return true;
  throw new Error(
    `The data in ${dataDir} was written by PostgreSQL ${written}, this is ${version}. ` +
      'Dump it with the old version and restore it here, or move the folder away to start empty',
  );
}

function filesIn(dataDir: string): string[] {
  try {
    return readdirSync(dataDir);
  } catch (cause) {
    if ((cause as NodeJS.ErrnoException).code === 'ENOENT') return [];
    throw new Error(`${dataDir} belongs to another user. Start as that user or as root, or set DATA_DIR`, { cause });
  }
}

/** Creates the cluster in a temporary folder and renames it, so that an interrupted start leaves no incomplete cluster. */
export function createCluster(cluster: Cluster, durable: boolean): void {
  const { account, dataDir } = cluster;
  if (existsSync(dataDir)) rmdirSync(dataDir);
  const temporaryDir = `${dataDir}.new`;
  const password = join(temporaryDir, passwordFile);
  makePrivateFolder(temporaryDir, account);
  writePrivateFile(password, randomBytes(24).toString('base64url'), account);
  const locale = ['--encoding=UTF8', '--locale=C', '--locale-provider=builtin', '--builtin-locale=C.UTF-8'];
  const sync = durable ? [] : ['--no-sync'];
  const access = ['--username=postgres', `--pwfile=${password}`, '--auth=scram-sha-256'];
  runProgram(cluster, 'initdb', ['-D', join(temporaryDir, 'data'), ...access, ...locale, ...sync, '--no-instructions']);
  renameSync(password, join(temporaryDir, 'data', passwordFile));
  renameSync(join(temporaryDir, 'data'), dataDir);
  rmSync(temporaryDir, { recursive: true });
}

/** The superuser's URL, with the password from the data folder. */
export function superuserUrl(dataDir: string, port: number): string {
  const password = readFileSync(join(dataDir, passwordFile), 'utf8').trim();
  return `postgresql://postgres:${password}@127.0.0.1:${port}/postgres`;
}

/** Lines of postmaster.pid: the first is the process number, the fourth the port, the eighth the server's state. */
export function readPidFile(dataDir: string): string[] {
  try {
    return readFileSync(join(dataDir, 'postmaster.pid'), 'utf8').split('\n');
  } catch {
    return [];
  }
}

export function removePidFile(dataDir: string): void {
  rmSync(join(dataDir, 'postmaster.pid'), { force: true });
}

/** @throws Error with the last five lines that the program printed */
export function runProgram({ bin, account }: Cluster, name: string, args: string[]): string {
  const { status, stdout, stderr, error } = spawnSync(join(bin, name), args, {
    ...asAccount(account),
    cwd: bin,
    env: programEnvironment(),
    encoding: 'utf8',
  });
  if (status === 0) return stdout;
  const reason = error?.message ?? `${stdout}${stderr}`.trim().split('\n').slice(-5).join('\n');
  throw new Error(`PostgreSQL's ${name} from npm failed: ${reason}\nSet DATABASE_URL to use another server.`);
}

/**
 * The environment without PGDATA, PGPORT and the like, which change what the programs do. LC_ALL=C makes them print in
 * English, because their output is searched.
 */
export function programEnvironment(): NodeJS.ProcessEnv {
  const kept = Object.entries(process.env).filter(([name]) => !name.startsWith('PG') && !name.startsWith('LC_'));
  return { ...Object.fromEntries(kept), LC_ALL: 'C' };
}
