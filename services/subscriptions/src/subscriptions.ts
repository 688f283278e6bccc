// The use cases of subscriptions.
import { randomUUID } from 'node:crypto';
import type { Database } from '@promopulse/shared/database/database';
import { notFound, ruleViolation } from '@promopulse/shared/errors';
import type { Owners } from './projections/owner-client.ts';
import { applyPromotions, applyUsers } from './projections/store.ts';
import {
  deactivateIfActive,
  insertIfAllowed,
  type NewSubscription,
  readDecisionState,
  type SubscriptionRow,
  subscriptionExists,
} from './queries.ts';
import { type Consulted, decide, factsUnknown } from './rules.ts';

/** Normally at most three inserts and two owner requests. More rounds happen only under concurrent changes. */
const maxRounds = 5;

export interface ActiveCheck {
  owners: Owners;
  /** How long, in seconds, a confirmed status of a promotion is relied on. */
  leaseSeconds: number;
}

/**
 * Decides by one statement. Only when that inserts nothing are the facts read, and owners asked about unknown ones.
 * @throws notFound (user), ruleViolation (promotion), conflict (duplicate), or unavailable when the facts stay unknown
 */
export async function subscribe(
  database: Database,
  { owners, leaseSeconds }: ActiveCheck,
  wanted: NewSubscription,
  requestId: string,
): Promise<SubscriptionRow> {
  const cause = { eventId: randomUUID(), requestId };
  const consulted: Consulted = { users: false, promotions: false };
  for (let round = 0; round < maxRounds; round += 1) {
    const created = await insertIfAllowed(database, wanted, leaseSeconds, cause);
    if (created) return created;
    const { read_at: readAt, ...facts } = await readDecisionState(database, wanted, leaseSeconds);
    const decision = decide(facts, consulted, wanted);
    if (decision === 'retry') continue;
    if ('reject' in decision) throw decision.reject;
    consulted[decision.consult] = true;
    if (decision.consult === 'users') await refreshUser(database, owners, wanted.user_id, requestId);
    else await refreshPromotion(database, owners, { id: wanted.promotion_id, readAt }, requestId);
  }
  throw factsUnknown();
}

async function refreshUser(database: Database, owners: Owners, id: number, requestId: string): Promise<void> {
  const user = await owners.users.get(id, requestId);
  if (user) await applyUsers(database, [user]);
}

async function refreshPromotion(
  database: Database,
  owners: Owners,
  { id, readAt }: { id: number; readAt: Date },
  requestId: string,
): Promise<void> {
  const promotion = await owners.promotions.get(id, requestId);
  if (promotion) await applyPromotions(database, [promotion], readAt);
}

/** Exactly one of several concurrent calls succeeds. @throws notFound, or ruleViolation when it is inactive already */
export async function deactivate(database: Database, id: number, requestId: string): Promise<SubscriptionRow> {
  const changed = await deactivateIfActive(database, id, { eventId: randomUUID(), requestId });
  if (changed) return changed;
  if (await subscriptionExists(database, id)) {
    throw ruleViolation('already_inactive', `Subscription ${id} is already inactive`);
  }
  throw notFound('Subscription not found');
}
