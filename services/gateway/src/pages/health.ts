// `/health` for people: the mesh as the gateway sees it. `/health/live` and `/health/ready` for orchestrators speak
// of the gateway alone: restarting it, or taking it out, would not bring a service back.
import { type HealthInfo, healthRoutes } from '@promopulse/shared/http/health';
import { Router } from 'express';
import type { BreakerState } from '../proxy/breaker.ts';
import type { UpstreamProxy } from '../proxy/proxy.ts';
import { ask } from '../proxy/upstreams.ts';

interface HealthOptions {
  info: HealthInfo;
  proxies: readonly UpstreamProxy[];
  isStopping(): boolean;
}

export function createHealthRoutes({ info, proxies, isStopping }: HealthOptions): Router {
  const router = Router({ caseSensitive: true });
  let asking: Promise<Map<string, ServiceReport>> | undefined;
  router.get('/health', async (_request, response) => {
    // Callers at the same time share one round of questions.
    asking ??= askAll(proxies).finally(() => {
      asking = undefined;
    });
    const services = await asking;
    const degraded = [...services.values()].some(({ status }) => status !== 'ok');
    if (degraded) response.status(503).setHeader('Retry-After', '1');
    response.json({ status: degraded ? 'degraded' : 'ok', ...info, services: Object.fromEntries(services) });
  });
  return router.use(healthRoutes({ info, isReady: () => !isStopping() }));
}

interface ServiceReport {
  status: 'ok' | 'not_ready' | 'unreachable';
  breaker: BreakerState;
  /** And what the service says of itself. */
  [detail: string]: unknown;
}

async function askAll(proxies: readonly UpstreamProxy[]): Promise<Map<string, ServiceReport>> {
  const reports = await Promise.all(
    proxies.map(async (proxy) => [proxy.upstream.name, await askOne(proxy)] as [string, ServiceReport]),
  );
  return new Map(reports);
}

async function askOne({ upstream, breakerState }: UpstreamProxy): Promise<ServiceReport> {
  const [ready, health] = await Promise.all([ask(upstream, '/health/ready'), ask(upstream, '/health')]);
  const breaker = breakerState();
  if (!ready && !health) return { status: 'unreachable', breaker };
  const isReady = ready?.status === 200 && health?.status === 200;
  return { ...(health?.status === 200 && health.body), breaker, status: isReady ? 'ok' : 'not_ready' };
}
