// A private RabbitMQ node of the rabbitmq-server that is installed on this machine: for tests. Its ports, name, data,
// plugins, cookie and port mapper (epmd) are its own, so it neither meets nor disturbs any other node, listens on
// 127.0.0.1 only, and `stop` leaves no process behind.
import { type ChildProcess, execFile } from 'node:child_process';
import { chmodSync, existsSync, openSync, readFileSync, writeFileSync } from 'node:fs';
import { delimiter, join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { promisify } from 'node:util';
import { brokerVersion } from '@promopulse/testing/servers';
import {
  type Account,
  asAccount,
  canEnter,
  makePrivateFolder,
  spawnServer,
  unprivilegedAccount,
  waitForExit,
  writePrivateFile,
} from './accounts.ts';
import { freePort } from './ports.ts';

interface Options {
  /** Made anew, for this node alone. */
  dir: string;
  print: (line: string) => void;
}

export interface LocalRabbit {
  url: string;
  version: string;
  /** A program that runs rabbitmqctl on this node. */
  ctlPath: string;
  ctl(args: string[]): Promise<string>;
  /** SIGKILL to the Erlang VM and its helpers, in the middle of whatever it does. */
  kill(): Promise<void>;
  /** After a kill: the same node, on the data that it left. */
  start(): Promise<void>;
  stop(): Promise<void>;
}

const startTimeoutMs = 90_000;

/** The scripts themselves come before the wrappers in PATH, which refuse ordinary users on Debian. */
export function findRabbit(): string | undefined {
  const folders = ['/usr/lib/rabbitmq/bin', '/opt/homebrew/sbin', '/usr/local/sbin'];
  return [...folders, ...(process.env.PATH ?? '').split(delimiter)].find((folder) =>
    existsSync(join(folder, 'rabbitmq-server')),
  );
}

/** Between the moment when a port is found free and the server's own start another may take it. */
const maxAttempts = 3;

export async function startLocalRabbit(options: Options): Promise<LocalRabbit> {
  for (let attempt = 1; ; attempt += 1) {
    try {
      return await startOnFreePorts(options);
    } catch (error) {
      if (attempt === maxAttempts || !/already_used|eaddrinuse/i.test(String(error))) throw error;
      options.print('RabbitMQ: somebody took one of its ports; once more');
    }
  }
}

async function startOnFreePorts({ dir, print }: Options): Promise<LocalRabbit> {
  const bin = findRabbit();
  if (bin === undefined) throw new Error('No rabbitmq-server is installed here');
  const account = unprivilegedAccount(['rabbitmq', 'nobody']);
  makePrivateFolder(dir, account);
  if (!canEnter(account, dir)) throw new Error(`${account.name} may not enter ${dir}, where RabbitMQ's data should be`);
  const port = await freePort();
  const distPort = await freePort(undefined, [port]);
  const ctlPort = await freePort(undefined, [port, distPort]);
  const epmdPort = await freePort(undefined, [port, distPort, ctlPort]);
  const variables = nodeEnvironment(dir, { distPort, ctlPort, epmdPort });
  writePrivateFile(join(dir, 'rabbitmq.conf'), `listeners.tcp.1 = 127.0.0.1:${port}\n`, account);
  writePrivateFile(join(dir, 'advanced.config'), '[].\n', account);
  writePrivateFile(join(dir, 'enabled_plugins'), '[].\n', account);
  writePrivateFile(join(dir, 'rabbitmq-env.conf'), '', account);

  print('RabbitMQ: starting a private node of the installed server');
  const log = openSync(`${dir}.log`, 'a');
  const env = { ...process.env, ...variables };
  const options = { ...asAccount(account), cwd: dir, env, stdio: ['ignore', log, log] as ('ignore' | number)[] };
  // In the foreground and ours: else Erlang starts one that stays for ever.
  const epmd = await spawnServer('epmd', ['-port', String(epmdPort), '-address', '127.0.0.1'], options);
  const processes = [epmd];
  const startServer = async (): Promise<ChildProcess> => {
    const started = await spawnServer(join(bin, 'rabbitmq-server'), [], options);
    processes.unshift(started);
    return started;
  };
  const stop = () => stopAll(processes);
  const killAtExit = () => killGroups(processes, 'SIGKILL');
  process.once('exit', killAtExit);
  const url = `amqp://guest:guest@127.0.0.1:${port}`;
  try {
    const version = await waitForAnswer(url, await startServer(), `${dir}.log`);
    const ctlPath = writeCtl(dir, account, join(bin, 'rabbitmqctl'), variables);
    return {
      url,
      version,
      ctlPath,
      ctl: async (args) => (await promisify(execFile)(ctlPath, args)).stdout,
      kill: async () => {
        const [server] = processes.splice(0, 1) as [ChildProcess];
        killGroups([server], 'SIGKILL');
        await waitForExit(server, 15_000);
      },
      start: async () => {
        await waitForAnswer(url, await startServer(), `${dir}.log`);
      },
      stop: () => stop().finally(() => process.off('exit', killAtExit)),
    };
  } catch (error) {
    await stop();
    process.off('exit', killAtExit);
    throw error;
  }
}

function nodeEnvironment(dir: string, ports: { distPort: number; ctlPort: number; epmdPort: number }) {
  return {
    HOME: dir, // the Erlang cookie is there
    RABBITMQ_NODENAME: `promopulse${ports.distPort}@localhost`,
    RABBITMQ_CONF_ENV_FILE: join(dir, 'rabbitmq-env.conf'),
    RABBITMQ_CONFIG_FILE: join(dir, 'rabbitmq.conf'),
    RABBITMQ_ADVANCED_CONFIG_FILE: join(dir, 'advanced.config'),
    RABBITMQ_ENABLED_PLUGINS_FILE: join(dir, 'enabled_plugins'),
    RABBITMQ_MNESIA_BASE: join(dir, 'data'),
    RABBITMQ_LOG_BASE: join(dir, 'log'),
    RABBITMQ_PLUGINS_EXPAND_DIR: join(dir, 'plugins'),
    RABBITMQ_GENERATED_CONFIG_DIR: join(dir, 'generated'),
    RABBITMQ_SCHEMA_DIR: join(dir, 'schema'),
    RABBITMQ_PID_FILE: join(dir, 'pid'),
    RABBITMQ_DIST_PORT: String(ports.distPort),
    RABBITMQ_CTL_DIST_PORT_MIN: String(ports.ctlPort),
    RABBITMQ_CTL_DIST_PORT_MAX: String(ports.ctlPort + 10),
    RABBITMQ_SERVER_ADDITIONAL_ERL_ARGS: '-kernel inet_dist_use_interface {127,0,0,1}',
    ERL_EPMD_PORT: String(ports.epmdPort),
    ERL_EPMD_ADDRESS: '127.0.0.1',
  };
}

async function waitForAnswer(url: string, server: ChildProcess, logFile: string): Promise<string> {
  const deadline = Date.now() + startTimeoutMs;
  for (;;) {
    try {
      return await brokerVersion(url);
    } catch {
      const gone = await waitForExit(server, 200);
      if (!gone && Date.now() < deadline) continue;
      const said = readFileSync(logFile, 'utf8').trim().split('\n').slice(-15).join('\n');
      throw new Error(`RabbitMQ ${gone ? 'ended while it started' : 'did not start in time'}:\n${said}`);
    }
  }
}

/** rabbitmqctl knows its node by the same variables and the same account. */
function writeCtl(dir: string, { uid, gid }: Account, command: string, variables: Record<string, string>): string {
  const path = `${dir}.ctl`;
  const exports = Object.entries(variables).map(([name, value]) => `export ${name}='${value}'`);
  const become = uid === undefined ? '' : `setpriv --reuid=${uid} --regid=${gid} --clear-groups `;
  writeFileSync(path, `#!/bin/sh\n${exports.join('\n')}\ncd '${dir}' && exec ${become}${command} "$@"\n`);
  chmodSync(path, 0o755);
  return path;
}

async function stopAll(processes: ChildProcess[]): Promise<void> {
  killGroups(processes, 'SIGTERM');
  await Promise.all(processes.map((child) => waitForExit(child, 15_000)));
  await sleep(50); // the Erlang VM's helpers end a moment after it
  killGroups(processes, 'SIGKILL');
}

function killGroups(processes: ChildProcess[], signal: NodeJS.Signals): void {
  for (const { pid } of processes) {
    try {
      if (pid !== undefined) process.kill(-pid, signal);
    } catch {} // the group is gone
  }
}
