// What is counted of a promotion, as events carry it.
import { z } from 'zod';
import { id, utcTime, version } from './envelope.ts';

/** What a user does with a promotion. */
export const engagementTypes = ['view', 'click', 'redeem'] as const;

export type EngagementType = (typeof engagementTypes)[number];

const total = z.object({
  count: z.int().nonnegative().meta({ description: 'How many events were accepted.' }),
  unique: z.int().nonnegative().meta({ description: 'How many users and visitors they are from.' }),
});

/** The totals of all time. They fall only with a restore of the service's database. */
export const engagementTotals = z.object({
  id: id.meta({ description: 'The id of the promotion.' }),
  version,
  view: total,
  click: total,
  redeem: total,
  counted_at: utcTime.meta({ description: 'When they were read, in UTC.' }),
});
