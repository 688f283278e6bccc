// The life of a service: configuration, migrations, database, broker, its own parts, relay, consumers, server. They are
// stopped in the reverse order, so that requests in flight finish and the events they committed are still published.
import type { DestinationStream } from 'pino';
import type { z } from 'zod';
import { type Environment, listPublishedSecrets } from './config.ts';
import type { Database } from './database/database.ts';
import { startKeyPruning } from './database/idempotency/prune-keys.ts';
import { readUsedIds } from './database/ids/id-sequences.ts';
import type { Route } from './http/routes.ts';
import type { Broker, BrokerOptions, Consumer } from './messaging/broker.ts';
import { measureBroker } from './messaging/measured-broker.ts';
import { type Relay, startRelay } from './outbox/relay.ts';
import { openMetrics } from './service/metrics/metrics-listener.ts';
import { measureService } from './service/metrics/service-metrics.ts';
import { databaseOptionsOf, type SchemaDefinition } from './service/schema-definition.ts';
import { relayStopMs, serveService } from './service/service-app.ts';
import { connectBroker } from './service/service-broker.ts';
import { loadServiceConfig, type ServiceConfig } from './service/service-config.ts';
import { openMigratedDatabase } from './service/service-database.ts';
import { StopList } from './stop-list.ts';
import { type HealthMonitor, startHealthMonitor } from './telemetry/health-monitor.ts';
import { createLogger, type Logger } from './telemetry/logger.ts';
import type { Metrics } from './telemetry/metrics.ts';
import { openTracing, type Tracing } from './telemetry/tracing.ts';

/** What a service's own parts are made from. */
export interface ServiceContext<Config> {
  config: Config;
  database: Database;
  broker: Broker;
  log: Logger;
  /** For metrics of its own. Undefined without METRICS_PORT. */
  metrics: Metrics | undefined;
}

/** What a service adds to the parts that all services have. */
export interface ServiceParts {
  routes: readonly Route[];
  /** Routes for the other services, on the internal listener: neither in the OpenAPI document nor on the public port. */
  internalRoutes?: readonly Route[];
  consumers?: readonly Consumer[];
  /** More members of `/health`. */
  health?(): Promise<object>;
  /** Runs before anything is consumed or served. */
  prepare?(): Promise<void>;
  /** Starts background work. @returns the function that stops it */
  start?(): () => Promise<void>;
}

export interface ServiceDefinition<Shape extends z.ZodRawShape = z.ZodRawShape> extends SchemaDefinition {
  title: string;
  /** What its operations are about, in the OpenAPI document. */
  description?: string;
  version: string;
  defaultPort: number;
  /** Its own environment variables, in addition to those of every service. */
  config: Shape;
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
  /** Internal routes, health and the OpenAPI document. */
  internalUrl: string;
  /** Undefined without METRICS_PORT. */
  metricsUrl: string | undefined;
  close(): Promise<void>;
}

/** Declares a service with the type of its own configuration. */
export function defineService<Shape extends z.ZodRawShape>(definition: ServiceDefinition<Shape>): ServiceDefinition {
  return definition as unknown as ServiceDefinition;
}

