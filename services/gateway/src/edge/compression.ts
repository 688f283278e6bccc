// Compresses answers with brotli or gzip, as the Accept-Encoding of the request asks for it.
//
// A short body that is given as a whole is compressed at once: that takes a third of the CPU time of a zlib stream, which
// works in another thread. Other bodies go through a stream, part by part as they come.
import type { IncomingMessage, ServerResponse } from 'node:http';
import {
  type BrotliCompress,
  brotliCompressSync,
  constants,
  createBrotliCompress,
  createGzip,
  type Gzip,
  gzipSync,
} from 'node:zlib';
import compressible from 'compressible';
import onHeaders from 'on-headers';
import { type AcceptedCoding, readAcceptEncoding } from './accept-encoding.ts';
import { encodeOnce, isStaticBody } from './static-bodies.ts';
import type { Step } from './steps.ts';
import { addTagSuffix, removeTagSuffixes, restoreTagSuffix } from './variant-tags.ts';

/** What every answer depends on. */
export const varyOfAll = 'Accept-Encoding';
/** Shorter bodies fit into one packet of a network anyway. */
const minBytes = 1_024;
/** Beyond this size a stream takes less time of the gateway's own thread. */
const maxBytesAtOnce = 16_384;
/** A stream keeps up to 1 MiB until its client has read the answer. When there are so many, bodies are not compressed. */
const maxStreams = 64;

// The levels are chosen by CPU time: docs/performance.md. Each part is flushed, so that no part waits for the next one.
const gzipOptions = { level: 4, flush: constants.Z_SYNC_FLUSH };
const brotliOptions = {
  params: { [constants.BROTLI_PARAM_QUALITY]: 3, [constants.BROTLI_PARAM_LGWIN]: 18 },
  flush: constants.BROTLI_OPERATION_FLUSH,
};
const encoders = {
  br: {
    encode: (body: Uint8Array): Buffer => brotliCompressSync(body, brotliOptions),
    createStream: (): BrotliCompress => createBrotliCompress(brotliOptions),
  },
  gzip: {
    encode: (body: Uint8Array): Buffer => gzipSync(body, gzipOptions),
    createStream: (): Gzip => createGzip(gzipOptions),
  },
};

/**
 * Says of every answer that it depends on Accept-Encoding, and compresses the answers to the clients that ask for it. A
 * client that does not ask costs one header.
 */
export function compressResponses(): Step {
  const streams = { open: 0 };
  return (request, response, next) => {
    response.setHeader('Vary', varyOfAll);
    const { method, headers } = request;
    const { 'if-none-match': sentTags } = headers;
    const isForbidden = isTransformForbidden(headers['cache-control']);
    const accepted = isForbidden ? undefined : readAcceptEncoding(headers['accept-encoding']);
    removeTagSuffixes(headers, method === 'GET' || method === 'HEAD', accepted?.coding);
    if (accepted) new CompressedResponse({ request, response, accepted, sentTags, streams }).attach();
    next();
  };
}

interface CompressedResponseOptions {
  request: IncomingMessage;
  response: ServerResponse;
  accepted: AcceptedCoding;
  /** If-None-Match of the client. */
  sentTags: string | undefined;
  /** Shared by all responses of the gateway. */
  streams: { open: number };
}

/**
 * Stands in for `write` and `end` of one response.
 * undecided: until the headers are written, or the first part of the body is given.
 * plain: the body goes out as it is.
 * at once: the whole body was given. It is compressed, and goes out.
 * streaming: the body goes through a zlib stream, which also tells the pace: `write` returns what the stream's does, and
 * the response emits `drain` when the stream takes more.
 */
class CompressedResponse {
  readonly #request: IncomingMessage;
  readonly #response: ServerResponse;
  readonly #accepted: AcceptedCoding;
  readonly #sentTags: string | undefined;
  readonly #streams: { open: number };
  /** The response's own methods. */
  readonly #write: ServerResponse['write'];
  readonly #end: ServerResponse['end'];
  #state: 'undecided' | 'plain' | 'at once' | 'streaming' = 'undecided';
  #stream: BrotliCompress | Gzip | undefined;

  constructor({ request, response, accepted, sentTags, streams }: CompressedResponseOptions) {
    this.#request = request;
    this.#response = response;
    this.#accepted = accepted;
    this.#sentTags = sentTags;
    this.#streams = streams;
    this.#write = response.write;
    this.#end = response.end;
  }

