// The statements of subscriptions, prepared once per connection. The ACTIVE check is the first: one statement whose
// snapshot is the moment of decision, so no row is locked, and the outbox row is written by the same statement.
import type { Database } from '@promopulse/shared/database/database';
import { recordEventSql } from '@promopulse/shared/outbox/outbox';
import { presentTimeSql } from '@promopulse/shared/outbox/payload';
import type { SubscriptionFacts } from './rules.ts';

export interface SubscriptionRow {
  id: number;
  user_id: number;
  promotion_id: number;
  is_active: boolean;
  metadata: Record<string, unknown> | null;
  created_at: Date;
}

const columns = 'id, user_id, promotion_id, is_active, metadata, created_at';

/** What is known of the promotion `p` is fresh: heard of, or asked for, within the lease ($3, seconds). */
const fresh = `greatest(p.verified_at, s.watermark) > now() - make_interval(secs => $3)`;
const source = `left join projection_sources s on s.service = 'promotions' and s.reconciled_at is not null`;

/** A changed row for its event; the caller's metadata stays out (it may hold personal data). */
const state = `jsonb_build_object('id', id, 'version', version, 'user_id', user_id, 'promotion_id', promotion_id,
  'is_active', is_active, 'created_at', ${presentTimeSql('created_at')})`;

/** A user's subscriptions are at most as many as there are promotions: counted in the index that also finds the page. */
const totalOfUser = (where: string) => `select count(*)::int as total from subscriptions where ${where}`;
/** A promotion's may be millions: triggers keep their number (migration "counts"). */
const totalOfPromotion = (column: string) =>
  `select coalesce(sum(${column}), 0)::int as total from subscription_counts where promotion_id = $1`;

/**
 * A page and its total in one round trip, by offset ($3) or after a position ($4, $5), found in the index at the same
 * cost at any depth; an empty page is one row of nulls that still carries the total.
 */
function list(name: string, where: string, total: string) {
  return {
    name,
    text: `select counted.total, page.*
      from (${total}) as counted
      left join lateral (
        select ${columns} from subscriptions where ${where} and (created_at, id) < ($4, $5)
        order by created_at desc, id desc limit $2 offset $3
      ) as page on true
      order by page.created_at desc, page.id desc`,
  };
}

export const statements = {
  insert: {
    name: 'subscription_insert',
    text: `with created as (
        insert into subscriptions (user_id, promotion_id, metadata)
        select u.user_id, p.promotion_id, $4::json
        from known_users u
        join cached_promotions p on p.promotion_id = $2 and p.status = 'active'
        ${source}
        where u.user_id = $1 and not u.deleted and ${fresh}
        on conflict (user_id, promotion_id) do nothing
        returning ${columns}, version
      ), announced as (${recordEventSql('subscription.created', 'created', state, { eventId: '$5', requestId: '$6' })})
      select ${columns} from created`,
  },
  situation: {
    name: 'subscription_situation',
    text: `select coalesce((select case when deleted then 'deleted' else 'known' end
                            from known_users where user_id = $1), 'unknown') as "user",
                  coalesce(p.status, 'unknown') as promotion,
                  coalesce(${fresh}, false) as fresh,
                  exists (select from subscriptions where user_id = $1 and promotion_id = $2) as subscribed,
                  now() as seen_at
           from (select) as always
           left join cached_promotions p on p.promotion_id = $2
           ${source}`,
  },
  deactivate: {
    name: 'subscription_deactivate',
    text: `with changed as (
        update subscriptions set is_active = false, version = version + 1 where id = $1 and is_active
        returning ${columns}, version
      ), announced as (${recordEventSql('subscription.deactivated', 'changed', state, { eventId: '$2', requestId: '$3' })})
      select ${columns} from changed`,
  },
  exists: { name: 'subscription_exists', text: 'select id from subscriptions where id = $1' },
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

export interface NewSubscription {
  user_id: number;
  promotion_id: number;
  metadata?: Record<string, unknown> | null | undefined;
}

interface Cause {
  eventId: string;
  requestId: string;
}

/** Inserts if, and only if, the user is known, the promotion is active and known freshly, and there is no such row yet. */
export async function insertIfAllowed(
  database: Database,
  { user_id, promotion_id, metadata }: NewSubscription,
  leaseSeconds: number,
  { eventId, requestId }: Cause,
): Promise<SubscriptionRow | undefined> {
  const json = metadata ? JSON.stringify(metadata) : null;
  const values = [user_id, promotion_id, leaseSeconds, json, eventId, requestId];
  return (await database.write<SubscriptionRow>(statements.insert, values))[0];
}

/** Why nothing was inserted; `seen_at` is the database's clock at that look. */
export async function readDecisionState(
  database: Database,
  { user_id, promotion_id }: NewSubscription,
  leaseSeconds: number,
): Promise<SubscriptionFacts & { seen_at: Date }> {
  const rows = await database.run<SubscriptionFacts & { seen_at: Date }>(statements.situation, [
    user_id,
    promotion_id,
    leaseSeconds,
  ]);
  return rows[0] as SubscriptionFacts & { seen_at: Date };
}

/** @returns undefined when there is no such subscription or it is inactive already */
export async function deactivateIfActive(
  database: Database,
  id: number,
  { eventId, requestId }: Cause,
): Promise<SubscriptionRow | undefined> {
  return (await database.write<SubscriptionRow>(statements.deactivate, [id, eventId, requestId]))[0];
}

export async function subscriptionExists(database: Database, id: number): Promise<boolean> {
  return (await database.run(statements.exists, [id])).length === 1;
}

export interface ListFilter {
  by: 'user' | 'promotion';
  id: number;
  is_active?: boolean | undefined;
  limit: number;
  offset?: number | undefined;
  cursor?: Position | undefined;
}

/** Where a page ends: its last row's `created_at`, in milliseconds since 1970, and id. */
export type Position = [createdAt: number, id: number];

/** Newest first; of the same moment, the higher id first. `next` is where to go on, null after the last row. */
export async function listSubscriptions(
  database: Database,
  { by, id, is_active, limit, offset = 0, cursor }: ListFilter,
): Promise<{ items: SubscriptionRow[]; total: number; next: Position | null }> {
  const all = by === 'user' ? statements.byUser : statements.byPromotion;
  const filtered = by === 'user' ? statements.byUserActive : statements.byPromotionActive;
  const after = cursor ? [new Date(cursor[0]), cursor[1]] : ['infinity', 0];
  const values = [id, limit + 1, offset, ...after]; // one more than asked for tells whether another page follows
  const rows = await (is_active === undefined
    ? database.run<SubscriptionRow & { total: number }>(all, values)
    : database.run<SubscriptionRow & { total: number }>(filtered, [...values, is_active]));
  const items = rows.filter((row) => row.id !== null).slice(0, limit);
  const last = items.at(-1);
  const next: Position | null = last && rows.length > limit ? [last.created_at.getTime(), last.id] : null;
  return { items, total: rows[0]?.total ?? 0, next };
}
