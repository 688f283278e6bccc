// The life of a service: configuration, migrations, database, broker, its own parts, relay, consumers, server. They are
// stopped in the reverse order, so that requests in flight finish and the events they committed are still published.
import type { DestinationStream } from 'pino';
import type { z } from 'zod';
import type { Environment } from './config.ts';
import type { Database, DatabaseOptions } from './database/database.ts';
import { readUsedIds } from './database/ids/id-sequences.ts';
import type { Entities } from './database/prepared.ts';
import type { Route } from './http/routes.ts';
import type { Broker, BrokerOptions, Consumer } from './messaging/broker.ts';
import { startRelay } from './outbox/relay.ts';
import { createServiceApp, serveApp } from './service/service-app.ts';
import { connectBroker } from './service/service-broker.ts';
import { loadServiceConfig, type ServiceConfig } from './service/service-config.ts';
import { openMigratedDatabase } from './service/service-database.ts';
import { StopList } from './stop-list.ts';
import { startHealthMonitor } from './telemetry/health-monitor.ts';
import { createLogger, type Logger } from './telemetry/logger.ts';

/** What a service's own parts are made from. */
export interface ServiceContext<Config> {
  config: Config;
  database: Database;
  broker: Broker;
  log: Logger;
}

/** What a service adds to the parts that all services have. */
export interface ServiceParts {
  routes: readonly Route[];
  /** Routes for the other services: not in the OpenAPI document, not reachable through the gateway. */
  internalRoutes?: readonly Route[];
  consumers?: readonly Consumer[];
  /** More members of `/health`. */
  health?(): Promise<object>;
  /** Runs before anything is consumed or served. */
  prepare?(): Promise<void>;
  /** Starts background work. @returns the function that stops it */
  start?(): () => Promise<void>;
}

export interface ServiceDefinition<Shape extends z.ZodRawShape = z.ZodRawShape> {
  /** Also the name of its schema in Postgres. */
  name: string;
  title: string;
  version: string;
  defaultPort: number;
  /** Its own environment variables, in addition to those of every service. */
  config: Shape;
  entities: Entities;
  /** Absolute path of the migrations' folder. */
  migrations: string;
  parts(context: ServiceContext<z.infer<z.ZodObject<Shape>>>): ServiceParts;
}

interface StartOptions {
  /** Connects to a broker other than RabbitMQ. AMQP_URL is then not read. */
  connectBroker?: (options: BrokerOptions) => Broker;
  logDestination?: DestinationStream;
  decorate?: Decoration;
}

/** For tests: wraps the database, the broker and the routes of a service, to let them fail for example. */
export interface Decoration {
  database?(database: Database): Database;
  broker?(broker: Broker): Broker;
  route?(route: Route): Route;
}

const undecorated = { database: (it: Database) => it, broker: (it: Broker) => it, route: (it: Route) => it };

export interface RunningService {
  url: string;
  port: number;
  close(): Promise<void>;
}

/** Declares a service with the type of its own configuration. */
export function defineService<Shape extends z.ZodRawShape>(definition: ServiceDefinition<Shape>): ServiceDefinition {
  return definition as unknown as ServiceDefinition;
}

/** The database options that a service's migrations and its start have in common. */
export function databaseOptionsOf(definition: ServiceDefinition, url: string): DatabaseOptions {
  const { name: schema, entities, migrations } = definition;
  return { url, schema, entities, migrations };
}

/** @throws ConfigError, the database's error after 30 s without a database, or the listen error (EADDRINUSE) */
export async function startService(
  definition: ServiceDefinition,
  env: Environment,
  options: StartOptions = {},
): Promise<RunningService> {
  const config = loadServiceConfig(env, {
    defaultPort: definition.defaultPort,
    own: definition.config,
    usesRabbit: !options.connectBroker,
  });
  const log = createServiceLogger(definition, config, options);
  const decorate = { ...undecorated, ...options.decorate };
  const stops = new StopList(log, config.SHUTDOWN_TIMEOUT_MS);
  const databaseOptions: DatabaseOptions = {
    ...databaseOptionsOf(definition, config.DATABASE_URL),
    poolMax: config.DATABASE_POOL_MAX,
    pipelinedConnections: config.DATABASE_PIPELINED_CONNECTIONS,
  };
  try {
    const database = decorate.database(await openMigratedDatabase(databaseOptions, log));
    stops.add(() => database.close());
    const broker = decorate.broker(connectBroker(config, log, options.connectBroker));
    stops.add((remainingMs) => broker.close(remainingMs));

    const parts = definition.parts({ config, database, broker, log });
    await parts.prepare?.();
    const relay = startRelay({ database, broker, log, retentionSeconds: config.OUTBOX_RETENTION_SECONDS });
    stops.add((remainingMs) => relay.stop(Math.min(relayStopMs, remainingMs)));
    for (const consumer of parts.consumers ?? []) broker.consume(consumer);
    if (parts.start) stops.add(parts.start());
    const usedIds = () => readUsedIds(database);
    const monitor = startHealthMonitor({ broker, log, backlog: () => relay.backlog(), usedIds });
    stops.add(async () => monitor.stop());

    const app = createServiceApp({
      title: definition.title,
      version: definition.version,
      log,
      routes: parts.routes.map(decorate.route),
      internalRoutes: parts.internalRoutes?.map(decorate.route) ?? [],
      environment: config.ENVIRONMENT,
      isReady: async () => !stops.begun && (await database.isReachable()),
      health: async () => ({ ...(await monitor.report()), ...(await parts.health?.()) }),
    });
    const server = await serveApp(app, config);
    stops.add((remainingMs) => server.close(Math.max(0, remainingMs - relayStopMs)));
    log.info({ port: server.port, version: definition.version }, 'listening');
    return { url: server.url, port: server.port, close: () => stops.run() };
  } catch (error) {
    await stops.run();
    throw error;
  }
}

/** Time reserved for the relay at the end of a shutdown, in milliseconds. */
const relayStopMs = 2_000;

function createServiceLogger({ name }: ServiceDefinition, config: ServiceConfig, options: StartOptions): Logger {
  const { logDestination: destination } = options;
  return createLogger({ service: name, level: config.LOG_LEVEL, ...(destination && { destination }) });
}
