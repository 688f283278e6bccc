// The users that are known to exist: a projection that several services have, and its table.
import { defineEntity, p } from '@mikro-orm/postgresql';
import { userState } from '../contracts/users.ts';
import { relianceColumns, relianceIndexes } from './rows/projection-tables.ts';

/** A deleted user stays as a tombstone, so that a late "created" cannot restore it. */
export const KnownUser = defineEntity({
  name: 'KnownUser',
  tableName: 'known_users',
  properties: {
    user_id: p.bigint('number').primary().autoincrement(false),
    deleted: p.boolean().default(false),
    ...relianceColumns(),
  },
  indexes: relianceIndexes('known_users', 'user_id'),
});

const identity = userState.pick({ id: true, version: true });
const user = identity.transform((state) => ({ ...state, deleted: false }));

/** For `defineProjections`, as its owner `users`. */
export const knownUsers = {
  table: 'known_users',
  id: 'user_id',
  contents: { deleted: 'boolean' },
  present: 'lost_at is null and not deleted',
  pageSize: 10_000,
  state: user,
  events: {
    'user.created': user,
    'user.updated': user,
    'user.deleted': identity.transform((state) => ({ ...state, deleted: true })),
  },
} as const;
