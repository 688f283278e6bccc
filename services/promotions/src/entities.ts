// The tables of schema "promotions".
import { defineEntity, p, raw } from '@mikro-orm/postgresql';
import { promotionState, promotionStatuses } from '@promopulse/shared/contracts/promotions';
import { IdempotencyKey } from '@promopulse/shared/database/idempotency/idempotency-keys';
import { Lease } from '@promopulse/shared/database/lease';
import { type History, historyColumns } from '@promopulse/shared/history/history-table';
import { OutboxMessage } from '@promopulse/shared/outbox/outbox';
import { Publication } from '@promopulse/shared/outbox/publication';
import { fields } from './rules.ts';

export const Promotion = defineEntity({
  name: 'Promotion',
  tableName: 'promotions',
  properties: {
    id: p.bigint('number').primary().autoincrement(),
    name: p.string().length(255),
    description: p.text().nullable(),
    status: p.enum(promotionStatuses).default('draft'),
    start_at: p.datetime(3),
    end_at: p.datetime(3),
    created_at: p.datetime(3).defaultRaw('now()'),
    updated_at: p
      .datetime(3)
      .defaultRaw('now()')
      .onUpdate(() => raw('greatest(updated_at, now())')), // no clock but the database's
    /** The caller, where callers are identified. */
    created_by: p.bigint('number').nullable(),
    /** Grows by one with every change; events carry it. */
    version: p.integer().version(),
  },
  indexes: [{ name: 'promotions_status_id_index', properties: ['status', 'id'] }],
});

/**
 * The number of promotions of a status is the sum of `total` over its rows, which triggers maintain (migration "counts").
 * There are several rows because each concurrent writer updates a row that no other writer has locked. A single row may
 * be negative. Why: docs/decisions/0011-counts-and-cursors.md.
 */
const PromotionCount = defineEntity({
  name: 'PromotionCount',
  tableName: 'promotion_counts',
  properties: {
    id: p.bigint().primary().autoincrement(),
    status: p.enum(promotionStatuses),
    total: p.bigint('number'),
  },
  indexes: [{ name: 'promotion_counts_status_index', properties: ['status'] }],
});

const PromotionHistory = defineEntity({
  name: 'PromotionHistory',
  tableName: 'promotion_history',
  properties: { promotion_id: p.bigint('number').primary(), ...historyColumns() },
});

export const promotionHistory: History = {
  table: 'promotions',
  historyTable: 'promotion_history',
  idColumn: 'promotion_id',
  fields: [...fields, 'status'],
  contract: promotionState,
};

export const entities = [
  Promotion,
  PromotionCount,
  PromotionHistory,
  OutboxMessage,
  Publication,
  Lease,
  IdempotencyKey,
];
