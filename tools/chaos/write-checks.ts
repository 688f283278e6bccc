// Checks of the writes: each response against the rows and the events that carry its request id.
import type { Check } from './check.ts';
import type { DatabaseState, HistoryRow, RecordedEvent } from './database-state.ts';
import { type Attempt, describeAttempt, isOutcomeUnknown, isSuccess, type RequestKind } from './history.ts';

/** What these requests make of a subscription. */
const activeAfter: Partial<Record<RequestKind, boolean>> = { deactivate: false, reactivate: true };

/** Every acknowledged write has its row and exactly one event. */
export function checkAcknowledged(writes: readonly Attempt[], state: DatabaseState): Check {
  const acknowledged = writes.filter(isSuccess);
  const eventsByRequest = groupByRequest(state.events);
  const findRowDefect = rowDefectFinder(state);
  const findDefect = (attempt: Attempt): string | undefined => {
    const events = eventsByRequest.get(attempt.requestId) ?? [];
    if (events.length === 0 && isRepeatedEdit(attempt, state.events)) return undefined;
    if (events.length === 0 && mayChangeNothing(attempt, writes)) return findRowDefect(attempt);
    if (events.length !== (recordsEvent(attempt) ? 1 : 0)) return `${events.length} events`;
    const [event] = events;
    if (event && event.data.id !== attempt.id) return `its event is about ${event.data.id}`;
    if (attempt.kind === 'change user' && !hasChangedNames(attempt, event)) return 'its event names other fields';
    if (attempt.kind === 'edit' && event?.data.description !== attempt.body?.description) {
      return 'its event has another description';
    }
    // The row may have changed again since. That it equals its last event is another check.
    const isActive = activeAfter[attempt.kind];
    if (isActive !== undefined && event?.data.is_active !== isActive) return 'its event has another is_active';
    return findRowDefect(attempt);
  };
  const breaches = acknowledged.flatMap((attempt) => {
    const defect = findDefect(attempt);
    return defect ? [`${defect}: ${describeAttempt(attempt)}`] : [];
  });
  return {
    promise: 'every acknowledged write is there exactly once',
    examined: `${acknowledged.length} writes`,
    breaches,
  };
}

/** @returns a function that says what is wrong with the row of an acknowledged write, or undefined */
function rowDefectFinder({ users, promotions, subscriptions }: DatabaseState) {
  const names = new Map(users.map(({ id, first_name }) => [id, first_name]));
  const statuses = new Map(promotions.map(({ id, status }) => [id, status]));
  const subscriptionsById = new Map(subscriptions.map((row) => [row.id, row]));
  return ({ kind, body, id }: Attempt): string | undefined => {
    const rowId = id as number;
    if (kind === 'create user') return names.get(rowId) === body?.first_name ? undefined : `row ${names.get(rowId)}`;
    if (kind === 'change user') return names.has(rowId) ? undefined : 'no row';
    const subscription = subscriptionsById.get(rowId);
    if (kind === 'subscribe') {
      const isSame = subscription?.user_id === body?.user_id && subscription?.promotion_id === body?.promotion_id;
      return isSame ? undefined : 'no row';
    }
    if (kind === 'deactivate' || kind === 'reactivate') return subscription ? undefined : 'no row';
    const status = statuses.get(rowId);
    if (kind === 'end') return status === 'ended' ? undefined : `status ${status}`;
    if (kind === 'activate') return status && status !== 'draft' ? undefined : `status ${status}`;
    if (kind === 'edit') return undefined;
    return status ? undefined : 'no row';
  };
}

/** A change of status to the status that the promotion already has is a success without an event. */
function recordsEvent({ kind, projection }: Attempt): boolean {
  return (kind !== 'activate' && kind !== 'end') || projection !== null;
}

/** A change of a user to what it has already records no event: no phone, or what another request has set. */
function mayChangeNothing(attempt: Attempt, writes: readonly Attempt[]): boolean {
  const { kind, path, body } = attempt;
  if (kind !== 'change user') return false;
  const hasSet = (other: Attempt): boolean => {
    const isAboutUser = other.path === path || (other.kind === 'create user' && `/users/${other.id}` === path);
    return (
      other !== attempt && isAboutUser && Object.keys(body ?? {}).every((key) => other.body?.[key] === body?.[key])
    );
  };
  return body?.phone === null || writes.some(hasSet);
}

/** The event names the fields that were sent, and has no value of them. */
function hasChangedNames({ body = {} }: Attempt, event: RecordedEvent | undefined): boolean {
  return (event?.data.changed as string[] | undefined)?.every((name) => name in body) ?? false;
}

/** A repeated edit whose first attempt took effect changes nothing, and so records no event. */
function isRepeatedEdit({ kind, id, body }: Attempt, events: readonly RecordedEvent[]): boolean {
  return (
    kind === 'edit' &&
    events.some(
      ({ name, data }) => name === 'promotion.updated' && data.id === id && data.description === body?.description,
    )
  );
}

