// The statements about the fingerprints of keys, and the users that keys are tried on.
import type { EntityManager } from '@mikro-orm/postgresql';
import type { Database } from '@promopulse/shared/database/database';
import { KeyFingerprint, User } from '../entities.ts';

export interface Fingerprint {
  purpose: 'index' | 'encryption';
  fingerprint: string;
}

const sampleSize = 100;
const pageSize = 1_000;

const triedFields = ['id', 'email_encrypted', 'email_index', 'phone_encrypted'] as const;

/** Locks the table until the end of the transaction, so that of several processes one decides. */
export async function lockFingerprints(em: EntityManager): Promise<Fingerprint[]> {
  await em.execute('lock table users.key_fingerprints in share row exclusive mode');
  return (await em.find(KeyFingerprint, {})) as Fingerprint[];
}

export async function addFingerprints(em: EntityManager, fingerprints: readonly Fingerprint[]): Promise<void> {
  if (fingerprints.length > 0) await em.insertMany(KeyFingerprint, [...fingerprints]);
}

export async function replaceFingerprints(em: EntityManager, fingerprints: readonly Fingerprint[]): Promise<void> {
  await lockFingerprints(em);
  await em.nativeDelete(KeyFingerprint, {});
  await addFingerprints(em, fingerprints);
}

/** The oldest users and the newest, at most 100 of each. */
export async function sampleUsers(em: EntityManager) {
  const sample = (direction: 'asc' | 'desc') =>
    em.find(User, {}, { fields: triedFields, orderBy: { id: direction }, limit: sampleSize });
  return [...(await sample('asc')), ...(await sample('desc'))];
}

/** All users, in pages. */
export async function* readUsers(database: Database) {
  for (let after = 0; ; ) {
    const where = { id: { $gt: after } };
    const page = await database
      .em()
      .find(User, where, { fields: triedFields, orderBy: { id: 'asc' }, limit: pageSize });
    const last = page.at(-1);
    if (!last) return;
    yield page;
    after = last.id;
  }
}
