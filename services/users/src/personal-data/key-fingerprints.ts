// The keys that the stored data need. The promise: no process serves with keys that cannot read the stored emails and
// phones, or with another index key, under which an email could be stored twice. The schema keeps a fingerprint of each
// key, from which the key cannot be found: a key is 32 random bytes.
import { createHmac } from 'node:crypto';
import { ConfigError } from '@promopulse/shared/config';
import type { Database } from '@promopulse/shared/database/database';
import { isFernetToken } from './fernet.ts';
import {
  addFingerprints,
  type Fingerprint,
  lockFingerprints,
  replaceFingerprints,
  sampleUsers,
} from './fingerprint-store.ts';
import { createPersonalData, decryptIfPossible, type PersonalData, type PersonalDataKeys } from './personal-data.ts';

type StoredUser = Awaited<ReturnType<typeof sampleUsers>>[number];

const wrongIndexKey =
  'PII_INDEX_KEY is not the key that the stored emails were indexed with: set the former key again, or use an empty ' +
  'database (npm start: rm -rf .data)';
const missingKey =
  'PII_ENCRYPTION_KEYS lacks a key that stored emails and phones may need: add the former key after the new one ' +
  '(new,former), or use an empty database (npm start: rm -rf .data)';

/**
 * Compares the keys with those of the database, and stores the fingerprint of a key that encrypts for the first time. Of
 * several processes with different keys, the first one wins.
 * @throws ConfigError when the index key is another one, or an encryption key is missing that was ever the first
 */
export function checkKeys(database: Database, keys: PersonalDataKeys): Promise<void> {
  return database.transaction(async (em) => {
    const stored = await lockFingerprints(em);
    const index = fingerprintOf('index', keys.PII_INDEX_KEY);
    const encryption = keys.PII_ENCRYPTION_KEYS.map((key) => fingerprintOf('encryption', key));
    const isKnown = (one: Fingerprint): boolean => stored.some((each) => isSame(each, one));
    if (stored.length > 0) {
      if (!isKnown(index)) throw new ConfigError(wrongIndexKey);
      const needed = stored.filter(({ purpose }) => purpose === 'encryption');
      if (!needed.every((one) => encryption.some((each) => isSame(each, one)))) throw new ConfigError(missingKey);
      await addFingerprints(
        em,
        encryption.slice(0, 1).filter((first) => !isKnown(first)),
      );
      return;
    }
    // The first start, or the first of this release: any of the keys may have encrypted what a former release stored.
    const users = (await sampleUsers(em)).filter(({ email_encrypted }) => isFernetToken(email_encrypted));
    const reader = createKeyReader(keys);
    for (const user of users) reader.read(user);
    if (reader.unreadable > 0) throw new ConfigError(missingKey);
    if (reader.wronglyIndexed > 0) throw new ConfigError(wrongIndexKey);
    await addFingerprints(em, [index, ...(users.length > 0 ? encryption : encryption.slice(0, 1))]);
  });
}

interface AcceptedKeys {
  users: number;
  /** Users whose email or phone no key can decrypt. */
  unreadable: number;
  /** Users whose email has another index than PII_INDEX_KEY gives it. */
  wronglyIndexed: number;
  /** How many of the encryption keys are still needed. */
  neededKeys: number;
}

/**
 * Reads all users in pages. If the keys can read all of them, only the keys that are needed remain in the database.
 * @param pages yields every user
 */
export async function acceptKeys(
  database: Database,
  keys: PersonalDataKeys,
  pages: AsyncIterable<readonly StoredUser[]>,
): Promise<AcceptedKeys> {
  const reader = createKeyReader(keys);
  let users = 0;
  for await (const page of pages) {
    users += page.length;
    for (const user of page) reader.read(user);
  }
  const needed = keys.PII_ENCRYPTION_KEYS.filter((key, position) => position === 0 || reader.used.has(key));
  const { unreadable, wronglyIndexed } = reader;
  if (unreadable + wronglyIndexed === 0) {
    const index = fingerprintOf('index', keys.PII_INDEX_KEY);
    const encryption = needed.map((key) => fingerprintOf('encryption', key));
    await database.transaction((em) => replaceFingerprints(em, [index, ...encryption]));
  }
  return { users, unreadable, wronglyIndexed, neededKeys: needed.length };
}

/** Tries the keys on stored users, and counts what they cannot read. */
function createKeyReader({ PII_ENCRYPTION_KEYS, PII_INDEX_KEY }: PersonalDataKeys) {
  const single = PII_ENCRYPTION_KEYS.map((key) => ({
    key,
    personalData: createPersonalData({ PII_ENCRYPTION_KEYS: [key], PII_INDEX_KEY }),
  }));
  const result = { used: new Set<string>(), unreadable: 0, wronglyIndexed: 0 };
  const decrypt = (token: string): { text: string; indexes(userId: number): string[] } | undefined => {
    for (const { key, personalData } of single) {
      const text = decryptIfPossible(personalData, token);
      if (text === undefined) continue;
      result.used.add(key);
      return { text, indexes: (userId) => everyIndexOf(personalData, text, userId) };
    }
    return undefined;
  };
  const read = ({ id, email_encrypted, email_index, phone_encrypted }: StoredUser): void => {
    const email = decrypt(email_encrypted);
    if (!email || (phone_encrypted && !decrypt(phone_encrypted))) result.unreadable += 1;
    else if (!email.indexes(id).includes(email_index)) result.wronglyIndexed += 1;
  };
  return Object.assign(result, { read });
}

function everyIndexOf(personalData: PersonalData, email: string, userId: number): string[] {
  return [...Object.values(personalData.indexesOf(email)), personalData.spareIndexOf(email, userId)];
}

function fingerprintOf(purpose: Fingerprint['purpose'], key: string): Fingerprint {
  const hmac = createHmac('sha256', Buffer.from(key, 'base64url')).update(
    `PromoPulse fingerprint of a key: ${purpose}`,
  );
  return { purpose, fingerprint: hmac.digest('hex') };
}

function isSame(one: Fingerprint, other: Fingerprint): boolean {
  return one.purpose === other.purpose && one.fingerprint === other.fingerprint;
}
