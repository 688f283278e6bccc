// The checks of a run: each compares what the responses promised with the final state. A check without breaches is
// one line of the report. Every breach is one sentence that names the request or the row.
import type { ApiState } from './api-state.ts';
import type { Check } from './check.ts';
import { type DatabaseState, projectionDifferences } from './database-state.ts';
import { type Attempt, isWrite } from './history.ts';
import { checkRejectionReasons, checkResponses, checkSubscriptionReasons } from './response-checks.ts';
import { checkRetries, mergeRetries } from './retries.ts';
import {
  checkAcknowledged,
  checkEventHistory,
  checkKeptHistory,
  checkRejected,
  checkSubscribedOnce,
} from './write-checks.ts';

/** For a run without faults, whose outboxes prune published events: their history is not complete. */
export function checkSteadyRun(history: readonly Attempt[], state: DatabaseState): Check[] {
  const merged = mergeRetries(history, state.events);
  return [
    checkResponses(history),
    checkSubscribedOnce(merged.filter(isWrite)),
    checkRejectionReasons(merged),
    checkSubscriptionReasons(merged),
    checkProjections(state),
    checkPublished(state),
  ];
}

/** For a run whose outboxes keep every event. */
export function checkHistory(history: readonly Attempt[], state: DatabaseState): Check[] {
  const merged = mergeRetries(history, state.events);
  const writes = merged.filter(isWrite);
  return [
    checkResponses(history),
    checkRetries(history, state.events),
    checkAcknowledged(writes, state),
    checkRejected(writes, state),
    checkEventHistory(writes, state),
    checkKeptHistory(state),
    checkSubscribedOnce(writes),
    checkRejectionReasons(merged),
    checkSubscriptionReasons(merged),
    checkProjections(state),
    checkPublished(state),
    checkMigratedOnce(state),
  ];
}

function checkProjections(state: DatabaseState): Check {
  return {
    promise: 'projections equal to their owners, row for row',
    examined: `${state.knownUsers.length} users, ${state.cachedPromotions.length} promotions`,
    breaches: projectionDifferences(state),
  };
}

function checkPublished({ events, deadLetters }: DatabaseState): Check {
  const unpublished = events.filter(({ published }) => !published);
  const breaches = [
    ...unpublished.map(({ service, name, subject }) => `not published: ${service} ${name} ${subject}`),
    ...deadLetters.map((deadLetter) => `dead letter: ${deadLetter}`),
  ];
  return { promise: 'outboxes empty, no dead letters', examined: `${events.length} events`, breaches };
}

function checkMigratedOnce({ migrations }: DatabaseState): Check {
  const breaches = migrations
    .filter(({ names }) => names.length === 0 || new Set(names).size !== names.length)
    .map(({ service, names }) => `${service}: ${names.join(', ')}`);
  return {
    promise: 'two replicas that start at the same time on an empty database migrate it once',
    examined: `${migrations.length} schemas`,
    breaches,
  };
}

export function checkTotals({ subscriptions }: DatabaseState, { totals }: ApiState): Check {
  const byPromotion = Map.groupBy(subscriptions, (row) => row.promotion_id);
  const breaches = totals.flatMap(({ promotion_id, all, active }) => {
    const rows = byPromotion.get(promotion_id) ?? [];
    const activeRows = rows.filter(({ is_active }) => is_active).length;
    if (all === rows.length && active === activeRows) return [];
    return [
      `promotion ${promotion_id}: totals ${all}, ${active} active; the database has ${rows.length}, ${activeRows} active`,
    ];
  });
  return {
    promise: 'every total is the number of rows',
    examined: `${totals.length} promotions`,
    breaches,
  };
}
