// Forwards requests to one service through a circuit breaker. No request is sent twice: only one that got no connection
// waits for another one (reconnects.ts). Responses are streamed.
//
// The outcome of a request is known when the headers of its response arrive, not when its body ends. Failures: no
// connection, a connection lost before the headers, no headers in time, and a response of 502, 503 or 504. The client
// gets such a response unchanged, and it is no failure if it names an unavailable dependency of the service. No failures:
// any other status, and a client that hangs up.
//
// http-proxy-middleware processes the request and undici sends it: Node's HTTP client, which http-proxy-middleware uses
// by default, needs several times as much CPU (docs/decisions/0012-gateway-proxy-cost.md).
import type { IncomingMessage, ServerResponse } from 'node:http';
import { startClientSpan } from '@promopulse/shared/telemetry/http-spans';
import type { Logger } from '@promopulse/shared/telemetry/logger';
import type { ClientAnswer, OnClientAnswer } from '@promopulse/shared/telemetry/request-durations';
import type { Tracing } from '@promopulse/shared/telemetry/tracing';
import { createProxyMiddleware, type Plugin, type RequestHandler } from 'http-proxy-middleware';
import { Pool } from 'undici';
import { pathOf } from '../edge/target.ts';
import { Breaker, type BreakerOutcome, type BreakerSettings, type BreakerState } from './breaker.ts';
import type { Place } from './concurrency-limit.ts';
import { Reconnects } from './reconnects.ts';
import { sendProblemIfPossible, upstreamUnavailable } from './unanswered.ts';
import { type UpstreamClient, UpstreamRequest } from './upstream-request.ts';
import { pathForm, type Upstream } from './upstreams.ts';

/** For each request that a service may have at once, so many may wait for a connection. */
const waitingPerPlace = 4;
const minConnectTimeoutMs = 100;
/** One stop of a service ends many connections. */
const poolRenewalGapMs = 1_000;

interface ProxySettings extends BreakerSettings {
  UPSTREAM_TIMEOUT_MS: number;
  MAX_IN_FLIGHT: number;
}

interface ProxyTelemetry {
  log: Logger;
  tracing: Tracing;
  /** Undefined: nothing is measured. */
  onAnswer?: OnClientAnswer | undefined;
}

/** Open until `close`, which destroys the connections to the service. */
export class UpstreamProxy {
  readonly upstream: Upstream;
  readonly #client: UpstreamClient;
  readonly #tracing: Tracing;
  #poolRenewedAt = 0;
  readonly #breaker: Breaker;
  readonly #middleware: RequestHandler;
  /** The requests that the middleware is processing, for the transport. */
  readonly #upstreamRequests = new WeakMap<IncomingMessage, UpstreamRequest>();
  readonly #onAnswer: OnClientAnswer | undefined;

