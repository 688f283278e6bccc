// What this service keeps of promotions and users: enough to decide whether a user may subscribe.
import { promotionState } from '@promopulse/shared/contracts/promotions';
import { defineProjections } from '@promopulse/shared/projections/definition';
import { knownUsers } from '@promopulse/shared/projections/known-users';
import { z } from 'zod';

/** A status that this release does not know is text, too: it is not "active". */
const promotion = promotionState.pick({ id: true, version: true }).extend({ status: z.string().min(1) });

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
    users: { ...knownUsers, dependents: 'subscriptions' },
  },
});
