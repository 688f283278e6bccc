// The SQL of the peers: word for word what the services send, so that only the server around it differs.
import { findPromotion, insertPromotion } from '../../../services/promotions/src/queries.ts';
import { insertIfAllowed, listSubscriptions } from '../../../services/subscriptions/src/queries.ts';
import { findUser, findUserByEmailIndex, insertUser } from '../../../services/users/src/queries.ts';
import { statementOf } from '../pgbench.ts';

const event = { eventId: '', requestId: '' };

/** Values: user, promotion, lease in seconds, metadata as JSON, event id, request id, actor. */
export const createSubscription = await statementOf((database) =>
  insertIfAllowed(database, { user_id: 1, promotion_id: 1 }, 5, event),
);

/** Values: user, one more than the limit (an additional row shows that a page follows), offset, start of the page. */
export const listByUser = await statementOf((database) =>
  listSubscriptions(database, { by: 'user', id: 1, limit: 1, offset: 0 }),
);

/** Start of the first page. */
export const firstPage = ['infinity', 0] as const;
export const cursorAfter = ({ created_at, id }: { created_at: Date; id: number }): string =>
  Buffer.from(`${created_at.getTime()}.${id}`).toString('base64url');

/** Values: id. */
export const getPromotion = await statementOf((database) => findPromotion(database, 1));

/** Values: name, description, start, end, event id, request id, actor, reason. */
export const createPromotion = await statementOf((database) => {
  const [start_at, end_at] = [new Date(0), new Date(1)];
  return insertPromotion(database, { name: '', description: null, start_at, end_at }, event);
});

/** Values: first name, last name, email encrypted, email index, phone encrypted, event id, request id, actor, reason. */
export const createUser = await statementOf((database) => {
  const personalData = { email_encrypted: '', email_index: '', phone_encrypted: null };
  return insertUser(database, { first_name: '', last_name: '', ...personalData }, event);
});

/** Values: id. */
export const getUser = await statementOf((database) => findUser(database, 1));
/** Values: email index. */
export const getUserByEmail = await statementOf((database) => findUserByEmailIndex(database, ''));
