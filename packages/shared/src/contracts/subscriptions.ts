// What events say of a subscription.
import { z } from 'zod';
import { id, time, version } from './envelope.ts';

// A subscription's metadata is the caller's free text, so it may hold personal data: it stays at home.
export const subscriptionState = z.object({
  id,
  version,
  user_id: id,
  promotion_id: id,
  is_active: z.boolean(),
  created_at: time,
});
