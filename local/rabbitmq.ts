// A private node of the rabbitmq-server installed on this machine, for tests. Its ports, name, data, plugins, cookie and
// port mapper (epmd) are its own, so no other node is affected. It listens on 127.0.0.1 only, and `stop` leaves no process
// behind.
import { type ChildProcess, execFile } from 'node:child_process';
import { chmodSync, closeSync, openSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
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
} from './accounts.ts';
import { freePort } from './ports.ts';
import { type NodePorts, nodeEnvironment, type TlsFiles, writeConfiguration } from './rabbitmq-configuration.ts';
import { findRabbit, type RabbitPrograms } from './rabbitmq-programs.ts';

interface Options {
  /** Folder of this node alone; its content is deleted at the start. */
  dir: string;
  print: (line: string) => void;
  /** Also listens for TLS, and demands a client certificate. */
  tls?: TlsFiles;
}

export interface LocalRabbit {
  url: string;
  /** With `tls` only. */
  tlsUrl?: string;
  version: string;
  /** A program that runs rabbitmqctl on this node. */
  ctlPath: string;
  ctl(args: string[]): Promise<string>;
  /** Sends SIGKILL to the Erlang VM and its child processes. */
  kill(): Promise<void>;
  /** Starts the node again after `kill`, on the data that is still there. */
  start(): Promise<void>;
  stop(): Promise<void>;
}

const startTimeoutMs = 90_000;
const endTimeoutMs = 15_000;
/** Another process may take a port between the check that it is free and the start of the server. */
const maxAttempts = 3;

/** @throws Error when no rabbitmq-server is installed, or with the end of its log when it does not start */
export async function startLocalRabbit(options: Options): Promise<LocalRabbit> {
  for (let attempt = 1; ; attempt += 1) {
    try {
      return await startOnFreePorts(options);
    } catch (error) {
      if (attempt === maxAttempts || !/already_used|eaddrinuse/i.test(String(error))) throw error;
      options.print('RabbitMQ: another process took one of its ports; starting again on others');
    }
  }
}

async function startOnFreePorts({ dir, print, tls }: Options): Promise<LocalRabbit> {
  const programs = findRabbit();
  if (programs === undefined) throw new Error('No rabbitmq-server is installed on this machine');
  const account = unprivilegedAccount(['rabbitmq', 'nobody']);
  makePrivateFolder(dir, account);
  if (!canEnter(account, dir))
    throw new Error(`The account ${account.name} cannot enter ${dir}, RabbitMQ's data folder`);
  const ports = await choosePorts();
  writeConfiguration({ dir, account, ports, tls });
  print('RabbitMQ: starting a private node of the installed server');
  const node = new RabbitNode({ programs, dir, account, ports });
  try {
    await node.start();
    return tls ? Object.assign(node, { tlsUrl: `amqps://guest:guest@localhost:${ports.tlsPort}` }) : node;
  } catch (error) {
    await node.stop();
    throw error;
  }
}

async function choosePorts(): Promise<NodePorts> {
  const amqpPort = await freePort();
  const distPort = await freePort(undefined, [amqpPort]);
  const ctlPort = await freePort(undefined, [amqpPort, distPort]);
  const epmdPort = await freePort(undefined, [amqpPort, distPort, ctlPort]);
  const tlsPort = await freePort(undefined, [amqpPort, distPort, ctlPort, epmdPort]);
  return { amqpPort, tlsPort, distPort, ctlPort, epmdPort };
}

interface NodeOptions {
  programs: RabbitPrograms;
  dir: string;
  account: Account;
  ports: NodePorts;
}

/**
 * Created: no process runs. Started by `start`: epmd and the server run, and the server answers at `url`. Killed by
 * `kill`: only epmd runs, and `start` works again. Stopped by `stop`: no process runs, and none is started any more.
 */
class RabbitNode implements LocalRabbit {
  readonly url: string;
  readonly ctlPath: string;
  version = '';
  readonly #serverPath: string;
  readonly #epmdPort: string;
  readonly #logFile: string;
  readonly #spawnOptions: { uid?: number; gid?: number; cwd: string; env: NodeJS.ProcessEnv };
  #epmd: ChildProcess | undefined;
  #server: ChildProcess | undefined;
  readonly #killAtExit = (): void => this.#signal('SIGKILL');

