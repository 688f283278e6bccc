// The public state of a promotion, as events carry it. Callers see the same, without the version.
import { z } from 'zod';
import { id, time, version } from './envelope.ts';

export const promotionStatuses = ['draft', 'active', 'ended'] as const;

export type PromotionStatus = (typeof promotionStatuses)[number];

export const promotionState = z.object({
  id,
  name: z.string(),
  description: z.string().nullable(),
  status: z.enum(promotionStatuses),
  start_at: time,
  end_at: time,
  created_at: time,
  updated_at: time,
  created_by: id.nullable().meta({ description: 'Who made it, where callers are identified; else null.' }),
  version,
});
