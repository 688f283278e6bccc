// The SQL of the peers. For subscriptions and for a promotion it is word for word what the services send, so that only
// the server around it differs. The other statements are written by hand, as one prepared statement each.
import { findPromotion } from '../../../services/promotions/src/queries.ts';
import { insertIfAllowed, listSubscriptions } from '../../../services/subscriptions/src/queries.ts';
import { statementOf } from '../pgbench.ts';

/** Values: user, promotion, lease in seconds, metadata as JSON, event id, request id. */
export const insertSubscription = await statementOf((database) =>
  insertIfAllowed(database, { user_id: 1, promotion_id: 1 }, 5, { eventId: '', requestId: '' }),
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

/** Adds the event to the outbox: the relay of the service publishes it. */
const eventOf = (name: string, data: string, eventId: string, requestId: string): string =>
  `insert into outbox (event_id, name, subject, data, request_id)
   select ${eventId}::uuid, '${name}', id::text, ${data}, ${requestId} from created`;

/** Values: first name, last name, email encrypted, email index, phone encrypted, event id, request id. */
export const insertUser = {
  name: 'insert_user',
  text: `with created as (
      insert into users (first_name, last_name, email_encrypted, email_index, phone_encrypted)
      values ($1, $2, $3, $4, $5)
      on conflict (email_index) do nothing
      returning id, version
    ), recorded as (
      ${eventOf('user.created', `jsonb_build_object('id', id, 'version', version)`, '$6', '$7')}
    )
    select id from created`,
};

const userColumns = 'id, first_name, last_name, email_encrypted, phone_encrypted';
/** Values: id. */
export const getUser = { name: 'get_user', text: `select ${userColumns} from users where id = $1` };
/** Values: email index. */
export const findUser = { name: 'find_user', text: `select ${userColumns} from users where email_index = $1` };

const time = (column: string): string =>
  `'${column}', to_char(${column} at time zone 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.MS"Z"')`;
const promotionColumns = 'id, name, description, status, start_at, end_at, created_at, updated_at, created_by';
const promotionData = `jsonb_build_object('id', id, 'name', name, 'description', description, 'status', status,
  ${['start_at', 'end_at', 'created_at', 'updated_at'].map(time).join(', ')},
  'created_by', created_by, 'version', version)`;

/** Values: name, description, start, end, event id, request id. */
export const insertPromotion = {
  name: 'insert_promotion',
  text: `with created as (
      insert into promotions (name, description, start_at, end_at) values ($1, $2, $3, $4)
      returning ${promotionColumns}, version
    ), recorded as (
      ${eventOf('promotion.created', promotionData, '$5', '$6')}
    )
    select ${promotionColumns} from created`,
};
