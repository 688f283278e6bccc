// The tables of schema "subscriptions": its own, and what it remembers of its neighbours ("projections").
import { defineEntity, p } from '@mikro-orm/postgresql';
import { promotionStatuses } from '@promopulse/shared/contracts/promotions';
import { OutboxMessage } from '@promopulse/shared/outbox/outbox';

const Subscription = defineEntity({
  name: 'Subscription',
  tableName: 'subscriptions',
  properties: {
    id: p.integer().primary().autoincrement(),
    user_id: p.integer(),
    promotion_id: p.integer(),
    is_active: p.boolean().default(true),
    /** Kept as text: jsonb would spell numbers anew (1e-300 in 300 digits). */
    metadata: p.json().columnType('json').nullable(),
    created_at: p.datetime(3).defaultRaw('now()'),
    version: p.integer().default(1),
  },
  uniques: [{ name: 'subscriptions_user_promotion_unique', properties: ['user_id', 'promotion_id'] }],
  // Which lists they serve, and why not the original's: README, "Indexes".
  indexes: [
    { name: 'subscriptions_user_index', properties: ['user_id', 'created_at', 'id'] },
    { name: 'subscriptions_promotion_index', properties: ['promotion_id', 'created_at', 'id'] },
    { name: 'subscriptions_user_active_index', properties: ['user_id', 'is_active', 'created_at', 'id'] },
    { name: 'subscriptions_promotion_active_index', properties: ['promotion_id', 'is_active', 'created_at', 'id'] },
  ],
});

/**
 * How many subscriptions a promotion has: the sum of its rows, which triggers keep (migration "counts"). Several rows,
 * because writers at once each take one that nobody else holds; one alone may be negative. Why: docs/decisions/0011.
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
    /** When the owner was last asked for it directly; null when it came by event alone. */
    verified_at: p.datetime().nullable(),
  },
});

/** The users known to exist; a deletion stays as a tombstone, so that a late "created" cannot undo it. */
const KnownUser = defineEntity({
  name: 'KnownUser',
  tableName: 'known_users',
  properties: {
    user_id: p.integer().primary().autoincrement(false),
    version: p.integer(),
    deleted: p.boolean().default(false),
  },
});

/** How far what we know of a neighbour reaches: one row per owning service. */
const ProjectionSource = defineEntity({
  name: 'ProjectionSource',
  tableName: 'projection_sources',
  properties: {
    service: p.string().length(50).primary(),
    /** Everything the owner committed before this moment has been published and applied. */
    watermark: p.datetime().nullable(),
    /** When the owner's snapshot was last read to its end; null until then, and after an event was set aside. */
    reconciled_at: p.datetime().nullable(),
    /** How often an event was set aside; tells a reconciliation that one happened under its feet. */
    invalidations: p.integer().default(0),
  },
});

export const entities = [Subscription, SubscriptionCount, CachedPromotion, KnownUser, ProjectionSource, OutboxMessage];
