// The judgement: what the history says was promised against what the mesh holds afterwards. A check that finds
// nothing is a row in the report; every breach is a sentence with the request it is about.
import { differences, type Facts, type RecordedEvent, type Shown } from './database-state.ts';
import { type Attempt, describe, isOpen, isSuccess, isWrite, type Kind } from './history.ts';

export interface Check {
  promise: string;
  /** How much was looked at. */
  looked: string;
  breaches: string[];
}

/** What the mesh may answer besides success, 503, 504 and silence. */
const refusals: Record<Kind, readonly number[]> = {
  'create user': [409],
  'change user': [409],
  'create promotion': [],
  activate: [],
  edit: [422],
  end: [],
  subscribe: [409, 422],
  deactivate: [422],
  'read user': [],
  'find user': [],
  'read promotion': [],
  'list promotions': [],
  'list subscriptions': [],
  'bad request': [404, 422],
};

/** What a run without faults is held to as well, with outboxes that forget what was published long ago. */
export function checkSteady(history: readonly Attempt[], facts: Facts): Check[] {
  return [
    answers(history),
    subscribedOnce(history.filter(isWrite)),
    truthful(history),
    converged(facts),
    published(facts),
  ];
}

export function checkHistory(history: readonly Attempt[], facts: Facts): Check[] {
  const writes = history.filter(isWrite);
  const byRequest = Map.groupBy(facts.events, ({ request_id }) => request_id);
  return [
    answers(history),
    acknowledged(writes, byRequest, facts),
    refused(writes, byRequest),
    traces(writes, facts),
    subscribedOnce(writes),
    truthful(history),
    converged(facts),
    published(facts),
    migratedOnce(facts),
  ];
}

function answers(history: readonly Attempt[]): Check {
  const breaches: string[] = [];
  for (const attempt of history) {
    if (attempt.status === 503 && !(Number(attempt.retryAfter) > 0))
      breaches.push(`no Retry-After: ${describe(attempt)}`);
    const accepted = isSuccess(attempt) && attempt.kind !== 'bad request';
    if (!accepted && !isOpen(attempt) && !refusals[attempt.kind].includes(attempt.status)) {
      breaches.push(`not an answer to this: ${describe(attempt)}`);
    }
  }
  return {
    promise: 'only declared answers, no 500, every 503 with Retry-After',
    looked: `${history.length} requests`,
    breaches,
  };
}

/** A status change that found the status already there is a success without a trace, as is what only users know. */
function leavesTrace({ kind, projection }: Attempt): boolean {
  if (kind === 'change user') return false;
  return (kind !== 'activate' && kind !== 'end') || projection !== null;
}

/** An edit, tried again, that found its own description there is one too. */
function isRepeatedEdit({ kind, id, body }: Attempt, recorded: readonly RecordedEvent[]): boolean {
  return (
    kind === 'edit' &&
    recorded.some(
      ({ name, data }) => name === 'promotion.updated' && data.id === id && data.description === body?.description,
    )
  );
}

