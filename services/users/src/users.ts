// The use cases of users. The unique blind index decides which of several writers gets an email.
import { randomUUID } from 'node:crypto';
import { type EntityManager, type InferEntity, LockMode } from '@mikro-orm/postgresql';
import type { Cause } from '@promopulse/shared/contracts/cause';
import { type UserField, userState } from '@promopulse/shared/contracts/users';
import type { Database } from '@promopulse/shared/database/database';
import { rowName } from '@promopulse/shared/database/prepared';
import { violatedConstraint } from '@promopulse/shared/database/sqlstate';
import { conflict, type DomainError, notFound } from '@promopulse/shared/errors';
import { recordHistory } from '@promopulse/shared/history/record-history';
import { checkVersion, type TargetResource } from '@promopulse/shared/http/preconditions';
import { type EventCause, recordEvent } from '@promopulse/shared/outbox/outbox';
import { presentRow } from '@promopulse/shared/outbox/payload';
import { EmailIndexing, User, userHistory } from './entities.ts';
import { isSameEmail } from './personal-data/email.ts';
import { chooseIndex, hasOneIndex, mayHaveEmail } from './personal-data/email-index.ts';
import { decryptIfPossible, type PersonalData } from './personal-data/personal-data.ts';
import { findUser, findUserByEmailIndex, insertUser, type UserFields, type UserRow } from './queries.ts';

export interface NewUser {
  first_name: string;
  last_name: string;
  email: string;
  phone?: string | null | undefined;
}
export type UserChanges = { [Field in keyof NewUser]?: NewUser[Field] | undefined };

type UserEntity = InferEntity<typeof User>;

/** How often an email is tried for, when other requests change its indexes at the same moment. */
const maxAttempts = 3;

/** @throws conflict when the email is taken, whatever its letter case */
export async function createUser(
  database: Database,
  personalData: PersonalData,
  { first_name, last_name, email, phone }: NewUser,
  requestedBy: Cause,
): Promise<UserRow | UserEntity> {
  const phone_encrypted = phone ? personalData.encrypt(phone) : null;
  const fields = { first_name, last_name, email_encrypted: personalData.encrypt(email), phone_encrypted };
  const cause = { ...requestedBy, eventId: randomUUID() };
  const insert = (email_index: string) => insertUser(database, { ...fields, email_index }, cause);
  const insertChosen = (em: EntityManager) => insertWithChosenIndex(em, personalData, { ...fields, email }, cause);
  return await claimEmail<UserRow | UserEntity>(database, personalData, email, {
    byOwnIndex: insert,
    byChosenIndex: () => database.transaction(insertChosen, indexingRow),
  });
}

async function insertWithChosenIndex(
  em: EntityManager,
  personalData: PersonalData,
  { email, ...fields }: Omit<UserFields, 'email_index'> & { email: string },
  cause: EventCause,
): Promise<UserEntity> {
  const email_index = await chooseIndex(em, personalData, email);
  if (email_index === undefined) throw emailTaken();
  const user = em.create(User, { ...fields, email_index });
  await em.flush();
  await recordEvent(em, 'user.created', presentRow(userState, user), cause);
  const given = userHistory.fields.filter((field) => field !== 'phone' || user.phone_encrypted);
  await recordUserHistory(em, user, given, cause);
  return user;
}

/** @throws notFound */
export async function getUser(database: Database, id: number): Promise<UserRow> {
  const user = await findUser(database, id);
  if (!user) throw notFound('User not found');
  return user;
}

/** The user with the email as it was written when the user was created or changed. */
export async function findUserByEmail(
  database: Database,
  personalData: PersonalData,
  wanted: string,
): Promise<{ user: UserRow; email: string } | undefined> {
  const { own, shared, former } = personalData.indexesOf(wanted);
  for (const index of new Set([own, shared, former])) {
    const user = await findUserByEmailIndex(database, index);
    const email = user && personalData.decrypt(user.email_encrypted);
    if (user && email && isSameEmail(email, wanted)) return { user, email };
  }
  return undefined;
}

/**
 * Changes only the fields given, and records which of them have another value than before.
 * @throws notFound, then precondition_failed, then conflict when the email is taken
 */
