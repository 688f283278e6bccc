// The use cases of subscriptions.
import { randomUUID } from 'node:crypto';
import type { Database } from '@promopulse/shared/database/database';
import { notFound, ruleViolation } from '@promopulse/shared/errors';
import type { Owners } from './projections/owner-client.ts';
import { applyAnswer, markLost, type OwnerName } from './projections/store.ts';
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
  const consulted: Consulted = {};
  for (let round = 0; round < maxRounds; round += 1) {
    const created = await insertIfAllowed(database, wanted, leaseSeconds, cause);
    if (created) return created;
    const { read_at: readAt, ...facts } = await readDecisionState(database, wanted, leaseSeconds);
    const decision = decide(facts, consulted, wanted);
    if (decision === 'retry') continue;
    if ('reject' in decision) throw decision.reject;
    const owner = decision.consult;
    const id = owner === 'users' ? wanted.user_id : wanted.promotion_id;
    consulted[owner] = await refresh(database, owners, { owner, id, readAt }, requestId);
  }
  throw factsUnknown();
}

/** Asks the owner, and applies its answer. @returns what it answered */
async function refresh(
  database: Database,
  owners: Owners,
  { owner, id, readAt }: { owner: OwnerName; id: number; readAt: Date },
  requestId: string,
): Promise<'none' | 'state'> {
  const state = await owners[owner].get(id, requestId);
  if (state) await applyAnswer(database, owner, state, readAt);
  else await markLost(database, owner, { from: id, to: id, present: [] }, readAt);
  return state ? 'state' : 'none';
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
