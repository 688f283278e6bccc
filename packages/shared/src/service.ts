// How a service lives: configuration, migrations, database, broker, routes, relay, consumers, server; stopped in the
// reverse order, so that requests in flight finish and what they committed is still published.
import type { DestinationStream } from 'pino';
import { z } from 'zod';
import { type Environment, loadConfig, processConfig } from './config.ts';
import {
  type Database,
  type DatabaseOptions,
  databaseConfig,
  type Entities,
  openDatabase,
} from './database/database.ts';
import { migrate } from './database/migrations.ts';
import { isDatabaseUnavailable, translateDatabaseError } from './database/sqlstate.ts';
import { createApp, errorHandler, notFoundRoute } from './http/app.ts';
import { healthRoutes } from './http/health.ts';
import { describeApi } from './http/openapi.ts';
import { accessLog, assignRequestId } from './http/request-log.ts';
import { addRoutes, type Route } from './http/routes.ts';
import { type RunningServer, serve } from './http/server.ts';
import type { Broker, BrokerOptions, Consumer } from './messaging/broker.ts';
import { connectRabbit } from './messaging/rabbitmq/broker.ts';
import { startRelay } from './outbox/relay.ts';
import { createLogger, type Logger } from './telemetry/logger.ts';

const serviceConfig = {
  ...processConfig,
  ...databaseConfig,
  AMQP_URL: z.url({ protocol: /^amqps?$/, error: 'must be an amqp:// URL' }),
  /** Put before every exchange and queue name, so that several meshes can share a broker. */
  AMQP_PREFIX: z.string().default(''),
  /** Published events stay in the outbox so long, in seconds, for people to look at. */
  OUTBOX_RETENTION_SECONDS: z.coerce.number().int().min(1).max(31_536_000).default(86_400),
};

export interface ServiceContext<Config> {
  config: Config;
  database: Database;
  broker: Broker;
  log: Logger;
}

/** What a service adds to the common frame. */
export interface ServiceParts {
  routes: readonly Route[];
  /** Routes for its neighbours: not in the OpenAPI document, not reachable through the gateway. */
  internalRoutes?: readonly Route[];
  consumers?: readonly Consumer[];
  /** Shown in `/health`. */
  health?(): Promise<object>;
  /** Begins background work; what it returns is called at the stop. */
  start?(): () => Promise<void>;
}

export interface ServiceDefinition<Shape extends z.ZodRawShape = z.ZodRawShape> {
  /** Also its schema in Postgres. */
  name: string;
  title: string;
  version: string;
  defaultPort: number;
  /** The environment it reads besides the common one. */
  config: Shape;
  entities: Entities;
  /** Absolute path of its migrations. */
  migrations: string;
  parts(context: ServiceContext<z.infer<z.ZodObject<Shape>>>): ServiceParts;
}

interface StartOptions {
  /** A transport to use in place of RabbitMQ; AMQP_URL is then not read. */
  connectBroker?: (options: BrokerOptions) => Broker;
  logDestination?: DestinationStream;
  decorate?: Decoration;
}

/** For tests: stands between a service and what it is wired to, such as to let it fail there. */
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

/** What a service's migrations and its own start agree on. */
export function databaseOptionsOf(definition: ServiceDefinition, url: string): DatabaseOptions {
  const { name: schema, entities, migrations } = definition;
  return { url, schema, entities, migrations };
}

/** @throws ConfigError, the database's error when it stays away for 30 s, or the listen error (EADDRINUSE) */
export async function startService(
  definition: ServiceDefinition,
  env: Environment,
  options: StartOptions = {},
): Promise<RunningService> {
  const { PORT, AMQP_URL, ...common } = serviceConfig;
  const schema = z.object({
    ...common,
    PORT: PORT.default(definition.defaultPort),
    ...(!options.connectBroker && { AMQP_URL }),
    ...definition.config,
  });
  const config = loadConfig(schema, env) as z.infer<z.ZodObject<typeof serviceConfig>>;
  const log = createLogger({
    service: definition.name,
    level: config.LOG_LEVEL,
    ...(options.logDestination && { destination: options.logDestination }),
  });
  const decorate = { ...undecorated, ...options.decorate };
  const started: ((deadline: number) => Promise<unknown>)[] = [];
  const close = async (): Promise<void> => {
    const deadline = Date.now() + config.SHUTDOWN_TIMEOUT_MS;
    for (const stop of started.splice(0).reverse()) {
      await stop(deadline).catch((error: unknown) => log.error({ err: error }, 'a part did not stop cleanly'));
    }
    log.info('stopped');
  };
  try {
    const databaseOptions: DatabaseOptions = {
      ...databaseOptionsOf(definition, config.DATABASE_URL),
      poolMax: config.DATABASE_POOL_MAX,
      pipelinedConnections: config.DATABASE_PIPELINED_CONNECTIONS,
    };
    const applied = await migrate(databaseOptions, log);
    if (applied.length > 0) log.info({ migrations: applied }, 'migrated');
    const database = decorate.database(await openDatabase(databaseOptions));
    started.push(() => database.close());

    const connect = options.connectBroker ?? ((settings: BrokerOptions) => connectRabbit(config.AMQP_URL, settings));
    const broker = decorate.broker(connect(brokerOptions(config.AMQP_PREFIX, log)));
    started.push((deadline) => broker.close(Math.max(0, deadline - Date.now())));

    const parts = definition.parts({ config, database, broker, log });
    const relay = startRelay({ database, broker, log, retentionSeconds: config.OUTBOX_RETENTION_SECONDS });
    started.push((deadline) => relay.stop(Math.max(0, Math.min(2_000, deadline - Date.now()))));
    for (const consumer of parts.consumers ?? []) broker.consume(consumer);
    if (parts.start) started.push(parts.start());

    let stopping = false;
    const app = createApp();
    app.use(assignRequestId, accessLog(log));
    addRoutes(app, [...parts.routes, ...(parts.internalRoutes ?? [])].map(decorate.route));
    app.use(
      healthRoutes({
        info: { app: `PromoPulse ${definition.title}`, version: definition.version, environment: config.ENVIRONMENT },
        details: async () => ({
          broker: broker.isConnected() ? 'connected' : 'disconnected',
          outbox: await relay.backlog(),
          ...(await parts.health?.()),
        }),
        isReady: async () => !stopping && (await database.isReachable()),
      }),
    );
    const document = describeApi(parts.routes, { title: definition.title, version: definition.version });
    app.get('/openapi.json', (_request, response) => void response.json(document));
    app.use(notFoundRoute, errorHandler(log, translateDatabaseError));
    const server: RunningServer = await serve(app, {
      host: config.HOST,
      port: config.PORT,
      keepAliveTimeoutMs: 65_000, // longer than the gateway keeps an idle connection, so that it never meets a closing one
      maxHeaderBytes: 32_768, // what the gateway lets through (16 KiB) and what it adds
      headersTimeoutMs: 10_000,
      requestTimeoutMs: 15_000,
    });
    started.push((deadline) => {
      stopping = true;
      return server.close(Math.max(0, deadline - Date.now() - 2_000));
    });
    log.info({ port: server.port, version: definition.version }, 'listening');
    return { url: server.url, port: server.port, close };
  } catch (error) {
    await close();
    throw error;
  }
}

/** Five attempts over about three seconds for an unknown fault; a database that is away is waited for. */
export function brokerOptions(prefix: string, log: Logger): BrokerOptions {
  return {
    prefix,
    log,
    retry: { attempts: 5, delayMs: 200, maxDelayMs: 5_000, isTransient: isDatabaseUnavailable },
  };
}
