// The answer to a request that the gateway cannot take now, and the limit of what one connection may pipeline.
import type { ServerResponse } from 'node:http';
import type { Duplex } from 'node:stream';
import { problem } from '@promopulse/shared/http/problem';
import { requestIdHeader } from '@promopulse/shared/http/request-log';
import type { Logger } from '@promopulse/shared/telemetry/logger';
import type { Step } from './steps.ts';

/** Requests of one connection that may wait for the responses before theirs. */
const maxPipelined = 100;

/**
 * Rejects requests at the lowest cost: the body is not read, and there is no access-log line for each of them.
 * States: quiet, and, for one second after the first rejection, counting. The second ends with one log line that has the
 * count.
 */
export class Overload {
  readonly #log: Logger;
  #rejected = 0;
  #total = 0;

  constructor(log: Logger) {
    this.#log = log;
  }

  /** Requests rejected since the start. */
  get total(): number {
    return this.#total;
  }

  /** Answers 503 `overloaded` with `Retry-After`, in seconds. The response must have its request id. */
  reject(response: ServerResponse, retryAfter = 1): void {
    if (this.#rejected === 0) setTimeout(() => this.#logCount(), 1_000).unref();
    this.#rejected += 1;
    this.#total += 1;
    const requestId = String(response.getHeader(requestIdHeader));
    const detail = 'The gateway is overloaded. Retry after the time in Retry-After.';
    const body = JSON.stringify(problem(503, detail, requestId, { code: 'overloaded' }));
    response
      .writeHead(503, {
        'Content-Type': 'application/problem+json; charset=utf-8',
        'Content-Length': Buffer.byteLength(body),
        'Retry-After': String(retryAfter),
      })
      .end(body);
  }

  #logCount(): void {
    this.#log.warn({ rejected: this.#rejected }, 'overloaded');
    this.#rejected = 0;
  }
}

/**
 * Passes on the requests of one connection one at a time, in their order. Node emits all pipelined requests at once: one
 * connection could use the whole concurrency limit of a service, and memory for as many requests as it can write.
 */
export function serializePipelined(overload: Overload): Step {
  const waiting = new WeakMap<Duplex, number>();
  return (request, response, next) => {
    // Node assigns the socket to a response when all responses before it have ended.
    if (response.socket) {
      next();
      return;
    }
    const { socket } = request;
    const ahead = waiting.get(socket) ?? 0;
    if (ahead >= maxPipelined) {
      overload.reject(response);
      return;
    }
    waiting.set(socket, ahead + 1);
    response.once('socket', () => {
      waiting.set(socket, (waiting.get(socket) ?? 1) - 1);
      next();
    });
  };
}
