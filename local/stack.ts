// All of PromoPulse in one process: PostgreSQL, a role and a schema per service, the broker, the services, and the
// gateway. They are stopped in the reverse order of their start. So requests in flight finish first, and the outboxes are
// published before their consumer and the database stop.
import { join } from 'node:path';
import { hasQueue } from '@promopulse/shared/contracts/queues';
import { internalPortOffset, internalServiceUrls, serviceUrls } from '@promopulse/shared/contracts/services';
import { asksCallers } from '@promopulse/shared/http/caller/authentication';
import { scopes } from '@promopulse/shared/http/caller/scopes';
import { createMemoryHub } from '@promopulse/shared/messaging/in-memory/broker';
import { type ServiceDefinition, startService } from '@promopulse/shared/service';
import { createLogger, type DestinationStream } from '@promopulse/shared/telemetry/logger';
import { startGateway } from '../services/gateway/src/app.ts';
import { loadGatewayConfig } from '../services/gateway/src/config.ts';
import { checkEnvironment } from './check-environment.ts';
import { developmentKeys } from './development-keys.ts';
import { type KeptPorts, openKeptPorts } from './kept-ports.ts';
import { freePort } from './ports.ts';
import { loadServices } from './services.ts';
import { externalKeysFile, type StackDatabase, startStackDatabase } from './stack-database.ts';

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
  /** The secret of the API key that was made, because callers are asked for one and there was none. */
  firstKey: string | undefined;
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
    // A source that cannot be loaded, or a wrong variable, ends the start here, before a server is started.
    checkEnvironment(await loadServices(), options.env);
    const database = await startStackDatabase(options);
    stops.push(() => database.stop());
    const env = await startServices(options, database, stops);
    const address = { HOST: host, PORT: String(port), ...metricsAddressOf(options.env, 0) };
    const own = { ...env, ...databaseOf(database.urls.gateway), ...address };
    const gateway = await startGateway(own, { logDestination });
    stops.push(() => gateway.close());
    const firstKey = await makeFirstKey(own, logDestination);
    return { port: gateway.port, firstKey, close: () => stopInReverse(stops, print) };
  } catch (error) {
    await stopInReverse(stops, print);
    throw error;
  }
}

/** @returns undefined when there is a key that may manage keys, or when callers are asked for none */
async function makeFirstKey(env: NodeJS.ProcessEnv, destination: DestinationStream): Promise<string | undefined> {
  if (!asksCallers(loadGatewayConfig(env))) return undefined;
  const { makeKey } = await import('../services/gateway/src/callers/first-key.ts');
  const log = createLogger({ service: 'gateway', level: 'warn', destination });
  const key = { name: 'first', scopes, expires_at: null };
  return (await makeKey(env, log, key, { onlyFirst: true }))?.secret;
}

async function stopInReverse(stops: Stop[], print: (line: string) => void): Promise<void> {
  for (const stop of stops.splice(0).reverse()) {
    await stop().catch((error: unknown) => print(`A component did not stop cleanly: ${(error as Error).message}`));
  }
}

/** @returns the environment of the services, with their URLs */
async function startServices(
  options: StackOptions,
  { urls, keysFile }: StackDatabase,
  stops: Stop[],
): Promise<NodeJS.ProcessEnv> {
  const { dataDir, port, logDestination, print } = options;
  const definitions = await loadServices();
  const connectBroker = prepareBroker(options);
  const keys = developmentKeys(keysFile, options.env, externalKeysFile(dataDir));
  const keptPorts = openKeptPorts(dataDir);
  for (let attempt = 1; ; attempt += 1) {
    const ports = await choosePorts(definitions, port, keptPorts);
    const urlOf = (name: string) => `http://127.0.0.1:${ports[name]?.port}`;
    const internalUrlOf = (name: string) => `http://127.0.0.1:${ports[name]?.internalPort}`;
    const env = { ...options.env, ...keys, ...serviceUrls(urlOf), ...internalServiceUrls(internalUrlOf) };
    const starting = definitions.map(async (definition, index) => {
      const { name } = definition;
      const address = { ...addressOf(ports[name]), ...metricsAddressOf(options.env, index + 1) };
      const own = { ...env, ...address, ...databaseOf(urls[name]) };
      const service = await startService(definition, own, { logDestination, ...(connectBroker && { connectBroker }) });
      print(`${name.padEnd(13)} ${urlOf(name)}`);
      return { name, close: () => service.close() };
    });
    const serviceStops: Stop[] = [];
    try {
      await keepStarted(starting, serviceStops);
      stops.push(...serviceStops);
      keepPorts(definitions, ports, keptPorts);
      return env;
    } catch (error) {
      await stopInReverse(serviceStops, print);
      const { code, variable } = error as NodeJS.ErrnoException & { variable?: string };
      if (attempt === maxAttempts || code !== 'EADDRINUSE' || variable === 'METRICS_PORT') throw error;
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
  keptPorts: KeptPorts,
): Promise<Record<string, Ports>> {
  const taken = [gatewayPort];
  const next = async (listener: string, usual: number): Promise<number> => {
    const port = await freePort(keptPorts.preferred(listener, usual), taken);
    taken.push(port);
    return port;
  };
  const ports: Record<string, Ports> = {};
  for (const { name, defaultPort } of definitions) {
    const port = await next(name, defaultPort);
    ports[name] = { port, internalPort: await next(internalOf(name), defaultPort + internalPortOffset) };
  }
  return ports;
}

function keepPorts(definitions: readonly ServiceDefinition[], ports: Record<string, Ports>, kept: KeptPorts): void {
  for (const { name, defaultPort } of definitions) {
    const { port = defaultPort, internalPort = defaultPort + internalPortOffset } = ports[name] ?? {};
    kept.keep(name, port, defaultPort);
    kept.keep(internalOf(name), internalPort, defaultPort + internalPortOffset);
  }
}

/** The name of a service's internal listener in the file of ports. */
function internalOf(service: string): string {
  return `${service} internal`;
}

/** The database of the stack only. The environment may name a direct way to another one, where migrations would run. */
function databaseOf(url: string | undefined): NodeJS.ProcessEnv {
  return { DATABASE_URL: url, DIRECT_DATABASE_URL: undefined, DIRECT_DATABASE_URL_FILE: undefined };
}

/**
 * With METRICS_PORT, the gateway (position 0) has its metrics on that port and each service on one of the next, on this
 * machine only.
 */
function metricsAddressOf({ METRICS_PORT = '' }: NodeJS.ProcessEnv, position: number): Record<string, string> {
  const first = Number(METRICS_PORT);
  if (METRICS_PORT.trim() === '') return {};
  return { METRICS_HOST: '127.0.0.1', METRICS_PORT: String(first === 0 ? 0 : first + position) };
}

/** Both listeners on this machine's own address, whatever the environment of `npm start` says. */
function addressOf(ports: Ports | undefined): Record<string, string> {
  const host = '127.0.0.1';
  return { HOST: host, PORT: `${ports?.port}`, INTERNAL_HOST: host, INTERNAL_PORT: `${ports?.internalPort}` };
}