function acknowledged(
  writes: readonly Attempt[],
  byRequest: Map<string, RecordedEvent[]>,
  { users, promotions, subscriptions, events: recorded }: Facts,
): Check {
  const done = writes.filter(isSuccess);
  const names = new Map(users.map(({ id, first_name }) => [id, first_name]));
  const statuses = new Map(promotions.map(({ id, status }) => [id, status]));
  const rows = new Map(subscriptions.map((row) => [row.id, row]));
  const lacks = (attempt: Attempt): string | undefined => {
    const events = byRequest.get(attempt.requestId) ?? [];
    if (events.length === 0 && isRepeatedEdit(attempt, recorded)) return undefined;
    if (events.length !== (leavesTrace(attempt) ? 1 : 0)) return `${events.length} events`;
    const id = attempt.id as number;
    if (events[0] && events[0].data.id !== id) return `its event is about ${events[0].data.id}`;
    const { kind, body } = attempt;
    if (kind === 'create user') return names.get(id) === body?.first_name ? undefined : `row ${names.get(id)}`;
    if (kind === 'change user') return names.has(id) ? undefined : 'no such row';
    if (kind === 'subscribe') {
      const row = rows.get(id);
      return row?.user_id === body?.user_id && row?.promotion_id === body?.promotion_id ? undefined : 'no such row';
    }
    if (kind === 'deactivate') return rows.get(id)?.is_active === false ? undefined : 'still active';
    const status = statuses.get(id);
    if (kind === 'end') return status === 'ended' ? undefined : `status ${status}`;
    if (kind === 'activate') return status && status !== 'draft' ? undefined : `status ${status}`;
    if (kind === 'edit')
      return events[0]?.data.description === body?.description ? undefined : 'its event says otherwise';
    return status ? undefined : 'no such row';
  };
  const breaches = done.flatMap((attempt) => {
    const lack = lacks(attempt);
    return lack ? [`${lack}: ${describe(attempt)}`] : [];
  });
  return { promise: 'every acknowledged write is there exactly once', looked: `${done.length} writes`, breaches };
}

function refused(writes: readonly Attempt[], byRequest: Map<string, RecordedEvent[]>): Check {
  const not = writes.filter((attempt) => !isSuccess(attempt));
  const breaches = not.flatMap((attempt) => {
    const found = byRequest.get(attempt.requestId)?.length ?? 0;
    return found > (isOpen(attempt) ? 1 : 0) ? [`${found} events: ${describe(attempt)}`] : [];
  });
  const open = not.filter(isOpen);
  const done = open.filter(({ requestId }) => byRequest.has(requestId)).length;
  const looked = `${not.length - open.length} refused; ${open.length} open, of which ${done} took effect`;
  return { promise: 'no refused write is there, no open one twice', looked, breaches };
}

/** Rows and events tell the same story: nothing without a request, versions without a gap, the last event is the row. */
function traces(writes: readonly Attempt[], { users, promotions, subscriptions, events }: Facts): Check {
  const asked = new Set(writes.map(({ requestId }) => requestId));
  const breaches = events
    .filter(({ request_id }) => !asked.has(request_id))
    .map(({ service, name, subject }) => `${service} ${name} ${subject}: nobody asked for it`);
  const stories = Map.groupBy(events, ({ service, subject }) => `${service} ${subject}`);
  const compare = (
    service: string,
    rows: readonly { id: number; version: number }[],
    fields: readonly string[],
  ): void => {
    for (const row of rows) {
      const story = stories.get(`${service} ${row.id}`) ?? [];
      stories.delete(`${service} ${row.id}`);
      const last = story.at(-1)?.data ?? {};
      const inOrder = story.every(({ data }, index) => data.version === index + 1);
      const same = fields.every((field) => last[field as keyof typeof last] === row[field as keyof typeof row]);
      if (inOrder && same) continue;
      const versions = story.map(({ data }) => data.version).join(', ');
      breaches.push(
        `${service} ${row.id}: row ${JSON.stringify(row)}, events' versions ${versions}, last ${JSON.stringify(last)}`,
      );
    }
  };
  compare('users', users, ['version']);
  compare('promotions', promotions, ['version', 'name', 'description', 'status']);
  compare('subscriptions', subscriptions, ['version', 'user_id', 'promotion_id', 'is_active']);
  for (const key of stories.keys()) breaches.push(`${key}: events, but no row`);
  const looked = `${events.length} events, ${users.length + promotions.length + subscriptions.length} rows`;
  return { promise: 'a change and its event: both or neither, in order', looked, breaches };
}

