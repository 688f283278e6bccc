// What is wrong with bytes that Node's parser rejects, in a sentence that helps. The sentence has no part of the request
// but the name of a header, or one byte.
import { DomainError } from '../../errors.ts';

export type Fault = readonly [status: number, code: string, detail: string];

/** What Node's parser (llhttp) says of the bytes that it rejects. */
export interface ParserError extends NodeJS.ErrnoException {
  reason?: string;
  /** The bytes that arrived last. */
  rawPacket?: Buffer;
  /** Position in `rawPacket`. */
  bytesParsed?: number;
}

/** The limits of a server, of which the sentences speak. */
export interface ParserLimits {
  /** Milliseconds. */
  headersTimeout: number;
  /** Milliseconds. */
  requestTimeout: number;
  /** Maximum size of a request's target and headers together, in bytes. */
  maxHeaderBytes: number;
  /** Maximum size of a body, in bytes: for a length that no number can hold. */
  maxBodyBytes: number;
}

/** The methods that the gateway accepts. Which of them a path has, its service says. */
export const methods = ['GET', 'HEAD', 'POST', 'PUT', 'PATCH', 'DELETE', 'OPTIONS'] as const;

/** Of CONNECT, and of a method that Node's parser does not know. */
export const unsupportedMethod: Fault = [405, 'method_not_allowed', `This server supports only ${methods.join(', ')}`];

/** A request that is not accepted as HTTP. @param message a sentence that helps */
export function malformedRequest(message: string): DomainError {
  return new DomainError('bad_request', 'malformed_request', message);
}

const withoutHttp2 = 'This port does not speak HTTP/2: use HTTP/1.1, or the address of the proxy in front';

