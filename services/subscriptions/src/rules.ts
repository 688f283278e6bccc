// The decision tables of the ACTIVE check, of a new subscription and of one that is inactive. They are pure: from the known
// facts to a rejection, a question or a retry.
import type { PromotionStatus } from '@promopulse/shared/contracts/promotions';
import {
  conflict,
  type DomainError,
  type FieldError,
  notFound,
  ruleViolation,
  unavailable,
} from '@promopulse/shared/errors';

/** About one user and one promotion. `unknown`: not in the projection, or not to be relied on at the moment. */
export interface SubscriptionFacts {
  user_id: number;
  promotion_id: number;
  user: 'known' | 'deleted' | 'unknown';
  /** A status that this release does not know is text too: it is not "active". */
  promotion: PromotionStatus | 'unknown' | (string & {});
  /** Whether the promotion's status was confirmed recently enough to be relied on. */
  fresh: boolean;
  /** The user's subscription to the promotion; null when there is none. */
  subscription_id: number | null;
  is_active: boolean | null;
}

/** What the owners that this request has asked have answered: that there is none, or a state. */
export interface Consulted {
  users?: 'none' | 'state';
  promotions?: 'none' | 'state';
}

export type Decision = { reject: DomainError } | { consult: keyof Consulted } | 'retry';

/**
 * Called when nothing was inserted. The order is part of the API: user, promotion, duplicate. A row that changed between the
 * statement and the reading of the facts leaves nothing to explain: then the statement is tried again.
 */
export function decideCreation(facts: SubscriptionFacts, consulted: Consulted): Decision {
  const decision = decideActive(facts, consulted);
  if (decision) return decision;
  return facts.subscription_id === null ? 'retry' : { reject: duplicate(facts, facts.subscription_id) };
}

/** Called when nothing was reactivated. What is active already needs no answer of an owner, so this comes first. */
export function decideReactivation(facts: SubscriptionFacts, consulted: Consulted): Decision {
  if (facts.is_active) {
    return { reject: alreadyActive(facts.subscription_id) };
  }
  const decision = decideActive(facts, consulted) ?? 'retry';
  const isOfPromotion = decision !== 'retry' && 'reject' in decision && decision.reject.code === 'promotion_not_active';
  return isOfPromotion ? { reject: reactivationNotAllowed(facts) } : decision;
}

/** For an end user: a promotion that is a draft is rejected as if it were not there. */
export function concealDraft(decision: Decision, facts: SubscriptionFacts): Decision {
  const isOfDraft =
    decision !== 'retry' && 'reject' in decision && decision.reject.members?.promotion_status === 'draft';
  return isOfDraft
    ? { reject: promotionNotActive({ ...facts, promotion: 'unknown' }, decision.reject.errors) }
    : decision;
}

/**
 * The user, then the promotion. An owner is asked again when its answer cannot be relied on any more, because an event or
 * an invalidation came meanwhile. @returns undefined when both allow a subscription
 */
function decideActive(facts: SubscriptionFacts, consulted: Consulted): Exclude<Decision, 'retry'> | undefined {
  const { user, promotion, fresh } = facts;
  if (user === 'deleted') return { reject: userNotFound(facts) };
  if (user === 'unknown') {
    return consulted.users === 'none' ? { reject: userNotFound(facts) } : { consult: 'users' };
  }

  if (promotion === 'ended') return { reject: promotionNotActive(facts) }; // final, so the owner is not asked
  if (promotion === 'unknown') {
    return consulted.promotions === 'none' ? { reject: promotionNotActive(facts) } : { consult: 'promotions' };
  }
  if (promotion !== 'active') {
    return consulted.promotions ? { reject: promotionNotActive(facts) } : { consult: 'promotions' };
  }
  return fresh ? undefined : { consult: 'promotions' };
}

export function alreadyActive(id: number | null): DomainError {
  return ruleViolation('already_active', `Subscription ${id} is already active`);
}

export function alreadyInactive(id: number): DomainError {
  return ruleViolation('already_inactive', `Subscription ${id} is already inactive`);
}

export function factsUnknown(cause?: unknown): DomainError {
  const message = "The user or the promotion's status is not known at the moment. Retry after the time in Retry-After.";
  return unavailable(message, 1, cause);
}

export function userNotFound({ user_id }: SubscriptionFacts): DomainError {
  return notFound(`User ${user_id} not found`, 'user_not_found');
}

/** @param errors what is wrong with the request. Its parts are others when a subscription is reactivated. */
export function promotionNotActive(
  { promotion_id, promotion }: SubscriptionFacts,
  errors: readonly FieldError[] = [{ field: 'promotion_id', rule: 'must be an active promotion' }],
): DomainError {
  const promotion_status = promotion === 'unknown' ? 'not_found' : promotion;
  return ruleViolation(
    'promotion_not_active',
    `Cannot subscribe to promotion ${promotion_id} with status '${promotion_status}'. Promotion must be ACTIVE to accept subscriptions.`,
    errors,
    { promotion_status },
  );
}

export function reactivationNotAllowed(facts: SubscriptionFacts): DomainError {
  return promotionNotActive(facts, [{ field: 'id', rule: 'must be a subscription to an active promotion' }]);
}

export function duplicate(
  { user_id, promotion_id, is_active }: SubscriptionFacts,
  subscription_id: number,
): DomainError {
  const pair = `subscribed to promotion ${promotion_id}`;
  return is_active
    ? conflict('already_subscribed', `User ${user_id} is already ${pair}. Duplicate subscriptions are not allowed.`, {
        subscription_id,
      })
    : conflict(
        'subscription_inactive',
        `User ${user_id} was ${pair} and has left it. PATCH /subscriptions/${subscription_id}/reactivate makes subscription ${subscription_id} active again.`,
        { subscription_id },
      );
}

/** For the examples of the document. */
export const exampleFacts: SubscriptionFacts = {
  ...{ user_id: 1, user: 'known', promotion_id: 1, promotion: 'ended', fresh: true },
  ...{ subscription_id: 1, is_active: true },
};
