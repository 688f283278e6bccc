// The stack as it is deployed, on this machine: two processes of each service and of the gateway, one PostgreSQL, one
// RabbitMQ, and a network proxy on every connection between them.
import { join } from 'node:path';
import { hasQueue } from '@promopulse/shared/contracts/queues';
import {
  internalServiceUrls,
  type ServiceName,
  schemaOwners,
  services,
  serviceUrls,
} from '@promopulse/shared/contracts/services';
import { provision, withClient } from '@promopulse/shared/database/provision';
import { developmentKeys } from '../../local/development-keys.ts';
import type { Lifecycle } from '../../local/lifecycle.ts';
import { portAllocator } from '../../local/ports.ts';
import type { LocalRabbit } from '../../local/rabbitmq.ts';
import { type Exit, Replica } from '../../local/replica.ts';
import { type Postgres, startPostgres, startRabbit } from '../../local/servers.ts';
import { createLoadKey, gatewayCallerEnvironment } from './callers.ts';
import type { NetworkProxy } from './network-proxy.ts';
import { receiveSpans } from './received-spans.ts';
import { openStackProxies, type StackProxies } from './stack-proxies.ts';

type Part = ServiceName | 'gateway';
const parts: readonly Part[] = [...services, 'gateway'];

export interface Stack {
  /** Where a client sends its requests: both gateways in turn. */
  url: string;
  /** Each gateway alone, past the proxy of the clients. */
  gatewayUrls: readonly string[];
  /** An API key for everything that the load does. Undefined: AUTH=off. */
  credential: string | undefined;
  /** Where all spans are. Undefined: none are recorded. */
  spanFile: string | undefined;
  /** Prefix of the exchange and queue names. */
  prefix: string;
  /** The administrator's URL of the services' database; it bypasses every proxy. */
  databaseUrl(): string;
  postgres: Postgres;
  rabbit: LocalRabbit;
  proxies: NetworkProxy[];
  replicas: Replica[];
  /** Unexpected exits. */
  exits: Exit[];
  logFiles: string[];
  /** Everything that any part has written: logs, and the servers' data. */
  paths(): string[];
  /** Two more replicas of a service, not started, with their own database, queues and ports. */
  spareReplicas(service: ServiceName, database: string): Promise<{ replicas: Replica[]; databaseUrl: string }>;
}

const database = 'promopulse';
const prefix = 'chaos.';
const localhost = 'http://127.0.0.1';

type Environment = Record<string, string>;

interface StackOptions {
  /** More environment variables for each service. */
  settings?: Environment;
  /** Every process sends its spans to a file of the run's folder. */
  traced?: boolean;
  /** Every replica has metrics on a port of its own. */
  measured?: boolean;
  /** Every replica has Node's inspector on a port of its own. */
  inspected?: boolean;
  /** Whether callers need a key: AUTH=required. */
  asksCallers?: boolean;
}

/** All replicas start at the same moment, on an empty database. Resolves when all of them are ready. */
export async function startStack(
  { folder, say, keep }: Pick<Lifecycle, 'folder' | 'say' | 'keep'>,
  { settings = {}, traced = false, measured = false, inspected = false, asksCallers = false }: StackOptions = {},
): Promise<Stack> {
  const [postgres, rabbit] = await Promise.all([startPostgres(folder, say, keep), startRabbit(folder, say, keep)]);
  say(`PostgreSQL on port ${postgres.port()}, RabbitMQ ${rabbit.version}`);
  const { urls, adminUrl } = await provision(postgres.url(), { database, services: schemaOwners });
  await logFailedStatements(adminUrl);

  const nextPort = portAllocator();
  const [portsOf, internalPortsOf] = [await choosePorts(nextPort), await choosePorts(nextPort)];
  const rabbitPort = Number(new URL(rabbit.url).port);
  const proxies = await openStackProxies(
    { portsOf, internalPortsOf, postgres: () => postgres.port(), rabbit: () => rabbitPort },
    keep,
  );
  const keys = developmentKeys(join(folder, 'keys.json'), {}) as Environment;
  const credential = asksCallers ? await createLoadKey(urls.gateway ?? '') : undefined;
  const callers = asksCallers ? { AUTH: 'required', ACTOR_KEYS: keys.ACTOR_KEYS ?? '' } : {};
  const spans = traced ? await receiveSpans(folder, keep) : undefined;
  const telemetry = spans?.environment ?? {};
  const wiring = {
    ...{ folder, keep, proxies, rabbit, postgres, keys, settings, telemetry, measured, callers, nextPort },
    ...{ exits: [], logFiles: [] },
  };
  const replicas = await createReplicas(wiring, { portsOf, internalPortsOf, urls, inspected });
  keep(() => stopInOrder(replicas));
  await Promise.all(replicas.map((replica) => replica.start()));
  return {
    url: new URL(proxies.through('client→gateway', localhost)).origin,
    gatewayUrls: portsOf('gateway').map((port) => `${localhost}:${port}`),
    credential,
    spanFile: spans?.file,
    ...{ prefix, postgres, rabbit, replicas, proxies: proxies.all, exits: wiring.exits, logFiles: wiring.logFiles },
    databaseUrl: () => Object.assign(new URL(postgres.url()), { pathname: `/${database}` }).href,
    paths: () => [folder, ...postgres.paths().filter((path) => !path.startsWith(folder))],
    spareReplicas: (service, name) => createSpareReplicas(wiring, service, name),
  };
}

