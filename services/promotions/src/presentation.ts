// A promotion as callers and neighbours see it.
import type { EventDataOf } from '@promopulse/shared/contracts/index';
import { promotionStatuses } from '@promopulse/shared/contracts/promotions';
import { presentedTime, presentTime } from '@promopulse/shared/http/schemas';
import { z } from 'zod';
import type { PromotionRow } from './queries.ts';

export const presentedPromotion = z
  .object({
    id: z.int(),
    name: z.string(),
    description: z.string().nullable(),
    status: z.enum(promotionStatuses),
    start_at: presentedTime,
    end_at: presentedTime,
    created_at: presentedTime,
    updated_at: presentedTime,
    created_by: z.int().nullable().meta({ description: 'Who made it, where callers are identified; else null.' }),
  })
  .meta({ id: 'Promotion' });

export function presentPromotion(promotion: PromotionRow): z.infer<typeof presentedPromotion> {
  return {
    id: promotion.id,
    name: promotion.name,
    description: promotion.description ?? null,
    status: promotion.status,
    start_at: presentTime(promotion.start_at),
    end_at: presentTime(promotion.end_at),
    created_at: presentTime(promotion.created_at),
    updated_at: presentTime(promotion.updated_at),
    created_by: promotion.created_by ?? null,
  };
}

/** The whole public state with its version: what events and the internal routes carry. */
export function promotionState(promotion: PromotionRow): EventDataOf<'promotion.created'> {
  return { ...presentPromotion(promotion), version: promotion.version };
}
