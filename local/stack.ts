// All of PromoPulse in one process: PostgreSQL, a role and a schema per service, the broker, the services, and the
// gateway. They are stopped in the reverse order of their start. So requests in flight finish first, and the outboxes are
// published before their consumer and the database stop.
import { join } from 'node:path';
import { ConfigError } from '@promopulse/shared/config';
import { hasQueue } from '@promopulse/shared/contracts/queues';
import { internalPortOffset, internalServiceUrls, services, serviceUrls } from '@promopulse/shared/contracts/services';
import { readDatabaseUrl } from '@promopulse/shared/database/connection-settings';
import { provision } from '@promopulse/shared/database/provision';
import { createMemoryHub } from '@promopulse/shared/messaging/in-memory/broker';
import { type ServiceDefinition, startService } from '@promopulse/shared/service';
import type { DestinationStream } from '@promopulse/shared/telemetry/logger';
import { startGateway } from '../services/gateway/src/app.ts';
import { developmentKeys } from './development-keys.ts';
import { freePort } from './ports.ts';
import { startLocalPostgres } from './postgres.ts';
import { loadServices } from './services.ts';

interface StackOptions {
  env: NodeJS.ProcessEnv;
  dataDir: string;
  /** Address and port of the gateway. Port 0: the system chooses one. */
  host: string;
  port: number;
  logDestination: DestinationStream;
  print: (line: string) => void;
}

interface Stack {
  port: number;
  close(): Promise<void>;
}

type Stop = () => Promise<unknown>;

/** Another process may take a port between the check that it is free and the start of the service. */
const maxAttempts = 5;

/** @throws the first error of a start, after everything that had started is stopped */
export async function startStack(options: StackOptions): Promise<Stack> {
  const { host, port, logDestination, print } = options;
  const stops: Stop[] = [];
  try {
    checkServerUrls(options.env);
    await loadServices(); // a source that cannot be loaded ends the start here, before a server is started
    const database = await prepareDatabase(options, stops);
    const env = await startServices(options, database, stops);
    const gateway = await startGateway({ ...env, HOST: host, PORT: String(port) }, { logDestination });
    stops.push(() => gateway.close());
    return { port: gateway.port, close: () => stopInReverse(stops, print) };
  } catch (error) {
    await stopInReverse(stops, print);
    throw error;
  }
}

async function stopInReverse(stops: Stop[], print: (line: string) => void): Promise<void> {
  for (const stop of stops.splice(0).reverse()) {
    await stop().catch((error: unknown) => print(`A component did not stop cleanly: ${(error as Error).message}`));
  }
}

/** @returns the environment of the services, with their URLs */
async function startServices(
  options: StackOptions,
  { urls, keysFile }: PreparedDatabase,
  stops: Stop[],
): Promise<NodeJS.ProcessEnv> {
  const { dataDir, port, logDestination, print } = options;
  const definitions = await loadServices();
  const connectBroker = prepareBroker(options);
  const keys = developmentKeys(keysFile, options.env, externalKeysFile(dataDir));
  for (let attempt = 1; ; attempt += 1) {
    const ports = await choosePorts(definitions, port);
    const urlOf = (name: string) => `http://127.0.0.1:${ports[name]?.port}`;
    const internalUrlOf = (name: string) => `http://127.0.0.1:${ports[name]?.internalPort}`;
    const env = { ...options.env, ...keys, ...serviceUrls(urlOf), ...internalServiceUrls(internalUrlOf) };
    const starting = definitions.map(async (definition) => {
      const { name } = definition;
      const own = { ...env, ...addressOf(ports[name]), ...databaseOf(urls[name]) };
      const service = await startService(definition, own, { logDestination, ...(connectBroker && { connectBroker }) });
      print(`${name.padEnd(13)} ${urlOf(name)}`);
      return { name, close: () => service.close() };
    });
    const serviceStops: Stop[] = [];
    try {
      await keepStarted(starting, serviceStops);
      stops.push(...serviceStops);
      return env;
    } catch (error) {
      await stopInReverse(serviceStops, print);
      if (attempt === maxAttempts || (error as NodeJS.ErrnoException).code !== 'EADDRINUSE') throw error;
      print('Another process took the port of a service: starting the services again on other ports');
    }
  }
}

/**
 * Waits for all services and registers how to stop those that started. Services that consume events stop last: they
 * apply what the others publish while these stop.
 * @throws the first error of a start
 */
