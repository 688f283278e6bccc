// The life of a service: configuration, migrations, database, broker, its own parts, relay, consumers, server. They are
// stopped in the reverse order, so that requests in flight finish and the events they committed are still published.
import type { Express } from 'express';
import type { DestinationStream } from 'pino';
import { z } from 'zod';
import { type Environment, loadConfig, processConfig } from './config.ts';
import { type Database, type DatabaseOptions, databaseConfig, openDatabase } from './database/database.ts';
import { migrate, retryUntilAvailable } from './database/migrations.ts';
import type { Entities } from './database/prepared.ts';
import { isDatabaseUnavailable, translateDatabaseError } from './database/sqlstate.ts';
import { createApp, errorHandler, notFoundRoute } from './http/app.ts';
import { healthRoutes } from './http/health.ts';
import { describeApi } from './http/openapi.ts';
import { accessLog, assignRequestId } from './http/request-log.ts';
import { addRoutes, type Route } from './http/routes.ts';
import { type RunningServer, serve } from './http/server.ts';
import type { Broker, BrokerOptions, Consumer, RetryPolicy } from './messaging/broker.ts';
import { connectRabbit } from './messaging/rabbitmq/broker.ts';
import { ensureEpoch, ensureEpochOn } from './outbox/epoch.ts';
import { startRelay } from './outbox/relay.ts';
import { StopList } from './stop-list.ts';
import { startHealthMonitor } from './telemetry/health-monitor.ts';
import { createLogger, type Logger } from './telemetry/logger.ts';

const serviceConfig = {
  ...processConfig,
  ...databaseConfig,
  AMQP_URL: z.url({ protocol: /^amqps?$/, error: 'must be an amqp:// URL' }),
  /** Prefix of every exchange and queue name, so that several stacks can share a broker. */
  AMQP_PREFIX: z.string().default(''),
  /** Published events stay in the outbox for this time, so that people can inspect them. */
  OUTBOX_RETENTION_SECONDS: z.coerce.number().int().min(1).max(31_536_000).default(86_400),
};

type ServiceConfig = z.infer<z.ZodObject<typeof serviceConfig>>;

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
  const config = configOf(definition, env, options);
  const log = createServiceLogger(definition, config, options);
  const decorate = { ...undecorated, ...options.decorate };
  const stops = new StopList(log, config.SHUTDOWN_TIMEOUT_MS);
  try {
    const database = decorate.database(await openMigratedDatabase(definition, config, log));
    stops.add(() => database.close());
    const broker = decorate.broker(connectBroker(config, options, log));
    stops.add((remainingMs) => broker.close(remainingMs));

    const parts = definition.parts({ config, database, broker, log });
    await parts.prepare?.();
    const relay = startRelay({ database, broker, log, retentionSeconds: config.OUTBOX_RETENTION_SECONDS });
    stops.add((remainingMs) => relay.stop(Math.min(relayStopMs, remainingMs)));
    for (const consumer of parts.consumers ?? []) broker.consume(consumer);
    if (parts.start) stops.add(parts.start());
    const monitor = startHealthMonitor({ broker, log, backlog: () => relay.backlog() });
    stops.add(async () => monitor.stop());

    const app = createServiceApp(definition, log, {
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

function configOf(definition: ServiceDefinition, env: Environment, options: StartOptions): ServiceConfig {
  const { PORT, AMQP_URL, ...common } = serviceConfig;
  const schema = z.object({
    ...common,
    PORT: PORT.default(definition.defaultPort),
    ...(!options.connectBroker && { AMQP_URL }),
    ...definition.config,
  });
  return loadConfig(schema, env) as ServiceConfig;
}

function createServiceLogger({ name }: ServiceDefinition, config: ServiceConfig, options: StartOptions): Logger {
  const { logDestination: destination } = options;
  return createLogger({ service: name, level: config.LOG_LEVEL, ...(destination && { destination }) });
}

async function openMigratedDatabase(
  definition: ServiceDefinition,
  config: ServiceConfig,
  log: Logger,
): Promise<Database> {
  const options: DatabaseOptions = {
    ...databaseOptionsOf(definition, config.DATABASE_URL),
    poolMax: config.DATABASE_POOL_MAX,
    pipelinedConnections: config.DATABASE_PIPELINED_CONNECTIONS,
  };
  const applied = await migrate(options, log);
  if (applied.length > 0) log.info({ migrations: applied }, 'migrated');
  const onConnect: NonNullable<DatabaseOptions['onConnect']> = (connection) => ensureEpochOn(connection, log);
  const database = await openDatabase({ ...options, onConnect });
  try {
    // Before an id is given: on another server, the ids begin above those that this database may have given and lost.
    await retryUntilAvailable(log, () => ensureEpoch(database, log));
    return database;
  } catch (error) {
    await database.close();
    throw error;
  }
}

/** Five attempts within 1.5 to 3 s. Transient errors are retried without a limit. */
export const retryPolicy: RetryPolicy = {
  attempts: 5,
  delayMs: 200,
  maxDelayMs: 5_000,
  isTransient: isDatabaseUnavailable,
};

function connectBroker(config: ServiceConfig, options: StartOptions, log: Logger): Broker {
  const connect = options.connectBroker ?? ((settings) => connectRabbit(config.AMQP_URL, settings));
  return connect(brokerOptions(config.AMQP_PREFIX, log));
}

export function brokerOptions(prefix: string, log: Logger): BrokerOptions {
  return { prefix, log, retry: retryPolicy };
}

interface ServiceAppOptions {
  routes: readonly Route[];
  internalRoutes: readonly Route[];
  environment: string;
  isReady(): Promise<boolean>;
  health(): Promise<object>;
}

/** The express app of a service: its routes, its health pages and its OpenAPI document. */
function createServiceApp({ title, version }: ServiceDefinition, log: Logger, options: ServiceAppOptions): Express {
  const { routes, internalRoutes, environment, isReady, health } = options;
  const app = createApp();
  app.use(assignRequestId, accessLog(log));
  addRoutes(app, [...routes, ...internalRoutes]);
  const info = { app: `PromoPulse ${title}`, version, environment };
  app.use(healthRoutes({ info, details: health, isReady }));
  const document = describeApi(routes, { title, version });
  app.get('/openapi.json', (_request, response) => void response.json(document));
  app.use(notFoundRoute, errorHandler(log, translateDatabaseError));
  return app;
}

function serveApp(app: Express, config: ServiceConfig): Promise<RunningServer> {
  return serve(app, {
    host: config.HOST,
    port: config.PORT,
    keepAliveTimeoutMs: 65_000, // longer than the gateway's, so that the gateway never uses a connection as it closes
    maxHeaderBytes: 32_768, // the 16 KiB that the gateway accepts, and the headers that it adds
    headersTimeoutMs: 10_000,
    requestTimeoutMs: 15_000,
  });
}
