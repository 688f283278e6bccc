// What is measured: the services as separate processes with the settings of production, a real PostgreSQL with fsync
// on, a real RabbitMQ, and databases of any number and size beside each other.
import { spawnSync } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { services, serviceUrls } from '@promopulse/shared/contracts/services';
import { migrate } from '@promopulse/shared/database/migrations';
import { type Provisioned, provision, withClient } from '@promopulse/shared/database/provision';
import { databaseOptionsOf } from '@promopulse/shared/service';
import { createLogger } from '@promopulse/shared/telemetry/logger';
import { developmentKeys } from '../../local/development-keys.ts';
import { freePort } from '../../local/ports.ts';
import type { LocalRabbit } from '../../local/rabbitmq.ts';
import { type Exit, Replica } from '../../local/replica.ts';
import { type Keep, type Postgres, startPostgres, startRabbit } from '../../local/servers.ts';
import { promotions } from '../../services/promotions/src/service.ts';
import { subscriptions } from '../../services/subscriptions/src/service.ts';
import { fill, type Sizes } from './data.ts';

export interface Servers {
  folder: string;
  keep: Keep;
  say(line: string): void;
  postgres: Postgres;
  rabbit: LocalRabbit;
  /** Process ids. */
  postgresPid: number;
  rabbitPid: number;
  postgresLog: string;
}

/** Sized for a machine of its own, as PostgreSQL's manual asks; how safely it writes stays at its defaults. */
const settings = {
  shared_buffers: '512MB',
  max_wal_size: '8GB',
  checkpoint_timeout: '30min',
  track_commit_timestamp: 'on', // row 5 is read from it
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

/** As in the images: a start without an environment compiles everything and ends. */
function fillCompileCache(folder: string): void {
  for (const part of allParts) {
    const env = { PATH: process.env.PATH, NODE_COMPILE_CACHE: compileCache(folder) };
    spawnSync(process.execPath, [join(root, `services/${part}/src/main.ts`)], { env });
  }
}

export interface Place extends Provisioned {
  name: string;
  sizes: Sizes;
  /** Runs SQL as the administrator. */
  sql(text: string): Promise<unknown[]>;
}

/** A database with the schemas of all services, and data. Known promotions stay fresh also where no service runs. */
export async function createPlace(servers: Servers, name: string, sizes: Sizes): Promise<Place> {
  const provisioned = await provision(servers.postgres.url(), {
    database: name,
    services,
  });
  for (const definition of [promotions, subscriptions]) {
    await migrate(
      databaseOptionsOf(definition, provisioned.urls[definition.name] ?? ''),
      createLogger({ service: name, level: 'warn' }),
    );
  }
  const sql = (text: string): Promise<unknown[]> =>
    withClient(provisioned.adminUrl, async (client) => (await client.query(text)).rows ?? []);
  await fill(sql, sizes);
  return { ...provisioned, name, sizes, sql };
}

export interface Started {
  url: string;
  pid: number;
  stop(): Promise<unknown>;
}

export const allParts = [...services, 'gateway'] as const;

/** All but the port. */
export function environmentOf(
  servers: Servers,
  place: Place,
  part: string,
  url: (part: string) => string,
): Record<string, string> {
  return {
    HOST: '127.0.0.1',
    ENVIRONMENT: 'production',
    NODE_COMPILE_CACHE: compileCache(servers.folder),
    ...serviceUrls(url),
    ...(part === 'users' && (developmentKeys(join(servers.folder, 'keys.json'), {}) as Record<string, string>)),
    ...(part !== 'gateway' && {
      DATABASE_URL: place.urls[part] ?? '',
      AMQP_URL: servers.rabbit.url,
      AMQP_PREFIX: `${place.name}.`,
    }),
    ...(part === 'subscriptions' && { RECONCILE_INTERVAL_MS: '86400000' }), // databases are filled past the services
  };
}

interface StartOptions {
  env?: Record<string, string>;
  /** Arguments of Node in place of the part's own main.ts. */
  script?: (part: string) => readonly string[];
}

/** Starts parts of the mesh on a place; the gateway and subscriptions are told where the others are. */
export async function startParts(
  servers: Servers,
  place: Place,
  parts: readonly string[],
  { env = {}, script }: StartOptions = {},
): Promise<Record<string, Started>> {
  const ports: Record<string, number> = {};
  for (const part of allParts) ports[part] = await freePort(undefined, Object.values(ports));
  const url = (part: string): string => `http://127.0.0.1:${ports[part]}`;
  const exits: Exit[] = [];
  const started: Record<string, Started> = {};
  for (const part of parts) {
    const replica = new Replica({
      part,
      number: 1,
      port: ports[part] ?? 0,
      env: { ...environmentOf(servers, place, part, url), ...env },
      logFile: join(servers.folder, `${place.name}-${part}.log`),
      exits,
    });
    servers.keep(() => replica.stop());
    await replica.start(script?.(part));
    started[part] = { url: url(part), pid: replica.pid() ?? 0, stop: () => replica.stop() };
  }
  return started;
}
