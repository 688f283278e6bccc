// What a user's email and phone must be, by what was answered: the service alone can read them, so it is asked.
import type { Check } from './checks.ts';
import type { ShownUser } from './database-state.ts';
import { type Attempt, describe, isOpen, isSuccess } from './history.ts';

export function checkAddresses(history: readonly Attempt[], shown: readonly ShownUser[]): Check[] {
  const writes = history.filter(({ kind }) => kind === 'create user' || kind === 'change user');
  const changes = Map.groupBy(
    writes.filter((attempt) => attempt.kind === 'change user' && (isSuccess(attempt) || isOpen(attempt))),
    userOf,
  );
  return [lastWord(writes, changes, shown), oneHolder(writes, changes), found(history, writes, changes)];
}

type Changes = ReadonlyMap<number | undefined, readonly Attempt[]>;

/** Unknown while a creation has no answer. */
function userOf({ kind, path, id }: Attempt): number | undefined {
  return kind === 'change user' ? Number(path.split('/')[2]) : id;
}

function emailIn({ body }: Attempt): string | undefined {
  return typeof body?.email === 'string' ? body.email.toLowerCase() : undefined;
}

/** A change without an answer may still come. */
function endOf(attempt: Attempt): number {
  return isOpen(attempt) ? Number.POSITIVE_INFINITY : attempt.ended;
}

/** Of each field, what was acknowledged last, or what has been under way since. */
function lastWord(writes: readonly Attempt[], changes: Changes, shown: readonly ShownUser[]): Check {
  const users = new Map(shown.map((user) => [user.id, user]));
  const breaches: string[] = [];
  let looked = 0;
  for (const creation of writes.filter((attempt) => attempt.kind === 'create user' && isSuccess(attempt))) {
    const id = creation.id as number;
    const all = [creation, ...(changes.get(id) ?? [])];
    for (const field of ['email', 'phone'] as const) {
      const given = all.filter(({ kind, body }) => kind === 'create user' || body?.[field] !== undefined);
      const last = given.filter((one) => !given.some((other) => isSuccess(other) && other.began > endOf(one)));
      const fits = (value: unknown): boolean =>
        String(value ?? '').toLowerCase() === String(users.get(id)?.[field] ?? '').toLowerCase();
      looked += 1;
      if (users.has(id) && last.some(({ body }) => fits(body?.[field]))) continue;
      breaches.push(`user ${id} has ${field} ${users.get(id)?.[field]}: ${last.map(describe).join(' or ')}`);
    }
  }
  return { promise: 'every user shows the email and phone acknowledged last', looked: `${looked} fields`, breaches };
}

/** Whether whoever got this address by `attempt` may have given it up again before `time`. */
function mayHaveLeft(attempt: Attempt, changes: Changes, time: number): boolean {
  return (changes.get(userOf(attempt)) ?? []).some((change) => {
    const email = emailIn(change);
    return email !== undefined && email !== emailIn(attempt) && change.began <= time && endOf(change) >= attempt.began;
  });
}

/** Whether they have, and everybody was told so before `time`. */
function hasLeft(attempt: Attempt, changes: Changes, time: number): boolean {
  return (changes.get(userOf(attempt)) ?? []).some((change) => {
    const email = emailIn(change);
    const another = email !== undefined && email !== emailIn(attempt);
    return another && isSuccess(change) && change.began > attempt.ended && change.ended < time;
  });
}

function oneHolder(writes: readonly Attempt[], changes: Changes): Check {
  const breaches: string[] = [];
  const groups = Map.groupBy(
    writes.filter((attempt) => emailIn(attempt) !== undefined),
    emailIn,
  );
  for (const [email, group] of groups) {
    const won = group.filter(isSuccess);
    for (const [index, one] of won.entries()) {
      for (const other of won.slice(index + 1)) {
        const gaveUp = mayHaveLeft(one, changes, other.ended) || mayHaveLeft(other, changes, one.ended);
        if (userOf(one) !== userOf(other) && !gaveUp) {
          breaches.push(`${email}: ${describe(one)} and ${describe(other)}`);
        }
      }
    }
    for (const loser of group.filter(({ status }) => status === 409)) {
      const winner = group.some(
        (other) =>
          other !== loser &&
          (isSuccess(other) || isOpen(other)) &&
          other.began <= loser.ended &&
          !hasLeft(other, changes, loser.began),
      );
      if (!winner) breaches.push(`a conflict with nobody: ${describe(loser)}`);
    }
  }
  return { promise: 'one user per address', looked: `${groups.size} addresses`, breaches };
}

/** Whoever had an address before it was looked for, and did not give it up meanwhile, is found. */
function found(history: readonly Attempt[], writes: readonly Attempt[], changes: Changes): Check {
  const holders = Map.groupBy(writes.filter(isSuccess), emailIn);
  const searches = history.filter((attempt) => attempt.kind === 'find user' && isSuccess(attempt));
  const breaches = searches.flatMap((search) => {
    const email = decodeURIComponent(search.path.split('=')[1] ?? '').toLowerCase();
    const there = (holders.get(email) ?? []).some(
      (holder) => holder.ended <= search.began && !mayHaveLeft(holder, changes, search.ended),
    );
    const total = search.total ?? 0;
    return total > 1 || (there && total !== 1) ? [`${total} found: ${describe(search)}`] : [];
  });
  return { promise: 'a user is found by the email acknowledged', looked: `${searches.length} searches`, breaches };
}
