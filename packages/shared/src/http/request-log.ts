// The id of a request, and its line in the access log.
import { randomUUID } from 'node:crypto';
import type { IncomingMessage, ServerResponse } from 'node:http';
import { validRequestId } from '../contracts/envelope.ts';
import type { Logger } from '../telemetry/logger.ts';

export const requestIdHeader = 'x-request-id';

/**
 * Keeps the caller's `X-Request-Id` if it is 1 to 128 characters of `A-Z a-z 0-9 . _ : -`, and replaces any other
 * with a UUID. The response has the same header.
 */
export function assignRequestId(request: IncomingMessage, response: ServerResponse, next?: () => void): void {
  const received = request.headers[requestIdHeader];
  const requestId = typeof received === 'string' && validRequestId.test(received) ? received : randomUUID();
  request.headers[requestIdHeader] = requestId;
  response.setHeader('X-Request-Id', requestId);
  next?.();
}

/** The id that `assignRequestId` has stored in the headers of the request. */
export function requestIdOf(request: IncomingMessage): string {
  return String(request.headers[requestIdHeader]);
}

/** Matches the path segments of our APIs. Any other segment may contain a caller's email or phone number. */
const plainSegment = /^[\w.-]{0,64}$/;

/** The path for a log line: without its query, and with `*` for every segment that is not plain. */
function loggablePath(url: string): string {
  const path = url.split('?', 1)[0] as string;
  return path
    .split('/')
    .map((segment) => (plainSegment.test(segment) ? segment : '*'))
    .join('/');
}

/** Logs one line per request when its response ends. Successful health checks are not logged. */
export function accessLog(log: Logger) {
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