/** By the error code of the parser. */
const sentences: Record<string, string> = {
  HPE_INVALID_METHOD: 'The request must begin with a method, such as GET, and a space',
  HPE_PAUSED_H2_UPGRADE: withoutHttp2,
  HPE_INVALID_CONSTANT:
    'After the request target there must be HTTP/1.1: percent-encode a space in the target, as %20 or +',
  HPE_INVALID_VERSION: 'The first line must end with HTTP/1.1 or HTTP/1.0, and then CR LF',
  HPE_UNEXPECTED_CONTENT_LENGTH: 'The request must have only one Content-Length, and none beside Transfer-Encoding',
  HPE_INVALID_CONTENT_LENGTH: 'The Content-Length header must be a decimal number',
  HPE_INVALID_TRANSFER_ENCODING: 'The Transfer-Encoding header must be chunked, without Content-Length',
  HPE_INVALID_CHUNK_SIZE: 'The size of a chunk in the body must be a hexadecimal number',
  HPE_STRICT: 'A chunk in the body must have the size that is written before it',
  HPE_CR_EXPECTED: 'Each line must end with CR LF',
  HPE_LF_EXPECTED: 'Each line must end with CR LF',
  HPE_UNEXPECTED_SPACE:
    'After the first line there must be a header or an empty line, and each line must end with CR LF',
  HPE_INVALID_EOF_STATE: 'The connection was closed before the end of the request',
};
const headerToken = /^[A-Za-z0-9!#$%&'*+.^_`|~-]{1,64}$/;

export function describeParserError(error: ParserError, limits: ParserLimits): Fault {
  const seconds = (milliseconds: number): string => `${milliseconds / 1_000} s`;
  switch (error.code) {
    case 'ERR_HTTP_REQUEST_TIMEOUT': {
      const [headers, whole] = [seconds(limits.headersTimeout), seconds(limits.requestTimeout)];
      const detail = `The headers of a request must arrive within ${headers}, and the whole request within ${whole}`;
      return [408, 'request_timeout', detail];
    }
    case 'HPE_HEADER_OVERFLOW':
      return [431, 'headers_too_large', headersTooLarge(limits.maxHeaderBytes)];
    case 'HPE_CHUNK_EXTENSIONS_OVERFLOW':
      return [413, 'chunk_extensions_too_large', 'The chunk extensions are larger than 16 KiB'];
    case 'HPE_INVALID_METHOD':
      return describeMethod(error);
    default:
      // "Content-Length overflow", "Chunk size overflow": a number, and a great one.
      return /overflow/i.test(error.reason ?? '')
        ? [413, 'body_too_large', tooLargeMessage(limits.maxBodyBytes)]
        : [400, 'malformed_request', describeMalformed(error)];
  }
}

function headersTooLarge(maxBytes: number): string {
  return `The request target and the headers together are larger than ${maxBytes / 1_024} KiB`;
}

export function tooLargeMessage(maxBytes: number): string {
  return `The body is larger than ${maxBytes} bytes`;
}

const firstLine = /^([!#$%&'*+.^_`|~0-9A-Za-z-]+) \S+ HTTP\/\d/;
const knownMethods: ReadonlySet<string> = new Set(methods);

/** A method is any token (RFC 9110 9.1), and Node's parser knows some: the others are as unsupported as TRACE. */
function describeMethod({ code = '', rawPacket: packet = Buffer.alloc(0), bytesParsed = 0 }: ParserError): Fault {
  const malformed = (detail = sentences[code] as string): Fault => [400, 'malformed_request', detail];
  if (packet[0] === 0x16 && packet[1] === 0x03) {
    return malformed(
      'The request is TLS, and this port speaks plain HTTP: use http:// or the address of the proxy in front',
    );
  }
  const start = packet.lastIndexOf('\n', Math.max(0, bytesParsed - 1)) + 1;
  const [, method] = firstLine.exec(packet.toString('latin1', start)) ?? [];
  if (method === undefined) return malformed();
  const upper = method.toUpperCase();
  if (method !== upper && knownMethods.has(upper)) return malformed(`The method must be in upper case: ${upper}`);
  return unsupportedMethod;
}

function describeMalformed({ code = '', reason = '', rawPacket, bytesParsed = 0 }: ParserError): string {
  const packet = rawPacket ?? Buffer.alloc(0);
  if (code === 'HPE_INVALID_URL') return describeTarget(reason, packet, bytesParsed);
  if (/HTTP\/2/.test(reason)) return withoutHttp2; // the beginning of its preface, and not the rest
  if (code === 'HPE_INVALID_HEADER_TOKEN') return describeHeader(reason, nameOfHeader(packet, bytesParsed));
  return sentences[code] ?? 'The request is not valid HTTP/1.1';
}

/** The parser stops at the byte that is wrong, or behind it: at a tab, a form feed and a CR. */
function describeTarget(reason: string, packet: Buffer, position: number): string {
  if (/CRLF/.test(reason)) return String(sentences.HPE_CR_EXPECTED);
  return describeTargetByte(packet[/characters/.test(reason) ? position - 1 : position]);
}

/** @param byte of the target, at which it is not valid */
export function describeTargetByte(byte: number | undefined): string {
  const hex = byte?.toString(16).toUpperCase().padStart(2, '0');
  if (byte !== undefined && byte >= 0x80) {
    return `The request target contains a byte that is not ASCII (0x${hex}): percent-encode it, as %${hex}`;
  }
  if (byte !== undefined && (byte < 0x20 || byte === 0x7f)) {
    return `The request target contains a control character (0x${hex})`;
  }
  return 'The request target must be a path, such as /users, or an absolute URL, such as http://localhost:8000/users';
}

function describeHeader(reason: string, name: string | undefined): string {
  if (/whitespace/i.test(reason)) return 'A header continues on the next line, which is not allowed';
  const header = name === undefined ? 'A header' : `The header ${name}`;
  if (/value/i.test(reason)) return `${header} contains a control character`;
  return `${header} is not valid: a name of ASCII letters, digits and "-" must be followed by a colon`;
}

/** @returns the name in the line of the header that `position` is in; undefined when that is no name */
function nameOfHeader(packet: Buffer, position: number): string | undefined {
  const start = packet.lastIndexOf('\n', Math.max(0, position - 1)) + 1;
  const line = packet.toString('latin1', start, packet.indexOf('\r', start));
  const name = line.slice(0, line.indexOf(':')).trim();
  return line.includes(':') && headerToken.test(name) ? name : undefined;
}
