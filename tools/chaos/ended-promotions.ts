// Nobody subscribes to an ended promotion: not after an end that was answered with `applied`, and never beyond the
// lease. Judged by the rows themselves, so that an acceptance whose answer was lost counts too.
import type { Check } from './checks.ts';
import type { Facts } from './database-state.ts';
import { type Attempt, describe, isSuccess } from './history.ts';

const leaseMs = 5_000;
/** What the lease does not cover: a replica's statement under way when it ran out. */
const graceMs = 2_000;

export function checkEnds(history: readonly Attempt[], { events, subscriptions }: Facts): Check {
  const attempts = new Map(history.map((attempt) => [attempt.requestId, attempt]));
  const requestOf = new Map(
    events.filter(({ name }) => name === 'subscription.created').map(({ data, request_id }) => [data.id, request_id]),
  );
  const ends = new Map(
    history
      .filter((attempt) => attempt.kind === 'end' && isSuccess(attempt))
      .map((attempt) => [Number(attempt.path.split('/')[2]), attempt]),
  );
  const breaches: string[] = [];
  let latest = Number.NEGATIVE_INFINITY;
  for (const row of subscriptions) {
    const end = ends.get(row.promotion_id);
    const request = attempts.get(requestOf.get(row.id) ?? '');
    if (!end || !request) continue;
    const late = row.created_at.getTime() - end.ended;
    latest = Math.max(latest, late);
    const story = `subscription ${row.id} ${late} ms after the end: ${describe(end)}; ${describe(request)}`;
    if (end.projection === 'applied' && request.began > end.ended) breaches.push(`after "applied": ${story}`);
    else if (late > leaseMs + graceMs) breaches.push(`beyond the lease: ${story}`);
  }
  const pending = [...ends.values()].filter(({ projection }) => projection === 'pending').length;
  const last = latest > 0 ? `the latest acceptance ${latest} ms after the answer` : 'no acceptance after an answer';
  const looked = `${ends.size} ends, ${pending} pending; ${last}`;
  return { promise: 'nobody subscribes to an ended promotion beyond the lease', looked, breaches };
}
