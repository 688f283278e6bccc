// Which headers a service gets of a request, and a client of a response, and what a response says of the service.
import type { IncomingHttpHeaders, ServerResponse } from 'node:http';
import { reachedLimitHeader, unavailableDependencyHeader } from '@promopulse/shared/errors';
import { requestIdHeader } from '@promopulse/shared/http/request-log';
import vary from 'vary';
import { withPublicPrefix } from '../edge/public-url.ts';
import { connectionOptions, isHopByHop } from '../edge/sanitize.ts';

/** Response headers that the gateway writes itself, or that name the software of a service. */
const droppedHeaders = new Set([requestIdHeader, 'server', 'x-powered-by']);

/** Response headers whose value is a path of the API. */
const pathNames = new Set(['location', 'content-location']);

/**
 * undici writes Host and Content-Length itself. The body is complete, so it needs no Transfer-Encoding. A credential ends
 * at the gateway whatever AUTH is: a service reads none, and could only leak it.
 */
export function forwardHeaders(headers: IncomingHttpHeaders): Record<string, string | string[]> {
  const {
    host: _host,
    'content-length': _length,
    'transfer-encoding': _coding,
    authorization: _credential,
    ...rest
  } = headers;
  return rest as Record<string, string | string[]>;
}

export function copyResponseHeaders(headers: IncomingHttpHeaders, response: ServerResponse): void {
  const options = connectionOptions(headers.connection);
  for (const name in headers) {
    const value = headers[name];
    const isForwarded = value !== undefined && !droppedHeaders.has(name) && !isHopByHop(name, options);
    if (!isForwarded) continue;
    if (name === 'vary') vary(response, value);
    else response.setHeader(name, pathNames.has(name) ? withPublicPrefix(response.req, String(value)) : value);
  }
}

/** Statuses by which a service, or a proxy before it, says that it is unavailable. */
const unavailableStatuses = new Set([502, 503, 504]);
/** A service that sends one of these headers is healthy. */
const healthyNames = [unavailableDependencyHeader.toLowerCase(), reachedLimitHeader.toLowerCase()];

/** Whether a response says that the service itself cannot answer, so that the circuit breaker counts it. */
export function saysUnavailable(status: number, headers: IncomingHttpHeaders): boolean {
  return unavailableStatuses.has(status) && !healthyNames.some((name) => headers[name] !== undefined);
}
