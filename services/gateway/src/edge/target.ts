// The request target (RFC 9112 3.2). A service gets the origin form only: a path and a query. The absolute form, which
// names the host, becomes the origin form. The path prefix of PUBLIC_URL is removed if it is there.
import type { IncomingMessage } from 'node:http';
import { DomainError } from '@promopulse/shared/errors';
import { describeTargetByte, malformedRequest } from '@promopulse/shared/http/unparsed/parser-faults';
import { isHostAndPort, type TrustedProxies } from './forwarding.ts';
import type { Step } from './steps.ts';

const absoluteForm = /^([A-Za-z][A-Za-z0-9+.-]*):\/\/([^/?#]*)(.*)$/;
const unacceptedCharacter = /[^\x21-\x7e]/;
// biome-ignore lint/suspicious/noControlCharactersInRegex: the expression finds control characters
const controlCharacter = /[\x00-\x1f\x7f]/;

/**
 * Makes the target a path, in which letters are not encoded. A target that cannot be one stays as it is, and `rejectMalformed` says why.
 * @param publicPath the path of PUBLIC_URL, such as `/promo`, or ''
 */
export function resolveTarget(proxies: TrustedProxies, publicPath: string): Step {
  return (request, _response, next) => {
    if (!request.url?.startsWith('/')) toOriginForm(request, proxies);
    if (request.url?.includes('%')) request.url = withPlainLetters(request.url);
    if (publicPath !== '') request.url = withoutPrefix(String(request.url), publicPath);
    next();
  };
}

/** The host of an absolute target replaces the Host header (RFC 9112 3.2.2). */
function toOriginForm(request: IncomingMessage, proxies: TrustedProxies): void {
  const [, scheme = '', authority = '', rest = ''] = absoluteForm.exec(String(request.url)) ?? [];
  if (findAuthorityFault(scheme, authority, proxies.isTrusted(request.socket))) return;
  request.headers.host = authority;
  const isServerWide = rest === '' && request.method === 'OPTIONS';
  request.url = isServerWide ? '*' : rest.startsWith('/') ? rest : `/${rest}`;
}

/** The path of a target in origin form, without its query. */
export function pathOf(url: string): string {
  const query = url.indexOf('?');
  return query === -1 ? url : url.slice(0, query);
}

const encodedByte = /%([0-9a-f]{2})/gi;
const unreserved = /[A-Za-z0-9._~-]/;

/** `/%75sers` is the same path as `/users` (RFC 3986 6.2.2.2). What is not valid stays, and is refused as it came. */
function withPlainLetters(url: string): string {
  const path = pathOf(url);
  if (/%(?![0-9a-f]{2})/i.test(path)) return url;
  const plain = path.replace(encodedByte, (encoded, hex: string) => {
    const character = String.fromCharCode(Number.parseInt(hex, 16));
    return unreserved.test(character) ? character : encoded;
  });
  return plain + url.slice(path.length);
}

function withoutPrefix(url: string, prefix: string): string {
  if (!url.startsWith(prefix)) return url;
  const rest = url.slice(prefix.length);
  if (rest === '' || rest.startsWith('?')) return `/${rest}`;
  return rest.startsWith('/') ? rest : url;
}

function findAuthorityFault(scheme: string, authority: string, mayBeSecure: boolean): DomainError | undefined {
  if (!/^https?$/i.test(scheme)) return malformedRequest(describeTargetByte(undefined));
  if (authority.includes('@')) return malformedRequest('The request target must not contain a user name or a password');
  if (!isHostAndPort(authority))
    return malformedRequest('After http:// there must be a host, or a host and a port up to 65535');
  if (/^https$/i.test(scheme) && !mayBeSecure) {
    // RFC 9110 7.4
    const message = 'The request target is an https URL, and the connection has no TLS';
    return new DomainError('misdirected', 'misdirected_request', message);
  }
  return undefined;
}

export type RequestTarget = Pick<IncomingMessage, 'url' | 'method'>;

/** What is wrong with the target of a request. `resolveTarget` has made it a path, if it can be one. */
export function findTargetFault({ url = '', method }: RequestTarget): DomainError | undefined {
  if (url === '*')
    return method === 'OPTIONS' ? undefined : malformedRequest('The request target * is for OPTIONS only');
  if (!url.startsWith('/')) {
    const [, scheme = '', authority = ''] = absoluteForm.exec(url) ?? [];
    return findAuthorityFault(scheme, authority, false) ?? malformedRequest(describeTargetByte(undefined));
  }
  const fault = findPathFault(url);
  return fault === undefined ? undefined : malformedRequest(fault);
}

function findPathFault(url: string): string | undefined {
  const unaccepted = unacceptedCharacter.exec(url)?.[0];
  if (unaccepted !== undefined) return describeTargetByte(unaccepted.charCodeAt(0));
  if (url.includes('#')) return 'The request target contains a fragment: percent-encode a # in it, as %23';
  const path = pathOf(url);
  const decodedPath = decode(path);
  const decodedQuery = decode(url.slice(path.length));
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
