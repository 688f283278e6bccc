// One request on its way to a service and its answer on the way back, as undici tells of them.
//
// A client that hangs up is judged at once, but its request goes on: cutting the connection would not stop the service,
// so the place it takes is free only when the service is done with it.
import type { IncomingHttpHeaders, IncomingMessage, ServerResponse } from 'node:http';
import { DomainError, unavailableDependencyHeader } from '@promopulse/shared/errors';
import { sendProblem } from '@promopulse/shared/http/problem';
import { requestIdHeader, requestIdOf } from '@promopulse/shared/http/request-log';
import type { Logger } from '@promopulse/shared/telemetry/logger';
import type { Dispatcher, Pool } from 'undici';
import { isHopByHop } from '../edge/sanitize.ts';
import type { Verdict } from './breaker.ts';
import type { Upstream } from './upstreams.ts';

/** What the exchanges with one service have in common. */
export interface Route {
  upstream: Upstream;
  pool: Pool;
  /** Milliseconds from a request to its response's headers. */
  timeoutMs: number;
  log: Logger;
}

const downStatuses = new Set([502, 503, 504]);
const unavailableDependencyName = unavailableDependencyHeader.toLowerCase();
const ourHeaders = new Set([requestIdHeader, 'server', 'x-powered-by']);
/** Why we gave a request up; nobody reads it. */
const givenUp = new Error('given up');

export class Exchange implements Dispatcher.DispatchHandler {
  readonly #route: Route;
  readonly #request: IncomingMessage;
  readonly #response: ServerResponse;
  readonly #body: Buffer;
  readonly #judge: (verdict: Verdict) => void;
  readonly #release: () => void;
  readonly #headerTimer: NodeJS.Timeout;
  #controller: Dispatcher.DispatchController | undefined;
  #judged = false;
  /** The response has its head, but it may not have been written yet. */
  #relaying = false;
  #written = false;
  #complete = false;

  /**
   * `judge` is called once, with the verdict on the service; `release`, not before that, when it is done with the request
   * but for the rest of the response, or has had its time (again and again does no harm).
   */
  constructor(
    route: Route,
    request: IncomingMessage,
    response: ServerResponse,
    body: Buffer,
    judge: (verdict: Verdict) => void,
    release: () => void,
  ) {
    this.#route = route;
    this.#request = request;
    this.#response = response;
    this.#body = body;
    this.#judge = judge;
    this.#release = release;
    this.#headerTimer = setTimeout(giveUp, route.timeoutMs, this);
    response.once('close', () => {
      this.#settle('neutral');
      if (this.#relaying && !this.#complete) this.#controller?.abort(givenUp);
    });
  }

  send(): void {
    const { method = '', url = '', headers } = this.#request;
    const options = { path: url, method: method as Dispatcher.HttpMethod, headers: onward(headers), body: this.#body };
    this.#route.pool.dispatch(options, this);
  }

  giveUp(): void {
    if (this.#judged) {
      this.#free();
      this.#controller?.abort(givenUp);
    } else {
      this.#logFailure('timeout');
      this.#refuse(upstreamTimeout(this.#route.upstream));
    }
  }

  /** The request is lost, or what has not come of its answer yet. */
  fail(error: unknown): void {
    if (this.#relaying) this.#response.destroy();
    if (this.#response.destroyed) this.#settle('neutral');
    this.#free();
    if (this.#judged) return;
    this.#logFailure((error as { code?: string } | undefined)?.code);
    this.#refuse(upstreamUnavailable(this.#route.upstream, 1));
  }

  onRequestStart(controller: Dispatcher.DispatchController): void {
    // It waited for a connection for so long that its client is gone or answered. To abort would cost the connection.
    if (this.#judged) throw givenUp;
    this.#controller = controller;
  }

  onResponseStart(controller: Dispatcher.DispatchController, status: number, headers: IncomingHttpHeaders): void {
    if (status < 200) return;
    if (this.#judged) {
      this.#free();
      controller.abort(givenUp);
      return;
    }
    if (status > 599) {
      this.#refuse(upstreamUnavailable(this.#route.upstream, 1));
      return;
    }
    const itselfDown = downStatuses.has(status) && headers[unavailableDependencyName] === undefined;
    this.#settle(itselfDown ? 'failed' : 'answered');
    this.#free();
    this.#relayHead(status, headers);
  }

  onResponseData(controller: Dispatcher.DispatchController, chunk: Buffer): void {
    const response = this.#response;
    const isWhole = !this.#written && Number(response.getHeader('content-length')) === chunk.length;
    this.#written = true;
    if (isWhole) {
      // A string goes out in one piece with the head, a buffer in two; latin1 keeps every byte.
      response.end(chunk.toString('latin1'), 'latin1');
    } else if (!response.write(chunk)) {
      controller.pause();
      response.once('drain', () => controller.resume());
    }
  }

  onResponseEnd(): void {
    this.#complete = true;
    this.#response.end();
  }

  onResponseError(_controller: Dispatcher.DispatchController | null, error: Error): void {
    this.#complete = true;
    this.fail(error);
  }

  /** The first call counts. */
  #settle(verdict: Verdict): void {
    if (this.#judged) return;
    this.#judged = true;
    this.#judge(verdict);
  }

  #free(): void {
    clearTimeout(this.#headerTimer);
    this.#release();
  }

  #refuse(answer: DomainError): void {
    this.#settle('failed');
    this.#free();
    this.#controller?.abort(givenUp);
    refuse(this.#request, this.#response, answer);
  }

  #relayHead(status: number, headers: IncomingHttpHeaders): void {
    const response = this.#response;
    this.#relaying = true;
    response.statusCode = status;
    for (const name in headers) {
      const value = headers[name];
      const passes = value !== undefined && !ourHeaders.has(name) && !isHopByHop(name, headers.connection);
      if (passes) response.setHeader(name, value);
    }
    // What has come of the body with the head goes out with it; a head alone does not wait for more.
    queueMicrotask(() => {
      if (this.#written || this.#complete) return;
      this.#written = true;
      response.flushHeaders();
    });
  }

  #logFailure(code: string | undefined): void {
    const { log, upstream } = this.#route;
    log.warn({ request_id: this.#request.headers[requestIdHeader], upstream: upstream.name, code }, 'upstream failed');
  }
}

function giveUp(exchange: Exchange): void {
  exchange.giveUp();
}

/** The length is known, and one way to tell it is enough; undici writes it, and Host, itself. */
function onward(headers: IncomingHttpHeaders): Record<string, string | string[]> {
  const { host: _host, 'content-length': _length, 'transfer-encoding': _coding, ...rest } = headers;
  return rest as Record<string, string | string[]>;
}

export function refuse(request: IncomingMessage, response: ServerResponse, error: DomainError): void {
  if (!response.headersSent && !response.destroyed) sendProblem(response, error, requestIdOf(request));
}

export function upstreamUnavailable({ name }: Upstream, retryAfter: number): DomainError {
  const message = `The ${name} service is not available right now`;
  return new DomainError('unavailable', 'upstream_unavailable', message, { retryAfter });
}

function upstreamTimeout({ name }: Upstream): DomainError {
  return new DomainError('timeout', 'upstream_timeout', `The ${name} service did not answer in time`);
}
