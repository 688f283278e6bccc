// The gateway put together. The order is the point: every answer has a request id, what is malformed is refused before
// anything reads it, what is too much is refused before express sees it, and no service is asked before the request is
// there as a whole.
import type { RequestListener, ServerResponse } from 'node:http';
import type { Duplex } from 'node:stream';
import { setTimeout as delay } from 'node:timers/promises';
import { type Environment, loadConfig } from '@promopulse/shared/config';
import { allowGetOnly, createApp, errorHandler, notFoundRoute } from '@promopulse/shared/http/app';
import { accessLog, assignRequestId } from '@promopulse/shared/http/request-log';
import { type RunningServer, serve } from '@promopulse/shared/http/server';
import { createLogger, type DestinationStream } from '@promopulse/shared/telemetry/logger';
import type { Express } from 'express';
import packageJson from '../package.json' with { type: 'json' };
import { gatewayConfig } from './config.ts';
import { answerOnSockets, limitConnections, refuseSurplus } from './edge/connections.ts';
import { refuseFaulty, sanitize } from './edge/sanitize.ts';
import { createDocsRoutes } from './pages/docs.ts';
import { createHealthRoutes } from './pages/health.ts';
import { createDocumentSource } from './pages/openapi.ts';
import { createRefusal, inTurn } from './proxy/concurrency-limit.ts';
import { toServices } from './proxy/dispatch.ts';
import { createUpstreamProxy, type UpstreamProxy } from './proxy/proxy.ts';
import { listUpstreams } from './proxy/upstreams.ts';

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
  const { version } = packageJson;
  const info = { app: 'PromoPulse', version, environment: config.ENVIRONMENT };
  let stopping = false;
  const proxies = listUpstreams(config).map((upstream) => createUpstreamProxy(upstream, config, log));
  const app = createApp();
  app.use(accessLog(log), refuseFaulty);
  app.use(createHealthRoutes({ info, proxies, isStopping: () => stopping }));
  addOwnRoutes(app, proxies, version);
  app.use(notFoundRoute, errorHandler(log));

  const refuse = createRefusal(log);
  const surplus = new WeakSet<Duplex>();
  // Read from the end: the first step is the last that is named here. Each passes a request on, or answers it.
  const byPath = toServices(proxies, config, log, refuse, app);
  const withinConnections = refuseSurplus(surplus, refuse, byPath);
  const oneAfterTheOther = inTurn(withinConnections, refuse);
  const cleaned: RequestListener = (request, response) => {
    sanitize(request);
    assignRequestId(request, response);
    secureHeaders(response);
    oneAfterTheOther(request, response);
  };

  const closeProxies = () => {
    for (const proxy of proxies) proxy.close();
  };
  let server: RunningServer;
  try {
    server = await serve(cleaned, {
      host: config.HOST,
      port: config.PORT,
      // Who finds no room here believes to be connected, and finds out by sending again, after seconds. Linux's own limit.
      backlog: 4_096,
      keepAliveTimeoutMs: 65_000,
      headersTimeoutMs: config.HEADERS_TIMEOUT_MS,
      requestTimeoutMs: config.REQUEST_TIMEOUT_MS,
      configure(httpServer) {
        httpServer.timeout = config.IDLE_TIMEOUT_MS;
        answerOnSockets(httpServer, log);
        limitConnections(httpServer, config.MAX_CONNECTIONS, surplus, log);
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
  app.all(['/', '/openapi.json'], allowGetOnly);
}

/** Every answer begins with these; a page or a service may put its own in their place. */
function secureHeaders(response: ServerResponse): void {
  response.setHeader('X-Content-Type-Options', 'nosniff');
  response.setHeader('X-Frame-Options', 'DENY');
  response.setHeader('Referrer-Policy', 'no-referrer');
  response.setHeader('Content-Security-Policy', "default-src 'none'; frame-ancestors 'none'");
}
