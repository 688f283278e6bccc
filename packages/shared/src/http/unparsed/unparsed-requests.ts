// Answers to bytes that never become a request: bytes that Node's parser rejects, requests that arrive too slowly, and
// CONNECT. Such a connection gets one problem document, which says what is wrong, and then the server closes it. A request
// whose answer has begun gets no second one.
import { randomUUID } from 'node:crypto';
import type { IncomingMessage, Server, ServerResponse } from 'node:http';
import type { Duplex } from 'node:stream';
import type { Logger } from '../../telemetry/logger.ts';
import { problem, problemTitles } from '../problem.ts';
import { requestIdHeader } from '../request-log.ts';
import { describeParserError, type Fault, methods, type ParserError, unsupportedMethod } from './parser-faults.ts';
import { watchProtocol } from './protocol.ts';

/** Milliseconds from the last answer to the forced close of a connection that the client keeps open. */
const lingerMs = 500;

interface AnswerContext {
  log: Logger;
  onFault: (code: string) => void;
  /** The headers of an answer to a request that no step has seen. */
  defaultHeaders: Readonly<Record<string, string>>;
}

interface UnparsedOptions {
  log: Logger;
  maxHeaderBytes: number;
  maxBodyBytes: number;
  /**
   * The headers of an answer to a request that no step has seen. Default: none.
   * @param origin of a request whose headers were read
   */
  defaultHeaders?(socket: Duplex, origin?: string): Readonly<Record<string, string>>;
  /** Called with the code of each answer. */
  onFault?: ((code: string) => void) | undefined;
}

interface Exchange {
  request: IncomingMessage;
  response: ServerResponse;
}

/** Answers on the socket itself. Must be called before the server listens. */
export function answerUnparsedRequests(server: Server, options: UnparsedOptions): void {
  const { log, maxHeaderBytes, maxBodyBytes, defaultHeaders = () => ({}), onFault = () => undefined } = options;
  const failed = new WeakSet<Duplex>();
  /** The request whose headers were read last. */
  const last = new WeakMap<Duplex, Exchange>();
  watchProtocol(server);
  server.prependListener('request', (request, response) => last.set(request.socket, { request, response }));
  server.on('clientError', (error: ParserError, socket) => {
    // The parser reads on until the socket is destroyed, and fails again.
    if (failed.has(socket)) return;
    failed.add(socket);
    const { headersTimeout, requestTimeout } = server;
    const fault = describeParserError(error, { headersTimeout, requestTimeout, maxHeaderBytes, maxBodyBytes });
    answerFault({ socket, last: last.get(socket) }, fault, { log, onFault, defaultHeaders: defaultHeaders(socket) });
  });
  server.on('connect', ({ headers }, socket) => {
    answerOnSocket(socket, unsupportedMethod, { log, onFault, defaultHeaders: defaultHeaders(socket, headers.origin) });
  });
}

/** Ignores what arrives after an answer that is the last of its connection, such as the rest of a body that took too long. */
export function dropAfterLastAnswer(request: IncomingMessage, _response: ServerResponse, next: () => void): void {
  if (!request.socket.writableEnded) next();
}

/** The response that is being written to a socket. Node has no public name for it. */
export function responseOn(socket: Duplex): ServerResponse<IncomingMessage> | null | undefined {
  return (socket as { _httpMessage?: ServerResponse | null })._httpMessage;
}

interface FailedConnection {
  socket: Duplex;
  last: Exchange | undefined;
}

/**
 * The fault is in the body of the last request, or in the head of a later one. Requests before it are answered first: an
 * answer to the fault in their place would be taken as theirs.
 */
function answerFault(connection: FailedConnection, fault: Fault, context: AnswerContext): void {
  const { socket, last } = connection;
  const current = responseOn(socket);
  const ofBody = last?.request.complete === false ? last.response : undefined;
  if (!socket.writable) socket.destroy();
  else if (current && current !== ofBody) current.once('finish', () => answerFault(connection, fault, context));
  else if (!ofBody?.headersSent) answerOnSocket(socket, fault, context, ofBody);
  else if (ofBody.writableEnded) endConnection(socket);
  else socket.destroy();
}

/** @param response of the request that the fault is in, if there is one: it has an id and headers */
function answerOnSocket(
  socket: Duplex,
  [status, code, detail]: Fault,
  { log, onFault, defaultHeaders }: AnswerContext,
  response?: ServerResponse,
): void {
  const requestId = String(response?.getHeader(requestIdHeader) ?? randomUUID());
  if (response) response.statusCode = status; // for the access log
  log.info({ request_id: requestId, status, code }, 'unparsed request rejected');
  onFault(code);
  const body = JSON.stringify(problem(status, detail, requestId, { code }));
  const own = {
    'Content-Type': 'application/problem+json; charset=utf-8',
    'Content-Length': String(Buffer.byteLength(body)),
    'X-Request-Id': requestId,
    Date: new Date().toUTCString(),
    ...(status === 405 && { Allow: methods.join(', ') }),
    Connection: 'close',
  };
  const ownNames = new Set(Object.keys(own).map((name) => name.toLowerCase()));
  const others = Object.entries(response?.getHeaders() ?? defaultHeaders);
  const head = [...others.filter(([name]) => !ownNames.has(name.toLowerCase())), ...Object.entries(own)];
  const lines = [`HTTP/1.1 ${status} ${problemTitles[status]}`, ...head.map(([name, value]) => `${name}: ${value}`)];
  endConnection(socket, `${lines.join('\r\n')}\r\n\r\n${body}`);
}

/** A close while the client still sends would reset the connection, and the client could lose the last answer. */
function endConnection(socket: Duplex, lastBytes = ''): void {
  socket.on('error', () => socket.destroy());
  socket.end(lastBytes);
  setTimeout(() => socket.destroy(), lingerMs).unref();
}
