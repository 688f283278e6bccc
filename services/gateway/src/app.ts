// Starts the gateway. `createSteps` has the list of the steps that a request meets, in their order.
import { setTimeout as sleep } from 'node:timers/promises';
import type { Environment } from '@promopulse/shared/config';
import { allowGetOnly, createApp, errorHandler, notFoundRoute } from '@promopulse/shared/http/app';
import { accessLog, assignRequestId } from '@promopulse/shared/http/request-log';
import { type RunningServer, serve } from '@promopulse/shared/http/server';
import { createLogger, type DestinationStream, type Logger } from '@promopulse/shared/telemetry/logger';
import packageJson from '../package.json' with { type: 'json' };
import { type GatewayConfig, loadGatewayConfig } from './config.ts';
import { answerUnparsedRequests, ConnectionLimit, rejectOverLimitConnections } from './edge/connections.ts';
import { Overload, serializePipelined } from './edge/overload.ts';
import { rejectMalformed, sanitize } from './edge/sanitize.ts';
import { secureHeaders } from './edge/secure-headers.ts';
import { runSteps, type Step } from './edge/steps.ts';
import { createDocsRoutes } from './pages/docs.ts';
import { createHealthRoutes } from './pages/health.ts';
import { createDocumentSource } from './pages/openapi.ts';
import { createUpstreamRoutes, dispatch, loggedRoute, rejectAtConcurrencyLimit } from './proxy/dispatch.ts';
import { UpstreamProxy } from './proxy/proxy.ts';
import { listUpstreams } from './proxy/upstreams.ts';

const { version } = packageJson;

export interface RunningGateway {
  url: string;
  port: number;
  close(): Promise<void>;
}

/** What the steps are made from. */
interface GatewayParts {
  config: GatewayConfig;
  log: Logger;
  proxies: readonly UpstreamProxy[];
  connectionLimit: ConnectionLimit;
  isStopping(): boolean;
}

/** @throws ConfigError, or the listen error, for example with code EADDRINUSE */
export async function startGateway(
  env: Environment,
  { logDestination }: { logDestination?: DestinationStream } = {},
): Promise<RunningGateway> {
  const config = loadGatewayConfig(env);
  const log = createLogger({
    service: 'gateway',
    level: config.LOG_LEVEL,
    ...(logDestination && { destination: logDestination }),
  });
  const proxies = listUpstreams(config).map((upstream) => new UpstreamProxy(upstream, config, log));
  const closeProxies = () => {
    for (const proxy of proxies) proxy.close();
  };
  let stopping = false;
  const connectionLimit = new ConnectionLimit(config.MAX_CONNECTIONS, log);
  const server = await listen({ config, log, proxies, connectionLimit, isStopping: () => stopping }).catch((error) => {
    closeProxies();
    throw error;
  });
  log.info({ port: server.port, version }, 'listening');

  return {
    url: server.url,
    port: server.port,
    async close() {
      stopping = true;
      const deadline = Date.now() + config.SHUTDOWN_TIMEOUT_MS;
      await sleep(Math.min(config.SHUTDOWN_DELAY_MS, config.SHUTDOWN_TIMEOUT_MS));
      await server.close(Math.max(0, deadline - Date.now()));
      closeProxies();
      log.info('stopped');
    },
  };
}

/** Each step answers a request, or passes it on. A new capability is one file and one line here. */
function createSteps({ config, log, proxies, connectionLimit, isStopping }: GatewayParts): readonly Step[] {
  const overload = new Overload(log);
  const routes = createUpstreamRoutes(proxies, config);
  const steps: Step[] = [
    sanitize,
    assignRequestId,
    secureHeaders,
    serializePipelined(overload),
    rejectOverLimitConnections(connectionLimit, overload),
    rejectMalformed(log),
    rejectAtConcurrencyLimit(routes, overload),
    accessLog(log, loggedRoute(routes)),
    dispatch({ routes, overload, maxBodyBytes: config.MAX_BODY_BYTES, log }),
    ownPages({ config, log, proxies, isStopping }),
  ];
  return steps;
}

/** Answers every request that no service owns: with a page of the gateway, or 404. */
function ownPages({ config, log, proxies, isStopping }: Omit<GatewayParts, 'connectionLimit'>): Step {
  const document = createDocumentSource(
    proxies.map(({ upstream }) => upstream),
    version,
  );
  const info = { app: 'PromoPulse', version, environment: config.ENVIRONMENT };
  const app = createApp();
  app.use(createHealthRoutes({ info, proxies, isStopping }));
  app.get('/', (_request, response) => response.redirect(302, '/docs'));
  app.get('/openapi.json', async (_request, response) => {
    response.json(await document());
  });
  app.use(createDocsRoutes());
  for (const path of ['/', '/openapi.json']) app.all(path, allowGetOnly);
  app.use(notFoundRoute, errorHandler(log));
  return (request, response) => app(request, response);
}

async function listen(parts: GatewayParts): Promise<RunningServer> {
  const { config, log, connectionLimit } = parts;
  return serve(runSteps(createSteps(parts)), {
    host: config.HOST,
    port: config.PORT,
    // Linux's own limit. Beyond the accept backlog Linux drops the final ACK; clients notice only after retransmitting
    // for seconds.
    backlog: 4_096,
    keepAliveTimeoutMs: 65_000,
    headersTimeoutMs: config.HEADERS_TIMEOUT_MS,
    requestTimeoutMs: config.REQUEST_TIMEOUT_MS,
    configure(server) {
      server.timeout = config.IDLE_TIMEOUT_MS;
      answerUnparsedRequests(server, log);
      connectionLimit.watch(server);
    },
  });
}
