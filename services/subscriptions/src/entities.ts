// The tables of schema "subscriptions": its own, and the projections of other services' state.
import { defineEntity, p } from '@mikro-orm/postgresql';
import { promotionStatuses } from '@promopulse/shared/contracts/promotions';
import { OutboxMessage } from '@promopulse/shared/outbox/outbox';
import { Publication } from '@promopulse/shared/outbox/publication';

export const Subscription = defineEntity({
  name: 'Subscription',
  tableName: 'subscriptions',
  properties: {
    id: p.integer().primary().autoincrement(),
    user_id: p.integer(),
    promotion_id: p.integer(),
    is_active: p.boolean().default(true),
    /** `json` keeps the text; `jsonb` would rewrite numbers (1e-300 as 300 digits). */
    metadata: p.json<Record<string, unknown>>().columnType('json').nullable(),
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
    promotion_id: p.integer(),
    total: p.integer(),
    active: p.integer(),
  },
  indexes: [{ name: 'subscription_counts_promotion_index', properties: ['promotion_id'] }],
});

/** The last known status of each promotion. */
const CachedPromotion = defineEntity({
  name: 'CachedPromotion',
  tableName: 'cached_promotions',
  properties: {
    promotion_id: p.integer().primary().autoincrement(false),
    status: p.enum(promotionStatuses),
    version: p.integer(),
    /** When the owner was last asked directly; null when only events have set the status. */
    verified_at: p.datetime().nullable(),
  },
});

/** The users known to exist. A deleted user stays as a tombstone, so that a late "created" cannot restore it. */
const KnownUser = defineEntity({
  name: 'KnownUser',
  tableName: 'known_users',
  properties: {
    user_id: p.integer().primary().autoincrement(false),
    version: p.integer(),
    deleted: p.boolean().default(false),
  },
});

/** How complete the projection of each owner is: one row per owner. */
const ProjectionSource = defineEntity({
  name: 'ProjectionSource',
  tableName: 'projection_sources',
  properties: {
    service: p.string().length(50).primary(),
    /** Everything that the owner committed before this time has been published and applied. */
    watermark: p.datetime().nullable(),
    /** When the owner's snapshot was last read completely; null before that, and after an event was dead-lettered. */
    reconciled_at: p.datetime().nullable(),
    /** Number of dead-lettered events. A reconciliation during which it grows does not count. */
    invalidations: p.integer().default(0),
  },
});

export const entities = [
  Subscription,
  SubscriptionCount,
  CachedPromotion,
  KnownUser,
  ProjectionSource,
  OutboxMessage,
  Publication,
];
