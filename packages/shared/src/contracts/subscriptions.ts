// The public state of a subscription, as events carry it.
import { z } from 'zod';
import { id, utcTime, version } from './envelope.ts';

/** Without the metadata: it is free text of the caller and may hold personal data. */
export const subscriptionState = z.object({
  id,
  version,
  user_id: id,
  promotion_id: id,
  is_active: z.boolean(),
  created_at: utcTime,
});
