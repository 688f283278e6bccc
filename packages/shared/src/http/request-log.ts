// The id of a request, and its line in the access log.
import { randomUUID } from 'node:crypto';
import type { IncomingMessage, ServerResponse } from 'node:http';
import { validRequestId } from '../contracts/envelope.ts';
import type { Logger } from '../telemetry/logger.ts';
import type { RouteOf } from '../telemetry/request-durations.ts';
import { loggedTrace, spanContextOf } from '../telemetry/trace-context.ts';
import { mayHoldCredential } from '../values/credential-text.ts';
import { loggedActor } from './caller/caller.ts';

export const requestIdHeader = 'x-request-id';

/**
 * Keeps the caller's `X-Request-Id` if it is 1 to 128 characters of `A-Z a-z 0-9 . _ : -` without a secret, and replaces
 * any other with a UUID. The response has the same header.
 */
export function assignRequestId(request: IncomingMessage, response: ServerResponse, next?: () => void): void {
  const received = request.headers[requestIdHeader];
  const isKept = typeof received === 'string' && validRequestId.test(received) && !mayHoldCredential(received);
  const requestId = isKept ? received : randomUUID();
  request.headers[requestIdHeader] = requestId;
  response.setHeader('X-Request-Id', requestId);
  next?.();
}

/** The id that `assignRequestId` has stored in the headers of the request. */
export function requestIdOf(request: IncomingMessage): string {
  return String(request.headers[requestIdHeader]);
}

/** The fields of every line about a request. */
export function loggedRequest(request: IncomingMessage) {
  return { request_id: requestIdOf(request), ...loggedTrace(spanContextOf(request)), ...loggedActor(request) };
}

/** Path in express's notation → template. It has an entry for each route. */
const templates = new Map<string, string>();

/** The route of express that handles the request. */
export const expressRouteOf: RouteOf = (request) => {
  const path = (request as { route?: { path?: unknown } }).route?.path;
  if (typeof path !== 'string') return undefined;
  let template = templates.get(path);
  if (template === undefined) {
    template = path.replaceAll(/:(\w+)/g, '{$1}');
    templates.set(path, template);
  }
  return template;
};

/**
 * Logs one line per request when its response ends. Successful health checks are not logged, and requests beyond a quota
 * (429) neither: the gateway counts them in a line of its own.
 * @param routeOf called when the response ends
 */
export function accessLog(log: Logger, routeOf: RouteOf = expressRouteOf) {
  return (request: IncomingMessage, response: ServerResponse, next?: () => void): void => {
    const start = performance.now();
    response.once('close', () => {
      if (response.statusCode === 429) return;
      const route = routeOf(request) ?? '(no route)';
      if (route.startsWith('/health') && response.statusCode === 200) return;
      log.info(
        {
          ...loggedRequest(request),
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
