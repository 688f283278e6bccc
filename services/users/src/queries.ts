// The prepared statements of users. MikroORM compiles them when this module is loaded.
import type { Database } from '@promopulse/shared/database/database';
import { columnsOf, compileStatement, offlineEntityManager, type RowOf } from '@promopulse/shared/database/prepared';
import { recordCreation } from '@promopulse/shared/history/record-history';
import { causeValues, type EventCause, recordingStatement } from '@promopulse/shared/outbox/outbox';
import { entities, User, userHistory } from './entities.ts';

export type UserRow = RowOf<typeof User>;

const offline = offlineEntityManager('users', entities);
const columns = columnsOf(User);

/** By hand, because a refusal must cost no id: a default, as of an id, is evaluated only for a row that is selected. */
const insert = {
  parameters: ['first_name', 'last_name', 'email_encrypted', 'email_index', 'phone_encrypted'],
  text: `insert into users (first_name, last_name, email_encrypted, email_index, phone_encrypted)
      select $1, $2, $3, $4::text, $5
      where not exists (select from users where email_index = $4)
      returning ${columns.join(', ')}`,
};

const statements = {
  create: recordingStatement('user_create', insert, {
    event: 'user.created',
    entity: User,
    row: ['email_index'],
    beside: recordCreation(userHistory, User),
  }),
  get: compileStatement('user_get', ['id'], ({ id }) => offline.createQueryBuilder(User).select(columns).where({ id })),
  findByEmail: compileStatement('user_find_by_email', ['email_index'], ({ email_index }) =>
    offline.createQueryBuilder(User).select(columns).where({ email_index }),
  ),
};

/** What a caller decides of a new user, with the personal data encrypted. */
export type UserFields = Pick<
  UserRow,
  'first_name' | 'last_name' | 'email_encrypted' | 'email_index' | 'phone_encrypted'
>;

/**
 * Inserts a user, and records `user.created` and the history, in one statement.
 * @returns undefined when the email is taken
 * @throws the unique violation of `users_email_index_unique` when another insert of the email runs at the same time. It
 * then costs an id: at most one for each connection to the database.
 */
export async function insertUser(
  database: Database,
  user: UserFields,
  cause: EventCause,
): Promise<UserRow | undefined> {
  const { first_name, last_name, email_encrypted, email_index, phone_encrypted } = user;
  const ofFields = [first_name, last_name, email_encrypted, email_index, phone_encrypted];
  const values = [...ofFields, ...causeValues(cause), cause.reason ?? null];
  return (await database.write<UserRow>(statements.create, values))[0];
}

export async function findUser(database: Database, id: number): Promise<UserRow | undefined> {
  return (await database.run<UserRow>(statements.get, [id]))[0];
}

export async function findUserByEmailIndex(database: Database, emailIndex: string): Promise<UserRow | undefined> {
  return (await database.run<UserRow>(statements.findByEmail, [emailIndex]))[0];
}
