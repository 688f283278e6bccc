// The ways to the services. What goes there does not go through express, which would do nothing for it and costs a
// quarter of the rest.
import type { IncomingMessage, RequestListener, ServerResponse } from 'node:http';
import { errorHandler } from '@promopulse/shared/http/app';
import { accessLog } from '@promopulse/shared/http/request-log';
import type { Logger } from '@promopulse/shared/telemetry/logger';
import { type Admission, createAdmission, gatherBody } from './concurrency-limit.ts';
import type { UpstreamProxy } from './proxy.ts';
import { isBelow } from './upstreams.ts';

interface WaySettings {
  MAX_IN_FLIGHT: number;
  MAX_BODY_BYTES: number;
  UPSTREAM_TIMEOUT_MS: number;
}

/** One service: how many may be on their way to it, and what takes them there. */
interface Way {
  admission: Admission;
  proxy: UpstreamProxy;
}

/** Each request to the service that its path names, when its body is there as a whole; to `own` if it names none. */
export function toServices(
  proxies: readonly UpstreamProxy[],
  settings: WaySettings,
  log: Logger,
  refuse: (response: ServerResponse) => void,
  own: RequestListener,
): RequestListener {
  // Slow is longer than any answer that is well (1 s, when a projection is waited for), and shorter than a service itself
  // waits for a connection of its database's pool (2 s).
  const slowMs = 0.3 * settings.UPSTREAM_TIMEOUT_MS;
  const ways = proxies.map((proxy): Way => ({ proxy, admission: createAdmission(settings.MAX_IN_FLIGHT, slowMs) }));
  const access = accessLog(log);
  const answerError = errorHandler(log);

  async function forward({ admission, proxy }: Way, request: IncomingMessage, response: ServerResponse): Promise<void> {
    const body = await gatherBody(request, settings.MAX_BODY_BYTES);
    if (!body || response.destroyed) return;
    const admitted = await admission.admit(() => proxy.forward(request, response, body));
    if (!admitted) refuse(response);
  }

  return (request, response) => {
    const way = wayOf(ways, request.url);
    if (!way) own(request, response);
    else if (way.admission.isFull()) refuse(response);
    else {
      access(request, response);
      forward(way, request, response).catch((error) => answerError(error, request, response, () => response.destroy()));
    }
  };
}

function wayOf(ways: readonly Way[], url = ''): Way | undefined {
  const path = url.split('?', 1)[0] as string;
  return ways.find(({ proxy }) => isBelow(proxy.upstream, path));
}