async function keepStarted(starting: Promise<{ name: string; close: Stop }>[], stops: Stop[]): Promise<void> {
  const outcomes = await Promise.allSettled(starting);
  const running = outcomes.flatMap((outcome) => (outcome.status === 'fulfilled' ? [outcome.value] : []));
  const consumers = running.filter(({ name }) => hasQueue(name));
  const others = running.filter(({ name }) => !hasQueue(name));
  for (const group of [consumers, others]) stops.push(() => Promise.all(group.map(({ close }) => close())));
  for (const outcome of outcomes) if (outcome.status === 'rejected') throw outcome.reason;
}

/** Before anything is started. The services themselves get other URLs, and would name none of these. */
function checkServerUrls({ DATABASE_URL, AMQP_URL }: NodeJS.ProcessEnv): void {
  if (DATABASE_URL && !/^postgres(ql)?:\/\/./.test(DATABASE_URL)) {
    throw new ConfigError(
      'DATABASE_URL must be a postgres:// URL. Correct it, or unset it to use the PostgreSQL of npm.',
    );
  }
  if (AMQP_URL && !(/^amqps?:\/\/./.test(AMQP_URL) && URL.canParse(AMQP_URL))) {
    throw new ConfigError('AMQP_URL must be an amqp:// URL. Correct it, or unset it to use no broker.');
  }
}

interface PreparedDatabase {
  /** One per service. */
  urls: Record<string, string>;
  /** Where the keys of its personal data are. */
  keysFile: string;
}

/** For the data in a database of DATABASE_URL. Former releases kept the keys of every database there. */
function externalKeysFile(dataDir: string): string {
  return join(dataDir, 'keys.json');
}

async function prepareDatabase({ env, dataDir, print }: StackOptions, stops: Stop[]): Promise<PreparedDatabase> {
  if (env.DATABASE_URL) {
    const { database: named = 'postgres', host, port } = readDatabaseUrl(env.DATABASE_URL);
    const database = named === 'postgres' ? 'promopulse' : named;
    const { urls, ownRoles } = await provision(env.DATABASE_URL, { database, services, isShared: true });
    print(`PostgreSQL    ${host}:${port}, database ${database} (DATABASE_URL)`);
    if (!ownRoles)
      print('              This user cannot create roles: all services use it, each with a schema of its own');
    return { urls, keysFile: externalKeysFile(dataDir) };
  }
  const server = await startLocalPostgres({ dataDir: join(dataDir, 'postgres'), port: 5432, durable: true, print });
  stops.push(() => server.stop());
  const { urls } = await provision(server.url, { database: 'promopulse', services });
  print(`PostgreSQL    127.0.0.1:${server.port}, data in ${server.dataDir}`);
  return { urls, keysFile: join(server.dataDir, 'promopulse.keys.json') };
}

/** @returns how the services connect to the in-memory broker, or undefined when they connect to AMQP_URL */
function prepareBroker({ env, dataDir, print }: StackOptions) {
  if (env.AMQP_URL) {
    print(`broker        ${new URL(env.AMQP_URL).host} (AMQP_URL)`);
    return undefined;
  }
  print('broker        in this process');
  return createMemoryHub({ deadLetterDir: join(dataDir, 'dead-letters') }).connect;
}

interface Ports {
  port: number;
  internalPort: number;
}

async function choosePorts(
  definitions: readonly ServiceDefinition[],
  gatewayPort: number,
): Promise<Record<string, Ports>> {
  const taken = [gatewayPort];
  const next = async (preferred: number): Promise<number> => {
    const port = await freePort(preferred, taken);
    taken.push(port);
    return port;
  };
  const ports: Record<string, Ports> = {};
  for (const { name, defaultPort } of definitions) {
    ports[name] = { port: await next(defaultPort), internalPort: await next(defaultPort + internalPortOffset) };
  }
  return ports;
}

/** The database of the stack only. The environment may name a direct way to another one, where migrations would run. */
function databaseOf(url: string | undefined): NodeJS.ProcessEnv {
  return { DATABASE_URL: url, DIRECT_DATABASE_URL: undefined, DIRECT_DATABASE_URL_FILE: undefined };
}

/** Both listeners on this machine's own address, whatever the environment of `npm start` says. */
function addressOf(ports: Ports | undefined): Record<string, string> {
  const host = '127.0.0.1';
  return { HOST: host, PORT: `${ports?.port}`, INTERNAL_HOST: host, INTERNAL_PORT: `${ports?.internalPort}` };
}