/** Of all who wanted the same subscription, one at most succeeded, and a conflict has a winner. */
function subscribedOnce(writes: readonly Attempt[]): Check {
  const breaches: string[] = [];
  const groups = Map.groupBy(
    writes.filter(({ kind }) => kind === 'subscribe'),
    ({ body }) => `user ${body?.user_id} promotion ${body?.promotion_id}`,
  );
  for (const [key, group] of groups) {
    const won = group.filter(isSuccess);
    if (won.length > 1) breaches.push(`${key}: ${won.map(describe).join(' and ')}`);
    for (const loser of group.filter(({ status }) => status === 409)) {
      const winner = group.some(
        (other) => other !== loser && (isSuccess(other) || isOpen(other)) && other.began <= loser.ended,
      );
      if (!winner) breaches.push(`a conflict with nobody: ${describe(loser)}`);
    }
  }
  return { promise: 'one subscription per user and promotion', looked: `${groups.size} pairs`, breaches };
}

/** Unknown is never answered as "no", and what was answered before a request began is known to it. */
function truthful(history: readonly Attempt[]): Check {
  const activated = new Map<number, number>();
  const endBegan = new Map<number, number>();
  const promotionOf = ({ path }: Attempt): number => Number(path.split('/')[2]);
  for (const attempt of history) {
    const id = promotionOf(attempt);
    if (attempt.kind === 'activate' && isSuccess(attempt)) {
      activated.set(id, Math.min(activated.get(id) ?? Number.POSITIVE_INFINITY, attempt.ended));
    }
    if (attempt.kind === 'end') endBegan.set(id, Math.min(endBegan.get(id) ?? Number.POSITIVE_INFINITY, attempt.began));
  }
  const wrong = (attempt: Attempt): boolean => {
    if (attempt.status !== 422 || (attempt.kind !== 'subscribe' && attempt.kind !== 'edit')) return false;
    const id = attempt.kind === 'edit' ? promotionOf(attempt) : (attempt.body?.promotion_id as number);
    const endedSince = (endBegan.get(id) ?? Number.POSITIVE_INFINITY) <= attempt.ended;
    if (attempt.kind === 'edit') return !endedSince;
    return (activated.get(id) ?? Number.POSITIVE_INFINITY) <= attempt.began && !endedSince;
  };
  const refusedOnes = history.filter(({ status, kind }) => status === 422 && kind !== 'bad request');
  const breaches = refusedOnes.filter(wrong).map((attempt) => `wrong: ${describe(attempt)}`);
  return {
    promise: 'a refusal is true: nobody is told "not active" who was told "active"',
    looked: `${refusedOnes.length} refusals`,
    breaches,
  };
}

function converged(facts: Facts): Check {
  const looked = `${facts.knownUsers.length} users, ${facts.cachedPromotions.length} promotions`;
  return { promise: 'projections equal to their owners, row for row', looked, breaches: differences(facts) };
}

function published({ events, deadLetters, invalidations }: Facts): Check {
  const waiting = events.filter((event) => !event.published);
  const breaches = [
    ...waiting.map(({ service, name, subject }) => `waits in the outbox: ${service} ${name} ${subject}`),
    ...deadLetters.map((letter) => `dead letter: ${letter}`),
    ...(invalidations > 0 ? [`${invalidations} events were set aside on the way`] : []),
  ];
  return { promise: 'outboxes empty, no dead letters', looked: `${events.length} events`, breaches };
}

export function checkTotals({ subscriptions }: Facts, { totals }: Shown): Check {
  const rows = Map.groupBy(subscriptions, (row) => row.promotion_id);
  const breaches = totals.flatMap(({ promotion_id, all, active }) => {
    const there = rows.get(promotion_id) ?? [];
    const count = there.filter(({ is_active }) => is_active).length;
    if (all === there.length && active === count) return [];
    return [`promotion ${promotion_id}: told ${all}, ${active} active; there are ${there.length}, ${count} active`];
  });
  return { promise: 'every total told is what there is', looked: `${totals.length} promotions`, breaches };
}

function migratedOnce({ migrations }: Facts): Check {
  const breaches = migrations
    .filter(({ names }) => names.length === 0 || new Set(names).size !== names.length)
    .map(({ service, names }) => `${service}: ${names.join(', ')}`);
  return {
    promise: 'two replicas at once on an empty database migrate once',
    looked: `${migrations.length} schemas`,
    breaches,
  };
}