export async function updateUser(
  database: Database,
  personalData: PersonalData,
  { id, conditions, cause }: TargetResource & { cause: Cause },
  changes: UserChanges,
): Promise<UserEntity> {
  const edit = async (em: EntityManager, email_index: string | undefined): Promise<UserEntity> => {
    const user = await em.findOne(User, { id }, { lockMode: LockMode.PESSIMISTIC_WRITE });
    if (!user) throw notFound('User not found');
    const rejection = checkVersion(conditions, user.version);
    if (rejection) throw rejection;
    const changed = applyChanges(personalData, user, changes, email_index);
    if (changed.length > 0) user.version += 1;
    await em.flush();
    if (changed.length > 0) {
      await recordEvent(em, 'user.updated', { ...presentRow(userState, user), changed }, cause);
      await recordUserHistory(em, user, changed, cause);
    }
    return user;
  };
  const { email } = changes;
  if (email === undefined) return await database.transaction((em) => edit(em, undefined), rowName(User, id));
  const editWithChosenIndex = async (em: EntityManager): Promise<UserEntity> => {
    const index = await chooseIndex(em, personalData, email, id);
    if (index !== undefined) return await edit(em, index);
    const user = await em.findOne(User, { id });
    throw user ? (checkVersion(conditions, user.version) ?? emailTaken()) : notFound('User not found');
  };
  return await claimEmail(database, personalData, email, {
    byOwnIndex: (index) => database.transaction((em) => edit(em, index), rowName(User, id)),
    byChosenIndex: () => database.transaction(editWithChosenIndex, indexingRow),
  });
}

async function recordUserHistory(
  em: EntityManager,
  { id }: UserEntity,
  changed: readonly string[],
  cause: Cause,
): Promise<void> {
  await recordHistory(em, userHistory, { id, changes: changed.map((field) => ({ field })) }, cause);
}

/** @returns the names of the fields whose values are others than before */
function applyChanges(
  personalData: PersonalData,
  user: UserEntity,
  { first_name = user.first_name, last_name = user.last_name, email, phone }: UserChanges,
  email_index: string | undefined,
): UserField[] {
  // A value whose key is lost can still be replaced.
  const former = {
    first_name: user.first_name,
    last_name: user.last_name,
    email: email === undefined ? undefined : decryptIfPossible(personalData, user.email_encrypted),
    phone: phone !== undefined && user.phone_encrypted ? decryptIfPossible(personalData, user.phone_encrypted) : null,
  };
  Object.assign(user, { first_name, last_name });
  if (email !== undefined) {
    // A user keeps its index if a search for the new spelling looks there, and in any case with the same spelling.
    const isSame = former.email !== undefined && isSameEmail(former.email, email);
    const isFound = isSame && Object.values(personalData.indexesOf(email)).includes(user.email_index);
    if (email_index !== undefined && !isFound && email !== former.email) user.email_index = email_index;
    user.email_encrypted = personalData.encrypt(email);
  }
  if (phone !== undefined) user.phone_encrypted = phone && personalData.encrypt(phone);
  const isChanged = {
    first_name: first_name !== former.first_name,
    last_name: last_name !== former.last_name,
    email: email !== undefined && email !== former.email,
    phone: phone !== undefined && phone !== former.phone,
  };
  return (Object.keys(isChanged) as UserField[]).filter((field) => isChanged[field]);
}

const indexingRow = rowName(EmailIndexing, 1);

interface Writes<Result> {
  /** For an email of one index, while no other user has it. @returns undefined when one has it */
  byOwnIndex(index: string): Promise<Result | undefined>;
  /** Asks `chooseIndex`. */
  byChosenIndex(): Promise<Result>;
}

/** Writes a user with an email that no other user has. @throws conflict when one has it */
async function claimEmail<Result>(
  database: Database,
  personalData: PersonalData,
  email: string,
  { byOwnIndex, byChosenIndex }: Writes<Result>,
): Promise<Result> {
  const indexes = personalData.indexesOf(email);
  if (hasOneIndex(indexes)) {
    const written = await unlessTaken(byOwnIndex(indexes.own));
    if (written) return written;
    const holder = await findUserByEmailIndex(database, indexes.own);
    if (!holder || mayHaveEmail(personalData, holder, email)) throw emailTaken();
  }
  for (let attempt = 1; attempt <= maxAttempts; attempt += 1) {
    const written = await unlessTaken(byChosenIndex());
    if (written) return written;
  }
  throw emailTaken();
}

async function unlessTaken<Result>(write: Promise<Result>): Promise<Result | undefined> {
  try {
    return await write;
  } catch (error) {
    if (violatedConstraint(error) === 'users_email_index_unique') return undefined;
    throw error;
  }
}

export function emailTaken(): DomainError {
  return conflict('email_taken', 'User with this email already exists');
}
