// Passes requests to one service through a breaker, and never twice. Responses are streamed.
//
// The breaker's verdict falls when the response's headers arrive, not when its body ends. Failures: no connection,
// a connection lost before headers, no headers in time, and 502, 503 or 504 as an answer (which the client still gets
// unchanged), unless it names a neighbour that is away. Not failures: any other status, and a client that hangs up.
//
// http-proxy-middleware takes the request, undici carries it: node's http client, which http-proxy-middleware would
// use by itself, costs several times as much (docs/decisions/0012-gateway-proxy-cost.md).
import type { IncomingMessage, ServerResponse } from 'node:http';
import type { Logger } from '@promopulse/shared/telemetry/logger';
import { createProxyMiddleware, type Plugin } from 'http-proxy-middleware';
import { Pool } from 'undici';
import { type BreakerSettings, type BreakerState, createBreaker, type Verdict } from './breaker.ts';
import { Exchange, type Route, refuse, upstreamUnavailable } from './upstream-request.ts';
import type { Upstream } from './upstreams.ts';

interface ProxySettings extends BreakerSettings {
  UPSTREAM_TIMEOUT_MS: number;
}

export interface UpstreamProxy {
  upstream: Upstream;
  /**
   * Resolves when the service has done its part: the response's headers are known, or the request is lost or out of time,
   * also for a client that is gone. `body` is the request's, read already.
   */
  forward(request: IncomingMessage, response: ServerResponse, body: Buffer): Promise<void>;
  breakerState(): BreakerState;
  close(): void;
}

export function createUpstreamProxy(upstream: Upstream, settings: ProxySettings, log: Logger): UpstreamProxy {
  const { UPSTREAM_TIMEOUT_MS: timeoutMs } = settings;
  const breaker = createBreaker(upstream.name, settings, log);
  // There is no bound on connections: those whose answer a client reads slowly must not hold up the others.
  const pool = new Pool(upstream.url, {
    connect: { timeout: timeoutMs },
    // Idle connections go before the services' own 65 s are over, so that none is reused while it is being closed.
    keepAliveTimeout: 4_000,
    keepAliveMaxTimeout: 4_000,
    // An exchange times the headers itself, and the client's connection is cut when the body stands still.
    headersTimeout: 0,
    bodyTimeout: 0,
  });
  const route: Route = { upstream, pool, timeoutMs, log };
  const exchanges = new WeakMap<IncomingMessage, Exchange>();
  const proxy = createProxyMiddleware({
    target: new URL(upstream.url),
    ejectPlugins: true, // the default ones answer and log with the query string
    plugins: [carryBy((request) => exchanges.get(request)?.send())],
  });

  function forward(request: IncomingMessage, response: ServerResponse, body: Buffer): Promise<void> {
    return new Promise((release, reject) => {
      const exchange = (): Promise<Verdict> =>
        new Promise((judge) => {
          const begun = new Exchange(route, request, response, body, judge, release);
          exchanges.set(request, begun);
          const fail = (error: unknown) => begun.fail(error);
          proxy(request, response, fail).catch(fail);
        });
      breaker.admit(exchange).then((admitted) => {
        if (admitted) return;
        refuse(request, response, upstreamUnavailable(upstream, breaker.retryAfter()));
        release();
      }, reject);
    });
  }

  return {
    upstream,
    forward,
    breakerState: breaker.state,
    close() {
      breaker.close();
      void pool.destroy();
    },
  };
}

/** Stands before the last of the passes a request takes through the proxy (httpxy names none of them): the one that would send it with node's http client. */
function carryBy(send: (request: IncomingMessage) => void): Plugin {
  return (proxyServer) => {
    proxyServer.before('web', '', (request) => {
      send(request as IncomingMessage);
      return true; // no pass after this one
    });
  };
}
