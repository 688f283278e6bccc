// What a service serves, on two listeners. The public one has the service's routes and nothing else. The internal one
// is for the other services, the gateway's own pages and probes: internal routes, health and the OpenAPI document.
import { setTimeout as sleep } from 'node:timers/promises';
import type { Express } from 'express';
import { translateDatabaseError } from '../database/sqlstate.ts';
import { createApp, errorHandler, notFoundRoute } from '../http/app.ts';
import { healthRoutes } from '../http/health.ts';
import { describeApi } from '../http/openapi.ts';
import { accessLog, assignRequestId } from '../http/request-log.ts';
import { ResponseBudget } from '../http/response-budget.ts';
import { addRoutes, type Route } from '../http/routes.ts';
import { type RunningServer, serve } from '../http/server.ts';
import type { StopList } from '../stop-list.ts';
import type { Logger } from '../telemetry/logger.ts';
import type { ServiceConfig } from './service-config.ts';

interface ServiceAppOptions {
  definition: { title: string; version: string };
  log: Logger;
  routes: readonly Route[];
  internalRoutes: readonly Route[];
  isReady(): Promise<boolean>;
  health(): Promise<object>;
}

interface Listeners {
  publicServer: RunningServer;
  internalServer: RunningServer;
}

/** Time reserved for the relay at the end of a shutdown, in milliseconds. */
export const relayStopMs = 2_000;

/** The gateway may be sending on a connection that is idle here. On a busy machine it learns late of the stop. */
const publicQuietMs = 1_000;

/**
 * Opens both listeners. The service is ready as soon as the public one listens. At a stop it is not ready first; after
 * SHUTDOWN_DELAY_MS the public listener closes, then the internal one, each when its requests in flight have ended.
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
  const internalServer = await listen(createInternalApp({ ...options, config, budget, isReady }), {
    host: config.INTERNAL_HOST,
    port: config.INTERNAL_PORT,
    variable: 'INTERNAL_PORT',
    quietMs: 0, // it is only read, and its readers ask again
  });
  close(internalServer);
  const publicServer = await listen(createPublicApp(options, budget), {
    host: config.HOST,
    port: config.PORT,
    variable: 'PORT',
    quietMs: publicQuietMs,
  });
  close(publicServer);
  stops.add((remainingMs) => sleep(Math.min(config.SHUTDOWN_DELAY_MS, Math.max(0, remainingMs - relayStopMs))));
  isListening = true;
  return { publicServer, internalServer };
}

function createPublicApp({ log, routes }: ServiceAppOptions, budget: ResponseBudget): Express {
  const app = createApp();
  app.use(assignRequestId, accessLog(log));
  addRoutes(app, routes, budget);
  app.use(notFoundRoute, errorHandler(log, translateDatabaseError));
  return app;
}

function createInternalApp(options: ServiceAppOptions & { config: ServiceConfig; budget: ResponseBudget }): Express {
  const { log, routes, internalRoutes, config, budget, isReady, health } = options;
  const { title, version } = options.definition;
  const app = createApp();
  app.use(assignRequestId, accessLog(log));
  addRoutes(app, internalRoutes, budget);
  const info = { app: `PromoPulse ${title}`, version, environment: config.ENVIRONMENT };
  app.use(healthRoutes({ info, details: health, isReady }));
  const document = describeApi(routes, { title, version });
  app.get('/openapi.json', (_request, response) => void response.json(document));
  app.use(notFoundRoute, errorHandler(log, translateDatabaseError));
  return app;
}

interface Address {
  host: string;
  port: number;
  /** The environment variable of the port. */
  variable: string;
  quietMs: number;
}

async function listen(app: Express, { host, port, variable, quietMs }: Address): Promise<RunningServer> {
  try {
    return await serve(app, {
      host,
      port,
      keepAliveTimeoutMs: 65_000, // longer than the gateway's, so that the gateway never uses a connection as it closes
      quietMs,
      maxHeaderBytes: 32_768, // the 16 KiB that the gateway accepts, and the headers that it adds
      headersTimeoutMs: 10_000,
      requestTimeoutMs: 15_000,
    });
  } catch (error) {
    throw Object.assign(error as Error, { variable });
  }
}