  constructor(upstream: Upstream, settings: ProxySettings, { log, tracing, onAnswer }: ProxyTelemetry) {
    const { UPSTREAM_TIMEOUT_MS: timeoutMs, MAX_IN_FLIGHT: maxInFlight } = settings;
    this.upstream = upstream;
    this.#tracing = tracing;
    this.#onAnswer = onAnswer;
    this.#breaker = new Breaker(upstream.name, settings, log);
    const maxWaiting = waitingPerPlace * maxInFlight;
    const reconnects = new Reconnects({ upstream: upstream.name, timeoutMs, maxWaiting, log });
    this.#client = {
      ...{ upstream, reconnects, timeoutMs, log },
      pool: openPool(upstream.url, timeoutMs),
      renewPool: () => this.#renewPool(),
    };
    this.#middleware = createProxyMiddleware({
      target: new URL(upstream.url),
      ejectPlugins: true, // the default plugins answer errors themselves, and log the query string
      plugins: [undiciTransport((request) => this.#upstreamRequests.get(request)?.send())],
    });
  }

  /**
   * Resolves when the service is done with the request: the headers of its response are known, or the request is lost or
   * has timed out. A client that hangs up does not change that. `body` is the whole body of the request.
   */
  forward(request: IncomingMessage, response: ServerResponse, body: Buffer, place: Place): Promise<void> {
    return new Promise((resolve, reject) => {
      const call = (): Promise<BreakerOutcome> =>
        new Promise((resolveOutcome) => {
          const endMeasures = this.#startMeasures(request, response);
          const onOutcome = (outcome: BreakerOutcome, answer: number | string): void => {
            endMeasures(answer);
            resolveOutcome(outcome);
          };
          const options = { client: this.#client, request, response, body, place, onOutcome, onRelease: resolve };
          const upstreamRequest = new UpstreamRequest(options);
          this.#upstreamRequests.set(request, upstreamRequest);
          const onError = (error: unknown) => upstreamRequest.fail(error);
          this.#middleware(request, response, onError).catch(onError);
        });
      this.#breaker.tryRun(call).then((hasRun) => {
        if (hasRun) return;
        sendProblemIfPossible(request, response, upstreamUnavailable(this.upstream, this.#breaker.retryAfter()));
        resolve();
      }, reject);
    });
  }

  /**
   * The span and the duration end with the headers of the response. What the body takes is in those of the client's request.
   * @returns how to end them, with the status of the response or else with the code of what happened
   */
  #startMeasures(request: IncomingMessage, response: ServerResponse): (answer: number | string) => void {
    const { upstream } = this;
    const onAnswer = this.#onAnswer;
    const routeOf = () => pathForm(upstream, pathOf(String(request.url)));
    const endSpan = startClientSpan(request, { tracing: this.#tracing, routeOf, url: upstream.url });
    if (!onAnswer) return endSpan;
    const startedAt = performance.now();
    return (answer) => {
      endSpan(answer);
      const seconds = (performance.now() - startedAt) / 1_000;
      // The gateway's own answer is sent after the outcome, in the same turn.
      queueMicrotask(() => {
        onAnswer({ upstream: upstream.name, method: request.method, ...resultOf(answer, response), seconds });
      });
    };
  }

  /** `waiting`: requests that have no connection yet. */
  figures(): { state: BreakerState; openings: number; waiting: number } {
    const { openings } = this.#breaker;
    return { state: this.#breaker.state(), openings, waiting: this.#client.reconnects.waiting };
  }

  breakerState(): BreakerState {
    return this.#breaker.state();
  }

  /** Idle connections are closed, and requests in flight end on theirs. The next request gets a new connection. */
  #renewPool(): void {
    const now = performance.now();
    if (now - this.#poolRenewedAt < poolRenewalGapMs) return;
    this.#poolRenewedAt = now;
    const { pool, upstream, timeoutMs } = this.#client;
    this.#client.pool = openPool(upstream.url, timeoutMs);
    pool.close().catch(() => undefined); // destroyed meanwhile
  }

  close(): void {
    this.#breaker.close();
    this.#client.reconnects.close();
    void this.#client.pool.destroy();
  }
}

/** Without a response of the service the client has the gateway's own, unless it has gone. */
function resultOf(answer: number | string, { statusCode }: ServerResponse): Pick<ClientAnswer, 'status' | 'error'> {
  if (typeof answer === 'number') return { status: answer, error: '' };
  if (answer === 'aborted') return { status: undefined, error: 'aborted' };
  return { status: undefined, error: statusCode === 504 ? 'timeout' : 'unavailable' };
}

function openPool(url: string, timeoutMs: number): Pool {
  // The number of connections has no limit: responses that a client reads slowly must not delay other requests.
  return new Pool(url, {
    // A part of the time for the headers, so that a connection that is not made in time can be tried again.
    connect: { timeout: Math.max(minConnectTimeoutMs, timeoutMs / 4) },
    // Shorter than the services' own 65 s, so that no connection is used while the service closes it.
    keepAliveTimeout: 4_000,
    keepAliveMaxTimeout: 4_000,
    // UpstreamRequest has a timer for the headers. IDLE_TIMEOUT_MS ends a response whose body stops.
    headersTimeout: 0,
    bodyTimeout: 0,
  });
}

/**
 * Sends requests with undici. httpxy, below http-proxy-middleware, takes a request through a list of passes. This plugin
 * puts its own pass before the last one, which would send the request with Node's HTTP client. (`before` needs the name
 * of a pass, and httpxy's passes have none: '' finds the last.)
 */
function undiciTransport(send: (request: IncomingMessage) => void): Plugin {
  return (proxyServer) => {
    proxyServer.before('web', '', (request) => {
      send(request as IncomingMessage);
      return true; // ends the list: the last pass does not run
    });
  };
}
