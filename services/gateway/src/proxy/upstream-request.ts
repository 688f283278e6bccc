// One request to a service and its response, with the events that undici emits for it.
import type { IncomingHttpHeaders, IncomingMessage, ServerResponse } from 'node:http';
import {
  DomainError,
  outcomeUnknown,
  reachedLimitHeader,
  unavailableDependencyHeader,
} from '@promopulse/shared/errors';
import { sendProblem } from '@promopulse/shared/http/problem';
import { requestIdHeader, requestIdOf } from '@promopulse/shared/http/request-log';
import type { Logger } from '@promopulse/shared/telemetry/logger';
import type { Dispatcher, Pool } from 'undici';
import { isHopByHop } from '../edge/sanitize.ts';
import type { BreakerOutcome } from './breaker.ts';
import type { Upstream } from './upstreams.ts';

/** What all requests to one service share. */
export interface UpstreamClient {
  upstream: Upstream;
  pool: Pool;
  /** Milliseconds from the request to the headers of its response. */
  timeoutMs: number;
  log: Logger;
}

interface UpstreamRequestOptions {
  client: UpstreamClient;
  request: IncomingMessage;
  response: ServerResponse;
  body: Buffer;
  /** Called once. */
  onOutcome(outcome: BreakerOutcome): void;
  /** The service is done with the request, or has timed out. Only the rest of the response may follow. Called at least once. */
  onRelease(): void;
}

/** Statuses by which a service, or a proxy before it, says that it is unavailable. */
const unavailableStatuses = new Set([502, 503, 504]);
/** Methods that change nothing (RFC 9110 9.2.1). */
const safeMethods = new Set(['GET', 'HEAD', 'OPTIONS', 'TRACE']);
/** A service that sends one of these headers is healthy. */
const healthyNames = [unavailableDependencyHeader.toLowerCase(), reachedLimitHeader.toLowerCase()];
/** Response headers that the gateway writes itself, or that name the software of a service. */
const droppedHeaders = new Set([requestIdHeader, 'server', 'x-powered-by']);
/** undici needs a reason for an abort. It comes back to `fail`, which ignores it. */
const abortReason = new Error('aborted by the gateway');

/**
 * waiting: until the headers of the response, an error or the timeout. Each of them reports the outcome and releases the
 * service.
 * relaying: the client gets the headers, then the body as it arrives.
 * ended: the response is complete or cut.
 * abandoned: the client hung up while the request was waiting. The outcome is `neutral` at once. The service is released
 * only when it responds or times out. The service continues to work on the request; cutting the connection would not
 * stop it.
 */
export class UpstreamRequest implements Dispatcher.DispatchHandler {
  readonly #client: UpstreamClient;
  readonly #request: IncomingMessage;
  readonly #response: ServerResponse;
  readonly #body: Buffer;
  readonly #onOutcome: (outcome: BreakerOutcome) => void;
  readonly #onRelease: () => void;
  readonly #headersTimer: NodeJS.Timeout;
  #controller: Dispatcher.DispatchController | undefined;
  #hasOutcome = false;
  #relaying = false;
  /** The head of the response has been written to the client's socket. */
  #headWritten = false;
  /** Nothing more comes from the service. */
  #ended = false;

