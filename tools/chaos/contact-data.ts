// Checks of emails and phones. They are encrypted in the database, so the final state is what the API answers.
import type { ApiUser } from './api-state.ts';
import type { Check } from './check.ts';
import { type Attempt, describeAttempt, idInPath, isOutcomeUnknown, isSuccess } from './history.ts';

export function checkContactData(history: readonly Attempt[], users: readonly ApiUser[]): Check[] {
  const writes = history.filter(({ kind }) => kind === 'create user' || kind === 'change user');
  const changes = Map.groupBy(
    writes.filter((attempt) => attempt.kind === 'change user' && (isSuccess(attempt) || isOutcomeUnknown(attempt))),
    userIdOf,
  );
  return [
    checkLastValues(writes, changes, users),
    checkUniqueEmails(writes, changes),
    checkSearches(history, writes, changes),
  ];
}

/** By user id: the changes that took effect, and those that may have. */
type Changes = ReadonlyMap<number | undefined, readonly Attempt[]>;

/** Undefined for a creation without a response. */
function userIdOf(attempt: Attempt): number | undefined {
  return attempt.kind === 'change user' ? idInPath(attempt) : attempt.id;
}

function emailIn({ body }: Attempt): string | undefined {
  return typeof body?.email === 'string' ? body.email.toLowerCase() : undefined;
}

/** A change with an unknown outcome may take effect at any later time. */
function latestEffectAt(attempt: Attempt): number {
  return isOutcomeUnknown(attempt) ? Number.POSITIVE_INFINITY : attempt.endedAt;
}

/** Each field has the value acknowledged last, or one that was sent since and whose outcome is unknown. */
function checkLastValues(writes: readonly Attempt[], changes: Changes, users: readonly ApiUser[]): Check {
  const usersById = new Map(users.map((user) => [user.id, user]));
  const breaches: string[] = [];
  let examined = 0;
  for (const creation of writes.filter((attempt) => attempt.kind === 'create user' && isSuccess(attempt))) {
    const id = creation.id as number;
    const user = usersById.get(id);
    for (const field of ['email', 'phone'] as const) {
      examined += 1;
      const candidates = lastWritesOf(field, [creation, ...(changes.get(id) ?? [])]);
      if (user && candidates.some(({ body }) => isSameText(body?.[field], user[field]))) continue;
      breaches.push(`user ${id} has ${field} ${user?.[field]}: ${candidates.map(describeAttempt).join(' or ')}`);
    }
  }
  return {
    promise: 'every user has the email and phone that were acknowledged last',
    examined: `${examined} fields`,
    breaches,
  };
}

/** The writes of a field that no later acknowledged write has replaced. A creation without a phone sets none. */
function lastWritesOf(field: 'email' | 'phone', writes: readonly Attempt[]): Attempt[] {
  const setting = writes.filter(({ kind, body }) => kind === 'create user' || body?.[field] !== undefined);
  return setting.filter((one) => !setting.some((other) => isSuccess(other) && other.startedAt > latestEffectAt(one)));
}

function isSameText(one: unknown, other: unknown): boolean {
  return String(one ?? '').toLowerCase() === String(other ?? '').toLowerCase();
}

/** Whether the user who got an email by `attempt` may have changed to another one before `time`. */
function mayHaveChangedEmail(attempt: Attempt, changes: Changes, time: number): boolean {
  return (changes.get(userIdOf(attempt)) ?? []).some((change) => {
    const email = emailIn(change);
    const isOther = email !== undefined && email !== emailIn(attempt);
    return isOther && change.startedAt <= time && latestEffectAt(change) >= attempt.startedAt;
  });
}

/** Whether that user's change to another email was acknowledged before `time`. */
function hasChangedEmail(attempt: Attempt, changes: Changes, time: number): boolean {
  return (changes.get(userIdOf(attempt)) ?? []).some((change) => {
    const email = emailIn(change);
    const isOther = email !== undefined && email !== emailIn(attempt);
    return isOther && isSuccess(change) && change.startedAt > attempt.endedAt && change.endedAt < time;
  });
}

/** No two users have one email at the same time, and every 409 has another user who may have the email. */
function checkUniqueEmails(writes: readonly Attempt[], changes: Changes): Check {
  const breaches: string[] = [];
  const groups = Map.groupBy(
    writes.filter((attempt) => emailIn(attempt) !== undefined),
    emailIn,
  );
  for (const [email, attempts] of groups) {
    for (const [one, other] of pairsOf(attempts.filter(isSuccess))) {
      const mayHaveChanged =
        mayHaveChangedEmail(one, changes, other.endedAt) || mayHaveChangedEmail(other, changes, one.endedAt);
      if (userIdOf(one) !== userIdOf(other) && !mayHaveChanged) {
        breaches.push(`${email}: ${describeAttempt(one)} and ${describeAttempt(other)}`);
      }
    }
    for (const conflict of attempts.filter(({ status }) => status === 409)) {
      const hasCause = attempts.some(
        (other) =>
          other !== conflict &&
          (isSuccess(other) || isOutcomeUnknown(other)) &&
          other.startedAt <= conflict.endedAt &&
          !hasChangedEmail(other, changes, conflict.startedAt),
      );
      if (!hasCause) breaches.push(`a conflict without a cause: ${describeAttempt(conflict)}`);
    }
  }
  return { promise: 'one user per address', examined: `${groups.size} addresses`, breaches };
}

function pairsOf<Item>(items: readonly Item[]): [Item, Item][] {
  return items.flatMap((one, index) => items.slice(index + 1).map((other): [Item, Item] => [one, other]));
}

/** A search finds the user who had the email before the search and did not change it meanwhile. */
function checkSearches(history: readonly Attempt[], writes: readonly Attempt[], changes: Changes): Check {
  const writesByEmail = Map.groupBy(writes.filter(isSuccess), emailIn);
  const searches = history.filter((attempt) => attempt.kind === 'find user' && isSuccess(attempt));
  const breaches = searches.flatMap((search) => {
    const email = decodeURIComponent(search.path.split('=')[1] ?? '').toLowerCase();
    const isTaken = (writesByEmail.get(email) ?? []).some(
      (write) => write.endedAt <= search.startedAt && !mayHaveChangedEmail(write, changes, search.endedAt),
    );
    const total = search.total ?? 0;
    return total > 1 || (isTaken && total !== 1) ? [`${total} found: ${describeAttempt(search)}`] : [];
  });
  return { promise: 'a user is found by the acknowledged email', examined: `${searches.length} searches`, breaches };
}
