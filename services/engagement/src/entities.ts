// The tables of schema "engagement": what is counted, and the projections of other services' state. The partitioned table
// `events`, `first_seen`, and the functions that count, are in the migrations only.
import { defineEntity, p } from '@mikro-orm/postgresql';
import { engagementTypes } from '@promopulse/shared/contracts/engagement';
import { promotionState } from '@promopulse/shared/contracts/promotions';
import { subscriptionState } from '@promopulse/shared/contracts/subscriptions';
import { IdempotencyKey } from '@promopulse/shared/database/idempotency/idempotency-keys';
import { Lease } from '@promopulse/shared/database/lease';
import { OutboxMessage } from '@promopulse/shared/outbox/outbox';
import { Publication } from '@promopulse/shared/outbox/publication';
import { defineProjections } from '@promopulse/shared/projections/definition';
import { KnownUser, knownUsers } from '@promopulse/shared/projections/known-users';
import {
  ProjectionSource,
  relianceColumns,
  relianceIndexes,
} from '@promopulse/shared/projections/rows/projection-tables';
import { z } from 'zod';

/** Finds the stripes that are to be merged. */
function stripesIndex(table: string) {
  return { name: `${table}_stripes_index`, properties: ['bucket' as const], where: 'stripe <> 0' };
}

/**
 * The accepted events of a promotion and a type, by the quarter of an hour in which they occurred: the sum over its stripes.
 * Each connection that writes has a stripe, so that it does not wait for another. Later they are merged into stripe 0.
 */
const EventCount = defineEntity({
  name: 'EventCount',
  tableName: 'event_counts',
  properties: {
    promotion_id: p.bigint('number').primary().autoincrement(false),
    type: p.enum(engagementTypes).primary(),
    /** The beginning of the quarter of an hour. */
    bucket: p.datetime().primary(),
    stripe: p.smallint().primary().default(0),
    accepted: p.bigint('number'),
    /** Events of users and visitors who were seen for the first time: ever, and on that day of UTC. */
    first_ever: p.bigint('number'),
    first_of_day: p.bigint('number'),
  },
  indexes: [stripesIndex('event_counts')],
});

/**
 * The receipts, by the quarter of an hour in which they were given. Promotion 0: the promotion is not known. An empty type:
 * neither is the type. In stripes, as above.
 */
const ReceiptCount = defineEntity({
  name: 'ReceiptCount',
  tableName: 'receipt_counts',
  properties: {
    promotion_id: p.bigint('number').primary().autoincrement(false),
    type: p.string().length(10).primary(),
    bucket: p.datetime().primary(),
    stripe: p.smallint().primary().default(0),
    received: p.bigint('number'),
    accepted: p.bigint('number'),
    duplicate: p.bigint('number'),
    late: p.bigint('number'),
    rejected: p.bigint('number'),
  },
  indexes: [
    { name: 'receipt_counts_recent_index', properties: ['bucket', 'promotion_id'] },
    stripesIndex('receipt_counts'),
  ],
});

/**
 * Who joined and who left a promotion, by the quarter of an hour: the sum over its rows. There are several because each
 * concurrent writer updates a row that no other writer has locked (decision 0011). Triggers write it.
 */
const SubscriptionChange = defineEntity({
  name: 'SubscriptionChange',
  tableName: 'subscription_changes',
  properties: {
    id: p.bigint().primary().autoincrement(),
    promotion_id: p.bigint('number'),
    bucket: p.datetime(),
    joined: p.bigint('number'),
    left: p.bigint('number'),
  },
  indexes: [{ name: 'subscription_changes_bucket_index', properties: ['promotion_id', 'bucket'] }],
});

/** How many events of a promotion were removed with their days. */
const RemovedEvents = defineEntity({
  name: 'RemovedEvents',
  tableName: 'removed_events',
  properties: { promotion_id: p.bigint('number').primary().autoincrement(false), count: p.bigint('number') },
});

/** One row. Events of earlier days are late: their days were removed, or will be. The day never goes back. */
const EventHorizon = defineEntity({
  name: 'EventHorizon',
  tableName: 'event_horizon',
  properties: {
    id: p.boolean().primary().default(true),
    first_day: p.date(),
  },
});

/** One row: until when receipts were looked at for rollups. */
const RollupProgress = defineEntity({
  name: 'RollupProgress',
  tableName: 'rollup_progress',
  properties: {
    id: p.boolean().primary().default(true),
    read_to: p.datetime(),
  },
});

/** What was last published of a promotion. */
const Rollup = defineEntity({
  name: 'Rollup',
  tableName: 'rollups',
  properties: {
    promotion_id: p.bigint('number').primary().autoincrement(false),
    version: p.integer(),
    totals: p.json(),
  },
});

/** The last known state of each promotion. `updated_at` of an ended one is when it was ended: it never changes again. */
const CachedPromotion = defineEntity({
  name: 'CachedPromotion',
  tableName: 'cached_promotions',
  properties: {
    promotion_id: p.bigint('number').primary().autoincrement(false),
    status: p.text(),
    start_at: p.datetime(3),
    end_at: p.datetime(3),
    updated_at: p.datetime(3),
    ...relianceColumns(),
  },
  indexes: relianceIndexes('cached_promotions', 'promotion_id'),
});

/** The subscriptions, for their series. The states alternate with the versions: an odd version is active. */
const KnownSubscription = defineEntity({
  name: 'KnownSubscription',
  tableName: 'known_subscriptions',
  properties: {
    subscription_id: p.bigint('number').primary().autoincrement(false),
    promotion_id: p.bigint('number'),
    created_at: p.datetime(3),
    ...relianceColumns(),
  },
  indexes: relianceIndexes('known_subscriptions', 'subscription_id'),
});

export const entities = [
  EventCount,
  ReceiptCount,
  SubscriptionChange,
  RemovedEvents,
  EventHorizon,
  RollupProgress,
  Rollup,
  CachedPromotion,
  KnownUser,
  KnownSubscription,
  ProjectionSource,
  OutboxMessage,
  Publication,
  Lease,
  IdempotencyKey,
];

/** A status that this release does not know is text, too: no event counts for it. */
const promotion = promotionState
  .pick({ id: true, version: true, start_at: true, end_at: true, updated_at: true })
  .extend({ status: z.string().min(1) });
const subscription = subscriptionState.pick({ id: true, version: true, promotion_id: true, created_at: true });

/** What this service keeps of others: enough to decide whether an event counts, and who has joined and left. */
export const projections = defineProjections({
  service: 'engagement',
  queue: 'engagement.projections',
  owners: {
    promotions: {
      table: 'cached_promotions',
      id: 'promotion_id',
      contents: { status: 'text', start_at: 'timestamptz', end_at: 'timestamptz', updated_at: 'timestamptz' },
      digestedStatus: 'status',
      pageSize: 1_000,
      state: promotion,
      events: {
        'promotion.created': promotion,
        'promotion.updated': promotion,
        'promotion.status_changed': promotion,
      },
    },
    users: knownUsers,
    subscriptions: {
      table: 'known_subscriptions',
      id: 'subscription_id',
      contents: { promotion_id: 'bigint', created_at: 'timestamptz' },
      hasChanges: false,
      pageSize: 10_000,
      state: subscription,
      events: {
        'subscription.created': subscription,
        'subscription.deactivated': subscription,
        'subscription.reactivated': subscription,
      },
    },
  },
});
