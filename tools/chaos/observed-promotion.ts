// A promotion that a fault ends itself. A loss of which no end was affected proves nothing, so these faults fail when
// there is none.
import { setTimeout as sleep } from 'node:timers/promises';
import { withClient } from '@promopulse/shared/database/provision';
import { maxAcceptanceMs } from './ended-promotions.ts';
import { type Attempt, idInPath, isUnanswered } from './history.ts';
import type { Load } from './load.ts';
import type { Stack } from './stack.ts';

const timeoutMs = 30_000;

/** Something that runs SQL as the administrator. */
export interface SqlClient {
  query<Row extends object>(text: string, values?: unknown[]): Promise<{ rows: Row[] }>;
}

/** @param description what is waited for @throws Error after 30 s */
export async function waitUntil(description: string, condition: () => Promise<boolean>): Promise<void> {
  for (const deadline = Date.now() + timeoutMs; !(await condition()); await sleep(50)) {
    if (Date.now() > deadline) throw new Error(`not within ${timeoutMs / 1_000} s: ${description}`);
  }
}

/** @returns the id of a promotion that subscriptions knows as active, and that the load ends no more by itself */
export async function takeKnownPromotion({ databaseUrl }: Stack, load: Pick<Load, 'takeActive'>): Promise<number> {
  const id = await load.takeActive();
  await withClient(databaseUrl(), (client) => waitUntilKnown(client, id, 'active'));
  return id;
}

/** @throws Error when the projection does not show this status within 30 s */
export async function waitUntilKnown(client: SqlClient, id: number, status: string): Promise<void> {
  await waitUntil(`promotion ${id} is ${status} in the projection`, async () => {
    return (await knownStatus(client, id)) === status;
  });
}

export async function knownStatus(client: SqlClient, id: number): Promise<string | undefined> {
  const text = 'select status from subscriptions.cached_promotions where promotion_id = $1';
  return (await client.query<{ status: string }>(text, [id])).rows[0]?.status;
}

/** Waits until the broker has confirmed the event of the end. @throws Error after 30 s */
export async function waitUntilEndPublished(client: SqlClient, id: number): Promise<void> {
  await waitUntil(`the end of promotion ${id} is published`, async () => {
    const text = `select from promotions.outbox
      where subject = $1 and data->>'status' = 'ended' and published_at is not null`;
    return (await client.query(text, [String(id)])).rows.length > 0;
  });
}

const subscribeEveryMs = 250;
const minWatchMs = 2_000;

/** Users try to subscribe for a while. The judge reads their attempts in the history. */
export async function subscribeFor(load: Pick<Load, 'subscribe'>, id: number, durationMs: number): Promise<Attempt[]> {
  const attempts: Promise<Attempt>[] = [];
  for (const until = Date.now() + durationMs; Date.now() < until; await sleep(subscribeEveryMs)) {
    attempts.push(load.subscribe(id));
  }
  return await Promise.all(attempts);
}

/**
 * Users try to subscribe to the ended promotion: after `applied` for a moment, because none may succeed any more; else,
 * and when what was applied is undone, until later than any may succeed.
 * @returns a note @throws Error when none got a yes or a no for 30 s longer
 */
export async function watchEnded(
  load: Pick<Load, 'subscribe'>,
  end: Attempt,
  { isUndone = false } = {},
): Promise<string> {
  const id = idInPath(end);
  const mayBeAccepted = isUndone || end.projection !== 'applied';
  const untilNoneMayMs = mayBeAccepted ? Math.max(0, end.endedAt + maxAcceptanceMs - Date.now()) : 0;
  const attempts = await subscribeFor(load, id, untilNoneMayMs + minWatchMs);
  const answered = (): Attempt[] => attempts.filter((attempt) => !isUnanswered(attempt));
  await waitUntil(`somebody gets an answer about promotion ${id}`, async () => {
    if (answered().length === 0) attempts.push(await load.subscribe(id));
    return answered().length > 0;
  });
  return `${answered().length} of ${attempts.length} subscribe requests to ended promotion ${id} were answered`;
}
