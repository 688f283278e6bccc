// Email and phone as stored: Fernet ciphertext, and for the email a blind index (an HMAC-SHA-256 of its
// canonical form under a key of its own), by which it can be looked up and kept unique without being readable.
import { createHmac, createSecretKey } from 'node:crypto';
import { ConfigError } from '@promopulse/shared/config';
import type { AnswerProtection } from '@promopulse/shared/database/idempotency/idempotency-keys';
import { z } from 'zod';
import { canonicalEmail, canonicalForms } from './email.ts';
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
  /** Every index by which a release may have stored the address. They are the same but for a few letters. */
  indexesOf(email: string): EmailIndexes;
  /** The index of a user whose email another user has. No address has it. */
  spareIndexOf(email: string, userId: number): string;
  /** How the answers to requests with an idempotency key are kept: they hold emails and phones. */
  answers: AnswerProtection;
}

export interface EmailIndexes {
  /** What `indexOf` returns. */
  own: string;
  /** Of the form in which releases before case folding look for it, the same for every spelling. */
  shared: string;
  /** What those releases have stored for this spelling. */
  former: string;
}

/** @returns undefined when none of the keys can decrypt it */
export function decryptIfPossible(personalData: Pick<PersonalData, 'decrypt'>, token: string): string | undefined {
  try {
    return personalData.decrypt(token);
  } catch {
    return undefined;
  }
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
  const indexOf = (form: string): string => createHmac('sha256', indexKey).update(form).digest('hex');
  const decrypt = (token: string): string => fernet.decrypt(token);
  return {
    encrypt: (text) => fernet.encrypt(text),
    decrypt,
    indexOf: (email) => indexOf(canonicalEmail(email)),
    indexesOf: (email) => {
      const { canonical, shared, former } = canonicalForms(email);
      const own = indexOf(canonical);
      const other = (form: string): string => (form === canonical ? own : indexOf(form));
      return { own, shared: other(shared), former: other(former) };
    },
    spareIndexOf: (email, userId) => indexOf(`${canonicalEmail(email)} ${userId}`), // an address has no space
    answers: {
      // No address has a space, so this is the index of none. The index key never changes while there are data.
      secret: createHmac('sha256', indexKey).update('PromoPulse idempotency keys').digest(),
      seal: (text) => fernet.encrypt(text),
      unseal: (text) => decryptIfPossible({ decrypt }, text),
    },
  };
}
