// What this service keeps of promotions and users: enough to decide whether a user may subscribe.
import { promotionState } from '@promopulse/shared/contracts/promotions';
import { userState } from '@promopulse/shared/contracts/users';
import { defineProjections } from '@promopulse/shared/projections/definition';
import { z } from 'zod';

/** A status that this release does not know is text, too: it is not "active". */
const promotion = promotionState.pick({ id: true, version: true }).extend({ status: z.string().min(1) });
const identity = userState.pick({ id: true, version: true });
const user = identity.transform((state) => ({ ...state, deleted: false }));

export const projections = defineProjections({
  service: 'subscriptions',
  queue: 'subscriptions.projections',
  owners: {
    promotions: {
      table: 'cached_promotions',
      id: 'promotion_id',
      contents: { status: 'text' },
      digestedStatus: 'status',
      dependents: 'subscriptions',
      pageSize: 1_000,
      state: promotion,
      events: {
        'promotion.created': promotion,
        'promotion.updated': promotion,
        'promotion.status_changed': promotion,
      },
    },
    users: {
      table: 'known_users',
      id: 'user_id',
      contents: { deleted: 'boolean' },
      present: 'lost_at is null and not deleted',
      dependents: 'subscriptions',
      pageSize: 10_000,
      state: user,
      events: {
        'user.created': user,
        'user.updated': user,
        'user.deleted': identity.transform((state) => ({ ...state, deleted: true })),
      },
    },
  },
});
