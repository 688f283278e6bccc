// What the gateway measures in addition to its requests: its services, its limits and its callers' keys.
import { measureBuild } from '@promopulse/shared/service/metrics/process-metrics';
import type { Metrics } from '@promopulse/shared/telemetry/metrics';
import type { Callers } from './callers/callers.ts';
import type { ConnectionLimit } from './edge/connections.ts';
import type { Overload } from './edge/overload.ts';
import type { BreakerState } from './proxy/breaker.ts';
import type { UpstreamRoute } from './proxy/dispatch.ts';
import type { RateLimits } from './rate-limit/rate-limits.ts';

interface Measured extends Edge {
  version: string;
  routes: readonly UpstreamRoute[];
  limits: RateLimits;
  callers: Callers | undefined;
}

/** @returns what is called with the code of each answer to a request that could not be parsed */
export function measureGateway(metrics: Metrics, { version, routes, limits, callers, ...edge }: Measured) {
  measureBuild(metrics, { name: 'gateway', version });
  measureUpstreams(metrics, routes);
  measureCallers(metrics, limits, callers);
  return measureEdge(metrics, edge);
}

const breakerStates: readonly BreakerState[] = ['closed', 'open', 'half_open'];

function measureUpstreams(metrics: Metrics, routes: readonly UpstreamRoute[]): void {
  metrics.gauge(
    {
      name: 'promopulse_upstream_breaker_state',
      help: '1 for the state that the breaker of the service is in, else 0.',
    },
    () =>
      routes.flatMap(({ proxy }) =>
        breakerStates.map(
          (state) => [{ upstream: proxy.upstream.name, state }, state === proxy.figures().state ? 1 : 0] as const,
        ),
      ),
  );
  metrics.counter(
    { name: 'promopulse_upstream_breaker_openings_total', help: 'How often the breaker of the service has opened.' },
    () => routes.map(({ proxy }) => [{ upstream: proxy.upstream.name }, proxy.figures().openings]),
  );
  metrics.gauge(
    {
      name: 'promopulse_upstream_waiting_requests',
      help: 'Requests that wait for a connection, because the service refuses connections.',
    },
    () => routes.map(({ proxy }) => [{ upstream: proxy.upstream.name }, proxy.figures().waiting]),
  );
  measureConcurrency(metrics, routes);
}

function measureConcurrency(metrics: Metrics, routes: readonly UpstreamRoute[]): void {
  const limits = () =>
    routes.flatMap(({ proxy, concurrency, costlyConcurrency }) =>
      Object.entries({ ordinary: concurrency, costly: costlyConcurrency }).map(
        ([kind, limit]) => [{ upstream: proxy.upstream.name, kind }, limit.figures()] as const,
      ),
    );
  metrics.gauge(
    {
      name: 'promopulse_upstream_concurrency_limit_requests',
      help: 'How many requests the service may have at a time, now.',
    },
    () => limits().map(([labels, { limit }]) => [labels, limit]),
  );
  metrics.gauge(
    { name: 'promopulse_upstream_active_requests', help: 'Requests that the service has and has not answered.' },
    () => limits().map(([labels, { inFlight }]) => [labels, inFlight]),
  );
  metrics.counter(
    {
      name: 'promopulse_upstream_rejected_requests_total',
      help: 'Requests beyond the concurrency limit: 503 overloaded.',
    },
    () => limits().map(([labels, { rejected }]) => [labels, rejected]),
  );
}

interface Edge {
  overload: Overload;
  connectionLimit: ConnectionLimit;
}

function measureEdge(metrics: Metrics, { overload, connectionLimit }: Edge): (code: string) => void {
  metrics.counter(
    {
      name: 'promopulse_gateway_overloaded_requests_total',
      help: 'Requests answered with 503 overloaded, for any reason.',
    },
    () => overload.total,
  );
  metrics.gauge(
    { name: 'promopulse_gateway_connections', help: 'Open connections of clients within the limit.' },
    () => connectionLimit.figures().withinLimit,
  );
  metrics.gauge(
    { name: 'promopulse_gateway_max_connections', help: 'The limit, MAX_CONNECTIONS.' },
    () => connectionLimit.figures().max,
  );
  metrics.counter(
    {
      name: 'promopulse_gateway_excess_connections_total',
      help: 'Connections beyond the limit: rejected, or dropped beyond twice the limit.',
    },
    () => connectionLimit.figures().excess,
  );
  const unparsed = new Map<string, number>();
  metrics.counter(
    {
      name: 'promopulse_gateway_unparsed_requests_total',
      help: 'Requests rejected before they were parsed, by the code of the problem. Not among the durations.',
    },
    () => [...unparsed].map(([code, count]) => [{ code }, count]),
  );
  return (code) => void unparsed.set(code, (unparsed.get(code) ?? 0) + 1);
}

function measureCallers(metrics: Metrics, limits: RateLimits, callers: Callers | undefined): void {
  const { refusals, failures, free } = limits;
  metrics.counter(
    {
      name: 'promopulse_gateway_rate_limited_requests_total',
      help: 'Requests answered with 429. limit: of a caller, or of an address: failed authentications, or free requests.',
    },
    () => [
      [{ limit: 'caller' }, refusals.total],
      [{ limit: 'failures' }, failures.key.refused + failures.token.refused],
      [{ limit: 'free' }, free.refused],
    ],
  );
  metrics.gauge(
    {
      name: 'promopulse_gateway_rate_limits_shared',
      help: '1 while all gateways count together, 0 while this one counts alone because the database is away.',
    },
    () => (limits.isShared() === undefined ? undefined : Number(limits.isShared())),
  );
  if (!callers) return;
  metrics.counter(
    { name: 'promopulse_gateway_failed_authentications_total', help: 'Requests whose credential was refused.' },
    () => failures.key.taken + failures.token.taken,
  );
  callers.measure(metrics);
}
