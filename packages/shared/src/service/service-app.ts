// What a service serves: its routes, its health pages and its OpenAPI document.
import type { Express } from 'express';
import { translateDatabaseError } from '../database/sqlstate.ts';
import { createApp, errorHandler, notFoundRoute } from '../http/app.ts';
import { healthRoutes } from '../http/health.ts';
import { describeApi } from '../http/openapi.ts';
import { accessLog, assignRequestId } from '../http/request-log.ts';
import { ResponseBudget } from '../http/response-budget.ts';
import { addRoutes, type Route } from '../http/routes.ts';
import { type RunningServer, serve } from '../http/server.ts';
import type { Logger } from '../telemetry/logger.ts';
import type { ServiceConfig } from './service-config.ts';

interface ServiceAppOptions {
  title: string;
  version: string;
  log: Logger;
  routes: readonly Route[];
  internalRoutes: readonly Route[];
  config: ServiceConfig;
  isReady(): Promise<boolean>;
  health(): Promise<object>;
}

export function createServiceApp(options: ServiceAppOptions): Express {
  const { title, version, log, routes, internalRoutes, config, isReady, health } = options;
  const app = createApp();
  app.use(assignRequestId, accessLog(log));
  addRoutes(app, [...routes, ...internalRoutes], new ResponseBudget(config));
  const info = { app: `PromoPulse ${title}`, version, environment: config.ENVIRONMENT };
  app.use(healthRoutes({ info, details: health, isReady }));
  const document = describeApi(routes, { title, version });
  app.get('/openapi.json', (_request, response) => void response.json(document));
  app.use(notFoundRoute, errorHandler(log, translateDatabaseError));
  return app;
}

export function serveApp(app: Express, config: ServiceConfig): Promise<RunningServer> {
  return serve(app, {
    host: config.HOST,
    port: config.PORT,
    keepAliveTimeoutMs: 65_000, // longer than the gateway's, so that the gateway never uses a connection as it closes
    maxHeaderBytes: 32_768, // the 16 KiB that the gateway accepts, and the headers that it adds
    headersTimeoutMs: 10_000,
    requestTimeoutMs: 15_000,
  });
}
