// A request's JSON body, read as a whole. By hand: express's parser costs more than all else that is done with a small
// body.
import { isUtf8 } from 'node:buffer';
import type { IncomingMessage } from 'node:http';
import { promisify } from 'node:util';
import { brotliDecompress, gunzip, inflate, zstdDecompress } from 'node:zlib';
import { DomainError } from './errors.ts';

const mostBytes = 65_536;
const jsonType = /^application\/(?:[\w!#$&^.+-]+\+)?json\s*(?:;|$)/i;
const charset = /;\s*charset\s*=\s*"?([^\s;"]*)/i;
const limited = { maxOutputLength: mostBytes };
const unpack: Record<string, (body: Buffer) => Promise<Buffer>> = {
  gzip: (body) => promisify(gunzip)(body, limited),
  deflate: (body) => promisify(inflate)(body, limited),
  br: (body) => promisify(brotliDecompress)(body, limited),
  zstd: (body) => promisify(zstdDecompress)(body, limited),
};

/**
 * Reads a body of at most 64 KiB, as it is sent and unpacked.
 * @returns undefined when there is none
 * @throws DomainError of kind `unsupported_media_type`, `too_large`, `invalid` or `bad_request`
 */
export async function readJson(request: IncomingMessage): Promise<unknown> {
  const { headers } = request;
  if (headers['transfer-encoding'] === undefined && Number(headers['content-length'] ?? 0) === 0) return undefined;
  const type = headers['content-type'] ?? '';
  if (!jsonType.test(type)) {
    throw new DomainError('unsupported_media_type', 'unsupported_media_type', 'Content-Type must be application/json');
  }
  if ((charset.exec(type)?.[1] ?? 'utf-8').toLowerCase() !== 'utf-8') throw malformed();
  const encoding = headers['content-encoding']?.toLowerCase() ?? 'identity';
  if (encoding !== 'identity' && !Object.hasOwn(unpack, encoding)) {
    throw new DomainError('unsupported_media_type', 'unsupported_encoding', 'The Content-Encoding is not supported');
  }
  const sent = await gather(request);
  const body = (await unpack[encoding]?.(sent).catch(refuseUnpacking)) ?? sent;
  if (body.length === 0) return undefined;
  if (!isUtf8(body)) throw malformed();
  try {
    return JSON.parse(body.toString());
  } catch {
    throw malformed();
  }
}

/** What is too large is read off, so that a client that is still sending hears the answer. */
function gather(request: IncomingMessage): Promise<Buffer> {
  return new Promise((resolve, reject) => {
    const chunks: Buffer[] = [];
    let size = 0;
    request.on('data', (chunk: Buffer) => {
      size += chunk.length;
      if (size <= mostBytes) chunks.push(chunk);
    });
    request.on('end', () => {
      if (size > mostBytes) reject(tooLarge());
      else resolve(chunks.length === 1 ? (chunks[0] as Buffer) : Buffer.concat(chunks));
    });
    request.on('error', () => reject(unreadable()));
  });
}

function refuseUnpacking(error: NodeJS.ErrnoException): never {
  throw error.code === 'ERR_BUFFER_TOO_LARGE' ? tooLarge() : unreadable();
}

function tooLarge(): DomainError {
  return new DomainError('too_large', 'body_too_large', 'The body is larger than 64 KiB');
}

function unreadable(): DomainError {
  return new DomainError('bad_request', 'bad_request', 'The request could not be read');
}

function malformed(): DomainError {
  return new DomainError('invalid', 'malformed_json', 'The body is not valid JSON in UTF-8', {
    errors: [{ field: 'body', rule: 'must be valid JSON in UTF-8' }],
  });
}
