// The HTTP edge every process shares: request ids, access log, problem details (RFC 9457), health, and a server
// that can be closed without dropping a request. What a service's own routes look like is in api.ts.
import { randomUUID } from 'node:crypto';
import { createServer, type IncomingMessage, type RequestListener, type Server, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import express, { type Express } from 'express';
import { DomainError, type ErrorKind, unavailable } from './errors.ts';
import type { Logger } from './logger.ts';

const statusByKind: Record<ErrorKind, number> = {
  bad_request: 400,
  not_found: 404,
  method_not_allowed: 405,
  conflict: 409,
  too_large: 413,
  unsupported_media_type: 415,
  invalid: 422,
  unavailable: 503,
  timeout: 504,
};

/** Titles by RFC 9110; the reason phrase of 422 and 413 differs between Node releases, so they stand here. */
export const problemTitles: Record<number, string> = {
  400: 'Bad Request',
  404: 'Not Found',
  405: 'Method Not Allowed',
  408: 'Request Timeout',
  409: 'Conflict',
  413: 'Content Too Large',
  415: 'Unsupported Media Type',
  422: 'Unprocessable Content',
  431: 'Request Header Fields Too Large',
  500: 'Internal Server Error',
  502: 'Bad Gateway',
  503: 'Service Unavailable',
  504: 'Gateway Timeout',
};

export const requestIdHeader = 'x-request-id';
const saneRequestId = /^[A-Za-z0-9._:-]{1,128}$/;

/** Accepts the caller's `X-Request-Id` if it is 1 to 128 of `A-Z a-z 0-9 . _ : -`, else makes a UUID; echoes it. */
export function assignRequestId(request: IncomingMessage, response: ServerResponse, next?: () => void): void {
  const given = request.headers[requestIdHeader];
  const requestId = typeof given === 'string' && saneRequestId.test(given) ? given : randomUUID();
  request.headers[requestIdHeader] = requestId;
  response.setHeader('X-Request-Id', requestId);
  next?.();
}

export function requestIdOf(request: IncomingMessage): string {
  return String(request.headers[requestIdHeader]);
}

/** A path segment that our APIs could have made; anything else may be an email or a phone somebody put in the path. */
const plainSegment = /^[\w.-]{0,64}$/;

/** The path for a log line: without its query, and with `*` for every segment that is not plain. */
function loggablePath(url: string): string {
  const path = url.split('?', 1)[0] as string;
  return path
    .split('/')
    .map((segment) => (plainSegment.test(segment) ? segment : '*'))
    .join('/');
}

/** One line per request when its response is over. */
export function logAccess(log: Logger) {
  return (request: IncomingMessage, response: ServerResponse, next?: () => void): void => {
    const start = performance.now();
    const path = loggablePath(request.url ?? '');
    response.once('close', () => {
      if (path.startsWith('/health') && response.statusCode === 200) return;
      log.info(
        {
          request_id: requestIdOf(request),
          method: request.method,
          path,
          status: response.statusCode,
          duration_ms: Math.round((performance.now() - start) * 10) / 10,
          ...(!response.writableFinished && { aborted: true }),
        },
        'request',
      );
    });
    next?.();
  };
}

/** The body of every error answer. */
export function problem(status: number, detail: string, requestId: string, extras: object = {}): object {
  return {
    type: 'about:blank',
    title: problemTitles[status] ?? 'Error',
    status,
    detail,
    ...extras,
    request_id: requestId,
  };
}

export function sendProblem(response: ServerResponse, error: DomainError, requestId: string): void {
  const status = statusByKind[error.kind];
  if (error.retryAfter !== undefined) response.setHeader('Retry-After', String(error.retryAfter));
  for (const [name, value] of Object.entries(error.headers)) response.setHeader(name, value);
  const errors = error.errors?.length ? { errors: error.errors } : {};
  sendDocument(response, status, problem(status, error.message, requestId, { code: error.code, ...errors }));
}

function sendDocument(response: ServerResponse, status: number, document: object): void {
  sendJson(response, status, document, { 'Content-Type': 'application/problem+json; charset=utf-8' });
}

export function sendJson(
  response: ServerResponse,
  status: number,
  document: unknown,
  headers: Readonly<Record<string, string>> = {},
): void {
  const body = JSON.stringify(document);
  response.writeHead(status, {
    'Content-Type': 'application/json; charset=utf-8',
    'Content-Length': Buffer.byteLength(body),
    ...headers,
  });
  response.end(body);
}

/**
 * Last in the chain. `translate` may turn what a library threw into a DomainError; what stays unknown is logged
 * and answered as a bare 500.
 */
export function answerErrors(log: Logger, translate: (error: unknown) => DomainError | undefined = () => undefined) {
  return (error: unknown, request: IncomingMessage, response: ServerResponse, next: (error: unknown) => void): void => {
    const requestId = requestIdOf(request);
    const known = error instanceof DomainError ? error : (translateHttpError(error) ?? translate(error));
    if (response.headersSent) {
      next(error);
      return;
    }
    if (known) {
      if (known.kind === 'unavailable') log.warn({ request_id: requestId, err: known }, 'answered as unavailable');
      sendProblem(response, known, requestId);
      return;
    }
    log.error({ request_id: requestId, err: error }, 'unexpected error');
    sendDocument(
      response,
      500,
      problem(500, 'Something went wrong on our side.', requestId, { code: 'internal_error' }),
    );
  };
}

/** Errors that express and its body parser throw carry a status and a type (https://github.com/expressjs/body-parser#errors). */
function translateHttpError(error: unknown): DomainError | undefined {
  const { status, type } = (typeof error === 'object' && error !== null ? error : {}) as {
    status?: number;
    type?: string;
  };
  if (type === 'entity.parse.failed' || type === 'entity.verify.failed' || type === 'charset.unsupported') {
    return new DomainError('invalid', 'malformed_json', 'The body is not valid JSON in UTF-8', {
      errors: [{ field: 'body', rule: 'must be valid JSON in UTF-8' }],
    });
  }
  if (type === 'entity.too.large')
    return new DomainError('too_large', 'body_too_large', 'The body is larger than 64 KiB');
  if (type === 'encoding.unsupported') {
    return new DomainError('unsupported_media_type', 'unsupported_encoding', 'The Content-Encoding is not supported');
  }
  if (status === 400) return new DomainError('bad_request', 'bad_request', 'The request could not be read');
  return undefined;
}

/** An express app without the defaults that cost or tell something (etag hashing, X-Powered-By). */
export function bareApp(): Express {
  return express().disable('x-powered-by').disable('etag').set('case sensitive routing', true);
}

export function notFoundRoute(): never {
  throw new DomainError('not_found', 'no_such_path', 'Not Found');
}

export interface HealthInfo {
  app: string;
  version: string;
  environment: string;
}

/** Ends the chain of a path that can only be read; without it express answers OPTIONS by itself. */
export function onlyGet(): never {
  throw new DomainError('method_not_allowed', 'method_not_allowed', 'Method Not Allowed', {
    headers: { Allow: 'GET, HEAD' },
  });
}

interface HealthRoutes {
  info: HealthInfo;
  /** Anything to show besides, such as the outbox's backlog. */
  details?(): Promise<object> | object;
  /** Throws, or answers false, while requests should go elsewhere. */
  isReady(): Promise<boolean> | boolean;
}

/** `/health` for people, `/health/live` and `/health/ready` for orchestrators (Kubernetes' probe semantics). */
export function healthRoutes({ info, details = () => ({}), isReady }: HealthRoutes): express.Router {
  const router = express.Router();
  router.get('/health', async (_request, response) => {
    response.json({ status: 'ok', ...info, ...(await details()) });
  });
  router.get('/health/live', (_request, response) => {
    response.json({ status: 'ok' });
  });
  router.get('/health/ready', async (_request, response) => {
    if (!(await isReady())) throw unavailable('Not ready');
    response.json({ status: 'ok' });
  });
  router.all(['/health', '/health/live', '/health/ready'], onlyGet);
  return router;
}

interface ServeOptions {
  host: string;
  port: number;
  /** Milliseconds an idle keep-alive connection is kept. */
  keepAliveTimeoutMs: number;
  /** Milliseconds for the headers, and for the whole request, to arrive; then 408. */
  headersTimeoutMs: number;
  requestTimeoutMs: number;
  /** Connections that may wait to be accepted; the system may allow fewer (Linux: net.core.somaxconn). Default 511 (Node's). */
  backlog?: number;
  /** Of a request's headers in all. Default 16 KiB (Node's). */
  maxHeaderBytes?: number;
  /** To listen to what express never sees, such as `clientError`; called before the server listens. */
  configure?(server: Server): void;
}

export interface RunningServer {
  port: number;
  url: string;
  /** Takes no new connection, lets requests in flight finish for up to `timeoutMs`, then cuts what is left. */
  close(timeoutMs: number): Promise<void>;
}

/** @throws the listen error, for example with code EADDRINUSE */
export async function serve(app: RequestListener, options: ServeOptions): Promise<RunningServer> {
  let closing = false;
  const inFlight = new Set<ServerResponse>();
  const server: Server = createServer(
    {
      ...(options.maxHeaderBytes !== undefined && { maxHeaderSize: options.maxHeaderBytes }),
      keepAliveTimeout: options.keepAliveTimeoutMs,
      headersTimeout: options.headersTimeoutMs,
      requestTimeout: options.requestTimeoutMs,
      connectionsCheckingInterval: 1_000,
    },
    (request, response) => {
      inFlight.add(response);
      response.once('close', () => inFlight.delete(response));
      if (closing) response.setHeader('Connection', 'close');
      app(request, response);
    },
  );
  options.configure?.(server);
  await new Promise<void>((resolve, reject) => {
    server.once('error', reject);
    server.listen({ port: options.port, host: options.host, backlog: options.backlog }, resolve);
  });
  const { port } = server.address() as AddressInfo;
  return {
    port,
    url: `http://127.0.0.1:${port}`,
    close: async (timeoutMs) => {
      closing = true;
      // A kept-alive connection whose request is in flight would stay open, and be served, after its response.
      for (const response of inFlight) if (!response.headersSent) response.setHeader('Connection', 'close');
      const closed = new Promise<void>((resolve) => server.close(() => resolve()));
      const sweep = setInterval(() => server.closeIdleConnections(), 50);
      const deadline = setTimeout(() => server.closeAllConnections(), timeoutMs);
      await closed;
      clearInterval(sweep);
      clearTimeout(deadline);
    },
  };
}
