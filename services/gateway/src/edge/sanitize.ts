// What a client may send to a service. A service behind the gateway sees one Host, a plain path, end-to-end headers and
// forwarding headers that only the gateway has written. A request that two parsers can read differently is rejected.
import type { IncomingMessage } from 'node:http';
import { DomainError } from '@promopulse/shared/errors';
import { methodNotAllowed } from '@promopulse/shared/http/app';
import { sendProblem } from '@promopulse/shared/http/problem';
import { accessLog, requestIdOf } from '@promopulse/shared/http/request-log';
import { malformedRequest, methods } from '@promopulse/shared/http/unparsed/parser-faults';
import { isProtocolSupported, otherProtocol } from '@promopulse/shared/http/unparsed/protocol';
import type { Logger } from '@promopulse/shared/telemetry/logger';
import { isHostAndPort, type TrustedProxies } from './forwarding.ts';
import { prefixHeader } from './public-url.ts';
import type { Step } from './steps.ts';
import { findTargetFault } from './target.ts';

const accepted: ReadonlySet<string> = new Set(methods);
/** By which name the gateway is in `Via`. */
const pseudonym = 'promopulse';
/** Methods whose requests may have a body that changes something. */
const changingMethods = new Set(['POST', 'PUT', 'PATCH', 'DELETE']);

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
/** Headers without which a request means something else. `Connection` must not name them (RFC 9110 7.6.1). */
const endToEndNames = [
  'accept-encoding',
  'access-control-request-headers',
  'access-control-request-method',
  'authorization',
  'cache-control',
  'content-encoding',
  'content-range',
  'content-type',
  'idempotency-key',
  'if-match',
  'if-none-match',
  'max-forwards',
  'origin',
  'via',
  'x-reason',
];

/**
 * Removes the headers that end at the gateway, and writes the forwarding headers. The request id and the proxy need clean
 * headers: a client's `Trailer` makes the proxy's own request throw outside every handler, and its `Expect` makes the
 * proxy skip its header events.
 * @param publicPath the path of PUBLIC_URL, such as `/promo`, or ''; undefined without a PUBLIC_URL: then a trusted proxy
 *   may say the prefix
 */
export function sanitize(proxies: TrustedProxies, publicPath: string | undefined): Step {
  return (request, _response, next) => {
    const { headers, httpVersion } = request;
    const { address, scheme, host, prefix } = proxies.originOf(request);
    const options = connectionOptions(headers.connection);
    for (const name of Object.keys(headers)) {
      if (isStripped(name, options)) delete headers[name];
    }
    headers['x-forwarded-for'] = address;
    headers['x-forwarded-proto'] = scheme;
    if (host) headers['x-forwarded-host'] = host.endsWith(':') ? host.slice(0, -1) : host;
    const publicPrefix = publicPath ?? prefix;
    if (publicPrefix) headers[prefixHeader] = publicPrefix;
    const hop = `${httpVersion} ${pseudonym}`;
    headers.via = headers.via ? `${headers.via}, ${hop}` : hop; // RFC 9110 7.6.3
    next();
  };
}

/**
 * Answers a malformed request with 400, 405, 417 or 421 and closes its connection. The gateway reads no more from the
 * connection (RFC 9112 6.3), because parsers may disagree about where this request ends.
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

const noOptions: ReadonlySet<string> = new Set();

/** The options of a Connection header, in lower case. Some are names of headers that end at this hop. */
export function connectionOptions(connection: string | undefined): ReadonlySet<string> {
  if (connection === undefined) return noOptions;
  const options = connection.toLowerCase().split(',');
  return new Set(options.map((option) => option.trim()));
}

/** Whether a header of a response must not be forwarded. @param options of the response's own Connection header */
export function isHopByHop(name: string, options: ReadonlySet<string>): boolean {
  if (framingNames.has(name)) return name === 'transfer-encoding';
  return strippedNames.has(name) || name.startsWith('proxy-') || options.has(name);
}

function isStripped(name: string, options: ReadonlySet<string>): boolean {
  if (framingNames.has(name)) return false;
  return (
    strippedNames.has(name) ||
    strippedPrefixes.some((prefix) => name.startsWith(prefix)) ||
    name.includes('_') || // some servers read `x_internal_id` and `x-internal-id` as the same name
    options.has(name)
  );
}

function findFault(request: IncomingMessage): DomainError | undefined {
  const { method = '', httpVersion, headers } = request;
  if (!isProtocolSupported(request)) return otherProtocol();
  const [host, ...otherHosts] = sentValues(request, 'host');
  // HTTP/1.0 has no Host header (RFC 9112 3.2): load balancers check the health without it.
  if (otherHosts.length > 0 || (host === undefined && httpVersion === '1.1')) {
    return malformedRequest('The request must have exactly one Host header');
  }
  if (host !== undefined && !isHostAndPort(host)) {
    return malformedRequest('The Host header must be a host, or a host and a port up to 65535');
  }
  const headerFault = findConnectionFault(request) ?? findExpectFault(request) ?? findBodyFault(request);
  const targetFault = headerFault ?? findTargetFault(request);
  if (targetFault) return targetFault;
  if (!accepted.has(method)) {
    return methodNotAllowed(methods.join(', '), 'The gateway');
  }
  if (method === 'OPTIONS' && !/^\d+$/.test(String(headers['max-forwards'] ?? 0))) {
    return malformedRequest('The Max-Forwards header must be a whole number');
  }
  return undefined;
}

function findConnectionFault(request: IncomingMessage): DomainError | undefined {
  const sent = sentValues(request, 'connection');
  if (sent.length === 0) return undefined;
  const options = connectionOptions(sent.join(','));
  const name = endToEndNames.find((each) => options.has(each));
  return name === undefined ? undefined : malformedRequest(`The Connection header must not name ${name}`);
}

function findExpectFault(request: IncomingMessage): DomainError | undefined {
  const expectations = sentValues(request, 'expect').flatMap((value) => value.split(','));
  const isKnown = expectations.every((each) => /^(100-continue)?$/i.test(each.trim()));
  return isKnown ? undefined : unknownExpectation();
}

export function unknownExpectation(): DomainError {
  return new DomainError('expectation_failed', 'expectation_failed', 'The Expect header must be 100-continue');
}

function findBodyFault({ method = '', httpVersion, headers }: IncomingMessage): DomainError | undefined {
  const coding = headers['transfer-encoding'];
  // The gateway removes this header, so it would have to decode any other coding itself.
  if (coding !== undefined && coding.toLowerCase() !== 'chunked') {
    return malformedRequest('The Transfer-Encoding header must be chunked');
  }
  if (coding !== undefined && httpVersion === '1.0') {
    return malformedRequest('HTTP/1.0 has no Transfer-Encoding: send a Content-Length'); // RFC 9112 6.1
  }
  if (headers['content-range'] !== undefined && changingMethods.has(method)) {
    return malformedRequest('The Content-Range header is not supported: send the whole body'); // RFC 9110 14.5
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
