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

/**
 * The template of express's route that handles the request, such as `/users/{id}`. A path itself may contain a caller's
 * email or phone number.
 */
export function expressRouteOf(request: IncomingMessage): string {
  const path = (request as { route?: { path?: unknown } }).route?.path;
  return typeof path === 'string' ? path.replaceAll(/:(\w+)/g, '{$1}') : '(no route)';
}

/**
 * Logs one line per request when its response ends. Successful health checks are not logged.
 * @param routeOf called when the response ends; its result must not contain anything that a caller has written
 */
export function accessLog(log: Logger, routeOf: (request: IncomingMessage) => string = expressRouteOf) {
  return (request: IncomingMessage, response: ServerResponse, next?: () => void): void => {
    const start = performance.now();
    response.once('close', () => {
      const route = routeOf(request);
      if (route.startsWith('/health') && response.statusCode === 200) return;
      log.info(
        {
          request_id: requestIdOf(request),
          method: request.method,
          route,
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
