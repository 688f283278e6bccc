// One request to a service and its response, with the events that undici emits for it.
import type { IncomingHttpHeaders, IncomingMessage, ServerResponse } from 'node:http';
import { type DomainError, isConnectionError } from '@promopulse/shared/errors';
import { problemTitles } from '@promopulse/shared/http/problem';
import { loggedRequest } from '@promopulse/shared/http/request-log';
import type { Logger } from '@promopulse/shared/telemetry/logger';
import type { Dispatcher, Pool } from 'undici';
import type { BreakerOutcome } from './breaker.ts';
import type { Place } from './concurrency-limit.ts';
import { copyResponseHeaders, forwardHeaders, saysUnavailable } from './headers.ts';
import type { Reconnects, RefusedRequest } from './reconnects.ts';
import { sendProblemIfPossible, unansweredError } from './unanswered.ts';
import type { Upstream } from './upstreams.ts';

/** What all requests to one service share. */
export interface UpstreamClient {
  upstream: Upstream;
  pool: Pool;
  /** For a service that ends its connections, as it does when it stops: it may end an idle one as that is used. */
  renewPool(): void;
  reconnects: Reconnects;
  /** Milliseconds from the request to the headers of its response. */
  timeoutMs: number;
  log: Logger;
}

interface UpstreamRequestOptions {
  client: UpstreamClient;
  request: IncomingMessage;
  response: ServerResponse;
  body: Buffer;
  place: Place;
  /** Called once, with the status of the response, or else the code of what happened. */
  onOutcome(outcome: BreakerOutcome, answer: number | string): void;
  /** The service is done with the request, or has timed out. Only the rest of the response may follow. Called at least once. */
  onRelease(): void;
}

/** undici needs a reason for an abort. It comes back to `fail`, which ignores it. */
const abortReason = new Error('aborted by the gateway');

/**
 * waiting: until the headers of the response, an error or the timeout. Each of them reports the outcome and releases the
 * service.
 * relaying: the client gets the headers, then the body as it arrives.
 * ended: the response is complete or cut.
 * refused: there is no connection, and nothing was sent. The request waits to be sent again, and does not count as one
 * that the service has. The timeout ends this, too.
 * abandoned: the client hung up while the request was waiting. The outcome is `neutral` at once. The service is released
 * only when it responds or times out. The service continues to work on the request; cutting the connection would not
 * stop it.
 */
export class UpstreamRequest implements Dispatcher.DispatchHandler, RefusedRequest {
  readonly #client: UpstreamClient;
  readonly #request: IncomingMessage;
  readonly #response: ServerResponse;
  readonly #body: Buffer;
  readonly #place: Place;
  readonly #onOutcome: UpstreamRequestOptions['onOutcome'];
  readonly #onRelease: () => void;
  readonly #headersTimer: NodeJS.Timeout;
  #controller: Dispatcher.DispatchController | undefined;
  #hasOutcome = false;
  /** The code of the error by which the last attempt got no connection. */
  #refusal: string | undefined;
  #relaying = false;
  /** The head of the response has been written to the client's socket. */
  #headWritten = false;
  /** Nothing more comes from the service. */
  #ended = false;

