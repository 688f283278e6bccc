// The shapes of requests and responses about promotions.
import { promotionState, promotionStatuses } from '@promopulse/shared/contracts/promotions';
import { createCursor, pageQuery, pageSchema } from '@promopulse/shared/http/pagination';
import { bodyId, filledText, moment, required, text, textId } from '@promopulse/shared/http/schemas';
import { z } from 'zod';
import type { Field } from './rules.ts';

const status = z.enum(promotionStatuses, {
  error: required(`must be one of ${promotionStatuses.join(', ')}`, 'must be given once'),
});

const fieldSchemas = {
  name: filledText(255),
  description: text(4_000).nullable().optional(),
  start_at: moment,
  end_at: moment,
} satisfies Record<Field, z.ZodType>;

export const newPromotion = z.strictObject(fieldSchemas);

export const newPromotionExample = {
  name: 'Summer Sale',
  description: 'Get 20% off',
  start_at: '2026-06-01T00:00:00Z',
  end_at: '2026-06-30T23:59:59Z',
};

export const promotionChanges = newPromotion
  .partial()
  .extend({ status: z.never('is changed by POST /promotions/{id}/status').optional() });

export const statusChange = z.strictObject({ status });

export const promotionId = z.strictObject({ id: textId });

export const promotionCursor = createCursor('p1', z.tuple([bodyId]));

export const promotionListQuery = pageQuery({ status: status.optional() }, promotionCursor);

export const presentedPromotion = promotionState.omit({ version: true }).meta({ id: 'Promotion' });

export const promotionList = pageSchema(presentedPromotion).meta({ id: 'PromotionList' });