  constructor({ client, request, response, body, onOutcome, onRelease }: UpstreamRequestOptions) {
    this.#client = client;
    this.#request = request;
    this.#response = response;
    this.#body = body;
    this.#onOutcome = onOutcome;
    this.#onRelease = onRelease;
    this.#headersTimer = setTimeout(onTimeout, client.timeoutMs, this);
    response.once('close', () => {
      this.#reportOutcome('neutral');
      if (this.#relaying && !this.#ended) this.#controller?.abort(abortReason);
    });
  }

  send(): void {
    const { method = '', url = '', headers } = this.#request;
    this.#client.pool.dispatch(
      { path: url, method: method as Dispatcher.HttpMethod, headers: forwardHeaders(headers), body: this.#body },
      this,
    );
  }

  /** The time for the headers is over. */
  timeOut(): void {
    if (this.#hasOutcome) {
      // Abandoned: there is no client to answer.
      this.#release();
      this.#controller?.abort(abortReason);
    } else {
      this.#logFailure('timeout');
      this.#rejectUnanswered('timeout');
    }
  }

  /** The connection to the service is lost: before the headers, or in the middle of the body. */
  fail(error: unknown): void {
    // Destroy the response, so that the client sees it is incomplete.
    if (this.#relaying) this.#response.destroy();
    if (this.#response.destroyed) this.#reportOutcome('neutral');
    this.#release();
    if (this.#hasOutcome) return;
    this.#logFailure((error as { code?: string } | undefined)?.code);
    this.#rejectUnanswered('unavailable');
  }

  onRequestStart(controller: Dispatcher.DispatchController): void {
    // The request waited for a connection until its client hung up or got a 504. An abort would close the connection.
    if (this.#hasOutcome) throw abortReason;
    this.#controller = controller;
  }

  onResponseStart(controller: Dispatcher.DispatchController, status: number, headers: IncomingHttpHeaders): void {
    if (status < 200) return; // an interim response
    if (this.#hasOutcome) {
      // Abandoned: the service is done with the request, and its response has no reader.
      this.#release();
      controller.abort(abortReason);
      return;
    }
    if (status > 599) {
      // Not a valid status code (RFC 9110 15).
      this.#rejectUnanswered('unavailable');
      return;
    }
    const isUnavailable = unavailableStatuses.has(status) && !healthyNames.some((name) => headers[name] !== undefined);
    this.#reportOutcome(isUnavailable ? 'failed' : 'answered');
    this.#release();
    this.#relayHead(status, headers);
  }

  onResponseData(controller: Dispatcher.DispatchController, chunk: Buffer): void {
    const response = this.#response;
    const isWholeBody = !this.#headWritten && Number(response.getHeader('content-length')) === chunk.length;
    this.#headWritten = true;
    if (isWholeBody) {
      // Node writes a string together with the head, but a buffer separately. latin1 keeps every byte.
      response.end(chunk.toString('latin1'), 'latin1');
    } else if (!response.write(chunk)) {
      controller.pause();
      response.once('drain', () => controller.resume());
    }
  }

  onResponseEnd(): void {
    this.#ended = true;
    this.#response.end();
  }

  onResponseError(_controller: Dispatcher.DispatchController | null, error: Error): void {
    this.#ended = true;
    this.fail(error);
  }

  /** Only the first call counts. */
  #reportOutcome(outcome: BreakerOutcome): void {
    if (this.#hasOutcome) return;
    this.#hasOutcome = true;
    this.#onOutcome(outcome);
  }

  #release(): void {
    clearTimeout(this.#headersTimer);
    this.#onRelease();
  }

  /** A change may have been made from the moment that undici has started to send it, which needs a connection. */
  #rejectUnanswered(kind: 'unavailable' | 'timeout'): void {
    const { upstream } = this.#client;
    const isSafe = safeMethods.has(String(this.#request.method));
    const wasSent = this.#controller !== undefined;
    if (wasSent && !isSafe) this.#reject(outcomeUnknown(undefined, kind));
    else if (isSafe && kind === 'timeout') this.#reject(upstreamTimeout(upstream));
    else this.#reject(upstreamUnavailable(upstream, 1));
  }

  #reject(error: DomainError): void {
    this.#reportOutcome('failed');
    this.#release();
    this.#controller?.abort(abortReason);
    sendProblemIfPossible(this.#request, this.#response, error);
  }

  #relayHead(status: number, headers: IncomingHttpHeaders): void {
    const response = this.#response;
    this.#relaying = true;
    response.statusCode = status;
    for (const name in headers) {
      const value = headers[name];
      const isForwarded = value !== undefined && !droppedHeaders.has(name) && !isHopByHop(name, headers.connection);
      if (isForwarded) response.setHeader(name, value);
    }
    // A body that arrives together with the head is written together with it. A head alone is written now.
    queueMicrotask(() => {
      if (this.#headWritten || this.#ended) return;
      this.#headWritten = true;
      response.flushHeaders();
    });
  }

  #logFailure(code: string | undefined): void {
    const { log, upstream } = this.#client;
    log.warn({ request_id: this.#request.headers[requestIdHeader], upstream: upstream.name, code }, 'upstream failed');
  }
}

function onTimeout(upstreamRequest: UpstreamRequest): void {
  upstreamRequest.timeOut();
}

/** undici writes Host and Content-Length itself. The body is complete, so it needs no Transfer-Encoding. */
function forwardHeaders(headers: IncomingHttpHeaders): Record<string, string | string[]> {
  const { host: _host, 'content-length': _length, 'transfer-encoding': _coding, ...rest } = headers;
  return rest as Record<string, string | string[]>;
}

/** Sends nothing when a response has begun or the client has gone. */
export function sendProblemIfPossible(request: IncomingMessage, response: ServerResponse, error: DomainError): void {
  if (!response.headersSent && !response.destroyed) sendProblem(response, error, requestIdOf(request));
}

export function upstreamUnavailable({ name }: Upstream, retryAfter: number): DomainError {
  const message = `The ${name} service is unavailable`;
  return new DomainError('unavailable', 'upstream_unavailable', message, { retryAfter });
}

function upstreamTimeout({ name }: Upstream): DomainError {
  return new DomainError('timeout', 'upstream_timeout', `The ${name} service did not answer in time`);
}
