// The header Idempotency-Key (draft-ietf-httpapi-idempotency-key-header): a String of RFC 9651, `"8e03978e"`. Most
// clients send the same text without the quotes, which begins no String: it is read as the same key.
import type { IncomingMessage } from 'node:http';
import { parseItem } from 'structured-headers';
import type { IdempotentRequest } from '../contracts/cause.ts';
import { malformedIdempotencyKey } from '../errors.ts';

export const idempotencyKeyHeader = 'Idempotency-Key';
const headerName = idempotencyKeyHeader.toLowerCase();

/** Maximum length of a key, in characters. */
export const maxKeyLength = 255;

interface RepeatedRoute {
  method: string;
  /** It needs no key. */
  isRepeatable?: boolean;
}

/** Whether repetitions of a request of this route can be made once. */
export function takesIdempotencyKey({ method, isRepeatable = false }: RepeatedRoute): boolean {
  return method !== 'get' && !isRepeatable;
}

/** A key without quotes. */
const bareKey = /^[A-Za-z0-9._:~-]+$/;

/**
 * @returns undefined when the request has no key
 * @throws DomainError when it has two, an empty one, or one of another form
 */
export function readIdempotencyKey({ headers, headersDistinct }: IncomingMessage): string | undefined {
  const sent = headers[headerName];
  if (sent === undefined) return undefined;
  const key = headersDistinct[headerName]?.length === 1 ? parseKey(String(sent).trim()) : undefined;
  if (!key || key.length > maxKeyLength) throw malformedIdempotencyKey();
  return key;
}

/** @returns undefined when it is no key */
function parseKey(text: string): string | undefined {
  if (bareKey.test(text)) return text;
  try {
    const [value, parameters] = parseItem(text);
    return typeof value === 'string' && parameters.size === 0 ? value : undefined;
  } catch {
    return undefined;
  }
}

/** @param body the bytes of the body without its content coding */
export function idempotentRequest(
  key: string,
  { method, url, headers }: IncomingMessage,
  body: Buffer = Buffer.alloc(0),
): IdempotentRequest {
  const head = JSON.stringify([method, url, headers['content-type'] ?? '']);
  return { key, content: Buffer.concat([Buffer.from(`${head}\n`), body]) };
}
