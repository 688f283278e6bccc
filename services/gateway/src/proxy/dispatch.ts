// The steps that take a request to its service. They do not use express: it would do nothing for a proxied request, and
// it costs a quarter as much CPU as everything else that the gateway does for it.
import type { IncomingMessage, ServerResponse } from 'node:http';
import { errorHandler } from '@promopulse/shared/http/app';
import { hasBody } from '@promopulse/shared/http/input/read-body';
import { costOfTarget } from '@promopulse/shared/http/pagination';
import { expressRouteOf } from '@promopulse/shared/http/request-log';
import type { Logger } from '@promopulse/shared/telemetry/logger';
import type { RouteOf } from '@promopulse/shared/telemetry/request-durations';
import { confirmCaller } from '../edge/authenticate.ts';
import type { Overload } from '../edge/overload.ts';
import type { Step } from '../edge/steps.ts';
import { pathOf } from '../edge/target.ts';
import { gatherBody } from './body.ts';
import { ConcurrencyLimit } from './concurrency-limit.ts';
import type { UpstreamProxy } from './proxy.ts';
import { ownsPath, pathForm } from './upstreams.ts';

/** Where requests for one service go. */
export interface UpstreamRoute {
  proxy: UpstreamProxy;
  concurrency: ConcurrencyLimit;
  /** For pages that cost much more than other requests: they wait in a lane of the service, and would occupy the other limit. */
  costlyConcurrency: ConcurrencyLimit;
}

export function createUpstreamRoutes(
  proxies: readonly UpstreamProxy[],
  settings: { MAX_IN_FLIGHT: number; UPSTREAM_TIMEOUT_MS: number },
): UpstreamRoute[] {
  // Longer than any answer of a service that is not overloaded (1 s, when it waits for a projection), and shorter than
  // a service's own wait for a connection to its database (2 s).
  const slowMs = 0.3 * settings.UPSTREAM_TIMEOUT_MS;
  const createLimit = (): ConcurrencyLimit => new ConcurrencyLimit(settings.MAX_IN_FLIGHT, slowMs);
  return proxies.map((proxy) => ({ proxy, concurrency: createLimit(), costlyConcurrency: createLimit() }));
}

function limitFor(route: UpstreamRoute, { url = '' }: IncomingMessage): ConcurrencyLimit {
  return costOfTarget(url) ? route.costlyConcurrency : route.concurrency;
}

function matchUpstream(routes: readonly UpstreamRoute[], url = ''): UpstreamRoute | undefined {
  const path = pathOf(url);
  return routes.find(({ proxy }) => ownsPath(proxy.upstream, path));
}

/** @returns whether a service owns the path of a request */
export function isForwarded(routes: readonly UpstreamRoute[]): (request: IncomingMessage) => boolean {
  return ({ url }) => matchUpstream(routes, url) !== undefined;
}

/** A request that is forwarded has the form of its path: the gateway does not know the routes of a service. */
export function createRouteOf(routes: readonly UpstreamRoute[]): RouteOf {
  return (request) => {
    const route = matchUpstream(routes, request.url);
    return route ? pathForm(route.proxy.upstream, pathOf(String(request.url))) : expressRouteOf(request);
  };
}

/** Rejects a request for a service that has reached its concurrency limit, before the body is read. */
export function rejectAtConcurrencyLimit(routes: readonly UpstreamRoute[], overload: Overload): Step {
  return (request, response, next) => {
    const route = matchUpstream(routes, request.url);
    const limit = route && limitFor(route, request);
    if (limit?.isReached()) overload.reject(response, limit.retryAfter());
    else next();
  };
}

interface DispatchOptions {
  routes: readonly UpstreamRoute[];
  overload: Overload;
  maxBodyBytes: number;
  log: Logger;
}

/** Forwards a request to the service that owns its path. Passes it on when no service does. */
export function dispatch({ routes, overload, maxBodyBytes, log }: DispatchOptions): Step {
  const handleError = errorHandler(log);

  async function forward(route: UpstreamRoute, request: IncomingMessage, response: ServerResponse): Promise<void> {
    const body = await gatherBody(request, maxBodyBytes);
    if (!body || response.destroyed) return;
    if (hasBody(request)) await confirmCaller(request);
    // The limit may have been reached while the body arrived.
    const limit = limitFor(route, request);
    const hasRun = await limit.tryRun((place) => route.proxy.forward(request, response, body, place));
    if (!hasRun) overload.reject(response, limit.retryAfter());
  }

  return (request, response, next) => {
    const route = matchUpstream(routes, request.url);
    if (!route) {
      next();
      return;
    }
    forward(route, request, response).catch((error) => handleError(error, request, response, () => response.destroy()));
  };
}
