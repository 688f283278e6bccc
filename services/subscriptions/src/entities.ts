// The tables of schema "subscriptions": its own, and the projections of other services' state.
import { defineEntity, p } from '@mikro-orm/postgresql';
import { IdempotencyKey } from '@promopulse/shared/database/idempotency/idempotency-keys';
import { Lease } from '@promopulse/shared/database/lease';
import { OutboxMessage } from '@promopulse/shared/outbox/outbox';
import { Publication } from '@promopulse/shared/outbox/publication';
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

/** What the rows of both projections have, for the question whether they can be relied on (decision 0015). */
const reliance = {
  version: p.integer(),
  /** When the owner was last asked about this row; null when only events and readings have set it. */
  verified_at: p.datetime().nullable(),
  /** When the content changed last. An owner's answer that was read later outranks it, whatever its version. */
  changed_at: p.datetime().defaultRaw('now()'),
  /** Since when an event contradicts the row. The owner's answer ends it. */
  doubted_at: p.datetime().nullable(),
  /** Since when the owner has no such row, although this service has seen it: its database lost the row. */
  lost_at: p.datetime().nullable(),
};

/** The last known status of each promotion, as text: a status that this release does not know is not "active". */
const CachedPromotion = defineEntity({
  name: 'CachedPromotion',
  tableName: 'cached_promotions',
  properties: {
    promotion_id: p.bigint('number').primary().autoincrement(false),
    status: p.text(),
    ...reliance,
  },
  indexes: [
    { name: 'cached_promotions_doubted_index', properties: ['promotion_id'], where: 'doubted_at is not null' },
    { name: 'cached_promotions_lost_index', properties: ['promotion_id'], where: 'lost_at is not null' },
  ],
});

/** The users known to exist. A deleted user stays as a tombstone, so that a late "created" cannot restore it. */
const KnownUser = defineEntity({
  name: 'KnownUser',
  tableName: 'known_users',
  properties: {
    user_id: p.bigint('number').primary().autoincrement(false),
    deleted: p.boolean().default(false),
    ...reliance,
  },
  indexes: [
    { name: 'known_users_doubted_index', properties: ['user_id'], where: 'doubted_at is not null' },
    { name: 'known_users_lost_index', properties: ['user_id'], where: 'lost_at is not null' },
  ],
});

/** How complete the projection of each owner is: one row per owner. */
const ProjectionSource = defineEntity({
  name: 'ProjectionSource',
  tableName: 'projection_sources',
  properties: {
    service: p.string().length(50).primary(),
    /** Everything that the owner committed before this time has been published and applied. */
    watermark: p.datetime().nullable(),
    /** When the owner was last read completely enough; null before that, and from an invalidation on. */
    reconciled_at: p.datetime().nullable(),
    /** How often the projection was invalidated. A reading during which it grows does not count. */
    invalidations: p.integer().default(0),
    invalidated_at: p.datetime().nullable(),
    /** Whether the next reading must compare every row, not only what has changed since `read_to`. */
    complete_needed: p.boolean().default(true),
    /** When every row was last compared. */
    compared_at: p.datetime().nullable(),
    /** The owner's clock when its last reading began. */
    read_to: p.datetime(6).nullable(),
    /** The life of the owner's database that the rows are from. Only an answer of the owner changes it. */
    epoch: p.string().length(50).nullable(),
    /** The last id that the owner's outbox had given. */
    position: p.bigint('number').default(0),
    /** The session of the consumer that applies heartbeats, and how many it has applied. */
    session: p.string().length(50).nullable(),
    beats: p.integer().default(0),
    /** How many rows repeated readings have corrected. */
    corrected: p.integer().default(0),
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
  Lease,
  IdempotencyKey,
];