  constructor({ programs, dir, account, ports }: NodeOptions) {
    const { bin } = programs;
    const variables = { ...programs.env, ...nodeEnvironment(dir, ports) };
    this.url = `amqp://guest:guest@127.0.0.1:${ports.amqpPort}`;
    this.ctlPath = writeCtl(dir, account, join(bin, 'rabbitmqctl'), variables);
    this.#serverPath = join(bin, 'rabbitmq-server');
    this.#epmdPort = String(ports.epmdPort);
    this.#logFile = `${dir}.log`;
    this.#spawnOptions = { ...asAccount(account), cwd: dir, env: { ...process.env, ...variables } };
  }

  async start(): Promise<void> {
    if (!this.#epmd) {
      process.once('exit', this.#killAtExit);
      // As a child process of ours: Erlang would start an epmd that runs on after the node has ended.
      this.#epmd = await this.#spawn('epmd', ['-port', this.#epmdPort, '-address', '127.0.0.1']);
    }
    this.#server = await this.#spawn(this.#serverPath, []);
    this.version = await waitForAnswer(this.url, this.#server, this.#logFile);
  }

  async kill(): Promise<void> {
    const server = this.#server;
    if (!server) return;
    this.#server = undefined;
    signalGroup(server, 'SIGKILL');
    await waitForExit(server, endTimeoutMs);
  }

  async stop(): Promise<void> {
    this.#signal('SIGTERM');
    await Promise.all(this.#processes().map((child) => waitForExit(child, endTimeoutMs)));
    await sleep(50); // child processes of the Erlang VM end shortly after it
    this.#signal('SIGKILL');
    process.off('exit', this.#killAtExit);
  }

  async ctl(args: string[]): Promise<string> {
    return (await promisify(execFile)(this.ctlPath, args)).stdout;
  }

  async #spawn(command: string, args: string[]): Promise<ChildProcess> {
    const log = openSync(this.#logFile, 'a');
    const options = { ...this.#spawnOptions, stdio: ['ignore', log, log] as ('ignore' | number)[] };
    return await spawnServer(command, args, options).finally(() => closeSync(log));
  }

  #processes(): ChildProcess[] {
    return [this.#server, this.#epmd].filter((child) => child !== undefined);
  }

  #signal(signal: NodeJS.Signals): void {
    for (const child of this.#processes()) signalGroup(child, signal);
  }
}

/** @returns the server's version */
async function waitForAnswer(url: string, server: ChildProcess, logFile: string): Promise<string> {
  const deadline = Date.now() + startTimeoutMs;
  for (;;) {
    try {
      return await brokerVersion(url);
    } catch {
      const hasEnded = await waitForExit(server, 200);
      if (!hasEnded && Date.now() < deadline) continue;
      const lastLines = readFileSync(logFile, 'utf8').trim().split('\n').slice(-15).join('\n');
      throw new Error(
        `RabbitMQ ${hasEnded ? 'ended while it started' : 'did not start in time'}; the end of ${logFile}:\n${lastLines}`,
      );
    }
  }
}

/** Writes a program that runs rabbitmqctl with the environment and the account of the node. */
function writeCtl(dir: string, { uid, gid }: Account, command: string, variables: Record<string, string>): string {
  const path = `${dir}.ctl`;
  const exports = Object.entries(variables).map(([name, value]) => `export ${name}='${value}'`);
  const become = uid === undefined ? '' : `setpriv --reuid=${uid} --regid=${gid} --clear-groups `;
  writeFileSync(path, `#!/bin/sh\n${exports.join('\n')}\ncd '${dir}' && exec ${become}${command} "$@"\n`);
  chmodSync(path, 0o755);
  return path;
}

function signalGroup({ pid }: ChildProcess, signal: NodeJS.Signals): void {
  try {
    if (pid !== undefined) process.kill(-pid, signal);
  } catch {} // no process of the group is left
}
