// The ACTIVE check's decision table, pure: given what is known, refuse, ask an owner, or try again.
import type { PromotionStatus } from '@promopulse/shared/contracts/promotions';
import { conflict, type DomainError, notFound, ruleViolation, unavailable } from '@promopulse/shared/errors';

export interface SubscriptionFacts {
  user: 'known' | 'deleted' | 'unknown';
  promotion: PromotionStatus | 'unknown';
  /** Whether what is known of the promotion is recent enough to be believed. */
  fresh: boolean;
  subscribed: boolean;
}

/** Which owners have already been asked for this request: what they said is final. */
export interface Consulted {
  users: boolean;
  promotions: boolean;
}

export type Decision = { refuse: DomainError } | { ask: keyof Consulted } | 'try again';

interface Wanted {
  user_id: number;
  promotion_id: number;
}

/** Called when the insert found nothing to insert. The order is part of the wire: user, promotion, duplicate. */
export function decide(situation: SubscriptionFacts, asked: Consulted, wanted: Wanted): Decision {
  const { user, promotion, fresh, subscribed } = situation;
  if (user === 'deleted') return { refuse: userNotFound(wanted) };
  if (user === 'unknown') return asked.users ? { refuse: userNotFound(wanted) } : { ask: 'users' };

  if (promotion === 'ended') return { refuse: promotionNotActive(wanted, promotion) }; // terminal: needs no second opinion
  const believed = promotion === 'active' && fresh;
  if (!believed && !asked.promotions) return { ask: 'promotions' };
  if (promotion !== 'active') return { refuse: promotionNotActive(wanted, promotion) };
  if (!fresh) return { refuse: cannotTell() }; // the owner's answer grew old while we waited

  if (subscribed) return { refuse: alreadySubscribed(wanted) };
  return 'try again'; // something changed between the insert and this look
}

export function cannotTell(cause?: unknown): DomainError {
  return unavailable('Cannot tell right now whether the promotion is active and the user exists; try again', 1, cause);
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
