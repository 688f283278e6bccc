// The body of a request. The gateway collects all of it before it asks a service, so that a client that sends slowly
// occupies neither the service nor its concurrency limit.
import type { IncomingMessage } from 'node:http';
import { DomainError } from '@promopulse/shared/errors';
import { tooLargeMessage } from '@promopulse/shared/http/unparsed/parser-faults';

/**
 * @returns the whole body, empty if there is none; undefined when the client has gone before the end of its body
 * @throws DomainError `too_large` beyond `maxBytes`; the rest of the body is then read and discarded
 */
export async function gatherBody(request: IncomingMessage, maxBytes: number): Promise<Buffer | undefined> {
  const length = Number(request.headers['content-length'] ?? 0);
  if (length > maxBytes) throw tooLarge(maxBytes);
  if (length === 0 && request.headers['transfer-encoding'] === undefined) return Buffer.alloc(0);
  return new Promise((resolve, reject) => {
    const chunks: Buffer[] = [];
    let size = 0;
    request.on('data', (chunk: Buffer) => {
      size += chunk.length;
      if (size <= maxBytes) {
        chunks.push(chunk);
        return;
      }
      chunks.length = 0;
      reject(tooLarge(maxBytes));
    });
    // The connection may have got its last answer, because the body took too long. What follows must change nothing.
    request.once('end', () => resolve(request.socket.writableEnded ? undefined : Buffer.concat(chunks)));
    request.once('error', () => resolve(undefined));
    request.once('close', () => resolve(undefined));
  });
}

export function tooLarge(maxBytes: number): DomainError {
  return new DomainError('too_large', 'body_too_large', tooLargeMessage(maxBytes));
}
