// The decision table of the ACTIVE check. It is pure: from the known facts to a rejection, a question or a retry.
import type { PromotionStatus } from '@promopulse/shared/contracts/promotions';
import { conflict, type DomainError, notFound, ruleViolation, unavailable } from '@promopulse/shared/errors';

/** `unknown`: not in the projection, or what it says cannot be relied on at the moment. */
export interface SubscriptionFacts {
  user: 'known' | 'deleted' | 'unknown';
  /** A status that this release does not know is text too: it is not "active". */
  promotion: PromotionStatus | 'unknown' | (string & {});
  /** Whether the promotion's status was confirmed recently enough to be relied on. */
  fresh: boolean;
  subscribed: boolean;
}

/** What the owners that this request has asked have answered: that there is none, or a state. */
export interface Consulted {
  users?: 'none' | 'state';
  promotions?: 'none' | 'state';
}

export type Decision = { reject: DomainError } | { consult: keyof Consulted } | 'retry';

interface Wanted {
  user_id: number;
  promotion_id: number;
}

/**
 * Called when nothing was inserted. The order is part of the API: user, promotion, duplicate. An owner is asked again when
 * its answer cannot be relied on any more, because an event or an invalidation came meanwhile.
 */
export function decide(facts: SubscriptionFacts, consulted: Consulted, wanted: Wanted): Decision {
  const { user, promotion, fresh, subscribed } = facts;
  if (user === 'deleted') return { reject: userNotFound(wanted) };
  if (user === 'unknown') {
    return consulted.users === 'none' ? { reject: userNotFound(wanted) } : { consult: 'users' };
  }

  if (promotion === 'ended') return { reject: promotionNotActive(wanted, promotion) }; // final, so the owner is not asked
  if (promotion === 'unknown') {
    return consulted.promotions === 'none'
      ? { reject: promotionNotActive(wanted, promotion) }
      : { consult: 'promotions' };
  }
  if (promotion !== 'active') {
    return consulted.promotions ? { reject: promotionNotActive(wanted, promotion) } : { consult: 'promotions' };
  }
  if (!fresh) return { consult: 'promotions' };

  if (subscribed) return { reject: alreadySubscribed(wanted) };
  return 'retry'; // a row changed between the insert and the reading of these facts
}

export function factsUnknown(cause?: unknown): DomainError {
  const message = "The user or the promotion's status is not known at the moment. Retry after the time in Retry-After.";
  return unavailable(message, 1, cause);
}

function userNotFound({ user_id }: Wanted): DomainError {
  return notFound(`User ${user_id} not found`, 'user_not_found');
}

function promotionNotActive({ promotion_id }: Wanted, status: SubscriptionFacts['promotion']): DomainError {
  const shown = status === 'unknown' ? 'not_found' : status;
  return ruleViolation(
    'promotion_not_active',
    `Cannot subscribe to promotion ${promotion_id} with status '${shown}'. Promotion must be ACTIVE to accept subscriptions.`,
    [{ field: 'promotion_id', rule: 'must be an active promotion' }],
  );
}

function alreadySubscribed({ user_id, promotion_id }: Wanted): DomainError {
  return conflict(
    'already_subscribed',
    `User ${user_id} is already subscribed to promotion ${promotion_id}. Duplicate subscriptions are not allowed.`,
  );
}
