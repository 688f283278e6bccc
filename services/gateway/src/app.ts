// Starts the gateway. `createSteps` has the list of the steps that a request meets, in their order.
import { setTimeout as sleep } from 'node:timers/promises';
import type { Environment } from '@promopulse/shared/config';
import { asksCallers } from '@promopulse/shared/http/caller/authentication';
import { callerOf } from '@promopulse/shared/http/caller/caller';
import { accessLog, assignRequestId } from '@promopulse/shared/http/request-log';
import { type RunningServer, serve } from '@promopulse/shared/http/server';
import { dropAfterLastAnswer } from '@promopulse/shared/http/unparsed/unparsed-requests';
import { openMetrics, serveMetrics } from '@promopulse/shared/service/metrics/metrics-listener';
import { measureListeners } from '@promopulse/shared/service/metrics/process-metrics';
import { traceRequests } from '@promopulse/shared/telemetry/http-spans';
import { createLogger, type DestinationStream, type Logger } from '@promopulse/shared/telemetry/logger';
import type { Metrics } from '@promopulse/shared/telemetry/metrics';
import { measureClientRequests, measureRequests, type RouteOf } from '@promopulse/shared/telemetry/request-durations';
import { openTracing, type Tracing } from '@promopulse/shared/telemetry/tracing';
import packageJson from '../package.json' with { type: 'json' };
import type { Callers } from './callers/callers.ts';
import { type GatewayConfig, loadGatewayConfig } from './config.ts';
import { authenticate } from './edge/authenticate.ts';
import { compressResponses } from './edge/compression.ts';
import { ConnectionLimit, rejectOverLimitConnections } from './edge/connections.ts';
import { answerPreflight, cors } from './edge/cors.ts';
import { TrustedProxies } from './edge/forwarding.ts';
import { answerOptions } from './edge/options.ts';
import { Overload, serializePipelined } from './edge/overload.ts';
import { publicPathOf } from './edge/public-url.ts';
import { rejectMalformed, sanitize } from './edge/sanitize.ts';
import { secureHeaders } from './edge/secure-headers.ts';
import { runSteps, type Step } from './edge/steps.ts';
import { resolveTarget } from './edge/target.ts';
import { answerUnparsed, maxHeaderBytes } from './edge/unparsed.ts';
import { measureGateway } from './metrics.ts';
import { ownPages } from './pages/own-pages.ts';
import {
  createRouteOf,
  createUpstreamRoutes,
  dispatch,
  isForwarded,
  rejectAtConcurrencyLimit,
  type UpstreamRoute,
} from './proxy/dispatch.ts';
import { UpstreamProxy } from './proxy/proxy.ts';
import { listUpstreams, type Upstream } from './proxy/upstreams.ts';
import { limitFree } from './rate-limit/limit-free.ts';
import { limitRate } from './rate-limit/limit-rate.ts';
import { openRateLimits, type RateLimits } from './rate-limit/rate-limits.ts';

const { version } = packageJson;
const traced = { name: 'gateway', version };
/** Time for the last uses of keys to be noted at a stop, in milliseconds, also when the time limit has passed. */
const minCloseMs = 500;
/** At a stop: a client or a proxy may be sending on a connection that is idle here, in milliseconds. */
const quietMs = 1_000;

export interface RunningGateway {
  url: string;
  port: number;
  /** Undefined without METRICS_PORT. */
  metricsUrl: string | undefined;
  close(): Promise<void>;
}

/** What the steps are made from. */
interface GatewayParts {
  config: GatewayConfig;
  log: Logger;
  proxies: readonly UpstreamProxy[];
  routes: readonly UpstreamRoute[];
  routeOf: RouteOf;
  overload: Overload;
  connectionLimit: ConnectionLimit;
  /** Undefined with AUTH=off and AUTH=external: nobody is asked, and there is no database. */
  callers: Callers | undefined;
  limits: RateLimits;
  tracing: Tracing;
  /** Undefined without METRICS_PORT. */
  metrics: Metrics | undefined;
  isStopping(): boolean;
}

/**
 * @throws ConfigError, the database's error when callers are asked and it is away for 30 s, or the listen error, for
 *   example with code EADDRINUSE
 */
export async function startGateway(
  env: Environment,
  { logDestination }: { logDestination?: DestinationStream } = {},
): Promise<RunningGateway> {
  const config = loadGatewayConfig(env);
  const upstreams = listUpstreams(config);
  const log = createLogger({
    service: 'gateway',
    level: config.LOG_LEVEL,
    ...(logDestination && { destination: logDestination }),
  });
  const tracing = await openTracing(config, { ...traced, log, shutdownTimeoutMs: config.SHUTDOWN_TIMEOUT_MS });
  const callers = asksCallers(config) ? await openCallers(config, env, log) : undefined;
  const metrics = await openMetrics(config);
  let stopping = false;
  const parts = createParts({ config, log, tracing, callers, metrics, isStopping: () => stopping }, upstreams);
  const { server, metricsServer } = await listen(parts).catch(async (error) => {
    await closeParts(parts, 0);
    throw error;
  });
  log.info({ port: server.port, version }, 'listening');

  return {
    url: server.url,
    port: server.port,
    metricsUrl: metricsServer?.url,
    async close() {
      stopping = true;
      const deadline = Date.now() + config.SHUTDOWN_TIMEOUT_MS - tracing.flushMs;
      await sleep(Math.min(config.SHUTDOWN_DELAY_MS, config.SHUTDOWN_TIMEOUT_MS - tracing.flushMs));
      await server.close(Math.max(0, deadline - Date.now()));
      await metricsServer?.close(0);
      await closeParts(parts, deadline - Date.now());
      await tracing.close(Math.max(0, deadline - Date.now()) + tracing.flushMs);
      log.info('stopped');
    },
  };
}