/** What replicas are made of. */
interface Wiring extends Pick<Stack, 'postgres' | 'rabbit' | 'exits' | 'logFiles'>, Pick<Lifecycle, 'folder' | 'keep'> {
  proxies: StackProxies;
  /** The encryption keys of users. */
  keys: Environment;
  settings: Environment;
  /** Of every process. */
  telemetry: Environment;
  measured: boolean;
  /** Empty with AUTH=off. */
  callers: Environment;
  nextPort(): Promise<number>;
}

interface ReplicaOptions {
  portsOf(part: Part): readonly number[];
  internalPortsOf(part: Part): readonly number[];
  /** Database URL of each service. */
  urls: Environment;
  inspected: boolean;
}

async function createReplicas(wiring: Wiring, options: ReplicaOptions): Promise<Replica[]> {
  const { portsOf, internalPortsOf, urls, inspected } = options;
  const replicas: Replica[] = [];
  for (const part of parts) {
    for (const [index, port] of portsOf(part).entries()) {
      const number = index + 1;
      const inspector = inspected ? await wiring.nextPort() : undefined;
      const isGateway = part === 'gateway';
      const env = isGateway ? gatewayEnvironment(wiring, number, urls) : serviceEnvironment(wiring, part, number, urls);
      const internalPort = isGateway ? undefined : internalPortsOf(part)[index];
      const metricsPort = wiring.measured ? await wiring.nextPort() : undefined;
      replicas.push(createReplica(wiring, { part, number, port, internalPort, metricsPort, inspector, env }));
    }
  }
  return replicas;
}

async function createSpareReplicas(
  wiring: Wiring,
  service: ServiceName,
  name: string,
): ReturnType<Stack['spareReplicas']> {
  const { urls, adminUrl } = await provision(wiring.postgres.url(), { database: name, services: [service] });
  const env = { ...serviceEnvironment(wiring, service, 1, urls), AMQP_PREFIX: `${name}.` };
  const replicas: Replica[] = [];
  for (const number of [3, 4]) {
    const [port, internalPort] = [await wiring.nextPort(), await wiring.nextPort()];
    replicas.push(createReplica(wiring, { part: service, number, port, internalPort, env }));
  }
  wiring.keep(() => Promise.all(replicas.map((replica) => replica.stop())));
  return { replicas, databaseUrl: adminUrl };
}

type NewReplica = Omit<ConstructorParameters<typeof Replica>[0], 'logFile' | 'exits'>;

function createReplica({ folder, telemetry, exits, logFiles }: Wiring, options: NewReplica): Replica {
  const logFile = join(folder, `${options.part}-${options.number}.log`);
  logFiles.push(logFile);
  return new Replica({ ...options, env: { ...options.env, ...telemetry }, logFile, exits });
}

function gatewayEnvironment({ proxies, callers }: Wiring, number: number, databaseUrls: Environment): Environment {
  return {
    HOST: '127.0.0.1',
    DATABASE_URL: proxies.through(`gateway-${number}→postgres`, databaseUrls.gateway ?? ''),
    ...callers,
    ...(callers.AUTH && gatewayCallerEnvironment),
    ...serviceUrls((service) => proxies.through(`gateway→${service}`, localhost)),
    ...internalServiceUrls((service) => proxies.through(`gateway→${service}:internal`, localhost)),
  };
}

function serviceEnvironment(
  { proxies, rabbit, keys, settings, callers }: Wiring,
  service: ServiceName,
  number: number,
  databaseUrls: Environment,
): Environment {
  return {
    HOST: '127.0.0.1',
    DATABASE_URL: proxies.through(`${service}-${number}→postgres`, databaseUrls[service] ?? ''),
    AMQP_URL: proxies.through(`${service}-${number}→rabbit`, rabbit.url),
    AMQP_PREFIX: prefix,
    ...settings,
    ...callers,
    ...(service === 'users' && keys),
    ...(hasQueue(service) && ownerUrls(proxies, service)),
  };
}

/** A consumer asks the owners of what it projects. */
function ownerUrls(proxies: StackProxies, consumer: ServiceName): Environment {
  return internalServiceUrls((owner) =>
    owner === consumer ? localhost : proxies.through(`${consumer}→${owner}`, localhost),
  );
}

/** The gateway stops first. Consumers stop last, because the other services publish events while they stop. */
export async function stopInOrder(replicas: readonly Replica[]): Promise<void> {
  const publishers = services.filter((service) => !hasQueue(service));
  for (const group of [['gateway'], publishers, services.filter(hasQueue)]) {
    const members = replicas.filter(({ part }) => group.some((name) => name === part));
    await Promise.all(members.map((replica) => replica.stop()));
  }
}

/** Two free ports for each part. @returns the ports of a part */
async function choosePorts(nextPort: () => Promise<number>): Promise<(part: string) => readonly number[]> {
  const ports = new Map<string, number[]>();
  for (const part of parts) ports.set(part, [await nextPort(), await nextPort()]);
  return (part) => ports.get(part) ?? [];
}

/** PostgreSQL's defaults, as an operator has them: a failed statement is logged completely, with its error's details. */
async function logFailedStatements(adminUrl: string): Promise<void> {
  await withClient(adminUrl, async (client) => {
    await client.query(`alter database ${database} set log_min_error_statement = 'error'`);
    await client.query(`alter database ${database} set log_error_verbosity = 'default'`);
  });
}
