// The gateway put together. The order is the point: every answer has a request id, what is malformed is refused before
// anything reads it, what is too much is refused before express sees it, and no service is asked before the request is
// there as a whole.
import { readFileSync } from 'node:fs';
import type { IncomingMessage, RequestListener, ServerResponse } from 'node:http';
import type { Duplex } from 'node:stream';
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
import type { Express } from 'express';
import { z } from 'zod';
import { type Admission, createAdmission, createRefusal, gatherBody, inTurn } from './admission.ts';
import { breakerConfig } from './breaker.ts';
import { createDocsRoutes } from './docs.ts';
import { createHealthRoutes } from './health.ts';
import { refuseFaulty, sanitize } from './hygiene.ts';
import { createDocumentSource } from './openapi.ts';
import { createUpstreamProxy, type UpstreamProxy } from './proxy.ts';
import { answerOnSockets, limitConnections } from './sockets.ts';
import { isBelow, listUpstreams, upstreamConfig } from './upstreams.ts';

const milliseconds = z.coerce.number().int().min(10).max(600_000);

const gatewayConfig = z.object({
  ...processConfig,
  ...upstreamConfig,
  ...breakerConfig,
  PORT: processConfig.PORT.default(8000),
  /** From a request sent (or its body's end) to the response's headers. */
  UPSTREAM_TIMEOUT_MS: milliseconds.default(5_000),
  /** A body is in memory until its service has it. */
  MAX_BODY_BYTES: z.coerce.number().int().min(0).max(16_777_216).default(65_536),
  /** Per service: requests that wait for its answer, as long as it is quick. */
  MAX_IN_FLIGHT: z.coerce.number().int().min(1).max(100_000).default(100),
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
  // Slow is longer than any answer that is well (1 s, when a projection is waited for), and shorter than a service itself
  // waits for a connection of its database's pool (2 s).
  const slowMs = 0.3 * config.UPSTREAM_TIMEOUT_MS;
  const ways = proxies.map((proxy): Way => ({ proxy, admission: createAdmission(config.MAX_IN_FLIGHT, slowMs) }));
  const refuse = createRefusal(log);

  const access = logAccess(log);
  const answerError = answerErrors(log);
  const app = bareApp();
  app.use(access, refuseFaulty);
  app.use(createHealthRoutes({ info, proxies, isStopping: () => stopping }));
  addOwnRoutes(app, proxies, version);
  app.use(notFoundRoute, answerError);

  const surplus = new WeakSet<Duplex>();
  // What goes to a service does not go through express, which would do nothing for it and costs a quarter of the rest.
  const listener: RequestListener = (request, response) => {
    const way = wayOf(ways, request.url);
    if (surplus.has(request.socket) && !request.url?.startsWith('/health/')) {
      response.setHeader('Connection', 'close');
      refuse(response);
    } else if (!way) app(request, response);
    else if (way.admission.isFull()) refuse(response);
    else {
      access(request, response);
      forward(way, request, response).catch((error) => answerError(error, request, response, () => response.destroy()));
    }
  };
  async function forward({ admission, proxy }: Way, request: IncomingMessage, response: ServerResponse): Promise<void> {
    const body = await gatherBody(request, config.MAX_BODY_BYTES);
    if (!body || response.destroyed) return;
    const admitted = await admission.admit(() => proxy.forward(request, response, body));
    if (!admitted) refuse(response);
  }
  const listenerInTurn = inTurn(listener, refuse);
  const sanitized: RequestListener = (request, response) => {
    sanitize(request);
    assignRequestId(request, response);
    secureHeaders(response);
    listenerInTurn(request, response);
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
  app.all(['/', '/openapi.json'], onlyGet);
}

/** One service: how many may be on their way to it, and what takes them there. */
interface Way {
  admission: Admission;
  proxy: UpstreamProxy;
}

function wayOf(ways: readonly Way[], url = ''): Way | undefined {
  const path = url.split('?', 1)[0] as string;
  return ways.find(({ proxy }) => isBelow(proxy.upstream, path));
}

/** Every answer begins with these; a page or a service may put its own in their place. */
function secureHeaders(response: ServerResponse): void {
  response.setHeader('X-Content-Type-Options', 'nosniff');
  response.setHeader('X-Frame-Options', 'DENY');
  response.setHeader('Referrer-Policy', 'no-referrer');
  response.setHeader('Content-Security-Policy', "default-src 'none'; frame-ancestors 'none'");
}
