// The limit on connections, and answers to bytes that never become a request: bytes that Node's parser rejects, requests
// that arrive too slowly, and CONNECT. Such a connection gets one problem document, and then the gateway closes it.
import { randomUUID } from 'node:crypto';
import type { Server, ServerResponse } from 'node:http';
import type { Socket } from 'node:net';
import type { Duplex } from 'node:stream';
import { problem, problemTitles } from '@promopulse/shared/http/problem';
import type { Logger } from '@promopulse/shared/telemetry/logger';
import type { Overload } from './overload.ts';
import type { Step } from './steps.ts';

/** Milliseconds from the answer to the forced close of a connection that the client keeps open. */
const lingerMs = 500;
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

  constructor(max: number, log: Logger) {
    this.#max = max;
    this.#log = log;
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

type SocketResponse = readonly [status: number, code: string, detail: string];

/** By the error code of Node's parser; every other code is a plain 400. */
const answersByErrorCode: Record<string, SocketResponse> = {
  ERR_HTTP_REQUEST_TIMEOUT: [408, 'request_timeout', 'The request took too long to arrive'],
  HPE_HEADER_OVERFLOW: [431, 'headers_too_large', 'The headers are larger than 16 KiB'],
  HPE_CHUNK_EXTENSIONS_OVERFLOW: [413, 'chunk_extensions_too_large', 'The chunk extensions are too large'],
};
const malformed: SocketResponse = [400, 'malformed_request', 'The request is not valid HTTP'];

/** Answers on the socket itself. Must be called before the server listens. */
export function answerUnparsedRequests(server: Server, log: Logger): void {
  server.on('clientError', (error: NodeJS.ErrnoException, socket) => {
    // The parser reads on until the socket is destroyed, and fails again.
    if (socket.writableEnded) return;
    if (!socket.writable || responseOn(socket)?.headersSent) {
      socket.destroy();
      return;
    }
    answerOnSocket(socket, log, answersByErrorCode[error.code ?? ''] ?? malformed);
  });
  // Node would answer a missing Host and an unknown Expect itself, without a body. `rejectMalformed` answers them.
  (server as { requireHostHeader?: boolean }).requireHostHeader = false;
  server.on('checkExpectation', (request, response) => server.emit('request', request, response));
  server.on('connect', (_request, socket) => {
    answerOnSocket(socket, log, [405, 'method_not_allowed', 'Method Not Allowed']);
  });
}

/** The response that is being written to a socket. Node has no public name for it. */
function responseOn(socket: Duplex): ServerResponse | null | undefined {
  return (socket as { _httpMessage?: ServerResponse | null })._httpMessage;
}

function answerOnSocket(socket: Duplex, log: Logger, [status, code, detail]: SocketResponse): void {
  const requestId = randomUUID();
  log.info({ request_id: requestId, status, code }, 'unparsed request rejected');
  const body = JSON.stringify(problem(status, detail, requestId, { code }));
  const head = [
    `HTTP/1.1 ${status} ${problemTitles[status]}`,
    'Content-Type: application/problem+json',
    `Content-Length: ${Buffer.byteLength(body)}`,
    `X-Request-Id: ${requestId}`,
    'X-Content-Type-Options: nosniff',
    ...(status === 405 ? ['Allow: GET, HEAD, POST, PUT, PATCH, DELETE, OPTIONS'] : []),
    'Connection: close',
  ];
  socket.on('error', () => socket.destroy());
  socket.end(`${head.join('\r\n')}\r\n\r\n${body}`);
  // A close while the client still sends would reset the connection, and the client could lose the answer.
  setTimeout(() => socket.destroy(), lingerMs).unref();
}
