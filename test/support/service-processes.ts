// The services and the gateway as separate processes, on the PostgreSQL and RabbitMQ of the test run. A test sees their
// exits, their memory and their output.
import { type ChildProcess, execFileSync, spawn } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import { internalServiceUrls, services, serviceUrls } from '@promopulse/shared/contracts/services';
import { withClient } from '@promopulse/shared/database/provision';
import { client } from '@promopulse/testing/client';
import { eventually } from '@promopulse/testing/eventually';
import { amqpUrl, createTestDatabase, deleteTopology, uniquePrefix } from '@promopulse/testing/servers';
import { developmentKeys } from '../../local/development-keys.ts';
import { freePort } from '../../local/ports.ts';

const root = resolve(import.meta.dirname, '../..');
/** The name of a service's internal listener, in the table of ports. */
const internal = (service: string): string => `${service}:internal`;
const names = [...services, 'gateway'] as const;

export interface ServiceProcesses {
  port: number;
  url: string;
  portOf(name: string): number;
  /** Names of the processes that have ended. */
  ended(): string[];
  /** Resident memory in MiB, by name. */
  memory(): Record<string, number>;
  /** Their output so far, of both streams, without access logs. */
  output(): string;
  /** Runs SQL as the administrator. */
  sql(text: string): Promise<Record<string, unknown>[]>;
  close(): Promise<void>;
}

/** Starts each process with the defaults of production; `env` overrides them for all. */
export async function startServiceProcesses(env: Record<string, string> = {}): Promise<ServiceProcesses> {
  const database = await createTestDatabase();
  const prefix = uniquePrefix();
  const folder = mkdtempSync(join(tmpdir(), 'promopulse-processes-'));
  const ports: Record<string, number> = {};
  for (const name of [...names, ...services.map(internal)]) {
    ports[name] = await freePort(undefined, Object.values(ports));
  }
  const urlOf = (name: string) => `http://127.0.0.1:${ports[name]}`;
  const common = {
    PATH: String(process.env.PATH),
    NODE_ENV: 'production',
    ENVIRONMENT: 'test', // production refuses the account guest of a local RabbitMQ
    HOST: '127.0.0.1',
    ...serviceUrls(urlOf),
    ...internalServiceUrls((service) => urlOf(internal(service))),
    AMQP_URL: amqpUrl(),
    AMQP_PREFIX: prefix,
    ...(developmentKeys(join(folder, 'keys.json'), {}) as Record<string, string>),
    ...env,
  };
  let output = '';
  const children = names.map((name): [string, ChildProcess] => {
    const isGateway = name === 'gateway';
    const own = isGateway ? {} : { DATABASE_URL: database.urlFor(name), INTERNAL_PORT: String(ports[internal(name)]) };
    const child = spawn(process.execPath, [`services/${name}/src/main.ts`], {
      cwd: root,
      env: { ...common, ...own, PORT: String(ports[name]) },
      stdio: ['ignore', 'pipe', 'pipe'],
    });
    for (const stream of [child.stdout, child.stderr]) {
      stream?.setEncoding('utf8').on('data', (text: string) => {
        // The access log of a flood would fill the memory of this process.
        output += text.replaceAll(/^.*"msg":"request"}\n/gm, '');
      });
    }
    return [name, child];
  });
  const ended = () => children.filter(([, child]) => child.exitCode !== null || child.signalCode !== null);
  const close = async (): Promise<void> => {
    await Promise.all(
      children.map(([, child]) => {
        const closed = new Promise((settle) => child.once('close', settle));
        return child.kill('SIGTERM') ? closed : undefined;
      }),
    );
    await database.drop();
    await deleteTopology(prefix);
    rmSync(folder, { recursive: true, force: true });
  };
  try {
    await eventually(
      async () => {
        const { status } = await client(urlOf('gateway')).get('/health');
        if (status !== 200) throw new Error(`the services are not healthy yet: ${output}`);
      },
      { timeoutMs: 60_000, everyMs: 200 },
    );
  } catch (error) {
    await close();
    throw error;
  }
  return {
    port: Number(ports.gateway),
    url: urlOf('gateway'),
    portOf: (name) => Number(ports[name]),
    ended: () => ended().map(([name]) => name),
    memory: () => Object.fromEntries(children.map(([name, child]) => [name, residentMiB(Number(child.pid))])),
    output: () => output,
    sql: (text) => withClient(database.adminUrl, async (admin) => (await admin.query(text)).rows),
    close,
  };
}

function residentMiB(pid: number): number {
  const kib =
    process.platform === 'linux'
      ? /VmRSS:\s+(\d+)/.exec(readFileSync(`/proc/${pid}/status`, 'utf8'))?.[1]
      : execFileSync('ps', ['-o', 'rss=', '-p', String(pid)], { encoding: 'utf8' });
  return Math.round(Number(kib) / 1024);
}
