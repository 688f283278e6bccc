// Which blind index a user has (docs/decisions/0020-case-folding.md). The promise: one user per email and no user under the
// email of another one, also while replicas of a release before case folding run.
// A user has one of these indexes of the email:
// - own: of its canonical form. All but a few emails have no other.
// - shared: for an email with ı or in Cherokee, while such replicas may run. They look there, so they do not take the
//   email a second time. Another email may have this index as its own, and then gets it.
// - former: what such a release has stored, where it is neither of these. Only with ẞ.
// - spare: of a user whose email an older user has too.
// The unique index of the column decides between users that want one index. Where an email has several, the lock of
// `email_indexing` does.
import type { EntityManager } from '@mikro-orm/postgresql';
import type { Database } from '@promopulse/shared/database/database';
import { isSameEmail } from './email.ts';
import {
  findHolders,
  type IndexedUser,
  lockIndexedUser,
  lockIndexing,
  setIndex,
  stopSharing,
} from './email-index-store.ts';
import { decryptIfPossible, type EmailIndexes, type PersonalData } from './personal-data.ts';

/** Whether the unique index alone decides who gets the email. */
export function hasOneIndex({ own, shared, former }: EmailIndexes): boolean {
  return own === shared && own === former;
}

/** Whether a user that was found by an index has the email. Without the key of the user, it may have it. */
export function mayHaveEmail(
  personalData: PersonalData,
  { email_encrypted }: Pick<IndexedUser, 'email_encrypted'>,
  email: string,
): boolean {
  const stored = decryptIfPossible(personalData, email_encrypted);
  return stored === undefined || isSameEmail(stored, email);
}

/**
 * Chooses the index for an email that nobody has, and frees it if a user with another email has it. It holds for this
 * transaction. To be called before a user is locked.
 * @param exceptId a user that may have the email already
 * @returns undefined when another user has the email
 */
export async function chooseIndex(
  em: EntityManager,
  personalData: PersonalData,
  email: string,
  exceptId?: number,
): Promise<string | undefined> {
  const { shares_former_index } = await lockIndexing(em);
  const { own, shared, former } = personalData.indexesOf(email);
  const holders = (await findHolders(em, [own, shared, former])).filter(({ id }) => id !== exceptId);
  if (holders.some((holder) => mayHaveEmail(personalData, holder, email))) return undefined;
  if (shares_former_index && !holders.some(({ email_index }) => email_index === shared)) return shared;
  const stranger = holders.find(({ email_index }) => email_index === own);
  if (stranger) await moveToOwnIndex(em, personalData, stranger);
  return own;
}

/**
 * Gives a user its own index. If an older user has the same email, it gets the spare one; a younger one yields.
 * @returns the ids of the users that have its email, when there are several
 */
async function moveToOwnIndex(em: EntityManager, personalData: PersonalData, user: IndexedUser): Promise<number[]> {
  const email = personalData.decrypt(user.email_encrypted);
  const own = personalData.indexOf(email);
  const [holder] = await findHolders(em, [own]);
  if (!holder) {
    await setIndex(em, user, own);
    return [];
  }
  if (holder.id === user.id) return [];
  if (!mayHaveEmail(personalData, holder, email)) {
    await moveToOwnIndex(em, personalData, holder);
    return await moveToOwnIndex(em, personalData, user);
  }
  const [first, last] = holder.id < user.id ? [holder, user] : [user, holder];
  await setIndex(em, last, personalData.spareIndexOf(email, last.id));
  if (first === user) await setIndex(em, user, own);
  return [first.id, last.id];
}

export interface Reindexing {
  users: number;
  /** Users that got another index. */
  moved: number;
  /** Ids of users with one email, the first of which is found by it. */
  groups: number[][];
  /** Ids of users whose email no key can decrypt. They stay as they are. */
  unreadable: number[];
}

/**
 * Gives every user its own index. Replicas of a release before case folding must not run any more. It can be stopped and
 * repeated, and several processes may do it at once.
 * @param pages yields every user
 */
export async function reindexEmails(
  database: Database,
  personalData: PersonalData,
  pages: AsyncIterable<readonly IndexedUser[]>,
): Promise<Reindexing> {
  await stopSharing(database);
  const result: Reindexing = { users: 0, moved: 0, groups: [], unreadable: [] };
  const groupsByFirst = new Map<number, Set<number>>();
  for await (const page of pages) {
    result.users += page.length;
    for (const { id, email_encrypted, email_index } of page) {
      const email = decryptIfPossible(personalData, email_encrypted);
      const own = email === undefined ? undefined : personalData.indexOf(email);
      if (own === undefined) result.unreadable.push(id);
      if (own === undefined || own === email_index) continue;
      const { isMoved, group } = await database.transaction((em) => reindexUser(em, personalData, id));
      if (isMoved) result.moved += 1;
      const [first, last] = group;
      if (first === undefined || last === undefined) continue;
      groupsByFirst.set(first, (groupsByFirst.get(first) ?? new Set([first])).add(last));
    }
  }
  result.groups = [...groupsByFirst.values()].map((ids) => [...ids]);
  return result;
}

async function reindexUser(
  em: EntityManager,
  personalData: PersonalData,
  id: number,
): Promise<{ isMoved: boolean; group: number[] }> {
  await lockIndexing(em);
  const user = await lockIndexedUser(em, id);
  if (!user) return { isMoved: false, group: [] };
  const group = await moveToOwnIndex(em, personalData, user);
  const after = await lockIndexedUser(em, id);
  return { isMoved: after?.email_index !== user.email_index, group };
}
