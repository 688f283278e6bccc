// What a client may send to a service. A service behind the gateway sees one Host, a plain path, end-to-end headers and
// forwarding headers that only the gateway has written. A request that two parsers can read differently is rejected.
import type { IncomingMessage } from 'node:http';
import { DomainError } from '@promopulse/shared/errors';
import { sendProblem } from '@promopulse/shared/http/problem';
import { accessLog, requestIdOf } from '@promopulse/shared/http/request-log';
import type { Logger } from '@promopulse/shared/telemetry/logger';
import type { Step } from './steps.ts';

const methods = new Set(['GET', 'HEAD', 'POST', 'PUT', 'PATCH', 'DELETE', 'OPTIONS']);
const hostAndPort = /^(?:[A-Za-z0-9._-]+|\[[0-9A-Fa-f:.]+\])(?::\d{1,5})?$/;
const visibleAscii = /^[\x21-\x7e]+$/;
// biome-ignore lint/suspicious/noControlCharactersInRegex: the expression finds control characters
const controlCharacter = /[\x00-\x1f\x7f]/;

/** Hop-by-hop headers (RFC 9110 7.6.1), and headers that only the gateway may write or read. */
const strippedNames = new Set([
  'connection',
  'keep-alive',
  'te',
  'trailer',
  'upgrade',
  'http2-settings',
  'expect',
  'forwarded',
  'x-real-ip',
]);
const strippedPrefixes = ['proxy-', 'x-forwarded-', 'x-internal-'];
/** Headers that say where a message ends. `Connection: content-length` must not remove them. */
const framingNames = new Set(['host', 'content-length', 'transfer-encoding']);

/**
 * Removes the headers that end at the gateway, and writes the forwarding headers. The request id and the proxy need clean
 * headers: a client's `Trailer` makes the proxy's own request throw outside every handler, and its `Expect` makes the
 * proxy skip its header events.
 */
export const sanitize: Step = (request, _response, next) => {
  const { headers } = request;
  const { host, connection } = headers;
  for (const name of Object.keys(headers)) {
    if (isStripped(name, connection)) delete headers[name];
  }
  headers['x-forwarded-for'] = request.socket.remoteAddress ?? '';
  headers['x-forwarded-proto'] = 'http';
  headers['x-forwarded-host'] = host ?? '';
  next();
};

/**
 * Answers a malformed request with 400 or 405 and closes its connection. The gateway reads no more from the connection
 * (RFC 9112 6.3), because parsers may disagree about where this request ends.
 */
export function rejectMalformed(log: Logger): Step {
  const logAccess = accessLog(log);
  return (request, response, next) => {
    const fault = findFault(request);
    if (!fault) {
      next();
      return;
    }
    logAccess(request, response);
    response.setHeader('Connection', 'close');
    sendProblem(response, fault, requestIdOf(request));
  };
}

/** Whether a header of a response must not be forwarded. `connection` is the response's own Connection header. */
export function isHopByHop(name: string, connection: string | undefined): boolean {
  if (framingNames.has(name)) return name === 'transfer-encoding';
  return strippedNames.has(name) || name.startsWith('proxy-') || isNamedIn(connection, name);
}

function isStripped(name: string, connection: string | undefined): boolean {
  if (framingNames.has(name)) return false;
  return (
    strippedNames.has(name) ||
    strippedPrefixes.some((prefix) => name.startsWith(prefix)) ||
    name.includes('_') || // some servers read `x_internal_id` and `x-internal-id` as the same name
    isNamedIn(connection, name)
  );
}

function isNamedIn(connection: string | undefined, name: string): boolean {
  return connection?.split(',').some((option) => option.trim().toLowerCase() === name) ?? false;
}

function findFault(request: IncomingMessage): DomainError | undefined {
  const { method = '', url = '', httpVersion, headers } = request;
  if (httpVersion !== '1.1' && httpVersion !== '1.0') return badRequest('Only HTTP/1.1 and HTTP/1.0 are supported');
  if (sentValues(request, 'host').length !== 1) return badRequest('The request must have exactly one Host header');
  if (!hostAndPort.test(headers.host ?? '')) return badRequest('The Host header must be a host, or a host and a port');
  const expectations = sentValues(request, 'expect');
  if (expectations.length > 0 && expectations.join().toLowerCase() !== '100-continue') {
    return badRequest('The Expect header must be 100-continue');
  }
  // The gateway removes this header, so it would have to decode any other coding itself.
  if ((headers['transfer-encoding'] ?? 'chunked').toLowerCase() !== 'chunked') {
    return badRequest('The Transfer-Encoding header must be chunked');
  }
  const targetFault = findTargetFault(url);
  if (targetFault) return badRequest(targetFault);
  if (!methods.has(method)) {
    return new DomainError('method_not_allowed', 'method_not_allowed', 'Method Not Allowed', {
      headers: { Allow: [...methods].join(', ') },
    });
  }
  return undefined;
}

/** The values of a header as the client sent it, also after `sanitize` has removed it. `name` is in lower case. */
function sentValues({ rawHeaders }: IncomingMessage, name: string): string[] {
  const values: string[] = [];
  for (let index = 0; index < rawHeaders.length; index += 2) {
    const sentName = rawHeaders[index] as string;
    if (sentName.length === name.length && sentName.toLowerCase() === name) values.push(String(rawHeaders[index + 1]));
  }
  return values;
}

function findTargetFault(url: string): string | undefined {
  if (!url.startsWith('/')) return 'The request target must be a path';
  if (!visibleAscii.test(url) || url.includes('#')) {
    return 'The request target contains characters that must be percent-encoded';
  }
  const query = url.indexOf('?');
  const path = query === -1 ? url : url.slice(0, query);
  const decodedPath = decode(path);
  const decodedQuery = query === -1 ? '' : decode(url.slice(query));
  if (decodedPath === undefined || decodedQuery === undefined) {
    return 'The request target is not valid percent-encoded UTF-8';
  }
  if (controlCharacter.test(decodedPath) || controlCharacter.test(decodedQuery)) {
    return 'The request target contains an encoded control character';
  }
  if (path.includes('//')) return 'The path contains an empty segment';
  if (decodedPath.includes('\\') || /%2f/i.test(path)) return 'The path contains a backslash or an encoded slash';
  if (decodedPath.split('/').some((segment) => segment === '.' || segment === '..')) {
    return 'The path contains a dot segment';
  }
  return undefined;
}

function decode(text: string): string | undefined {
  try {
    return decodeURIComponent(text);
  } catch {
    return undefined;
  }
}

function badRequest(message: string): DomainError {
  return new DomainError('bad_request', 'malformed_request', message);
}
