// What is measured: the services as separate processes with production settings, a real PostgreSQL with fsync on, a
// real RabbitMQ, and any number of databases of any size.
import { spawnSync } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { hasQueue } from '@promopulse/shared/contracts/queues';
import { internalServiceUrls, schemaOwners, services, serviceUrls } from '@promopulse/shared/contracts/services';
import { migrate } from '@promopulse/shared/database/migrations';
import { type Provisioned, provision, withClient } from '@promopulse/shared/database/provision';
import { databaseOptionsOf } from '@promopulse/shared/service/schema-definition';
import { createLogger } from '@promopulse/shared/telemetry/logger';
import { developmentKeys } from '../../local/development-keys.ts';
import { portAllocator } from '../../local/ports.ts';
import type { LocalRabbit } from '../../local/rabbitmq.ts';
import { type Exit, Replica } from '../../local/replica.ts';
import { type Keep, type Postgres, startPostgres, startRabbit } from '../../local/servers.ts';
import { engagement } from '../../services/engagement/src/service.ts';
import { promotions } from '../../services/promotions/src/service.ts';
import { subscriptions } from '../../services/subscriptions/src/service.ts';
import { users } from '../../services/users/src/service.ts';
import { fillTables, keepFresh, type Sizes, type Sql } from './data.ts';

export interface Servers {
  /** For logs, scripts and data; removed after the run. */
  folder: string;
  keep: Keep;
  say(line: string): void;
  postgres: Postgres;
  rabbit: LocalRabbit;
  postgresPid: number;
  rabbitPid: number;
  /** Path of the server's log. */
  postgresLog: string;
}

/** Sizes for a dedicated machine, as PostgreSQL's manual advises. The settings of durability keep their defaults. */
const settings = {
  shared_buffers: '512MB',
  max_wal_size: '8GB',
  checkpoint_timeout: '30min',
  track_commit_timestamp: 'on', // the propagation is read from it
};

export async function startServers(folder: string, say: (line: string) => void, keep: Keep): Promise<Servers> {
  const [postgres, rabbit] = await Promise.all([startPostgres(folder, say, keep), startRabbit(folder, say, keep)]);
  await withClient(postgres.url(), async (client) => {
    for (const [name, value] of Object.entries(settings)) await client.query(`alter system set ${name} = '${value}'`);
  });
  await postgres.stop('fast');
  await postgres.start();
  fillCompileCache(folder);
  const dataDir = await withClient(postgres.url(), async (client) => {
    const { rows } = await client.query<{ data_directory: string }>('show data_directory');
    return rows[0]?.data_directory ?? '';
  });
  return {
    folder,
    keep,
    say,
    postgres,
    rabbit,
    postgresPid: Number(readFileSync(join(dataDir, 'postmaster.pid'), 'utf8').split('\n')[0]),
    postgresLog: `${dataDir}.log`,
    rabbitPid: Number(readFileSync(join(folder, 'rabbitmq', 'pid'), 'utf8')),
  };
}

const root = join(import.meta.dirname, '../..');
const compileCache = (folder: string): string => join(folder, 'compile-cache');

/** As in the images: a service that starts without an environment compiles all its code, reports the error and ends. */
function fillCompileCache(folder: string): void {
  for (const part of allParts) {
    const env = { PATH: process.env.PATH, NODE_COMPILE_CACHE: compileCache(folder) };
    spawnSync(process.execPath, [join(root, `services/${part}/src/main.ts`)], { env });
  }
}

/** A database with the schemas and generated data of all services. */
export interface BenchDatabase extends Provisioned {
  name: string;
  sizes: Sizes;
  /** Runs SQL as the administrator. */
  sql: Sql;
}

