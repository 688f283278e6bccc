// The use cases of subscriptions.
import { randomUUID } from 'node:crypto';
import type { Cause } from '@promopulse/shared/contracts/cause';
import type { Database } from '@promopulse/shared/database/database';
import { type DomainError, notFound } from '@promopulse/shared/errors';
import type { Caller } from '@promopulse/shared/http/caller/caller';
import { checkVersion, type TargetResource } from '@promopulse/shared/http/preconditions';
import { type ActiveCheck, decideByFacts, deciderOf } from './active-check/active-check.ts';
import { readFacts, readFactsOfSubscription } from './active-check/facts-store.ts';
import {
  deactivateIfActive,
  findSubscription,
  insertIfAllowed,
  type NewSubscription,
  reactivateIfAllowed,
  type SubscriptionRow,
} from './queries.ts';
import { alreadyInactive, decideCreation, decideReactivation } from './rules.ts';

/**
 * Commits the write of one round.
 * @returns what the request is answered with; undefined when nothing was written
 */
export type CommitRound<Result> = (
  write: (database: Database) => Promise<SubscriptionRow | undefined>,
) => Promise<Result | undefined>;

interface RoundOptions<Result> extends ActiveCheck {
  database: Database;
  commit: CommitRound<Result>;
}

/** @throws notFound (user), ruleViolation (promotion), conflict (duplicate), or unavailable when the facts stay unknown */
export async function subscribe<Result>(
  options: RoundOptions<Result>,
  wanted: NewSubscription,
  requestedBy: Cause,
): Promise<Result> {
  const cause = { ...requestedBy, eventId: randomUUID() };
  const { database, owners, leaseSeconds, commit } = options;
  return await decideByFacts(database, owners, cause, {
    write: () => commit((transaction) => insertIfAllowed(transaction, wanted, leaseSeconds, cause)),
    read: () => readFacts(database, wanted, leaseSeconds),
    decide: deciderOf(options, decideCreation),
  });
}

/**
 * Exactly one of several concurrent calls succeeds.
 * @throws notFound (subscription), then precondition_failed, ruleViolation (active already), notFound (user),
 * ruleViolation (promotion), or unavailable when the facts stay unknown
 */
export async function reactivate<Result>(
  options: RoundOptions<Result>,
  target: TargetResource,
  requestedBy: Cause,
): Promise<Result> {
  const cause = { ...requestedBy, eventId: randomUUID() };
  const { database, owners, leaseSeconds, commit } = options;
  return await decideByFacts(database, owners, cause, {
    write: () => commit((transaction) => reactivateIfAllowed(transaction, target, leaseSeconds, cause)),
    read: async () => {
      const facts = await readFactsOfSubscription(database, target.id, leaseSeconds);
      if (!facts) throw subscriptionNotFound();
      const rejection = checkVersion(target.conditions, facts.version);
      if (rejection) throw rejection;
      return facts;
    },
    decide: deciderOf(options, decideReactivation),
  });
}

/** @throws notFound */
export async function getSubscription(database: Database, id: number): Promise<SubscriptionRow> {
  const subscription = await findSubscription(database, id);
  if (!subscription) throw subscriptionNotFound();
  return subscription;
}

/** For an end user, another user's subscription is not there. @throws notFound */
export async function getOwnSubscription(database: Database, id: number, caller: Caller): Promise<SubscriptionRow> {
  const subscription = await getSubscription(database, id);
  if (caller.userId !== null && subscription.user_id !== caller.userId) throw subscriptionNotFound();
  return subscription;
}

/**
 * To be called before a subscription is changed. Its user never changes, and no id is given twice, so what it finds is
 * true in the change as well.
 * @throws notFound when the caller is an end user, and the subscription is not theirs
 */
export async function checkOwner(database: Database, id: number, caller: Caller): Promise<void> {
  if (caller.userId !== null) await getOwnSubscription(database, id, caller);
}

/**
 * Exactly one of several concurrent calls succeeds.
 * @throws notFound, then precondition_failed, then ruleViolation when it is inactive already
 */
export async function deactivate(database: Database, target: TargetResource, cause: Cause): Promise<SubscriptionRow> {
  const changed = await deactivateIfActive(database, target, { ...cause, eventId: randomUUID() });
  if (changed) return changed;
  const { version } = await getSubscription(database, target.id);
  // When the statement ran, it was inactive or had another version, whatever it has now.
  throw checkVersion(target.conditions, version) ?? alreadyInactive(target.id);
}

export function subscriptionNotFound(): DomainError {
  return notFound('Subscription not found');
}
