// The prepared statements of subscriptions. The ACTIVE check is `create` and `reactivate`: one statement each, whose
// snapshot is the moment of decision, so it locks no row of a projection, and which also writes the outbox row. MikroORM
// compiles what its QueryBuilder can express.
import { raw } from '@mikro-orm/postgresql';
import type { Database } from '@promopulse/shared/database/database';
import {
  columnsOf,
  compileStatement,
  offlineEntityManager,
  type RowOf,
  versionIsAllowed,
} from '@promopulse/shared/database/prepared';
import { violatedConstraint } from '@promopulse/shared/database/sqlstate';
import { runInLane } from '@promopulse/shared/database/statement-lane';
import { costOfPage, maxPageBytes, rowsWithinPage } from '@promopulse/shared/http/pagination';
import { type TargetResource, versionsOf } from '@promopulse/shared/http/preconditions';
import { causeValues, type EventCause, recordingStatement } from '@promopulse/shared/outbox/outbox';
import type { JsonText } from '@promopulse/shared/values/json-text';
import { relianceConditions, sources } from './active-check/facts-store.ts';
import { entities, Subscription } from './entities.ts';

export type SubscriptionRow = RowOf<typeof Subscription>;

const offline = offlineEntityManager('subscriptions', entities);
const columns = columnsOf(Subscription);
const columnList = columns.join(', ');

const creation = relianceConditions('$3');

/** A duplicate is found before the insert as well: `on conflict` alone would give it an id first. */
const insert = {
  parameters: ['user_id', 'promotion_id', 'lease_seconds', 'metadata'],
  text: `insert into subscriptions (user_id, promotion_id, metadata)
      select u.user_id, p.promotion_id, $4::json
      from known_users u
      join cached_promotions p on p.promotion_id = $2 and p.status = 'active'
      ${sources}
      where u.user_id = $1 and not u.deleted and ${creation.userBelieved} and ${creation.fresh}
        and not exists (select from subscriptions where user_id = $1 and promotion_id = $2)
      on conflict (user_id, promotion_id) do nothing
      returning ${columnList}`,
};

/** The conditions of an insert. The only lock that it waits for is that of its own row. */
const reactivation = relianceConditions('$2');
const reactivate = {
  parameters: ['id', 'lease_seconds', 'only', 'except'],
  text: `update subscriptions as s set is_active = true, version = s.version + 1
      from known_users u
      join cached_promotions p on p.status = 'active'
      ${sources}
      where s.id = $1 and not s.is_active and ${versionIsAllowed('$3', '$4', 's.version')} and u.user_id = s.user_id and p.promotion_id = s.promotion_id
        and not u.deleted and ${reactivation.userBelieved} and ${reactivation.fresh}
      returning ${columns.map((column) => `s.${column}`).join(', ')}`,
};

const deactivate = compileStatement('subscription_deactivate', ['id', 'only', 'except'], ({ id, only, except }) =>
  offline
    .createQueryBuilder(Subscription)
    .update({ is_active: false, version: raw('version + 1') })
    .where({ id, is_active: true })
    .andWhere(versionIsAllowed('?', '?'), [only, except])
    .returning(columns),
);

/** A user has at most as many subscriptions as there are promotions: they are counted in the index of the page. */
const totalOfUser = (where: string) => `select count(*) as total from subscriptions where ${where}`;
/** A promotion may have millions of subscriptions: triggers maintain their number (migration "counts"). */
const totalOfPromotion = (column: string) =>
  `select coalesce(sum(${column}), 0)::bigint as total from subscription_counts where promotion_id = $1`;

/**
 * A page and its total in one round trip, by offset ($3) or after a position ($4, $5). The page after a position is found
 * in the index at the same cost at any depth. An empty page is one row of nulls that still has the total.
 */
function list(name: string, where: string, total: string) {
  const page = `select ${columnList} from subscriptions where ${where} and (created_at, id) < ($4, $5)
        order by created_at desc, id desc limit $2 offset $3`;
  return {
    cheap: { name, text: listText(total, page) },
    costly: { name: `${name}_costly`, text: listText(total, withinBytes(page)) },
  };
}

function listText(total: string, page: string): string {
  return `select counted.total, page.*
      from (${total}) as counted
      left join lateral (
        ${page}
      ) as page on true
      order by page.created_at desc, page.id desc`;
}

/** The rows that fit into a page; the others are not fetched. `found` counts them as well. */
function withinBytes(page: string): string {
  return `select * from (
          select selected.*, count(*) over ()::int as found,
            sum(coalesce(octet_length(metadata::text), 0)) over (order by created_at desc, id desc) as bytes
          from (${page}) as selected
        ) as measured
        where bytes <= ${maxPageBytes}`;
}

