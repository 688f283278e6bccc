// Answers for what never becomes a request: bytes node's parser refuses, requests that arrive too slowly, CONNECT.
// Each gets one problem document and then its connection is closed, by us if the client does not do it. And how many
// connections there may be.
import { randomUUID } from 'node:crypto';
import type { RequestListener, Server, ServerResponse } from 'node:http';
import type { Socket } from 'node:net';
import type { Duplex } from 'node:stream';
import { problem, problemTitles } from '@promopulse/shared/http/problem';
import type { Logger } from '@promopulse/shared/telemetry/logger';

const lingerMs = 500;
/** As long as node itself keeps an idle connection by default: clients know to expect it. */
const idleMs = 5_000;

type Refusal = readonly [status: number, code: string, detail: string];

/** Parser error codes that are not a plain 400. */
const refusals: Record<string, Refusal> = {
  ERR_HTTP_REQUEST_TIMEOUT: [408, 'request_timeout', 'The request took too long to arrive'],
  HPE_HEADER_OVERFLOW: [431, 'headers_too_large', 'The headers are larger than 16 KiB'],
  HPE_CHUNK_EXTENSIONS_OVERFLOW: [413, 'chunk_extensions_too_large', 'The chunk extensions are too large'],
};
const malformed: Refusal = [400, 'malformed_request', 'The request is not valid HTTP'];

export function answerOnSockets(server: Server, log: Logger): void {
  server.on('clientError', (error: NodeJS.ErrnoException, socket) => {
    // The parser goes on reading while the socket lingers, and fails again.
    if (socket.writableEnded) return;
    const response = responseOn(socket);
    if (!socket.writable || response?.headersSent) {
      socket.destroy();
      return;
    }
    refuse(socket, log, ...(refusals[error.code ?? ''] ?? malformed));
  });
  // node would answer these two by itself, without a body; hygiene answers them.
  (server as { requireHostHeader?: boolean }).requireHostHeader = false;
  server.on('checkExpectation', (request, response) => server.emit('request', request, response));
  server.on('connect', (_request, socket) => {
    refuse(socket, log, 405, 'method_not_allowed', 'Method Not Allowed');
  });
}

/**
 * Beyond `max` connections a client is in `surplus`: it can be told so, and a probe can be answered. Beyond twice as many
 * it is dropped unheard. Either makes room for the next by closing those that are kept alive but have been idle for a
 * while: who holds them need not be who wants to be served. (All that are idle would be too many: on some the next
 * request is already on its way.)
 */
export function limitConnections(server: Server, max: number, surplus: WeakSet<Duplex>, log: Logger): void {
  server.maxConnections = 2 * max;
  const answeredAt = new Map<Socket, number>();
  let within = 0;
  let beyond = 0;
  const report = (): void => {
    log.warn({ beyond }, 'too many connections');
    beyond = 0;
  };
  const makeRoom = (): void => {
    beyond += 1;
    if (beyond > 1) return;
    setTimeout(report, 1_000).unref();
    const longAgo = performance.now() - idleMs;
    for (const [socket, at] of answeredAt) if (at < longAgo && !responseOn(socket)) socket.destroy();
  };
  server.on('drop', makeRoom);
  server.on('request', ({ socket }, response) => {
    response.once('close', () => {
      if (!socket.destroyed) answeredAt.set(socket, performance.now());
    });
  });
  server.on('connection', (socket: Socket) => {
    if (within >= max) {
      surplus.add(socket);
      makeRoom();
    } else {
      within += 1;
      socket.once('close', () => {
        within -= 1;
      });
    }
    socket.once('close', () => answeredAt.delete(socket));
  });
}

/** Passes on what does not come on a connection in `surplus`, or is a probe. */
export function refuseSurplus(
  surplus: WeakSet<Duplex>,
  refuseRequest: (response: ServerResponse) => void,
  next: RequestListener,
): RequestListener {
  return (request, response) => {
    if (!surplus.has(request.socket) || request.url?.startsWith('/health/')) {
      next(request, response);
      return;
    }
    response.setHeader('Connection', 'close');
    refuseRequest(response);
  };
}

/** The response that is being written, as node itself knows it. */
function responseOn(socket: Duplex): ServerResponse | null | undefined {
  return (socket as { _httpMessage?: ServerResponse | null })._httpMessage;
}

function refuse(socket: Duplex, log: Logger, status: number, code: string, detail: string): void {
  const requestId = randomUUID();
  log.info({ request_id: requestId, status, code }, 'refused before it was a request');
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
  // Closing while the client still sends would reset the connection and could cost it the answer.
  setTimeout(() => socket.destroy(), lingerMs).unref();
}
