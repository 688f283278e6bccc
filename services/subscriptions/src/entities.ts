// The tables of schema "subscriptions": its own, and the projections of other services' state.
import { defineEntity, p } from '@mikro-orm/postgresql';
import { IdempotencyKey } from '@promopulse/shared/database/idempotency/idempotency-keys';
import { Lease } from '@promopulse/shared/database/lease';
import { OutboxMessage } from '@promopulse/shared/outbox/outbox';
import { Publication } from '@promopulse/shared/outbox/publication';
import { KnownUser } from '@promopulse/shared/projections/known-users';
import {
  ProjectionSource,
  relianceColumns,
  relianceIndexes,
} from '@promopulse/shared/projections/rows/projection-tables';
import type { JsonText } from '@promopulse/shared/values/json-text';

export const Subscription = defineEntity({
  name: 'Subscription',
  tableName: 'subscriptions',
  properties: {
    id: p.bigint('number').primary().autoincrement(),
    user_id: p.bigint('number'),
    promotion_id: p.bigint('number'),
    is_active: p.boolean().default(true),
    /** `json` keeps the text; `jsonb` would rewrite numbers (1e-300 as 300 digits). */
    metadata: p.json<JsonText>().columnType('json').nullable(),
    created_at: p.datetime(3).defaultRaw('now()'),
    version: p.integer().default(1),
  },
  uniques: [{ name: 'subscriptions_user_promotion_unique', properties: ['user_id', 'promotion_id'] }],
  // README, "Indexes": the list that each serves, and why they differ from the original's.
  indexes: [
    { name: 'subscriptions_user_index', properties: ['user_id', 'created_at', 'id'] },
    { name: 'subscriptions_promotion_index', properties: ['promotion_id', 'created_at', 'id'] },
    { name: 'subscriptions_user_active_index', properties: ['user_id', 'is_active', 'created_at', 'id'] },
    { name: 'subscriptions_promotion_active_index', properties: ['promotion_id', 'is_active', 'created_at', 'id'] },
  ],
});

/**
 * The number of subscriptions of a promotion is the sum over its rows, which triggers maintain (migration "counts").
 * There are several rows because each concurrent writer updates a row that no other writer has locked. A single row may
 * be negative. Why: docs/decisions/0011-counts-and-cursors.md.
 */
const SubscriptionCount = defineEntity({
  name: 'SubscriptionCount',
  tableName: 'subscription_counts',
  properties: {
    id: p.bigint().primary().autoincrement(),
    promotion_id: p.bigint('number'),
    total: p.bigint('number'),
    active: p.bigint('number'),
  },
  indexes: [{ name: 'subscription_counts_promotion_index', properties: ['promotion_id'] }],
});

/** The last known status of each promotion, as text: a status that this release does not know is not "active". */
const CachedPromotion = defineEntity({
  name: 'CachedPromotion',
  tableName: 'cached_promotions',
  properties: {
    promotion_id: p.bigint('number').primary().autoincrement(false),
    status: p.text(),
    ...relianceColumns(),
  },
  indexes: relianceIndexes('cached_promotions', 'promotion_id'),
});

export const entities = [
  Subscription,
  SubscriptionCount,
  CachedPromotion,
  KnownUser,
  ProjectionSource,
  OutboxMessage,
  Publication,
  Lease,
  IdempotencyKey,
];
