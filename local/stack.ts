// The whole mesh in one process: PostgreSQL, a role and schema per service, the broker, the three services, and the
// gateway in front. What is started is stopped in the reverse order, so that requests in flight finish and the
// outboxes are published before their reader and the database go.
import { join } from 'node:path';
import { hasQueue } from '@promopulse/shared/contracts/queues';
import { services, serviceUrls } from '@promopulse/shared/contracts/services';
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
  host: string;
  port: number;
  logDestination: DestinationStream;
  print: (line: string) => void;
}

interface Stack {
  port: number;
  close(): Promise<void>;
}

export async function startStack(options: StackOptions): Promise<Stack> {
  const { dataDir, host, port, logDestination, print } = options;
  const stops: (() => Promise<unknown>)[] = [];
  const close = async (): Promise<void> => {
    for (const stop of stops.splice(0).reverse()) {
      await stop().catch((error: unknown) => print(`A part did not stop cleanly: ${(error as Error).message}`));
    }
  };
  try {
    const definitions = await loadServices();
    const urls = await prepareDatabase(options, stops);
    const connectBroker = prepareBroker(options);
    const ports = await choosePorts(definitions, port);
    const at = (name: string) => `http://127.0.0.1:${ports[name]}`;
    const keys = developmentKeys(join(dataDir, 'keys.json'), options.env);
    const env = { ...options.env, ...keys, ...serviceUrls(at) };

    const starting = definitions.map(async (definition) => {
      const { name } = definition;
      const own = { ...env, HOST: '127.0.0.1', PORT: String(ports[name]), DATABASE_URL: urls[name] };
      const service = await startService(definition, own, { logDestination, ...(connectBroker && { connectBroker }) });
      print(`${name.padEnd(13)} ${at(name)}`);
      return { name, service };
    });
    const outcomes = await Promise.allSettled(starting);
    const running = outcomes.flatMap((outcome) => (outcome.status === 'fulfilled' ? [outcome.value] : []));
    // Consumers stop last: they apply what the others publish while they stop.
    const last = running.filter(({ name }) => hasQueue(name));
    const first = running.filter(({ name }) => !hasQueue(name));
    for (const group of [last, first]) stops.push(() => Promise.all(group.map(({ service }) => service.close())));
    for (const outcome of outcomes) if (outcome.status === 'rejected') throw outcome.reason;

    const gateway = await startGateway({ ...env, HOST: host, PORT: String(port) }, { logDestination });
    stops.push(() => gateway.close());
    return { port: gateway.port, close };
  } catch (error) {
    await close();
    throw error;
  }
}

/** @returns a URL per service */
async function prepareDatabase(
  { env, dataDir, print }: StackOptions,
  stops: (() => Promise<unknown>)[],
): Promise<Record<string, string>> {
  if (env.DATABASE_URL) {
    const named = decodeURIComponent(new URL(env.DATABASE_URL).pathname.slice(1));
    const database = named === '' || named === 'postgres' ? 'promopulse' : named;
    const { urls, ownRoles } = await provision(env.DATABASE_URL, { database, services });
    print(`PostgreSQL    ${new URL(env.DATABASE_URL).host}, database ${database} (DATABASE_URL)`);
    if (!ownRoles)
      print('              That user may not create roles: the services share it, kept apart by schema only');
    return urls;
  }
  const server = await startLocalPostgres({ dataDir: join(dataDir, 'postgres'), port: 5432, durable: true, print });
  stops.push(() => server.stop());
  const { urls } = await provision(server.url, { database: 'promopulse', services });
  print(`PostgreSQL    127.0.0.1:${server.port}, data in ${server.dataDir}`);
  return urls;
}

/** @returns what connects a service to the others; nothing when it is to use AMQP_URL itself */
function prepareBroker({ env, dataDir, print }: StackOptions) {
  if (env.AMQP_URL) {
    print(`broker        ${new URL(env.AMQP_URL).host} (AMQP_URL)`);
    return undefined;
  }
  print('broker        within this process');
  return createMemoryHub({ deadLetterDir: join(dataDir, 'dead-letters') }).connect;
}

async function choosePorts(
  definitions: readonly ServiceDefinition[],
  gatewayPort: number,
): Promise<Record<string, number>> {
  const ports: Record<string, number> = {};
  for (const { name, defaultPort } of definitions) {
    ports[name] = await freePort(defaultPort, [gatewayPort, ...Object.values(ports)]);
  }
  return ports;
}
