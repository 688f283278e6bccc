// What a service serves, on two listeners. The public one has the service's routes and nothing else. The internal one
// is for the other services, the gateway's own pages and probes: internal routes, health and the OpenAPI document.
import { setTimeout as sleep } from 'node:timers/promises';
import type { Express } from 'express';
import { translateDatabaseError } from '../database/sqlstate.ts';
import { createApp, errorHandler, notFoundRoute } from '../http/app.ts';
import { authenticate } from '../http/caller/authentication.ts';
import { healthRoutes } from '../http/health.ts';
import { maxBodyBytes } from '../http/input/read-body.ts';
import { describeApi } from '../http/openapi/document.ts';
import { accessLog, assignRequestId, expressRouteOf } from '../http/request-log.ts';
import { ResponseBudget } from '../http/response-budget.ts';
import { addRoutes, type Route } from '../http/routes.ts';
import { type RunningServer, serve } from '../http/server.ts';
import { checkProtocol } from '../http/unparsed/protocol.ts';
import { answerUnparsedRequests, dropAfterLastAnswer } from '../http/unparsed/unparsed-requests.ts';
import type { StopList } from '../stop-list.ts';
import { traceRequests } from '../telemetry/http-spans.ts';
import type { Logger } from '../telemetry/logger.ts';
import type { Metrics } from '../telemetry/metrics.ts';
import { measureRequests, type OnResponseEnd } from '../telemetry/request-durations.ts';
import type { Tracing } from '../telemetry/tracing.ts';
import { serveMetrics } from './metrics/metrics-listener.ts';
import { measureListeners } from './metrics/process-metrics.ts';
import type { ServiceConfig } from './service-config.ts';

interface ServiceAppOptions {
  definition: { title: string; version: string; description?: string };
  log: Logger;
  tracing: Tracing;
  routes: readonly Route[];
  internalRoutes: readonly Route[];
  isReady(): Promise<boolean>;
  health(): Promise<object>;
  /** Undefined without METRICS_PORT. */
  metrics: Metrics | undefined;
}

interface Listeners {
  publicServer: RunningServer;
  internalServer: RunningServer;
  metricsServer: RunningServer | undefined;
}

/** Time reserved for the relay at the end of a shutdown, in milliseconds. */
export const relayStopMs = 2_000;

/** The gateway may be sending on a connection that is idle here. On a busy machine it learns late of the stop. */
const publicQuietMs = 1_000;

/**
 * Opens both listeners, and with `metrics` a third one, which opens first and closes last. The service is ready as soon as
 * the public one listens. At a stop it is not ready first; after SHUTDOWN_DELAY_MS the public listener closes, then the
 * internal one, each when its requests in flight have ended.
 * @throws the listen error, for example with code EADDRINUSE and the `variable` that names the port
 */
export async function serveService(
  options: ServiceAppOptions,
  config: ServiceConfig,
  stops: StopList,
): Promise<Listeners> {
  let isListening = false;
  const isReady = async (): Promise<boolean> => isListening && !stops.begun && (await options.isReady());
  const close = (server: RunningServer) =>
    stops.add((remainingMs) => server.close(Math.max(0, remainingMs - relayStopMs)));

  const budget = new ResponseBudget(config);
  const { metrics, log } = options;
  const onResponseEnd = metrics && measureRequests(metrics, expressRouteOf);
  const metricsServer = metrics && (await serveMetrics(metrics, config, log));
  if (metricsServer) close(metricsServer);
  const internalServer = await listen(createInternalApp({ ...options, config, budget, isReady }), {
    log,
    host: config.INTERNAL_HOST,
    port: config.INTERNAL_PORT,
    variable: 'INTERNAL_PORT',
    quietMs: 0, // it is only read, and its readers ask again
    onResponseEnd,
  });
  close(internalServer);
  const publicServer = await listen(createPublicApp({ ...options, config, budget }), {
    log,
    host: config.HOST,
    port: config.PORT,
    variable: 'PORT',
    quietMs: publicQuietMs,
    onResponseEnd,
  });
  close(publicServer);
  if (metrics) measureListeners(metrics, { public: publicServer, internal: internalServer }, budget);
  stops.add((remainingMs) => sleep(Math.min(config.SHUTDOWN_DELAY_MS, Math.max(0, remainingMs - relayStopMs))));
  isListening = true;
  return { publicServer, internalServer, metricsServer };
}

interface AppOptions extends ServiceAppOptions {
  config: ServiceConfig;
  budget: ResponseBudget;
}

/** @throws TypeError when a route has no scope: everyone could use it */
function createPublicApp({ log, tracing, routes, config, budget }: AppOptions): Express {
  const open = routes.find(({ access }) => typeof access === 'string');
  if (open) throw new TypeError(`The route ${open.method} ${open.path} has no scope`);
  const app = createApp();
  app.use(
    dropAfterLastAnswer,
    assignRequestId,
    trace(tracing),
    accessLog(log),
    checkProtocol,
    authenticate(config, log),
  );
  addRoutes(app, routes, { budget, requireIfMatch: config.REQUIRE_IF_MATCH });
  app.use(notFoundRoute, errorHandler(log, translateDatabaseError));
  return app;
}

function createInternalApp(options: AppOptions): Express {
  const { log, tracing, routes, internalRoutes, config, budget, isReady, health } = options;
  const { title, version, description } = options.definition;
  const app = createApp();
  app.use(dropAfterLastAnswer, assignRequestId, trace(tracing), accessLog(log), checkProtocol);
  addRoutes(app, internalRoutes, { budget });
  const info = { app: `PromoPulse ${title}`, version, environment: config.ENVIRONMENT };
  app.use(healthRoutes({ info, details: health, isReady }));
  const document = describeApi(routes, { title, version, description });
  app.get('/openapi.json', (_request, response) => void response.json(document));
  app.use(notFoundRoute, errorHandler(log, translateDatabaseError));
  return app;
}

/** Only the gateway and other services send requests to a service, so that their trace goes on. */
function trace(tracing: Tracing) {
  return traceRequests({ tracing, trustsIncoming: true, routeOf: expressRouteOf });
}

/** The 16 KiB that the gateway accepts, and the headers that it adds. */
const maxHeaderBytes = 32_768;

interface Address {
  log: Logger;
  host: string;
  port: number;
  /** The environment variable of the port. */
  variable: string;
  quietMs: number;
  onResponseEnd: OnResponseEnd | undefined;
}

async function listen(app: Express, { log, variable, ...address }: Address): Promise<RunningServer> {
  try {
    return await serve(app, {
      ...address,
      keepAliveTimeoutMs: 65_000, // longer than the gateway's, so that the gateway never uses a connection as it closes
      maxHeaderBytes,
      headersTimeoutMs: 10_000,
      requestTimeoutMs: 15_000,
      configure: (server) => answerUnparsedRequests(server, { log, maxHeaderBytes, maxBodyBytes }),
    });
  } catch (error) {
    throw Object.assign(error as Error, { variable });
  }
}
