// What events say of a promotion.
import { z } from 'zod';
import { id, time, version } from './envelope.ts';

export const promotionStatuses = ['draft', 'active', 'ended'] as const;

export type PromotionStatus = (typeof promotionStatuses)[number];

export const promotionState = z.object({
  id,
  version,
  name: z.string(),
  description: z.string().nullable(),
  status: z.enum(promotionStatuses),
  start_at: time,
  end_at: time,
  created_at: time,
  updated_at: time,
  created_by: id.nullable(),
});
