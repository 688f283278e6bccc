// The limit on connections.
import type { Server } from 'node:http';
import type { Socket } from 'node:net';
import type { Duplex } from 'node:stream';
import { responseOn } from '@promopulse/shared/http/unparsed/unparsed-requests';
import type { Logger } from '@promopulse/shared/telemetry/logger';
import type { Overload } from './overload.ts';
import type { Step } from './steps.ts';

/** Milliseconds. Node's default keep-alive timeout: clients expect that a connection idle for longer is closed. */
const idleMs = 5_000;

/**
 * Limits how many connections there are. A connection is within the limit, or over the limit: then it gets answers, but
 * no service. Connections beyond twice the limit are dropped unanswered. A connection keeps its state until it closes.
 *
 * Each connection that is over the limit or dropped makes room for the next one: it closes the connections within the
 * limit that have been idle for 5 s, because idle clients must not keep active ones out. Connections idle for less stay:
 * the client may already have sent the next request.
 */
export class ConnectionLimit {
  readonly #max: number;
  readonly #log: Logger;
  readonly #overLimit = new WeakSet<Duplex>();
  /** Connection → when its last response ended. */
  readonly #answeredAt = new Map<Socket, number>();
  #withinLimit = 0;
  /** Connections over the limit or dropped, in this second. */
  #excess = 0;
  #totalExcess = 0;

  constructor(max: number, log: Logger) {
    this.#max = max;
    this.#log = log;
  }

  /** `excess`: connections over the limit or dropped since the start. */
  figures(): { withinLimit: number; max: number; excess: number } {
    return { withinLimit: this.#withinLimit, max: this.#max, excess: this.#totalExcess };
  }

  isOverLimit(socket: Duplex): boolean {
    return this.#overLimit.has(socket);
  }

  /** Must be called before the server listens. */
  watch(server: Server): void {
    server.maxConnections = 2 * this.#max;
    server.on('drop', () => this.#makeRoom());
    server.on('connection', (socket: Socket) => this.#add(socket));
    server.on('request', ({ socket }, response) => {
      response.once('close', () => {
        if (!socket.destroyed) this.#answeredAt.set(socket, performance.now());
      });
    });
  }

  #add(socket: Socket): void {
    const isWithin = this.#withinLimit < this.#max;
    if (isWithin) this.#withinLimit += 1;
    else {
      this.#overLimit.add(socket);
      this.#makeRoom();
    }
    socket.once('close', () => {
      if (isWithin) this.#withinLimit -= 1;
      this.#answeredAt.delete(socket);
    });
  }

  /** At most once a second, because it looks at every connection. */
  #makeRoom(): void {
    this.#excess += 1;
    this.#totalExcess += 1;
    if (this.#excess > 1) return;
    setTimeout(() => this.#logCount(), 1_000).unref();
    const idleSince = performance.now() - idleMs;
    for (const [socket, at] of this.#answeredAt) if (at < idleSince && !responseOn(socket)) socket.destroy();
  }

  #logCount(): void {
    this.#log.warn({ excess: this.#excess }, 'too many connections');
    this.#excess = 0;
  }
}

/** Rejects the requests of connections over the limit, except probes, and closes the connection. */
export function rejectOverLimitConnections(limit: ConnectionLimit, overload: Overload): Step {
  return (request, response, next) => {
    if (!limit.isOverLimit(request.socket) || request.url?.startsWith('/health/')) {
      next();
      return;
    }
    response.setHeader('Connection', 'close');
    overload.reject(response);
  };
}
