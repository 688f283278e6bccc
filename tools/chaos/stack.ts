// The mesh as it is deployed, on this machine: two processes of each service and of the gateway, one PostgreSQL, one
// RabbitMQ, and a link of ours on every way between them, so that any part and any way can be taken away.
import { join } from 'node:path';
import { hasQueue } from '@promopulse/shared/contracts/queues';
import { type ServiceName, services, serviceUrls } from '@promopulse/shared/contracts/services';
import { provision, withClient } from '@promopulse/shared/database/provision';
import { developmentKeys } from '../../local/development-keys.ts';
import { freePort } from '../../local/ports.ts';
import type { LocalRabbit } from '../../local/rabbitmq.ts';
import { createReplica, type Exit, type Replica } from '../../local/replica.ts';
import { type Keep, type Postgres, startPostgres, startRabbit } from '../../local/servers.ts';
import { type Link, openLink } from './network.ts';

const parts = [...services, 'gateway'] as const;

export interface Stack {
  /** Where a client enters: both gateways in turn. */
  url: string;
  prefix: string;
  /** The administrator's URL of the mesh's database, past every link. */
  databaseUrl(): string;
  postgres: Postgres;
  rabbit: LocalRabbit;
  links: Link[];
  replicas: Replica[];
  /** Exits that nobody asked for. */
  exits: Exit[];
  logFiles: string[];
  /** Of everything that any part of the mesh has written: logs, and the servers' data. */
  paths(): string[];
  /** Two more replicas of a service on a database, queues and ports of their own; not started. */
  strangers(service: ServiceName, database: string): Promise<{ replicas: Replica[]; databaseUrl: string }>;
}

const database = 'promopulse';
const prefix = 'chaos.';

/** To each service besides its own. */
type Environment = Record<string, string>;

interface StackOptions {
  settings?: Environment;
  /** Each replica with Node's inspector on a port of its own. */
  inspected?: boolean;
}

/** @returns once everything is ready; all replicas of all services start at the same moment, on an empty database */
export async function startStack(
  folder: string,
  say: (line: string) => void,
  keep: Keep,
  { settings = {}, inspected = false }: StackOptions = {},
): Promise<Stack> {
  const [postgres, rabbit] = await Promise.all([startPostgres(folder, say, keep), startRabbit(folder, say, keep)]);
  say(`PostgreSQL on port ${postgres.port()}, RabbitMQ ${rabbit.version}`);
  const provisioned = await provision(postgres.url(), { database, services });
  await speakFreely(provisioned.adminUrl);
  const keys = developmentKeys(join(folder, 'keys.json'), {}) as Record<string, string>;
  const exits: Exit[] = [];
  const links: Link[] = [];
  const taken: number[] = [];
  const logFiles: string[] = [];

  const nextPort = async (): Promise<number> => {
    const port = await freePort(undefined, taken);
    taken.push(port);
    return port;
  };
  const link = async (name: string, targets: () => readonly number[]): Promise<Link> => {
    const opened = await openLink(name, targets);
    keep(() => opened.close());
    links.push(opened);
    return opened;
  };
  const ports = new Map<string, number[]>();
  const inspectors = new Map<number, number>();
  for (const part of parts) ports.set(part, [await nextPort(), await nextPort()]);
  if (inspected) for (const port of [...ports.values()].flat()) inspectors.set(port, await nextPort());
  const portsOf = (part: string): readonly number[] => ports.get(part) ?? [];

  const front = await link('client→gateway', () => portsOf('gateway'));
  const ways = new Map<string, Link>();
  const way = async (from: string, to: string, targets: () => readonly number[]): Promise<void> => {
    ways.set(`${from}→${to}`, await link(`${from}→${to}`, targets));
  };
  for (const service of services) {
    await way('gateway', service, () => portsOf(service));
    for (const name of [`${service}-1`, `${service}-2`]) {
      await way(name, 'postgres', () => [postgres.port()]);
      await way(name, 'rabbit', () => [Number(new URL(rabbit.url).port)]);
    }
  }
  for (const consumer of services.filter(hasQueue)) {
    for (const owner of services) if (owner !== consumer) await way(consumer, owner, () => portsOf(owner));
  }

  const through = (from: string, to: string, url = 'http://127.0.0.1'): string => {
    const changed = new URL(url);
    changed.port = String(ways.get(`${from}→${to}`)?.port);
    return changed.href;
  };
  const environmentOf = (part: string, number: number): Environment => {
    if (part === 'gateway') {
      return { HOST: '127.0.0.1', ...serviceUrls((service) => through('gateway', service)) };
    }
    return {
      HOST: '127.0.0.1',
      DATABASE_URL: through(`${part}-${number}`, 'postgres', provisioned.urls[part]),
      AMQP_URL: through(`${part}-${number}`, 'rabbit', rabbit.url),
      AMQP_PREFIX: prefix,
      ...settings,
      ...(part === 'users' && keys),
      ...(hasQueue(part) && serviceUrls((owner) => through(part, owner))),
    };
  };
  const replica = (part: string, number: number, port: number, env = environmentOf(part, number)): Replica => {
    const logFile = join(folder, `${part}-${number}.log`);
    logFiles.push(logFile);
    return createReplica({ part, number, port, inspector: inspectors.get(port), env, logFile, exits });
  };

  const replicas = parts.flatMap((part) => portsOf(part).map((port, index) => replica(part, index + 1, port)));
  keep(async () => {
    // The gateway stops first; consumers stop last, because they apply what the others publish while they stop.
    for (const group of [['gateway'], services.filter((name) => !hasQueue(name)), services.filter(hasQueue)]) {
      await Promise.all(replicas.filter(({ part }) => group.some((name) => name === part)).map((each) => each.stop()));
    }
  });
  await Promise.all(replicas.map((each) => each.start()));

  return {
    url: `http://127.0.0.1:${front.port}`,
    prefix,
    databaseUrl: () => Object.assign(new URL(postgres.url()), { pathname: `/${database}` }).href,
    postgres,
    rabbit,
    links,
    replicas,
    exits,
    logFiles,
    paths: () => [folder, ...postgres.paths().filter((path) => !path.startsWith(folder))],
    strangers: async (service, name) => {
      const place = await provision(postgres.url(), { database: name, services: [service] });
      const DATABASE_URL = through(`${service}-1`, 'postgres', place.urls[service]);
      const env = { ...environmentOf(service, 1), AMQP_PREFIX: `${name}.`, DATABASE_URL };
      const pair = [replica(service, 3, await nextPort(), env), replica(service, 4, await nextPort(), env)];
      keep(() => Promise.all(pair.map((each) => each.stop())));
      return { replicas: pair, databaseUrl: place.adminUrl };
    },
  };
}

/** PostgreSQL's own defaults, as an operator has them: a statement that fails is logged whole, with what it was about. */
async function speakFreely(adminUrl: string): Promise<void> {
  await withClient(adminUrl, async (client) => {
    await client.query(`alter database ${database} set log_min_error_statement = 'error'`);
    await client.query(`alter database ${database} set log_error_verbosity = 'default'`);
  });
}
