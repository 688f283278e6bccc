// The use cases of users. The unique blind index decides which of several writers gets an email.
import { randomUUID } from 'node:crypto';
import { type EntityManager, type InferEntity, LockMode } from '@mikro-orm/postgresql';
import type { Database } from '@promopulse/shared/database/database';
import { rowName } from '@promopulse/shared/database/prepared';
import { violatedConstraint } from '@promopulse/shared/database/sqlstate';
import { conflict, type DomainError, notFound } from '@promopulse/shared/errors';
import { User } from './entities.ts';
import type { PersonalData } from './personal-data/personal-data.ts';
import { findUser, findUserByEmailIndex, insertUser, type UserRow } from './queries.ts';

export interface NewUser {
  first_name: string;
  last_name: string;
  email: string;
  phone?: string | null | undefined;
}
export type UserChanges = { [Field in keyof NewUser]?: NewUser[Field] | undefined };

/** @throws conflict when the email is taken, whatever its letter case */
export async function createUser(
  database: Database,
  personalData: PersonalData,
  { first_name, last_name, email, phone }: NewUser,
  requestId: string,
): Promise<UserRow> {
  const phone_encrypted = phone ? personalData.encrypt(phone) : null;
  const user = { first_name, last_name, ...encryptEmail(personalData, email), phone_encrypted };
  const created = await translateTakenEmail(insertUser(database, user, { requestId, eventId: randomUUID() }));
  if (!created) throw emailTaken();
  return created;
}

/** @throws notFound */
export async function getUser(database: Database, id: number): Promise<UserRow> {
  const user = await findUser(database, id);
  if (!user) throw notFound('User not found');
  return user;
}

export async function findUserByEmail(
  database: Database,
  personalData: PersonalData,
  email: string,
): Promise<UserRow | undefined> {
  return await findUserByEmailIndex(database, personalData.indexOf(email));
}

/**
 * Changes only the fields given. Records no event: an event has only the id of a user, which does not change.
 * @throws notFound, or conflict when the email is taken
 */
export async function updateUser(
  database: Database,
  personalData: PersonalData,
  id: number,
  changes: UserChanges,
): Promise<InferEntity<typeof User>> {
  const edit = async (em: EntityManager) => {
    const user = await em.findOne(User, { id }, { lockMode: LockMode.PESSIMISTIC_WRITE });
    if (!user) throw notFound('User not found');
    if (changes.first_name !== undefined) user.first_name = changes.first_name;
    if (changes.last_name !== undefined) user.last_name = changes.last_name;
    if (changes.email !== undefined) Object.assign(user, encryptEmail(personalData, changes.email));
    if (changes.phone !== undefined) user.phone_encrypted = changes.phone && personalData.encrypt(changes.phone);
    await em.flush();
    return user;
  };
  return await translateTakenEmail(database.transaction(edit, rowName(User, id)));
}

function encryptEmail(personalData: PersonalData, email: string) {
  return { email_encrypted: personalData.encrypt(email), email_index: personalData.indexOf(email) };
}

async function translateTakenEmail<Result>(write: Promise<Result>): Promise<Result> {
  try {
    return await write;
  } catch (error) {
    throw violatedConstraint(error) === 'users_email_index_unique' ? emailTaken() : error;
  }
}

function emailTaken(): DomainError {
  return conflict('email_taken', 'User with this email already exists');
}