/** Creates a database, migrates it and fills it, except the users' own table: see `fillUsers`. */
export async function createBenchDatabase(servers: Servers, name: string, sizes: Sizes): Promise<BenchDatabase> {
  const provisioned = await provision(servers.postgres.url(), { database: name, services: schemaOwners });
  for (const definition of [users, promotions, subscriptions, engagement]) {
    await migrate(
      databaseOptionsOf(definition, provisioned.urls[definition.name] ?? ''),
      createLogger({ service: name, level: 'warn' }),
    );
  }
  const sql: Sql = (text, values) =>
    withClient(provisioned.adminUrl, async (client) => (await client.query(text, values && [...values])).rows ?? []);
  await fillTables(sql, sizes);
  return { ...provisioned, name, sizes, sql };
}

export interface Started {
  url: string;
  pid: number;
  stop(): Promise<unknown>;
}

/** The services and the gateway. */
export const allParts = [...services, 'gateway'] as const;

/** The keys of personal data, the same for all processes of a run. */
export function personalDataKeys({ folder }: Servers): { PII_ENCRYPTION_KEYS: string; PII_INDEX_KEY: string } {
  const { PII_ENCRYPTION_KEYS = '', PII_INDEX_KEY = '' } = developmentKeys(join(folder, 'keys.json'), {});
  return { PII_ENCRYPTION_KEYS, PII_INDEX_KEY };
}

/** Of one part: where it listens. The gateway has no internal listener. */
interface PartPorts {
  port: number;
  internalPort?: number | undefined;
}

/** @returns the environment of a service or the gateway, except its ports */
export function environmentOf(
  servers: Servers,
  database: BenchDatabase,
  part: string,
  portsOf: (part: string) => PartPorts | undefined,
): Record<string, string> {
  const url = (port: number | undefined): string => `http://127.0.0.1:${port}`;
  return {
    HOST: '127.0.0.1',
    ENVIRONMENT: 'bench',
    NODE_COMPILE_CACHE: compileCache(servers.folder),
    ...serviceUrls((service) => url(portsOf(service)?.port)),
    ...internalServiceUrls((service) => url(portsOf(service)?.internalPort)),
    ...(part === 'users' && personalDataKeys(servers)),
    DATABASE_URL: database.urls[part] ?? '',
    ...(part !== 'gateway' && {
      AMQP_URL: servers.rabbit.url,
      AMQP_PREFIX: `${database.name}.`,
    }),
    ...(hasQueue(part) && { RECONCILE_INTERVAL_MS: '86400000' }), // 1 day: no run lasts that long
  };
}

interface StartOptions {
  env?: Record<string, string>;
  /** @returns the arguments of Node; by default the service's own main.ts */
  script?: (part: string) => readonly string[];
}

/** Starts services and the gateway on a database, each as a process of its own, and waits until they are ready. */
export async function startParts(
  servers: Servers,
  database: BenchDatabase,
  parts: readonly string[],
  { env = {}, script }: StartOptions = {},
): Promise<Record<string, Started>> {
  const ports = await choosePorts();
  const exits: Exit[] = [];
  const started: Record<string, Started> = {};
  for (const part of parts) {
    const replica = new Replica({
      part,
      number: 1,
      port: 0,
      ...ports[part],
      env: { ...environmentOf(servers, database, part, (each) => ports[each]), ...env },
      logFile: join(servers.folder, `${database.name}-${part}.log`),
      exits,
    });
    servers.keep(() => replica.stop());
    await replica.start(script?.(part));
    const consumer = services.find((service) => service === part && hasQueue(service));
    const endFreshness = consumer ? await keepFresh(database.sql, consumer) : async () => undefined;
    const stop = async (): Promise<void> => {
      await endFreshness();
      await replica.stop();
    };
    servers.keep(endFreshness);
    started[part] = { url: `http://127.0.0.1:${replica.port}`, pid: replica.pid() ?? 0, stop };
  }
  return started;
}

async function choosePorts(): Promise<Record<string, PartPorts>> {
  const next = portAllocator();
  const ports: Record<string, PartPorts> = {};
  for (const part of allParts) {
    ports[part] = { port: await next(), internalPort: part === 'gateway' ? undefined : await next() };
  }
  return ports;
}
