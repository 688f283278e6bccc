// Passes requests to one service through a breaker, and never twice. Responses are streamed.
//
// The breaker's verdict falls when the response's headers arrive, not when its body ends. Failures: no connection,
// a connection lost before headers, no headers in time, and 502, 503 or 504 as an answer (which the client still gets
// unchanged), unless it names a neighbour that is away. Not failures: any other status, and a client that hangs up.
import { Agent, type ClientRequest, type IncomingMessage } from 'node:http';
import { Readable } from 'node:stream';
import { awayHeader, DomainError } from '@promopulse/shared/errors';
import { requestIdHeader, requestIdOf, sendProblem } from '@promopulse/shared/http';
import type { Logger } from '@promopulse/shared/logger';
import type { Request, Response } from 'express';
import { createProxyMiddleware, proxyEventsPlugin } from 'http-proxy-middleware';
import { type BreakerSettings, type BreakerState, createBreaker, type Verdict } from './breaker.ts';
import { isHopByHop } from './hygiene.ts';
import type { Upstream } from './upstreams.ts';

interface ProxySettings extends BreakerSettings {
  UPSTREAM_TIMEOUT_MS: number;
}

export interface UpstreamProxy {
  upstream: Upstream;
  /** Resolves when the response's headers are known, or the client is gone. `body` is the request's, read already. */
  forward(request: Request, response: Response, body: Buffer): Promise<void>;
  breakerState(): BreakerState;
  close(): void;
}

/** One request on its way; the first call of `settle` counts. */
interface Exchange {
  settled: boolean;
  upstreamRequest: ClientRequest | undefined;
  response: Response;
  body: Buffer;
  settle(verdict: Verdict, answer?: DomainError): void;
}

const downStatuses = new Set([502, 503, 504]);

export function createUpstreamProxy(upstream: Upstream, settings: ProxySettings, log: Logger): UpstreamProxy {
  const { UPSTREAM_TIMEOUT_MS } = settings;
  const breaker = createBreaker(upstream.name, settings, log);
  // Idle connections go before the services' own 65 s are over, so that none is reused while it is being closed.
  // There is no bound on connections: those whose answer a client reads slowly must not hold up the others.
  const agent = new Agent({ keepAlive: true, maxFreeSockets: 64, timeout: 4_000 });
  const exchanges = new WeakMap<IncomingMessage, Exchange>();

  const proxy = createProxyMiddleware({
    target: upstream.url,
    agent,
    changeOrigin: true,
    selfHandleResponse: true,
    ejectPlugins: true, // the default ones answer and log with the query string
    plugins: [proxyEventsPlugin],
    router: (request, _response, options) => {
      const body = exchanges.get(request)?.body;
      if (body?.length) options.buffer = oneChunk(body);
      return upstream.url;
    },
    on: {
      proxyReq: (upstreamRequest, request) => {
        const exchange = exchanges.get(request);
        // It waited for a connection for so long that its client has been answered.
        if (exchange?.settled) upstreamRequest.destroy();
        else if (exchange) exchange.upstreamRequest = upstreamRequest;
      },
      proxyRes: (answer, request) => {
        const exchange = exchanges.get(request);
        if (exchange) takeAnswer(answer, exchange);
      },
      error: (error, request) => fail(error, request),
      econnreset: (_error, request) => exchanges.get(request)?.settle('neutral'),
    },
  });

  function fail(error: unknown, request: IncomingMessage): void {
    const exchange = exchanges.get(request);
    if (!exchange || exchange.settled) return;
    if (exchange.response.destroyed || (request.destroyed && !request.complete)) {
      exchange.settle('neutral');
      return;
    }
    logFailure(request, (error as { code?: string }).code);
    exchange.settle('failed', upstreamUnavailable(upstream, 1));
  }

  function logFailure(request: IncomingMessage, code: string | undefined): void {
    log.warn({ request_id: request.headers[requestIdHeader], upstream: upstream.name, code }, 'upstream failed');
  }

  function takeAnswer(answer: IncomingMessage, exchange: Exchange): void {
    const status = answer.statusCode ?? 0;
    if (exchange.settled) answer.destroy();
    else if (status < 200 || status > 599) exchange.settle('failed', upstreamUnavailable(upstream, 1));
    else {
      const itselfDown = downStatuses.has(status) && answer.headers[awayHeader.toLowerCase()] === undefined;
      exchange.settle(itselfDown ? 'failed' : 'answered');
      relay(answer, exchange.response);
    }
  }

  function exchangeWith(request: Request, response: Response, body: Buffer): Promise<Verdict> {
    // The length is known now, and one way to tell it is enough.
    if (request.headers['transfer-encoding'] !== undefined) {
      delete request.headers['transfer-encoding'];
      request.headers['content-length'] = String(body.length);
    }
    return new Promise((resolve) => {
      const exchange: Exchange = {
        settled: false,
        upstreamRequest: undefined,
        response,
        body,
        settle(verdict, answer) {
          if (exchange.settled) return;
          exchange.settled = true;
          clearTimeout(headerTimer);
          resolve(verdict);
          if (!answer) return;
          exchange.upstreamRequest?.destroy();
          refuse(request, response, answer);
        },
      };
      const headerTimer = setTimeout(() => {
        logFailure(request, 'timeout');
        exchange.settle('failed', upstreamTimeout(upstream));
      }, UPSTREAM_TIMEOUT_MS);
      response.once('close', () => exchange.settle('neutral'));
      exchanges.set(request, exchange);
      proxy(request, response, (error) => fail(error, request)).catch((error: unknown) => fail(error, request));
    });
  }

  return {
    upstream,
    async forward(request, response, body) {
      const admitted = await breaker.admit(() => exchangeWith(request, response, body));
      if (!admitted) refuse(request, response, upstreamUnavailable(upstream, breaker.retryAfter()));
    },
    breakerState: breaker.state,
    close() {
      breaker.close();
      agent.destroy();
    },
  };
}

function oneChunk(body: Buffer): Readable {
  return new Readable({
    read() {
      this.push(body);
      this.push(null);
    },
  });
}

/** The proxy's own copying would force `Connection: keep-alive` on clients that asked for close. */
function relay(answer: IncomingMessage, response: Response): void {
  response.status(answer.statusCode as number);
  for (const [name, value] of Object.entries(answer.headers)) {
    const ours = name === requestIdHeader || name === 'server' || name === 'x-powered-by';
    if (value !== undefined && !ours && !isHopByHop(name, answer.headers.connection)) response.setHeader(name, value);
  }
  answer.pipe(response);
}

function refuse(request: Request, response: Response, error: DomainError): void {
  if (!response.headersSent && !response.destroyed) sendProblem(response, error, requestIdOf(request));
}

function upstreamUnavailable({ name }: Upstream, retryAfter: number): DomainError {
  const message = `The ${name} service is not available right now`;
  return new DomainError('unavailable', 'upstream_unavailable', message, { retryAfter });
}

function upstreamTimeout({ name }: Upstream): DomainError {
  return new DomainError('timeout', 'upstream_timeout', `The ${name} service did not answer in time`);
}