function createParts(
  given: Pick<GatewayParts, 'config' | 'log' | 'tracing' | 'callers' | 'metrics' | 'isStopping'>,
  upstreams: readonly Upstream[],
): GatewayParts {
  const { config, log, tracing, callers, metrics } = given;
  const telemetry = { log, tracing, onAnswer: metrics && measureClientRequests(metrics) };
  const proxies = upstreams.map((upstream) => new UpstreamProxy(upstream, config, telemetry));
  const routes = createUpstreamRoutes(proxies, config);
  return {
    ...given,
    ...{ proxies, routes, routeOf: createRouteOf(routes) },
    overload: new Overload(log),
    connectionLimit: new ConnectionLimit(config.MAX_CONNECTIONS, log),
    limits: openRateLimits(config, callers, log),
  };
}

/** A database that does not answer must not hold up the end. */
async function closeParts({ proxies, limits, callers }: GatewayParts, remainingMs: number): Promise<void> {
  for (const proxy of proxies) proxy.close();
  limits.close();
  if (callers)
    await Promise.race([callers.close(), sleep(Math.max(minCloseMs, remainingMs), undefined, { ref: false })]);
}

/** Loads the database driver only where it is needed. */
async function openCallers(config: GatewayConfig, env: Environment, log: Logger): Promise<Callers> {
  const module = await import('./callers/callers.ts');
  return await module.openCallers(config, env, log);
}

/** Each step answers a request, or passes it on. A new capability is one file and one line here. */
function createSteps(parts: GatewayParts): readonly Step[] {
  const { config, log, tracing, routes, routeOf, overload, connectionLimit, callers, limits } = parts;
  const trustedProxies = new TrustedProxies(config.TRUSTED_PROXIES);
  const publicPath = publicPathOf(config.PUBLIC_URL);
  const steps: Step[] = [
    dropAfterLastAnswer,
    resolveTarget(trustedProxies, publicPath),
    sanitize(trustedProxies, config.PUBLIC_URL === undefined ? undefined : publicPath),
    assignRequestId,
    secureHeaders,
    compressResponses(),
    cors(config.CORS_ORIGINS),
    serializePipelined(overload),
    rejectOverLimitConnections(connectionLimit, overload),
    rejectMalformed(log),
    limitFree(limits.free),
    answerPreflight(log),
    answerOptions({ log, isForwarded: isForwarded(routes), routeOf }),
    rejectAtConcurrencyLimit(routes, overload),
    traceRequests({ tracing, trustsIncoming: config.TRACE_TRUST_INCOMING, routeOf }),
    accessLog(log, routeOf),
    authenticate({ callers, publicUrl: config.PUBLIC_URL, log, failures: limits.failures, free: limits.free }),
    limitRate({ ...limits, actorOf: (request) => callerOf(request).actor }),
    dispatch({ routes, overload, maxBodyBytes: config.MAX_BODY_BYTES, log }),
    ownPages({ ...parts, version }),
  ];
  return steps;
}

interface Listeners {
  server: RunningServer;
  metricsServer: RunningServer | undefined;
}

/** The listener of the metrics opens first and closes last. */
async function listen(parts: GatewayParts): Promise<Listeners> {
  const { config, log, metrics } = parts;
  const metricsServer = metrics && (await serveMetrics(metrics, config, log));
  try {
    const server = await listenForClients(parts);
    if (metrics) measureListeners(metrics, { public: server });
    return { server, metricsServer };
  } catch (error) {
    await metricsServer?.close(0);
    throw error;
  }
}

function listenForClients(parts: GatewayParts): Promise<RunningServer> {
  const { config, log, connectionLimit, metrics, routeOf } = parts;
  const onFault = metrics && measureGateway(metrics, { ...parts, version });
  return serve(runSteps(createSteps(parts)), {
    host: config.HOST,
    port: config.PORT,
    // Linux's own limit. Beyond the accept backlog Linux drops the final ACK; clients notice only after retransmitting
    // for seconds.
    backlog: 4_096,
    keepAliveTimeoutMs: 65_000,
    maxHeaderBytes,
    quietMs,
    headersTimeoutMs: config.HEADERS_TIMEOUT_MS,
    requestTimeoutMs: config.REQUEST_TIMEOUT_MS,
    onResponseEnd: metrics && measureRequests(metrics, routeOf),
    configure(server) {
      server.timeout = config.IDLE_TIMEOUT_MS;
      const { CORS_ORIGINS: origins, MAX_BODY_BYTES: maxBodyBytes } = config;
      answerUnparsed(server, { log, origins, maxBodyBytes, onFault });
      connectionLimit.watch(server);
    },
  });
}
