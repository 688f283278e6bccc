// Reads the body of a request as JSON. Its bytes decide: JSON is UTF-8, and a charset in the Content-Type has no effect
// (RFC 8259 11). A byte order mark is ignored (RFC 8259 8.1).
import { isUtf8 } from 'node:buffer';
import type { IncomingMessage } from 'node:http';
import express, { type Request, type Response } from 'express';
import { DomainError, invalidInput } from '../../errors.ts';
import { type ParsedJson, parseJson } from '../../values/parse-json.ts';

/** Maximum size of a request body, in bytes, also after it is decompressed. */
export const maxBodyBytes = 65_536;

/** A suffix such as `+json` is a syntax, not a meaning: a JSON Patch (RFC 6902) is no merge (RFC 7396). */
const jsonTypes: ReadonlySet<string> = new Set(['application/json']);
const patchTypes: ReadonlySet<string> = new Set([...jsonTypes, 'application/merge-patch+json']);

/** The content codings by their names (RFC 9110 8.4.1.3 has two names for gzip). */
const codings: ReadonlyMap<string, string> = new Map([
  ['identity', 'identity'],
  ['gzip', 'gzip'],
  ['x-gzip', 'gzip'],
  ['deflate', 'deflate'],
  ['br', 'br'],
  ['zstd', 'zstd'],
]);

const readBytes = express.raw({ limit: maxBodyBytes, type: () => true });

/** The JSON of a body, and the bytes that it was read from. */
export interface ReadBody extends ParsedJson {
  bytes: Buffer;
}

/** Whether a request announces a body. One in chunks may prove to be empty. */
export function hasBody({ headers }: Pick<IncomingMessage, 'headers'>): boolean {
  return headers['transfer-encoding'] !== undefined || Number(headers['content-length'] ?? 0) > 0;
}

/**
 * @param isExpected whether the route has a body: otherwise only an empty one, or an object, is read
 * @returns undefined when the body is empty
 * @throws DomainError when it is not JSON, or an error of express when it cannot be received
 */
export async function readBody(
  request: Request,
  response: Response,
  isExpected: boolean,
): Promise<ReadBody | undefined> {
  const isJson = isAccepted(request);
  if (isExpected && !isJson) throw unsupportedMediaType(request.method);
  const bytes = await readDecoded(request, response);
  if (bytes.length === 0) return undefined;
  const parsed = parse(bytes);
  if (parsed) return { ...parsed, bytes };
  // Clients give an empty object another type, as `curl -d {}` does. What is sent without need may be anything.
  throw isJson ? malformedJson() : unexpectedBody();
}

function isAccepted({ method, headers }: Request): boolean {
  const [type = ''] = (headers['content-type'] ?? '').split(';', 1);
  return bodyTypesOf(method).has(type.trim().toLowerCase());
}

/** The media types of a body. */
export function bodyTypesOf(method: string): ReadonlySet<string> {
  return method === 'PATCH' ? patchTypes : jsonTypes;
}

async function readDecoded(request: Request, response: Response): Promise<Buffer> {
  const sent = request.headers['content-encoding'];
  const coding = sent === undefined ? 'identity' : codingOf(sent);
  if (sent !== undefined) request.headers['content-encoding'] = coding;
  return new Promise((resolve, reject) => {
    readBytes(request, response, (error?: unknown) => {
      if (!error) resolve(request.body);
      else reject(isOfDecoder(error) ? undecodableBody(coding) : error);
    });
  });
}

/** Errors of zlib have a code such as Z_DATA_ERROR, ERR_BROTLI_… or ZSTD_error_…. */
function isOfDecoder(error: unknown): boolean {
  const { code } = error as { code?: unknown };
  return typeof code === 'string' && /^(?:Z_|ERR_|ZSTD_)/.test(code);
}

export function undecodableBody(coding: string): DomainError {
  const rule = `must be valid ${coding}, as its Content-Encoding says`;
  return new DomainError('bad_request', 'bad_request', `The body ${rule}`, { errors: [{ field: 'body', rule }] });
}

/** The rule of a route without a body, for what is not at least an object. */
export function unexpectedBody(): DomainError {
  return invalidInput([{ field: 'body', rule: 'must be empty, or an empty JSON object' }]);
}

/** @returns undefined when it is not JSON in UTF-8 */
function parse(bytes: Buffer): ParsedJson | undefined {
  if (!isUtf8(bytes)) return undefined;
  const text = bytes.toString('utf8');
  try {
    return parseJson(text.startsWith('\ufeff') ? text.slice(1) : text);
  } catch (error) {
    if (error instanceof SyntaxError) return undefined;
    throw error;
  }
}

export function malformedJson(): DomainError {
  return new DomainError('invalid', 'malformed_json', 'The body is not valid JSON in UTF-8', {
    errors: [{ field: 'body', rule: 'must be valid JSON in UTF-8' }],
  });
}

/** @throws DomainError unless the body has at most one coding, and it is known */
function codingOf(sent: string): string {
  const names = sent
    .toLowerCase()
    .split(',')
    .map((name) => name.trim());
  const [name = 'identity', ...more] = names.filter((each) => each !== '' && each !== 'identity');
  const coding = more.length === 0 ? codings.get(name) : undefined;
  if (coding !== undefined) return coding;
  throw unsupportedEncoding();
}

export function unsupportedEncoding(): DomainError {
  return new DomainError('unsupported_media_type', 'unsupported_encoding', 'The Content-Encoding is not supported', {
    headers: { 'Accept-Encoding': 'gzip, deflate, br, zstd' },
  });
}

/** RFC 9110 15.5.16 and RFC 5789 2.2. Accept-Encoding must not be sent here (RFC 9110 12.5.3). */
export function unsupportedMediaType(method: string): DomainError {
  const types = [...bodyTypesOf(method)];
  const list = types.join(', ');
  const headers = { Accept: list, [method === 'PATCH' ? 'Accept-Patch' : 'Accept-Post']: list };
  const message = `Content-Type must be ${types.join(' or ')}`;
  return new DomainError('unsupported_media_type', 'unsupported_media_type', message, { headers });
}