export const statements = {
  create: recordingStatement('subscription_insert', insert, {
    event: 'subscription.created',
    entity: Subscription,
    row: ['user_id', 'promotion_id'],
  }),
  deactivate: recordingStatement('subscription_deactivate', deactivate, {
    event: 'subscription.deactivated',
    entity: Subscription,
    row: ['id'],
  }),
  reactivate: recordingStatement('subscription_reactivate', reactivate, {
    event: 'subscription.reactivated',
    entity: Subscription,
    row: ['id'],
  }),
  get: compileStatement('subscription_get', ['id'], ({ id }) =>
    offline.createQueryBuilder(Subscription).select(columns).where({ id }),
  ),
  byUser: list('subscription_list_user', 'user_id = $1', totalOfUser('user_id = $1')),
  byUserActive: list(
    'subscription_list_user_active',
    'user_id = $1 and is_active = $6',
    totalOfUser('user_id = $1 and is_active = $6'),
  ),
  byPromotion: list('subscription_list_promotion', 'promotion_id = $1', totalOfPromotion('total')),
  byPromotionActive: list(
    'subscription_list_promotion_active',
    'promotion_id = $1 and is_active = $6',
    totalOfPromotion('case when $6 then active else total - active end'),
  ),
};

/** Maximum size of the metadata as JSON. */
export const maxMetadataBytes = 8_192;

export interface NewSubscription {
  user_id: number;
  promotion_id: number;
  metadata?: JsonText | null | undefined;
}

/** Inserts if and only if the user is known, the promotion is known to be active and fresh, and no such row exists. */
export async function insertIfAllowed(
  database: Database,
  { user_id, promotion_id, metadata }: NewSubscription,
  leaseSeconds: number,
  cause: EventCause,
): Promise<SubscriptionRow | undefined> {
  const values = [user_id, promotion_id, leaseSeconds, metadata?.text ?? null, ...causeValues(cause)];
  try {
    return (await database.write<SubscriptionRow>(statements.create, values))[0];
  } catch (error) {
    // While ids become bigint there is a second unique index, which `on conflict` does not know.
    if (violatedConstraint(error) === undefined) throw error;
    return undefined;
  }
}

/** @returns undefined when the subscription does not exist, is inactive already or has another version than asked for */
export async function deactivateIfActive(
  database: Database,
  { id, conditions }: TargetResource,
  cause: EventCause,
): Promise<SubscriptionRow | undefined> {
  const values = [id, ...versionsOf(conditions), ...causeValues(cause)];
  return (await database.write<SubscriptionRow>(statements.deactivate, values))[0];
}

/** Sets it active if and only if it is inactive, the conditions are true, and an insert of the same would be allowed. */
export async function reactivateIfAllowed(
  database: Database,
  { id, conditions }: TargetResource,
  leaseSeconds: number,
  cause: EventCause,
): Promise<SubscriptionRow | undefined> {
  const values = [id, leaseSeconds, ...versionsOf(conditions), ...causeValues(cause)];
  return (await database.write<SubscriptionRow>(statements.reactivate, values))[0];
}

export async function findSubscription(database: Database, id: number): Promise<SubscriptionRow | undefined> {
  return (await database.run<SubscriptionRow>(statements.get, [id]))[0];
}

export interface ListFilter {
  by: 'user' | 'promotion';
  id: number;
  is_active?: boolean | undefined;
  limit: number;
  offset?: number | undefined;
  cursor?: { position: Position } | undefined;
}

/** The end of a page: `created_at` of its last row, in milliseconds since 1970, and the id of that row. */
export type Position = [createdAt: number, id: number];

type ListRow = SubscriptionRow & { total: number; found?: number };

/**
 * Newest first, ties by the higher id. `next` is the position of the next page, null after the last row. A page may have
 * fewer than `limit` rows before the end of the list, because of `maxPageBytes`.
 * @throws overloaded when there are too many requests for costly pages
 */
export async function listSubscriptions(
  database: Database,
  { by, id, is_active, limit, offset = 0, cursor }: ListFilter,
): Promise<{ items: readonly SubscriptionRow[]; total: number; next: Position | null }> {
  const all = by === 'user' ? statements.byUser : statements.byPromotion;
  const filtered = by === 'user' ? statements.byUserActive : statements.byPromotionActive;
  const { cheap, costly } = is_active === undefined ? all : filtered;
  const after = cursor ? [new Date(cursor.position[0]), cursor.position[1]] : ['infinity', 0];
  const filter = is_active === undefined ? [] : [is_active];
  const values = [id, limit + 1, offset, ...after, ...filter]; // the row beyond the limit tells that there is another page
  const cost = costOfPage({ limit, offset });
  const rows = await (cost ? runInLane<ListRow>(database, cost, costly, values) : database.run<ListRow>(cheap, values));
  const found = rows.filter((row) => row.id !== null);
  const items = rowsWithinPage(found.slice(0, limit), maxJsonBytes);
  const last = items.at(-1);
  const hasMore = (rows[0]?.found ?? found.length) > items.length;
  const next: Position | null = last && hasMore ? [last.created_at.getTime(), last.id] : null;
  return { items, total: rows[0]?.total ?? 0, next };
}

/** The other columns and the names of all have fewer than 300 bytes. */
function maxJsonBytes({ metadata }: SubscriptionRow): number {
  return 300 + (metadata ? maxMetadataBytes : 0);
}