/** A rejected write has no event; a write with an unknown outcome has one at most. */
export function checkRejected(writes: readonly Attempt[], { events }: DatabaseState): Check {
  const eventsByRequest = groupByRequest(events);
  const unacknowledged = writes.filter((attempt) => !isSuccess(attempt));
  const breaches = unacknowledged.flatMap((attempt) => {
    const count = eventsByRequest.get(attempt.requestId)?.length ?? 0;
    return count > (isOutcomeUnknown(attempt) ? 1 : 0) ? [`${count} events: ${describeAttempt(attempt)}`] : [];
  });
  const unknown = unacknowledged.filter(isOutcomeUnknown);
  const effective = unknown.filter(({ requestId }) => eventsByRequest.has(requestId)).length;
  return {
    promise: 'no rejected write is stored, no unanswered one twice',
    examined: `${unacknowledged.length - unknown.length} rejected; ${unknown.length} with an unknown outcome, of which ${effective} took effect`,
    breaches,
  };
}

/**
 * Every event but those of engagement belongs to a request, versions have no gap, and the last event of an entity equals its
 * row.
 */
export function checkEventHistory(
  writes: readonly Attempt[],
  { users, promotions, subscriptions, rollups, events }: DatabaseState,
): Check {
  const requestIds = new Set(writes.map(({ requestId }) => requestId));
  const breaches = events
    .filter(({ service, request_id }) => service !== 'engagement' && !requestIds.has(request_id))
    .map(({ service, name, subject }) => `${service} ${name} ${subject}: an event without a request`);
  const eventsByEntity = Map.groupBy(events, ({ service, subject }) => `${service} ${subject}`);
  const compare = (
    service: string,
    rows: readonly { id: number; version: number }[],
    fields: readonly string[],
  ): void => {
    for (const row of rows) {
      const entityEvents = eventsByEntity.get(`${service} ${row.id}`) ?? [];
      eventsByEntity.delete(`${service} ${row.id}`);
      const last = entityEvents.at(-1)?.data ?? {};
      const isGapless = entityEvents.every(({ data }, index) => data.version === index + 1);
      const isSame = fields.every((field) => last[field as keyof typeof last] === row[field as keyof typeof row]);
      if (isGapless && isSame) continue;
      const versions = entityEvents.map(({ data }) => data.version).join(', ');
      const texts = `row ${JSON.stringify(row)}, versions of its events ${versions}, last event ${JSON.stringify(last)}`;
      breaches.push(`${service} ${row.id}: ${texts}`);
    }
  };
  compare('users', users, ['version']);
  compare('promotions', promotions, ['version', 'name', 'description', 'status']);
  compare('subscriptions', subscriptions, ['version', 'user_id', 'promotion_id', 'is_active']);
  compare('engagement', rollups, ['version']);
  for (const entity of eventsByEntity.keys()) breaches.push(`${entity}: events without a row`);
  return {
    promise: 'a change and its event: both or neither, in order',
    examined: `${events.length} events, ${users.length + promotions.length + subscriptions.length} rows`,
    breaches,
  };
}

/** Every event of a user or a promotion has one row in the history, by the same request, and there is no other row. */
export function checkKeptHistory({ events, histories }: DatabaseState): Check {
  const surplus = new Map<string, number>();
  const count = ({ service, subject, request_id }: HistoryRow, step: number): void => {
    const change = `${service} ${subject} by ${request_id}`;
    surplus.set(change, (surplus.get(change) ?? 0) + step);
  };
  for (const event of events) if (event.service === 'users' || event.service === 'promotions') count(event, -1);
  for (const row of histories) count(row, 1);
  return {
    promise: 'a change and its row in the history: both or neither',
    examined: `${histories.length} rows`,
    breaches: [...surplus]
      .filter(([, rows]) => rows !== 0)
      .map(([change, rows]) => `${change}: ${Math.abs(rows)} rows too ${rows > 0 ? 'many' : 'few'}`),
  };
}

/** At most one request per user and promotion succeeds, and every 409 has another request that may have succeeded. */
export function checkSubscribedOnce(writes: readonly Attempt[]): Check {
  const breaches: string[] = [];
  const groups = Map.groupBy(
    writes.filter(({ kind }) => kind === 'subscribe'),
    ({ body }) => `user ${body?.user_id} promotion ${body?.promotion_id}`,
  );
  for (const [pair, attempts] of groups) {
    const successes = attempts.filter(isSuccess);
    if (successes.length > 1) breaches.push(`${pair}: ${successes.map(describeAttempt).join(' and ')}`);
    for (const conflict of attempts.filter(({ status }) => status === 409)) {
      const hasCause = attempts.some(
        (other) =>
          other !== conflict && (isSuccess(other) || isOutcomeUnknown(other)) && other.startedAt <= conflict.endedAt,
      );
      if (!hasCause) breaches.push(`a conflict without a cause: ${describeAttempt(conflict)}`);
    }
  }
  return { promise: 'one subscription per user and promotion', examined: `${groups.size} pairs`, breaches };
}

export function groupByRequest(events: readonly RecordedEvent[]): Map<string, RecordedEvent[]> {
  return Map.groupBy(events, ({ request_id }) => request_id);
}
