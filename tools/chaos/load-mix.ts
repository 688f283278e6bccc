// The mix of the load: how often each operation is sent, and what must exist before.

import type { Random } from '../../local/random.ts';
import type { RequestKind } from './history.ts';
import type { LoadEntities } from './load-entities.ts';
import type { LoadOperations } from './load-operations.ts';

export interface WeightedOperation {
  /** Relative frequency. */
  weight: number;
  kind: RequestKind;
  /** Whether everything that the operation needs exists. */
  isPossible(): boolean;
  run(): Promise<unknown>;
}

/** Weight, kind, condition and operation. */
type Row = [weight: number, kind: RequestKind, isPossible: () => boolean, run: () => Promise<unknown>];

export function loadMix(entities: LoadEntities, operations: LoadOperations): WeightedOperation[] {
  const { users, drafts, active, subscriptions } = entities;
  const always = (): boolean => true;
  const hasUser = (): boolean => users.length > 0;
  const hasDraft = (): boolean => drafts.length > 0;
  const hasActive = (): boolean => active.length > 0;
  const hasSubscription = (): boolean => subscriptions.length > 0;
  const hasUserAnd = (condition: () => boolean) => () => hasUser() && condition();
  const userId = (): number => entities.anyUser().id;
  const email = (): string => entities.anyUser().email;
  const rows: Row[] = [
    [4, 'create user', always, () => operations.createUser(operations.newEmail())],
    [1, 'create user', hasUser, () => operations.createUser(email().toUpperCase())],
    [1, 'create user', always, () => operations.createSameUserTwice()],
    [0.8, 'change user', hasUser, () => operations.changeUser({ email: operations.newEmail() })],
    [0.8, 'change user', hasUser, () => operations.changeUser({ phone: operations.newPhone() })],
    [0.3, 'change user', hasUser, () => operations.changeUser({ phone: null })],
    [0.4, 'change user', hasUser, () => operations.changeUser({ email: email() })],
    [2, 'create promotion', always, () => operations.createPromotion()],
    [2, 'activate', hasUserAnd(hasDraft), () => operations.activate(entities.takeFrom(drafts))],
    [1, 'edit', hasDraft, () => operations.edit(entities.anyOf(drafts))],
    [2, 'edit', hasActive, () => operations.edit(entities.anyOf(active))],
    [0.6, 'end', hasUserAnd(() => active.length > 2), () => operations.endOne()],
    [8, 'subscribe', hasUserAnd(hasActive), () => operations.subscribe(userId(), entities.anyOf(active))],
    [0.5, 'subscribe', hasUserAnd(hasDraft), () => operations.subscribe(userId(), entities.anyOf(drafts))],
    [1.5, 'subscribe', hasSubscription, () => operations.subscribeAgain()],
    [1.5, 'deactivate', hasSubscription, () => operations.deactivate(entities.anyRecentSubscription())],
    [1, 'reactivate', () => entities.hasLeft(), () => operations.reactivate(entities.takeLeft())],
    [1.5, 'read user', hasUser, () => operations.get('read user', `/users/${userId()}`)],
    [1, 'find user', hasUser, () => operations.get('find user', `/users?email=${encodeURIComponent(email())}`)],
    [1, 'bad request', hasUser, () => operations.sendBadRequest()],
    [1.5, 'read promotion', hasActive, () => operations.get('read promotion', `/promotions/${entities.anyOf(active)}`)],
    [1, 'list promotions', always, () => operations.get('list promotions', '/promotions?status=active&limit=20')],
    [1, 'list subscriptions', hasUser, () => operations.get('list subscriptions', subscriptionsOf(userId()))],
  ];
  return rows.map(([weight, kind, isPossible, run]) => ({ weight, kind, isPossible, run }));
}

function subscriptionsOf(userId: number): string {
  return `/subscriptions?user_id=${userId}&is_active=true`;
}

/**
 * Picks by weight among the operations that are possible now.
 * @param prioritized kinds that share half of the picks in equal parts
 */
export function pickOperation(
  operations: readonly WeightedOperation[],
  random: Random,
  prioritized: readonly RequestKind[],
): WeightedOperation {
  const possible = operations.filter(({ isPossible }) => isPossible());
  const kinds = [...new Set(possible.map(({ kind }) => kind).filter((kind) => prioritized.includes(kind)))];
  const kind = kinds.length > 0 && random.next() < 0.5 ? random.pick(kinds) : undefined;
  const candidates = kind ? possible.filter((operation) => operation.kind === kind) : possible;
  let remaining = random.next() * candidates.reduce((sum, { weight }) => sum + weight, 0);
  const picked = candidates.find(({ weight }) => {
    remaining -= weight;
    return remaining < 0;
  });
  return picked ?? (candidates.at(-1) as WeightedOperation); // rounding may leave a remainder
}
