// The public state of a promotion, as events carry it. Callers see the same, without the version.
import { z } from 'zod';
import { id, utcTime, version } from './envelope.ts';

export const promotionStatuses = ['draft', 'active', 'ended'] as const;

export type PromotionStatus = (typeof promotionStatuses)[number];

export const promotionState = z.object({
  id,
  name: z.string(),
  description: z.string().nullable(),
  status: z.enum(promotionStatuses),
  start_at: utcTime,
  end_at: utcTime,
  created_at: utcTime,
  updated_at: utcTime,
  created_by: id.nullable().meta({ description: 'Who made it, where callers are identified; else null.' }),
  version,
});
