// Which protocol a request is in. Node's parser also reads requests of HTTP/0.9 and HTTP/2.0 by their first line, and of
// RTSP (RFC 2326): it says that RTSP/1.0 is HTTP/1.0, and RTSP/1.1 is HTTP/1.1.
import type { IncomingMessage, Server, ServerResponse } from 'node:http';
import type { DomainError } from '../../errors.ts';
import { malformedRequest } from './parser-faults.ts';

const rtspRequests = new WeakSet<IncomingMessage>();
/** With the methods that the parser reads in RTSP, of those that a server of HTTP may have. */
const rtspLine = /(?:GET|POST|OPTIONS) [^ \r\n]+ (?=RTSP\/)/g;

interface Parser {
  getCurrentBuffer?(): Buffer | undefined;
}

/** What a parser reads at this moment. */
interface Packet {
  bytes: Buffer;
  /** The first lines of requests of RTSP, up to their version. Undefined until they are needed. */
  rtspLines?: ReadonlySet<string>;
}

/** Parser → its packet. A copy of a packet for each request in it would cost time with the square of their number. */
const packets = new WeakMap<object, Packet>();

/** Looks at the first line of each request. Must be called before the server listens. */
export function watchProtocol(server: Server): void {
  server.prependListener('request', (request) => {
    if (isReadFromRtsp(request)) rtspRequests.add(request);
  });
}

/** Whether a request, of a server of `watchProtocol`, is in HTTP/1.1 or HTTP/1.0. */
export function isProtocolSupported(request: IncomingMessage): boolean {
  return (request.httpVersion === '1.1' || request.httpVersion === '1.0') && !rtspRequests.has(request);
}

export function otherProtocol(): DomainError {
  return malformedRequest('Only HTTP/1.1 and HTTP/1.0 are supported');
}

/** @throws otherProtocol */
export function checkProtocol(request: IncomingMessage, response: ServerResponse, next: () => void): void {
  if (!isProtocolSupported(request)) {
    response.setHeader('Connection', 'close');
    throw otherProtocol();
  }
  next();
}

/**
 * Node has no public name for the packet that its parser reads. The first line of a request is in one, as a rule. To get
 * the packet copies it, so it is done once a packet.
 */
function isReadFromRtsp({ method = '', url = '', socket }: IncomingMessage): boolean {
  const { parser } = socket as { parser?: Parser | null };
  if (!parser) return false;
  const known = packets.get(parser);
  const packet = known ?? readPacket(parser);
  const line = `${method} ${url} `;
  // Most packets have one request.
  if (!packet || (!known && packet.bytes.toString('latin1', 0, line.length + 5) === `${line}HTTP/`)) return false;
  packet.rtspLines ??= new Set(packet.bytes.toString('latin1').match(rtspLine));
  return packet.rtspLines.has(line);
}

/** The parser emits all requests of a packet before a microtask runs. */
function readPacket(parser: Parser): Packet | undefined {
  const bytes = parser.getCurrentBuffer?.();
  if (!bytes) return undefined;
  const packet = { bytes };
  packets.set(parser, packet);
  queueMicrotask(() => packets.delete(parser));
  return packet;
}
