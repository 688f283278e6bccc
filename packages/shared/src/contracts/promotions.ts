// The public state of a promotion, as events carry it. Callers see the same, without the version.
import { z } from 'zod';
import { id, utcTime, version } from './envelope.ts';

export const promotionStatuses = ['draft', 'active', 'ended'] as const;

export type PromotionStatus = (typeof promotionStatuses)[number];

export const promotionState = z.object({
  id: id.meta({ description: 'The id of the promotion.' }),
  name: z.string().meta({ description: 'The name, for people.', minLength: 1, maxLength: 255 }),
  description: z.string().nullable().meta({ description: 'More about it; null: nothing.', maxLength: 4_000 }),
  status: z.enum(promotionStatuses),
  start_at: utcTime.meta({ description: 'When it starts, in UTC. The status decides, not this time.' }),
  end_at: utcTime.meta({ description: 'When it ends, in UTC. The status decides, not this time.' }),
  created_at: utcTime.meta({ description: 'When it was created, in UTC.' }),
  updated_at: utcTime.meta({ description: 'When it was last changed, in UTC.' }),
  created_by: id.nullable().meta({
    description: 'Null: callers are keys and subjects, not users. The first entry of the history says who made it.',
  }),
  version,
});

/** The rows of the internal pages: what projections of other services hold. */
export const promotionSnapshot = promotionState.pick({
  id: true,
  status: true,
  start_at: true,
  end_at: true,
  updated_at: true,
  version: true,
});
