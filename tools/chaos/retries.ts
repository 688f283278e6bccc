// Writes that were sent again with the same `Idempotency-Key`. The promise: however often a write is sent, it takes effect
// once, and every success tells of the same effect. The other checks see such a write and its retries as one attempt.
import type { Check } from './check.ts';
import type { RecordedEvent } from './database-state.ts';
import { type Attempt, describeAttempt, isInProgress, isOutcomeUnknown, isSuccess, isUnanswered } from './history.ts';
import { groupByRequest } from './write-checks.ts';

/** @returns the history with one attempt for each key: from the first request to the last answer */
export function mergeRetries(history: readonly Attempt[], events: readonly RecordedEvent[]): Attempt[] {
  const withEvent = new Set(events.map(({ request_id }) => request_id));
  const groups = Map.groupBy(history, ({ key, requestId }) => key ?? requestId);
  return [...groups.values()].map((attempts) => merge(attempts, withEvent));
}

/** An unknown outcome stays unknown until an answer tells it. */
function merge(attempts: readonly Attempt[], withEvent: ReadonlySet<string>): Attempt {
  const [first, last] = [attempts[0] as Attempt, attempts.at(-1) as Attempt];
  const answered = attempts.findLast((attempt) => !isUnanswered(attempt) && !isInProgress(attempt));
  const told = answered ?? attempts.find(isOutcomeUnknown) ?? last;
  // The event carries the id of the request that took effect.
  const effective = attempts.find(({ requestId }) => withEvent.has(requestId)) ?? told;
  return { ...told, requestId: effective.requestId, startedAt: first.startedAt, endedAt: last.endedAt };
}

export function checkRetries(history: readonly Attempt[], events: readonly RecordedEvent[]): Check {
  const eventsByRequest = groupByRequest(events);
  const withKey = history.filter(({ key }) => key !== undefined);
  const retried = [...Map.groupBy(withKey, ({ key }) => key).values()].filter(({ length }) => length > 1);
  const breaches = retried.flatMap((attempts) => {
    const defect = findDefect(attempts, eventsByRequest);
    return defect ? [`${defect}: ${attempts.map(describeAttempt).join(' and ')}`] : [];
  });
  const replayed = retried.flat().filter(({ isReplayed }) => isReplayed).length;
  return {
    promise: 'a write that is sent again with its key takes effect once',
    examined: `${retried.length} writes sent again, ${replayed} answers replayed`,
    breaches,
  };
}

function findDefect(
  attempts: readonly Attempt[],
  eventsByRequest: ReadonlyMap<string, readonly RecordedEvent[]>,
): string | undefined {
  const events = attempts.flatMap(({ requestId }) => eventsByRequest.get(requestId) ?? []);
  if (events.length > 1) return `${events.length} events`;
  const successes = attempts.filter(isSuccess);
  if (new Set(successes.map(({ id }) => id)).size > 1) return 'two effects';
  return successes.filter(({ isReplayed }) => !isReplayed).length > 1 ? 'answered twice as new' : undefined;
}
