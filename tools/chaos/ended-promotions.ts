// The checks that only an active promotion gets a subscription. After its end: none at all when the end was answered
// with `applied`, and none beyond the lease in any case. Before its activation: none. They use the rows, so a subscription
// whose response was lost counts too.
import type { Check } from './check.ts';
import type { DatabaseState } from './database-state.ts';
import { type Attempt, describeAttempt, idInPath, isSuccess } from './history.ts';

/** FRESHNESS_LEASE_MS of subscriptions. */
const leaseMs = 5_000;
/** Allowed beyond the lease: a statement that began within it may commit a little later. */
const graceMs = 2_000;

/** How long after the response to an end a subscription may still be accepted. */
export const maxAcceptanceMs = leaseMs + graceMs;

/** Milliseconds since the epoch, both included. */
export interface Interval {
  from: number;
  to: number;
}

/** @param undone when a fault has undone what the running consumer had applied: "applied" then lasts for the lease only */
export function checkEndedPromotions(
  history: readonly Attempt[],
  state: DatabaseState,
  undone: readonly Interval[] = [],
): Check {
  const attempts = new Map(history.map((attempt) => [attempt.requestId, attempt]));
  const ends = new Map(
    history
      .filter((attempt) => attempt.kind === 'end' && isSuccess(attempt))
      .map((attempt) => [idInPath(attempt), attempt]),
  );
  const staysApplied = ({ projection, endedAt }: Attempt): boolean =>
    projection === 'applied' && !undone.some(({ from, to }) => from <= endedAt && endedAt <= to);
  const breaches: string[] = [];
  let latestMs = Number.NEGATIVE_INFINITY;
  for (const { id, promotionId, requestId, at } of acceptancesOf(state)) {
    const end = ends.get(promotionId);
    const request = attempts.get(requestId);
    if (!end || !request) continue;
    const afterEndMs = at.getTime() - end.endedAt;
    latestMs = Math.max(latestMs, afterEndMs);
    const text = `subscription ${id} ${afterEndMs} ms after the end: ${describeAttempt(end)}; ${describeAttempt(request)}`;
    if (staysApplied(end) && request.startedAt > end.endedAt) breaches.push(`after "applied": ${text}`);
    else if (afterEndMs > maxAcceptanceMs) breaches.push(`beyond the lease: ${text}`);
  }
  const pending = [...ends.values()].filter(({ projection }) => projection === 'pending').length;
  const latest =
    latestMs > 0 ? `the latest subscription ${latestMs} ms after the response` : 'no subscription after it';
  return {
    promise: 'no subscription to an ended promotion beyond the lease',
    examined: `${ends.size} ends, ${pending} pending; ${latest}`,
    breaches,
  };
}

/** When a promotion accepted a subscription: by its row, and by the event of each reactivation. */
function acceptancesOf({ events, subscriptions }: DatabaseState) {
  const requestIds = new Map(
    events.filter(({ name }) => name === 'subscription.created').map(({ data, request_id }) => [data.id, request_id]),
  );
  const created = subscriptions.map(({ id, promotion_id: promotionId, created_at: at }) => {
    return { id, promotionId, requestId: requestIds.get(id) ?? '', at };
  });
  const reactivated = events
    .filter(({ name }) => name === 'subscription.reactivated')
    .map(({ data, request_id: requestId, created_at: at }) => {
      return { id: data.id, promotionId: data.promotion_id as number, requestId, at };
    });
  return [...created, ...reactivated];
}

/** A draft has no subscription: no request had asked to activate the promotion when the row was written. */
export function checkActivatedPromotions(history: readonly Attempt[], { subscriptions }: DatabaseState): Check {
  const requestedAt = new Map<number, number>();
  for (const attempt of history.filter(({ kind }) => kind === 'activate')) {
    const id = idInPath(attempt);
    requestedAt.set(id, Math.min(requestedAt.get(id) ?? Number.POSITIVE_INFINITY, attempt.startedAt));
  }
  const early = subscriptions.filter(
    (row) => row.created_at.getTime() < (requestedAt.get(row.promotion_id) ?? Number.POSITIVE_INFINITY),
  );
  return {
    promise: 'no subscription to a promotion that was never activated',
    examined: `${subscriptions.length} subscriptions`,
    breaches: early.map((row) => `subscription ${row.id} to promotion ${row.promotion_id} before its activation`),
  };
}
