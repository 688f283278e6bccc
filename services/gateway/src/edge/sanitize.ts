// What a client may not send onward. A service behind the gateway sees one Host, a plain path, end-to-end headers
// and forwarding headers that only the gateway wrote; a request that means different things to different parsers
// is refused. Headers are cleaned before the proxy sees the request: a client's `Trailer` makes the proxy's own
// request throw outside every handler, and its `Expect` makes the proxy skip its header events.
import type { IncomingMessage } from 'node:http';
import { DomainError } from '@promopulse/shared/errors';
import type { NextFunction, Request, Response } from 'express';

const methods = new Set(['GET', 'HEAD', 'POST', 'PUT', 'PATCH', 'DELETE', 'OPTIONS']);
const hostAndPort = /^(?:[A-Za-z0-9._-]+|\[[0-9A-Fa-f:.]+\])(?::\d{1,5})?$/;
const visibleAscii = /^[\x21-\x7e]+$/;
// biome-ignore lint/suspicious/noControlCharactersInRegex: control characters are what it looks for
const controlCharacter = /[\x00-\x1f\x7f]/;

/** Meant for the next hop only (RFC 9110 7.6.1), or for the gateway and nobody behind it. */
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
/** `Connection: content-length` must not take away what tells where the body ends. */
const framingNames = new Set(['host', 'content-length', 'transfer-encoding']);

const faults = new WeakMap<IncomingMessage, DomainError>();

/** Runs before express, whose router cannot parse every target that node accepts. Never throws. */
export function sanitize(request: IncomingMessage): void {
  const fault = findFault(request);
  if (fault) {
    faults.set(request, fault);
    request.url = '/';
  }
  const { host, connection } = request.headers;
  for (const name of Object.keys(request.headers)) {
    if (isStripped(name, connection)) delete request.headers[name];
  }
  request.headers['x-forwarded-for'] = request.socket.remoteAddress ?? '';
  request.headers['x-forwarded-proto'] = 'http';
  request.headers['x-forwarded-host'] = host ?? '';
}

/**
 * The first express step that may refuse: by then the request has an id and is in the access log. Nothing more is read
 * from its connection (RFC 9112 6.3): where this request ends, and the next begins, is what others may see differently.
 */
export function refuseFaulty(request: Request, response: Response, next: NextFunction): void {
  const fault = faults.get(request);
  if (fault) {
    response.setHeader('Connection', 'close');
    throw fault;
  }
  next();
}

/** Whether a header ends here, in either direction. `connection` is the message's own Connection header. */
export function isHopByHop(name: string, connection: string | undefined): boolean {
  if (framingNames.has(name)) return name === 'transfer-encoding';
  return strippedNames.has(name) || name.startsWith('proxy-') || isNamedIn(connection, name);
}

function isStripped(name: string, connection: string | undefined): boolean {
  if (framingNames.has(name)) return false;
  return (
    strippedNames.has(name) ||
    strippedPrefixes.some((prefix) => name.startsWith(prefix)) ||
    name.includes('_') || // some servers read `x_internal_id` and `x-internal-id` as one
    isNamedIn(connection, name)
  );
}

function isNamedIn(connection: string | undefined, name: string): boolean {
  return connection?.split(',').some((option) => option.trim().toLowerCase() === name) ?? false;
}

function findFault(request: IncomingMessage): DomainError | undefined {
  const { method = '', url = '', httpVersion, rawHeaders, headers } = request;
  if (httpVersion !== '1.1' && httpVersion !== '1.0') return badRequest('Only HTTP/1.1 and HTTP/1.0 are spoken here');
  const hosts = rawHeaders.filter((name, index) => index % 2 === 0 && name.toLowerCase() === 'host');
  if (hosts.length !== 1) return badRequest('There must be exactly one Host header');
  if (!hostAndPort.test(headers.host ?? '')) return badRequest('The Host header is not a host and port');
  if ((headers.expect ?? '100-continue').toLowerCase() !== '100-continue') {
    return badRequest('Only 100-continue can be expected');
  }
  // Any other coding would have to be undone here, since the header that names it ends here.
  if ((headers['transfer-encoding'] ?? 'chunked').toLowerCase() !== 'chunked') {
    return badRequest('The only Transfer-Encoding is chunked');
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

function findTargetFault(url: string): string | undefined {
  if (!url.startsWith('/')) return 'The request target must be a path';
  if (!visibleAscii.test(url) || url.includes('#')) return 'The request target has characters that must be encoded';
  const query = url.indexOf('?');
  const path = query === -1 ? url : url.slice(0, query);
  const decodedPath = decode(path);
  const decodedQuery = query === -1 ? '' : decode(url.slice(query));
  if (decodedPath === undefined || decodedQuery === undefined) {
    return 'The request target is not percent-encoded UTF-8';
  }
  if (controlCharacter.test(decodedPath) || controlCharacter.test(decodedQuery)) {
    return 'The request target has an encoded control character';
  }
  if (path.includes('//')) return 'The path has an empty segment';
  if (decodedPath.includes('\\') || /%2f/i.test(path)) return 'The path has a backslash or an encoded slash';
  if (decodedPath.split('/').some((segment) => segment === '.' || segment === '..')) {
    return 'The path has a dot segment';
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