  constructor({ client, request, response, body, place, onOutcome, onRelease }: UpstreamRequestOptions) {
    this.#client = client;
    this.#request = request;
    this.#response = response;
    this.#body = body;
    this.#place = place;
    this.#onOutcome = onOutcome;
    this.#onRelease = onRelease;
    this.#headersTimer = setTimeout(onTimeout, client.timeoutMs, this);
    response.once('close', () => {
      this.#reportOutcome('neutral', 'aborted');
      if (client.reconnects.delete(this)) this.#release();
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

  tryAgain(): boolean {
    if (!this.#place.limit.enterAgain(this.#place)) return false;
    this.#client.reconnects.delete(this);
    this.send();
    return true;
  }

  /** The time for the headers is over. */
  timeOut(): void {
    this.#client.reconnects.delete(this);
    if (this.#hasOutcome) {
      // Abandoned: there is no client to answer.
      this.#release();
      this.#controller?.abort(abortReason);
    } else {
      const { kind, reason } = this.#reasonOfTimeout();
      this.#logFailure(reason);
      this.#rejectUnanswered(kind);
    }
  }

  /** The connection to the service is lost: before the headers, or in the middle of the body. */
  fail(error: unknown): void {
    // Destroy the response, so that the client sees it is incomplete.
    if (this.#relaying) this.#response.destroy();
    if (this.#isHandledUnsent(error)) return;
    if (this.#response.destroyed) this.#reportOutcome('neutral', 'aborted');
    this.#release();
    if (this.#hasOutcome) return;
    this.#logFailure((error as { code?: string } | undefined)?.code);
    this.#rejectUnanswered('unavailable');
  }

  onRequestStart(controller: Dispatcher.DispatchController): void {
    this.#client.reconnects.connected();
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
    const isUnavailable = saysUnavailable(status, headers);
    if (headers.connection === 'close') this.#client.renewPool();
    this.#reportOutcome(isUnavailable ? 'failed' : 'answered', status);
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
  #reportOutcome(outcome: BreakerOutcome, answer: number | string): void {
    if (this.#hasOutcome) return;
    this.#hasOutcome = true;
    this.#onOutcome(outcome, answer);
  }

  #release(): void {
    clearTimeout(this.#headersTimer);
    this.#onRelease();
  }

  /** Whether nothing was sent for want of a connection. The request then waits for one, or is answered with 503. */
  #isHandledUnsent(error: unknown): boolean {
    if (this.#controller !== undefined || this.#hasOutcome || !isConnectionError(error)) return false;
    this.#refusal = error.code;
    const waiting = this.#client.reconnects.add(this);
    if (waiting === 'waits') {
      this.#place.limit.leave(this.#place);
      return true;
    }
    // The outage is young: it may be a restart, which must not open the breaker.
    if (waiting === 'full') this.#reportOutcome('neutral', error.code);
    this.#logFailure(error.code);
    this.#rejectUnanswered('unavailable');
    return true;
  }

  /** A service that has refused connections until now is unavailable: it did not answer too late. */
  #reasonOfTimeout(): { kind: 'unavailable' | 'timeout'; reason: string } {
    const refusal = this.#controller === undefined ? this.#refusal : undefined;
    if (refusal !== undefined && refusal !== 'UND_ERR_CONNECT_TIMEOUT') return { kind: 'unavailable', reason: refusal };
    return { kind: 'timeout', reason: 'timeout' };
  }

  #rejectUnanswered(kind: 'unavailable' | 'timeout'): void {
    const wasSent = this.#controller !== undefined;
    this.#reject(unansweredError(this.#request, this.#client.upstream, { kind, wasSent }));
  }

  #reject(error: DomainError): void {
    this.#reportOutcome('failed', error.code);
    this.#release();
    this.#controller?.abort(abortReason);
    sendProblemIfPossible(this.#request, this.#response, error);
  }

  #relayHead(status: number, headers: IncomingHttpHeaders): void {
    const response = this.#response;
    this.#relaying = true;
    response.statusCode = status;
    response.statusMessage = problemTitles[status] ?? '';
    copyResponseHeaders(headers, response);
    // A body that arrives together with the head is written together with it. A head alone is written now.
    queueMicrotask(() => {
      if (this.#headWritten || this.#ended) return;
      this.#headWritten = true;
      response.flushHeaders();
    });
  }

  #logFailure(code: string | undefined): void {
    const { log, upstream } = this.#client;
    log.warn({ ...loggedRequest(this.#request), upstream: upstream.name, code }, 'upstream failed');
  }
}

function onTimeout(upstreamRequest: UpstreamRequest): void {
  upstreamRequest.timeOut();
}
