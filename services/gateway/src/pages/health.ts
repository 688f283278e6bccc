// `/health` for people: the gateway and every service behind it. `/health/live` and `/health/ready` for orchestrators
// report on the gateway alone: a restart of the gateway, or less traffic to it, would not bring a service back.
import { type HealthInfo, healthRoutes } from '@promopulse/shared/http/health';
import { Router } from 'express';
import type { BreakerState } from '../proxy/breaker.ts';
import type { UpstreamProxy } from '../proxy/proxy.ts';
import { fetchPage } from '../proxy/upstreams.ts';

interface HealthOptions {
  info: HealthInfo;
  proxies: readonly UpstreamProxy[];
  isStopping(): boolean;
}

export function createHealthRoutes({ info, proxies, isStopping }: HealthOptions): Router {
  const router = Router({ caseSensitive: true });
  let pending: Promise<Map<string, ServiceReport>> | undefined;
  router.get('/health', async (_request, response) => {
    // Concurrent callers share one set of requests to the services.
    pending ??= fetchReports(proxies).finally(() => {
      pending = undefined;
    });
    const services = await pending;
    const states = [...services.values()].map(({ status }) => status);
    // A degraded service serves requests, so it is no reason for a 503.
    if (!states.every(isReady)) response.status(503).setHeader('Retry-After', '1');
    const status = states.every((state) => state === 'ok') ? 'ok' : 'degraded';
    response.json({ status, ...info, services: Object.fromEntries(services) });
  });
  return router.use(healthRoutes({ info, isReady: () => !isStopping() }));
}

type ServiceStatus = 'ok' | 'degraded' | 'not_ready' | 'unreachable';

const isReady = (status: ServiceStatus): boolean => status === 'ok' || status === 'degraded';

interface ServiceReport {
  status: ServiceStatus;
  breaker: BreakerState;
  /** The fields of the service's own `/health`. */
  [field: string]: unknown;
}

async function fetchReports(proxies: readonly UpstreamProxy[]): Promise<Map<string, ServiceReport>> {
  const reports = await Promise.all(
    proxies.map(async (proxy) => [proxy.upstream.name, await fetchReport(proxy)] as [string, ServiceReport]),
  );
  return new Map(reports);
}

async function fetchReport(proxy: UpstreamProxy): Promise<ServiceReport> {
  const [ready, health] = await Promise.all([
    fetchPage(proxy.upstream, '/health/ready'),
    fetchPage(proxy.upstream, '/health'),
  ]);
  const breaker = proxy.breakerState();
  if (!ready && !health) return { status: 'unreachable', breaker };
  if (health?.status !== 200) return { breaker, status: 'not_ready' };
  const whenReady = health.body.status === 'degraded' ? 'degraded' : 'ok';
  return { ...health.body, breaker, status: ready?.status === 200 ? whenReady : 'not_ready' };
}
