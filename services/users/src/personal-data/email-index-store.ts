// The statements about the blind indexes of emails.
import { type EntityManager, LockMode } from '@mikro-orm/postgresql';
import type { Database } from '@promopulse/shared/database/database';
import { EmailIndexing, User } from '../entities.ts';

/** A user as its index is compared with its email. */
export interface IndexedUser {
  id: number;
  email_encrypted: string;
  email_index: string;
}

const columns = ['id', 'email_encrypted', 'email_index'] as const;

/**
 * Locks until the end of the transaction, so that no other process moves an index meanwhile. To be called before a user is
 * locked.
 */
export async function lockIndexing(em: EntityManager): Promise<{ shares_former_index: boolean }> {
  return await em.findOneOrFail(EmailIndexing, 1, { lockMode: LockMode.PESSIMISTIC_WRITE });
}

export async function isIndexShared(database: Database): Promise<boolean> {
  return (await database.em().findOneOrFail(EmailIndexing, 1)).shares_former_index;
}

/** Ends the time in which releases before case folding may run. */
export async function stopSharing(database: Database): Promise<void> {
  await database.transaction((em) => em.nativeUpdate(EmailIndexing, { id: 1 }, { shares_former_index: false }));
}

export async function findHolders(em: EntityManager, indexes: readonly string[]): Promise<IndexedUser[]> {
  const where = { email_index: { $in: [...new Set(indexes)] } };
  return await em.find(User, where, { fields: columns, disableIdentityMap: true });
}

/** Locks a user. @returns undefined when there is none */
export async function lockIndexedUser(em: EntityManager, id: number): Promise<IndexedUser | undefined> {
  const options = { fields: columns, disableIdentityMap: true, lockMode: LockMode.PESSIMISTIC_WRITE } as const;
  return (await em.findOne(User, { id }, options)) ?? undefined;
}

/** Changes nothing when the user has got another index meanwhile. @throws the unique violation */
export async function setIndex(em: EntityManager, { id, email_index }: IndexedUser, index: string): Promise<void> {
  await em.nativeUpdate(User, { id, email_index }, { email_index: index });
}
