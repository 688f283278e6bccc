// The public state of a subscription, as events carry it.
import { z } from 'zod';
import { id, utcTime, version } from './envelope.ts';

/** Without the metadata: it is free text of the caller and may hold personal data. */
export const subscriptionState = z.object({
  id: id.meta({ description: 'The id of the subscription.' }),
  version,
  user_id: id.meta({ description: 'Who is subscribed.' }),
  promotion_id: id.meta({ description: 'To which promotion.' }),
  is_active: z.boolean().meta({ description: 'False after the user has left the promotion.' }),
  created_at: utcTime.meta({ description: 'When it was created, in UTC.' }),
});

/** The rows of the internal pages: what projections of other services hold. */
export const subscriptionSnapshot = subscriptionState.omit({ user_id: true });
