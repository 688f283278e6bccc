// Which headers a service gets of a request, and a client of a response.
import type { IncomingHttpHeaders, ServerResponse } from 'node:http';
import { requestIdHeader } from '@promopulse/shared/http/request-log';
import { isHopByHop } from '../edge/sanitize.ts';

/** Response headers that the gateway writes itself, or that name the software of a service. */
const droppedHeaders = new Set([requestIdHeader, 'server', 'x-powered-by']);

/** undici writes Host and Content-Length itself. The body is complete, so it needs no Transfer-Encoding. */
export function forwardHeaders(headers: IncomingHttpHeaders): Record<string, string | string[]> {
  const { host: _host, 'content-length': _length, 'transfer-encoding': _coding, ...rest } = headers;
  return rest as Record<string, string | string[]>;
}

export function copyResponseHeaders(headers: IncomingHttpHeaders, response: ServerResponse): void {
  for (const name in headers) {
    const value = headers[name];
    const isForwarded = value !== undefined && !droppedHeaders.has(name) && !isHopByHop(name, headers.connection);
    if (isForwarded) response.setHeader(name, value);
  }
}
