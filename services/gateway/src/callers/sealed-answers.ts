// Answers about API keys that are kept for an Idempotency-Key. They have secrets, of which the database has only digests. So
// each is encrypted with a key that is derived from the credential of its caller: the gateway keeps no key that opens it,
// and only the caller who repeats the request with the same credential can get it again.
import { createCipheriv, createDecipheriv, hkdfSync, randomBytes } from 'node:crypto';
import type { AnswerProtection } from '@promopulse/shared/database/idempotency/idempotency-keys';
import type { Caller } from '@promopulse/shared/http/caller/caller';

const algorithm = 'aes-256-gcm';
const keyBytes = 32;
const nonceBytes = 12;
const tagBytes = 16;

/** Of the requests that are in progress. */
const sealingKeys = new WeakMap<Caller, Buffer>();

/**
 * @param credential an API key or an access token: what nobody can guess
 * @returns the caller of one request, whose answers `sealedFor` can protect
 */
export function withSealingKey(caller: Caller, credential: string): Caller {
  const own = { ...caller };
  sealingKeys.set(own, Buffer.from(hkdfSync('sha256', credential, '', 'promopulse kept answer', keyBytes)));
  return own;
}

/** @throws Error for a caller that `withSealingKey` has not made */
export function sealedFor(caller: Caller): AnswerProtection {
  const key = sealingKeys.get(caller);
  if (!key) throw new Error('the caller has no sealing key');
  return {
    // The rows of API keys have the content of the requests in plain text.
    secret: Buffer.alloc(0),
    seal: (text) => seal(key, text),
    unseal: (text) => unseal(key, text),
  };
}

function seal(key: Buffer, text: string): string {
  const nonce = randomBytes(nonceBytes);
  const cipher = createCipheriv(algorithm, key, nonce);
  return Buffer.concat([nonce, cipher.update(text, 'utf8'), cipher.final(), cipher.getAuthTag()]).toString('base64url');
}

/** @returns undefined when it was sealed for another credential */
function unseal(key: Buffer, text: string): string | undefined {
  const bytes = Buffer.from(text, 'base64url');
  if (bytes.length < nonceBytes + tagBytes) return undefined;
  const decipher = createDecipheriv(algorithm, key, bytes.subarray(0, nonceBytes), { authTagLength: tagBytes });
  decipher.setAuthTag(bytes.subarray(-tagBytes));
  try {
    return decipher.update(bytes.subarray(nonceBytes, -tagBytes), undefined, 'utf8') + decipher.final('utf8');
  } catch {
    return undefined;
  }
}
