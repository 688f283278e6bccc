// The use cases of subscriptions.
import { randomUUID } from 'node:crypto';
import type { Database } from '@promopulse/shared/database/database';
import { notFound, ruleViolation } from '@promopulse/shared/errors';
import type { OwnerClient } from './projections/owner-client.ts';
import type { Projections, PromotionState, UserState } from './projections/store.ts';
import {
  deactivateIfActive,
  insertIfAllowed,
  type ListFilter,
  listSubscriptions,
  type NewSubscription,
  readDecisionState,
  type SubscriptionRow,
  subscriptionExists,
} from './queries.ts';
import { type Consulted, cannotTell, decide } from './rules.ts';

interface Neighbours {
  users: OwnerClient<UserState>;
  promotions: OwnerClient<PromotionState>;
}

/** Insert, ask one owner, insert, ask the other, insert; more rounds only when rows change under our feet. */
const mostRounds = 5;

export function createSubscriptions(
  database: Database,
  projections: Projections,
  owners: Neighbours,
  leaseSeconds: number,
) {
  /**
   * Decides by one statement; only when that inserts nothing is it asked why, and owners are asked what is not known.
   * @throws notFound (user), ruleViolation (promotion), conflict (duplicate), unavailable when nobody can tell
   */
  async function subscribe(wanted: NewSubscription, requestId: string): Promise<SubscriptionRow> {
    const cause = { eventId: randomUUID(), requestId };
    const asked: Consulted = { users: false, promotions: false };
    for (let round = 0; round < mostRounds; round += 1) {
      const created = await insertIfAllowed(database, wanted, leaseSeconds, cause);
      if (created) return created;
      const { seen_at, ...situation } = await readDecisionState(database, wanted, leaseSeconds);
      const verdict = decide(situation, asked, wanted);
      if (verdict === 'try again') continue;
      if ('refuse' in verdict) throw verdict.refuse;
      asked[verdict.ask] = true;
      if (verdict.ask === 'users') await learnUser(wanted.user_id, requestId);
      else await learnPromotion(wanted.promotion_id, seen_at, requestId);
    }
    throw cannotTell();
  }

  async function learnUser(id: number, requestId: string): Promise<void> {
    const user = await owners.users.get(id, requestId);
    if (user) await projections.applyUsers([user]);
  }

  async function learnPromotion(id: number, askedAt: Date, requestId: string): Promise<void> {
    const promotion = await owners.promotions.get(id, requestId);
    if (promotion) await projections.applyPromotions([promotion], askedAt);
  }

  /** @throws notFound, or ruleViolation when it is inactive already: of many at once exactly one succeeds */
  async function deactivate(id: number, requestId: string): Promise<SubscriptionRow> {
    const changed = await deactivateIfActive(database, id, { eventId: randomUUID(), requestId });
    if (changed) return changed;
    if (await subscriptionExists(database, id)) {
      throw ruleViolation('already_inactive', `Subscription ${id} is already inactive`);
    }
    throw notFound('Subscription not found');
  }

  return { subscribe, deactivate, list: (filter: ListFilter) => listSubscriptions(database, filter) };
}
