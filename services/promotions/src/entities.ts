// The tables of schema "promotions".
import { defineEntity, p } from '@mikro-orm/postgresql';
import { promotionStatuses } from '@promopulse/shared/events';
import { OutboxMessage } from '@promopulse/shared/outbox';

const PromotionSchema = defineEntity({
  name: 'Promotion',
  tableName: 'promotions',
  properties: {
    id: p.integer().primary().autoincrement(),
    name: p.string().length(255),
    description: p.text().nullable(),
    status: p.enum(promotionStatuses).default('draft'),
    start_at: p.datetime(3),
    end_at: p.datetime(3),
    created_at: p.datetime(3).defaultRaw('now()'),
    updated_at: p
      .datetime(3)
      .defaultRaw('now()')
      .onUpdate(() => new Date()),
    /** Who made it, where callers are identified. */
    created_by: p.integer().nullable(),
    /** Grows by one with every change; events carry it. */
    version: p.integer().version(),
  },
  indexes: [{ name: 'promotions_status_id_index', properties: ['status', 'id'] }],
});
export class Promotion extends PromotionSchema.class {}
PromotionSchema.setClass(Promotion);

export const entities = [PromotionSchema, OutboxMessage];
