// How much the gateway takes on at a time. A service does no more by being asked more at once, it only answers later;
// so when as many requests are with a service as it can serve in time, the next is told to come back, before anything is
// spent on it.
// A request counts from the end of its body to its response's headers: a client that sends slowly, or reads slowly,
// takes neither a place nor a service's attention from the others. That is why a body is gathered before the service
// hears of it.
import type { IncomingMessage, RequestListener, ServerResponse } from 'node:http';
import type { Duplex } from 'node:stream';
import { DomainError } from '@promopulse/shared/errors';
import { problem } from '@promopulse/shared/http/problem';
import { requestIdHeader } from '@promopulse/shared/http/request-log';
import type { Logger } from '@promopulse/shared/telemetry/logger';

/** Of one connection; a client that pipelines more is told to come back as well. */
const maxPipelined = 100;

/** Even of a service that is slow; twice the connections it has to its database. */
const fewestPlaces = 10;

/** The places at one service. */
export interface Admission {
  isFull(): boolean;
  /** Runs `work` in a place; false, at once, when there is none. */
  admit(work: () => Promise<void>): Promise<boolean>;
}

/**
 * As many places as the service can serve in time, up to `most`: for an answer that took longer than `slowMs`, once per
 * round, fewer by as much as it was late, but by a third to two thirds, and one more for each round of answers that did
 * not (additive increase, multiplicative decrease, as in RFC 5681 and Netflix's concurrency-limits).
 */
export function createAdmission(most: number, slowMs: number): Admission {
  let places = most;
  let inFlight = 0;
  let loweredAt = 0;
  const isFull = () => inFlight >= Math.floor(places);
  const learn = (startedAt: number): void => {
    const now = performance.now();
    const tookMs = now - startedAt;
    if (tookMs <= slowMs) places = Math.min(most, places + 1 / places);
    else if (startedAt >= loweredAt) {
      const share = Math.max(1 / 3, Math.min(2 / 3, slowMs / tookMs));
      places = Math.max(Math.min(most, fewestPlaces), places * share);
      loweredAt = now;
    }
  };
  return {
    isFull,
    async admit(work) {
      if (isFull()) return false;
      const startedAt = performance.now();
      inFlight += 1;
      try {
        await work();
      } finally {
        inFlight -= 1;
        learn(startedAt);
      }
      return true;
    },
  };
}

/**
 * Answers the requests of a connection one after the other. Node hands out whatever a client pipelines at once: one
 * connection could take every place, and as much memory as it can write requests.
 */
export function inTurn(listener: RequestListener, refuse: (response: ServerResponse) => void): RequestListener {
  const waiting = new WeakMap<Duplex, number>();
  return (request, response) => {
    // A response has its socket from when those before it are over.
    if (response.socket) {
      listener(request, response);
      return;
    }
    const { socket } = request;
    const ahead = waiting.get(socket) ?? 0;
    if (ahead >= maxPipelined) {
      refuse(response);
      return;
    }
    waiting.set(socket, ahead + 1);
    response.once('socket', () => {
      waiting.set(socket, (waiting.get(socket) ?? 1) - 1);
      listener(request, response);
    });
  };
}

/**
 * @returns the whole body, empty if there is none, or undefined when the client is gone before its end
 * @throws DomainError too_large, beyond `limit` bytes; what still comes then runs into nothing
 */
export async function gatherBody(request: IncomingMessage, limit: number): Promise<Buffer | undefined> {
  const length = Number(request.headers['content-length'] ?? 0);
  if (length > limit) throw tooLarge(limit);
  if (length === 0 && request.headers['transfer-encoding'] === undefined) return Buffer.alloc(0);
  return new Promise((resolve, reject) => {
    const chunks: Buffer[] = [];
    let size = 0;
    request.on('data', (chunk: Buffer) => {
      size += chunk.length;
      if (size <= limit) {
        chunks.push(chunk);
        return;
      }
      chunks.length = 0;
      reject(tooLarge(limit));
    });
    request.once('end', () => resolve(Buffer.concat(chunks)));
    request.once('error', () => resolve(undefined));
    request.once('close', () => resolve(undefined));
  });
}

function tooLarge(limit: number): DomainError {
  return new DomainError('too_large', 'body_too_large', `The body is larger than ${limit} bytes`);
}

/** Answers "overloaded" for as little as possible: nothing is read, and however many there are, the log has a line a second. */
export function createRefusal(log: Logger): (response: ServerResponse) => void {
  let refused = 0;
  const report = (): void => {
    log.warn({ refused }, 'overloaded');
    refused = 0;
  };
  return (response) => {
    if (refused === 0) setTimeout(report, 1_000).unref();
    refused += 1;
    const requestId = String(response.getHeader(requestIdHeader));
    const detail = 'More is asked than can be answered right now';
    const body = JSON.stringify(problem(503, detail, requestId, { code: 'overloaded' }));
    response
      .writeHead(503, {
        'Content-Type': 'application/problem+json; charset=utf-8',
        'Content-Length': Buffer.byteLength(body),
        'Retry-After': '1',
      })
      .end(body);
  };
}