  attach(): void {
    const response = this.#response;
    onHeaders(response, () => this.#decide());
    // The methods of the response and of a stream have the same parameters.
    response.write = (...part: unknown[]): boolean => {
      this.#decide();
      return this.#stream ? apply(this.#stream, this.#stream.write, part) : apply(response, this.#write, part);
    };
    response.end = (...last: unknown[]): typeof response => {
      this.#finish(last);
      return response;
    };
  }

  #finish(last: unknown[]): void {
    const [chunk, encoding] = last as [chunk: unknown, encoding: BufferEncoding | undefined];
    const isBody = typeof chunk === 'string' || chunk instanceof Uint8Array;
    this.#decide(isBody ? Buffer.byteLength(chunk, encoding) : undefined, isStaticBody(chunk));
    if (this.#state === 'at once' && isBody) {
      const body = typeof chunk === 'string' ? Buffer.from(chunk, encoding) : chunk;
      const { coding } = this.#accepted;
      const encoded = encodeOnce(body, coding, encoders[coding].encode);
      this.#state = 'plain';
      this.#response.setHeader('Content-Length', encoded.length);
      apply(this.#response, this.#end, [encoded]);
    } else if (this.#stream) apply(this.#stream, this.#stream.end, last);
    else apply(this.#response, this.#end, last);
  }

  /** @param wholeLength of the body, when all of it is given @param isStatic whether it is compressed once for all */
  #decide(wholeLength?: number, isStatic = false): void {
    if (this.#state !== 'undecided') return;
    const { coding, isIdentityRefused } = this.#accepted;
    const response = this.#response;
    this.#state = 'plain';
    if (response.statusCode === 304) restoreTagSuffix(response, this.#sentTags, coding);
    const length = Number(response.getHeader('content-length') ?? wholeLength ?? Number.POSITIVE_INFINITY);
    if (length < (isIdentityRefused ? 1 : minBytes) || !mayBeCompressed(response)) return;
    const isAtOnce = wholeLength !== undefined && (isStatic || wholeLength <= maxBytesAtOnce);
    if (this.#request.method === 'HEAD') {
      // The headers of the GET; its length is known only when the body is made.
    } else if (isAtOnce) this.#state = 'at once';
    else if (!this.#startStream()) return;
    response.setHeader('Content-Encoding', coding);
    addTagSuffix(response, coding);
    response.removeHeader('Content-Length');
  }

  /** @returns false when there are too many, or the client has gone */
  #startStream(): boolean {
    const response = this.#response;
    if (this.#streams.open >= maxStreams || response.destroyed) return false;
    const stream = encoders[this.#accepted.coding].createStream();
    this.#state = 'streaming';
    this.#stream = stream;
    this.#streams.open += 1;
    response.once('close', () => {
      stream.destroy();
      this.#streams.open -= 1;
    });
    stream.on('data', (chunk: Buffer) => {
      if (!apply(response, this.#write, [chunk])) stream.pause();
    });
    response.on('drain', () => {
      if (!response.writableNeedDrain) stream.resume();
    });
    stream.on('drain', () => response.emit('drain'));
    stream.once('end', () => apply(response, this.#end, []));
    stream.once('error', () => response.destroy());
    return true;
  }
}

/** Statuses without content, and of a part of it. */
const statusesWithoutWhole = new Set([204, 205, 206, 304]);
/** Headers that are true only of the bytes as they are. */
const headersOfBytes = ['content-encoding', 'content-range', 'content-digest', 'repr-digest', 'digest', 'content-md5'];

function mayBeCompressed(response: ServerResponse): boolean {
  const type = response.getHeader('content-type');
  return (
    !statusesWithoutWhole.has(response.statusCode) &&
    type !== undefined &&
    compressible(String(type)) === true &&
    !headersOfBytes.some((name) => response.hasHeader(name)) &&
    !isTransformForbidden(response.getHeader('cache-control'))
  );
}

/** By a client or a service (RFC 9111 5.2.1.6, 5.2.2.6). */
function isTransformForbidden(cacheControl: unknown): boolean {
  return cacheControl !== undefined && /(?:^|,)\s*no-transform\s*(?:,|$)/i.test(String(cacheControl));
}

/** Calls a method that has several forms of parameters with those that were given. */
function apply<This, Result>(target: This, method: (...args: never[]) => Result, args: unknown[]): Result {
  return Reflect.apply(method, target, args);
}
