// The SQL of the peers: word for word what the services send, so that what is compared is the server around it.
import { findPromotion } from '../../../services/promotions/src/queries.ts';
import { insertIfAllowed, listSubscriptions } from '../../../services/subscriptions/src/queries.ts';
import { statementOf } from '../pgbench.ts';

/** Values: user, promotion, lease in seconds, metadata as JSON, event id, request id. */
export const insertSubscription = await statementOf((database) =>
  insertIfAllowed(database, { user_id: 1, promotion_id: 1 }, 5, { eventId: '', requestId: '' }),
);

/** Values: user, limit (one more than asked for: then another page follows), offset, and where the page begins. */
export const listByUser = await statementOf((database) =>
  listSubscriptions(database, { by: 'user', id: 1, limit: 1, offset: 0 }),
);

export const theBeginning = ['infinity', 0] as const;
export const cursorAfter = ({ created_at, id }: { created_at: Date; id: number }): string =>
  Buffer.from(`${created_at.getTime()}.${id}`).toString('base64url');

/** Values: id. */
export const getPromotion = await statementOf((database) => findPromotion(database, 1));
