// The use cases of users. One transaction each; the unique blind index decides who comes first.
import { LockMode } from '@mikro-orm/postgresql';
import type { Database } from '@promopulse/shared/database/database';
import { violatedConstraint } from '@promopulse/shared/database/sqlstate';
import { conflict, notFound } from '@promopulse/shared/errors';
import { recordEvent } from '@promopulse/shared/outbox/outbox';
import { User } from './entities.ts';
import type { PersonalData } from './personal-data/personal-data.ts';

export interface NewUser {
  first_name: string;
  last_name: string;
  email: string;
  phone?: string | null | undefined;
}
export type UserChanges = { [Field in keyof NewUser]?: NewUser[Field] | undefined };

export function createUsers(database: Database, personalData: PersonalData) {
  const sealedEmail = (email: string) => ({
    email_encrypted: personalData.encrypt(email),
    email_index: personalData.indexOf(email),
  });

  /** @throws conflict when the email is taken, whatever its letter case */
  async function createUser(input: NewUser, requestId: string): Promise<User> {
    return await refusingTakenEmail(() =>
      database.transaction(async (em) => {
        const user = em.create(User, {
          first_name: input.first_name,
          last_name: input.last_name,
          ...sealedEmail(input.email),
          phone_encrypted: input.phone ? personalData.encrypt(input.phone) : null,
        });
        await em.flush();
        await recordEvent(em, 'user.created', user.id, { id: user.id, version: user.version }, { requestId });
        return user;
      }),
    );
  }

  /** @throws notFound */
  async function getUser(id: number): Promise<User> {
    const user = await database.em().findOne(User, { id });
    if (!user) throw notFound('User not found');
    return user;
  }

  async function findUsersByEmail(email: string): Promise<User[]> {
    return await database.em().find(User, { email_index: personalData.indexOf(email) });
  }

  /** No event: what others know of a user is the id. @throws notFound, or conflict when the email is taken */
  async function updateUser(id: number, changes: UserChanges): Promise<User> {
    return await refusingTakenEmail(() =>
      database.transaction(async (em) => {
        const user = await em.findOne(User, { id }, { lockMode: LockMode.PESSIMISTIC_WRITE });
        if (!user) throw notFound('User not found');
        if (changes.first_name !== undefined) user.first_name = changes.first_name;
        if (changes.last_name !== undefined) user.last_name = changes.last_name;
        if (changes.email !== undefined) Object.assign(user, sealedEmail(changes.email));
        if (changes.phone !== undefined) user.phone_encrypted = changes.phone && personalData.encrypt(changes.phone);
        await em.flush();
        return user;
      }),
    );
  }

  /** A page of ids in ascending order, for neighbours that rebuild what they know. */
  async function listUserIds(afterId: number, limit: number): Promise<User[]> {
    return await database.em().find(User, { id: { $gt: afterId } }, { orderBy: { id: 'asc' }, limit });
  }

  return { createUser, getUser, findUsersByEmail, updateUser, listUserIds };
}

async function refusingTakenEmail(work: () => Promise<User>): Promise<User> {
  try {
    return await work();
  } catch (error) {
    if (violatedConstraint(error) === 'users_email_index_unique') {
      throw conflict('email_taken', 'User with this email already exists');
    }
    throw error;
  }
}
