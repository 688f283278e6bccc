// The tables of schema "users". No column holds personal data in the clear, names excepted.
import { defineEntity, p } from '@mikro-orm/postgresql';
import { OutboxMessage } from '@promopulse/shared/outbox/outbox';

const UserSchema = defineEntity({
  name: 'User',
  tableName: 'users',
  properties: {
    id: p.integer().primary().autoincrement(),
    first_name: p.string().length(255),
    last_name: p.string().length(255),
    email_encrypted: p.text(),
    email_index: p.string().length(64).unique('users_email_index_unique'),
    phone_encrypted: p.text().nullable(),
    /** What neighbours compare: grows only with what they are told, so not with names, email or phone. */
    version: p.integer().default(1),
    created_at: p.datetime(3).defaultRaw('now()'),
    updated_at: p
      .datetime(3)
      .defaultRaw('now()')
      .onUpdate(() => new Date()),
  },
});
export class User extends UserSchema.class {}
UserSchema.setClass(User);

export const entities = [UserSchema, OutboxMessage];
