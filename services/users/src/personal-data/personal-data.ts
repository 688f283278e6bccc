// Email and phone as stored: Fernet ciphertext, and for the email a blind index (an HMAC-SHA-256 of its
// canonical form under a key of its own), by which it can be looked up and kept unique without being readable.
import { createHmac, createSecretKey } from 'node:crypto';
import { ConfigError } from '@promopulse/shared/config';
import { z } from 'zod';
import { canonicalEmail } from './email.ts';
import { createFernet, isFernetKey } from './fernet.ts';

export const personalDataConfig = {
  PII_ENCRYPTION_KEYS: z
    .string()
    .transform((list) => list.split(',').map((key) => key.trim()))
    .refine(
      (keys) => keys.every(isFernetKey),
      'must be Fernet keys (make one with npm run keys:generate), separated by commas',
    ),
  PII_INDEX_KEY: z.string().refine(isFernetKey, 'must be 32 bytes in base64url (make it with npm run keys:generate)'),
};

export interface PersonalDataKeys {
  PII_ENCRYPTION_KEYS: string[];
  PII_INDEX_KEY: string;
}

export interface PersonalData {
  encrypt(text: string): string;
  decrypt(token: string): string;
  /** 64 hexadecimal digits; equal for addresses that differ only in letter case. */
  indexOf(email: string): string;
}

/** @throws ConfigError when the index key is also an encryption key */
export function createPersonalData(config: PersonalDataKeys): PersonalData {
  const bytesOf = (key: string): Buffer => Buffer.from(key, 'base64url'); // several texts can stand for the same bytes
  const indexBytes = bytesOf(config.PII_INDEX_KEY);
  if (config.PII_ENCRYPTION_KEYS.some((key) => bytesOf(key).equals(indexBytes))) {
    throw new ConfigError('PII_INDEX_KEY must be a key of its own, not one of PII_ENCRYPTION_KEYS');
  }
  const fernet = createFernet(config.PII_ENCRYPTION_KEYS);
  const indexKey = createSecretKey(indexBytes);
  return {
    encrypt: (text) => fernet.encrypt(text),
    decrypt: (token) => fernet.decrypt(token),
    indexOf: (email) => createHmac('sha256', indexKey).update(canonicalEmail(email)).digest('hex'),
  };
}
