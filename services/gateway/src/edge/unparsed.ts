// What the gateway adds to the answers to bytes that never become a request: its own headers, and who may read the answer.
import type { IncomingMessage, Server, ServerResponse } from 'node:http';
import type { Duplex } from 'node:stream';
import { answerUnparsedRequests, responseOn } from '@promopulse/shared/http/unparsed/unparsed-requests';
import type { Logger } from '@promopulse/shared/telemetry/logger';
import { type AllowedOrigins, unparsedCorsHeaders } from './cors.ts';
import { securityHeaders } from './secure-headers.ts';

/** Maximum size of the target and the headers of a request, in bytes. It is Node's default. */
export const maxHeaderBytes = 16_384;

interface UnparsedOptions {
  log: Logger;
  origins: AllowedOrigins;
  maxBodyBytes: number;
  /** Called with the code of each answer. */
  onFault?: ((code: string) => void) | undefined;
}

/** Must be called before the server listens. */
export function answerUnparsed(server: Server, { log, origins, maxBodyBytes, onFault }: UnparsedOptions): void {
  const heads = typeof origins === 'string' || origins.length === 0 ? undefined : keepUnparsedHeads(server);
  answerUnparsedRequests(server, {
    ...{ log, maxHeaderBytes, maxBodyBytes, onFault },
    defaultHeaders: (socket, origin = originIn(heads?.get(socket))) => ({
      ...securityHeaders,
      ...unparsedCorsHeaders(origins, origin),
    }),
  });
  // Node would answer a missing Host and an unknown Expect itself, without a body. `rejectMalformed` answers them.
  (server as { requireHostHeader?: boolean }).requireHostHeader = false;
  server.on('checkExpectation', (request, response) => server.emit('request', request, response));
  server.on('checkContinue', (request, response) => {
    continueWhenRead(request, response);
    server.emit('request', request, response);
  });
}

/** Bytes that are kept of a head. The parser rejects one that is longer than `maxHeaderBytes`. */
const maxKeptBytes = 2 * maxHeaderBytes;

/**
 * Keeps what has arrived of a request until its headers are complete. A parser error has only the last packet, and the
 * `Origin` may have come before. Node then hands each packet to JavaScript, so this is only for a list of origins.
 */
function keepUnparsedHeads(server: Server): WeakMap<Duplex, Buffer> {
  const heads = new WeakMap<Duplex, Buffer>();
  server.on('connection', (socket: Duplex) => {
    // Before the parser gets it.
    socket.prependListener('data', (chunk: Buffer) => {
      const isBody = responseOn(socket)?.req.complete === false;
      const head = heads.get(socket) ?? Buffer.alloc(0);
      if (isBody || socket.writableEnded || head.length >= maxKeptBytes) return;
      heads.set(socket, Buffer.concat([head, chunk]));
    });
  });
  server.prependListener('request', ({ socket }) => heads.delete(socket));
  return heads;
}

/** The last Origin in bytes that are no complete request. */
function originIn(received: Buffer | undefined): string | undefined {
  const text = received?.toString('latin1') ?? '';
  return [...text.matchAll(/\r\norigin:[\t ]*([\x21-\x7e]+)[\t ]*(?=\r\n)/gi)].at(-1)?.[1];
}

/**
 * Sends `100 Continue` when the body is wanted, so that a request that is rejected by its headers costs no body. Its client
 * may or may not send the body then, so the connection cannot be used again (RFC 9110 10.1.1).
 */
function continueWhenRead(request: IncomingMessage, response: ServerResponse): void {
  const wasKeptAlive = response.shouldKeepAlive;
  response.shouldKeepAlive = false;
  request.once('resume', () => {
    if (response.headersSent) return;
    response.shouldKeepAlive = wasKeptAlive;
    response.writeContinue();
  });
}