/** @throws ConfigError, the database's error after 30 s without a database, or the listen error (EADDRINUSE) */
export async function startService(
  definition: ServiceDefinition,
  env: Environment,
  options: StartOptions = {},
): Promise<RunningService> {
  const config = loadServiceConfig(env, definition, { usesRabbit: !options.connectBroker });
  const log = createServiceLogger(definition, config, options);
  const decorate = { ...undecorated, ...options.decorate };
  const metrics = await openMetrics(config);
  const { tracing, stops } = await openServiceTracing(definition, config, log);
  const databaseOptions = databaseOptionsOf(definition, config.DATABASE_URL);
  try {
    const database = decorate.database(await openMigratedDatabase(databaseOptions, log, config));
    stops.add(() => database.close());
    const unmeasured = decorate.broker(connectBroker(config, { log, tracing }, options.connectBroker));
    const broker = metrics ? measureBroker(unmeasured, metrics) : unmeasured;
    stops.add((remainingMs) => broker.close(remainingMs));

    const parts = definition.parts({ config, database, broker, log, metrics });
    await parts.prepare?.();
    const relay = startUpkeep({ database, broker, log }, config, stops);
    startParts(parts, broker, stops);
    const monitor = startMonitor({ database, broker, log, relay }, stops);
    if (metrics) measureService(metrics, { definition, database, broker, relay, monitor });

    const app = {
      ...{ definition, log, tracing, metrics },
      ...decorateRoutes(parts, decorate.route),
      isReady: () => database.isReachable(),
      health: async () => ({ ...(await monitor.report()), ...(await parts.health?.()) }),
    };
    const { publicServer, internalServer, metricsServer } = await serveService(app, config, stops);
    const { port, url } = publicServer;
    log.info({ port, internal_port: internalServer.port, version: definition.version }, 'listening');
    return { port, url, internalUrl: internalServer.url, metricsUrl: metricsServer?.url, close: () => stops.run() };
  } catch (error) {
    await stops.run();
    throw error;
  }
}

type Upkeep = Pick<ServiceContext<unknown>, 'database' | 'broker' | 'log'>;

/** Starts what publishes and prunes the rows of every service's own tables. */
function startUpkeep({ database, broker, log }: Upkeep, config: ServiceConfig, stops: StopList): Relay {
  stops.add(startKeyPruning({ database, log, retentionSeconds: config.IDEMPOTENCY_RETENTION_SECONDS }));
  const relay = startRelay({ database, broker, log, retentionSeconds: config.OUTBOX_RETENTION_SECONDS });
  stops.add((remainingMs) => relay.stop(Math.min(relayStopMs, remainingMs)));
  return relay;
}

function startMonitor({ database, broker, log, relay }: Upkeep & { relay: Relay }, stops: StopList): HealthMonitor {
  const sources = { broker, log, backlog: () => relay.backlog(), usedIds: () => readUsedIds(database) };
  const monitor = startHealthMonitor(sources);
  stops.add(async () => monitor.stop());
  return monitor;
}

function startParts({ consumers = [], start }: ServiceParts, broker: Broker, stops: StopList): void {
  for (const consumer of consumers) broker.consume(consumer);
  if (start) stops.add(start());
}

function decorateRoutes({ routes, internalRoutes = [] }: ServiceParts, decorate: (route: Route) => Route) {
  return { routes: routes.map(decorate), internalRoutes: internalRoutes.map(decorate) };
}

function createServiceLogger({ name }: ServiceDefinition, config: ServiceConfig, options: StartOptions): Logger {
  const { logDestination: destination } = options;
  const log = createLogger({ service: name, level: config.LOG_LEVEL, ...(destination && { destination }) });
  const published = isLoopback(config.HOST) ? [] : listPublishedSecrets(config);
  if (published.length > 0) log.warn({ variables: published }, 'published keys or passwords: for development only');
  return log;
}

/** The last export comes last, in the time that is reserved for it: it has the spans of what stops before. */
async function openServiceTracing(
  { name, version }: ServiceDefinition,
  config: ServiceConfig,
  log: Logger,
): Promise<{ tracing: Tracing; stops: StopList }> {
  const shutdownTimeoutMs = config.SHUTDOWN_TIMEOUT_MS;
  const tracing = await openTracing(config, { name, version, log, shutdownTimeoutMs });
  const stops = new StopList(log, shutdownTimeoutMs - tracing.flushMs);
  stops.add((remainingMs) => tracing.close(remainingMs + tracing.flushMs));
  return { tracing, stops };
}

function isLoopback(host: string): boolean {
  return /^(localhost|127(\.\d+){3}|::1)$/.test(host);
}
