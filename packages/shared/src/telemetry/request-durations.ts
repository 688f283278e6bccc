// How long requests take, by method, route and status. The promise: whatever callers send, the number of time series is
// bounded, and none of their text is in a label.
import type { IncomingMessage, ServerResponse } from 'node:http';
import type { Metrics } from './metrics.ts';

const knownMethods = new Set(['GET', 'HEAD', 'POST', 'PUT', 'PATCH', 'DELETE', 'OPTIONS', 'TRACE', 'CONNECT', 'QUERY']);

/** The method, for metrics and traces. OpenTelemetry's semantic conventions call an invented one `_OTHER`. */
export function methodLabel(method: string | undefined): string {
  return method !== undefined && knownMethods.has(method) ? method : '_OTHER';
}

/**
 * Finds the template of a request's route, such as `/users/{id}`, for the log, the metrics and the traces. The result has
 * few values, and nothing that a caller has written: a path itself may contain an email or a phone number.
 * @returns undefined when there is no route
 */
export type RouteOf = (request: IncomingMessage) => string | undefined;

/** Called when a response has ended or its connection is lost. `startedAt`: by `performance.now()`, when the headers were read. */
export type OnResponseEnd = (request: IncomingMessage, response: ServerResponse, startedAt: number) => void;

/** The label of the route is empty when there is none. */
export function measureRequests(metrics: Metrics, routeOf: RouteOf): OnResponseEnd {
  const observe = metrics.histogram({
    name: 'http_server_request_duration_seconds',
    help: 'Time from the headers of a request to the end of its response, in seconds.',
    labels: ['http_request_method', 'http_route', 'http_response_status_code'],
  });
  return (request, response, startedAt) => {
    const labels = [methodLabel(request.method), routeOf(request) ?? '', statusOf(response)];
    observe(labels, (performance.now() - startedAt) / 1_000);
  };
}

/** How a request that this process has sent to another one has ended. */
export interface ClientAnswer {
  /** The name of the service that was asked. */
  upstream: string;
  method: string | undefined;
  /** Of the response, if there is one. */
  status: number | undefined;
  /** '' when there is a response. */
  error: '' | 'aborted' | 'timeout' | 'unavailable';
  /** From the request to the headers of the response, or to the error. */
  seconds: number;
}

export type OnClientAnswer = (answer: ClientAnswer) => void;

/** @returns what is to be called for each request to another service */
export function measureClientRequests(metrics: Metrics): OnClientAnswer {
  const observe = metrics.histogram({
    name: 'http_client_request_duration_seconds',
    help: 'Time from a request to a service to the headers of its response, in seconds. error_type: why there is none.',
    labels: ['http_request_method', 'upstream', 'http_response_status_code', 'error_type'],
  });
  return ({ upstream, method, status, error, seconds }) =>
    observe([methodLabel(method), upstream, String(status ?? ''), error], seconds);
}

/** '' when no status was sent: the client has gone. A status may have been written past the response, on the socket. */
function statusOf({ headersSent, statusCode }: ServerResponse): string {
  return headersSent || statusCode !== 200 ? String(statusCode) : '';
}
