// The gateway put together. The order is the point: what is malformed is refused before anything reads it, every
// answer has a request id, and nothing reads a body before the proxy streams it.
import { readFileSync } from 'node:fs';
import type { RequestListener } from 'node:http';
import { setTimeout as delay } from 'node:timers/promises';
import { type Environment, loadConfig, processConfig } from '@promopulse/shared/config';
import {
  answerErrors,
  assignRequestId,
  bareApp,
  logAccess,
  notFoundRoute,
  onlyGet,
  type RunningServer,
  serve,
} from '@promopulse/shared/http';
import { createLogger, type DestinationStream } from '@promopulse/shared/logger';
import type { Express, NextFunction, Request, Response } from 'express';
import { z } from 'zod';
import { breakerConfig } from './breaker.ts';
import { createDocsRoutes } from './docs.ts';
import { createHealthRoutes } from './health.ts';
import { refuseFaulty, sanitize } from './hygiene.ts';
import { createDocumentSource } from './openapi.ts';
import { createUpstreamProxy, type UpstreamProxy } from './proxy.ts';
import { answerOnSockets } from './sockets.ts';
import { isBelow, listUpstreams, upstreamConfig } from './upstreams.ts';

const milliseconds = z.coerce.number().int().min(10).max(600_000);

const gatewayConfig = z.object({
  ...processConfig,
  ...upstreamConfig,
  ...breakerConfig,
  PORT: processConfig.PORT.default(8000),
  /** From a request sent (or its body's end) to the response's headers. */
  UPSTREAM_TIMEOUT_MS: milliseconds.default(5_000),
  MAX_BODY_BYTES: z.coerce.number().int().min(0).max(1_073_741_824).default(65_536),
  MAX_CONNECTIONS: z.coerce.number().int().min(1).max(1_000_000).default(1_000),
  HEADERS_TIMEOUT_MS: milliseconds.default(5_000),
  REQUEST_TIMEOUT_MS: milliseconds.default(10_000),
  /** A connection on which nothing moves during a request or a response is cut. */
  IDLE_TIMEOUT_MS: milliseconds.default(30_000),
  /** From "not ready" to taking no more connections: time for a load balancer to notice. */
  SHUTDOWN_DELAY_MS: z.coerce.number().int().min(0).max(300_000).default(0),
});

export interface RunningGateway {
  url: string;
  port: number;
  close(): Promise<void>;
}

/** @throws ConfigError, or the listen error, for example with code EADDRINUSE */
export async function startGateway(
  env: Environment,
  { logDestination }: { logDestination?: DestinationStream } = {},
): Promise<RunningGateway> {
  const config = loadConfig(gatewayConfig, env);
  const log = createLogger({
    service: 'gateway',
    level: config.LOG_LEVEL,
    ...(logDestination && { destination: logDestination }),
  });
  const { version } = JSON.parse(readFileSync(new URL('../package.json', import.meta.url), 'utf8')) as {
    version: string;
  };
  const info = { app: 'PromoPulse', version, environment: config.ENVIRONMENT };
  let stopping = false;
  const proxies = listUpstreams(config).map((upstream) => createUpstreamProxy(upstream, config, log));

  const app = bareApp();
  app.use(assignRequestId, secureHeaders, logAccess(log), refuseFaulty);
  app.use(createHealthRoutes({ info, proxies, isStopping: () => stopping }));
  addOwnRoutes(app, proxies, version);
  app.use(forwardByPrefix(proxies), notFoundRoute, answerErrors(log));

  const sanitized: RequestListener = (request, response) => {
    sanitize(request);
    app(request, response);
  };
  const closeProxies = () => {
    for (const proxy of proxies) proxy.close();
  };
  let server: RunningServer;
  try {
    server = await serve(sanitized, {
      host: config.HOST,
      port: config.PORT,
      keepAliveTimeoutMs: 65_000,
      headersTimeoutMs: config.HEADERS_TIMEOUT_MS,
      requestTimeoutMs: config.REQUEST_TIMEOUT_MS,
      maxConnections: config.MAX_CONNECTIONS,
      configure(httpServer) {
        httpServer.timeout = config.IDLE_TIMEOUT_MS;
        answerOnSockets(httpServer, log);
      },
    });
  } catch (error) {
    closeProxies();
    throw error;
  }
  log.info({ port: server.port, version }, 'listening');

  return {
    url: server.url,
    port: server.port,
    async close() {
      stopping = true;
      const deadline = Date.now() + config.SHUTDOWN_TIMEOUT_MS;
      await delay(Math.min(config.SHUTDOWN_DELAY_MS, config.SHUTDOWN_TIMEOUT_MS));
      await server.close(Math.max(0, deadline - Date.now()));
      closeProxies();
      log.info('stopped');
    },
  };
}

function addOwnRoutes(app: Express, proxies: readonly UpstreamProxy[], version: string): void {
  const document = createDocumentSource(
    proxies.map(({ upstream }) => upstream),
    version,
  );
  app.get('/', (_request, response) => response.redirect(302, '/docs'));
  app.get('/openapi.json', async (_request, response) => {
    response.json(await document());
  });
  app.use(createDocsRoutes());
  app.all(['/', '/openapi.json'], onlyGet);
}

function forwardByPrefix(proxies: readonly UpstreamProxy[]) {
  return async (request: Request, response: Response, next: NextFunction): Promise<void> => {
    const proxy = proxies.find(({ upstream }) => isBelow(upstream, request.path));
    if (proxy) await proxy.forward(request, response);
    else next();
  };
}

/** Every answer begins with these; a page or a service may put its own in their place. */
function secureHeaders(_request: Request, response: Response, next: NextFunction): void {
  response.setHeader('X-Content-Type-Options', 'nosniff');
  response.setHeader('X-Frame-Options', 'DENY');
  response.setHeader('Referrer-Policy', 'no-referrer');
  response.setHeader('Content-Security-Policy', "default-src 'none'; frame-ancestors 'none'");
  next();
}
