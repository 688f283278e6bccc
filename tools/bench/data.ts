// Generated data: users and promotions that the subscriptions service knows, and subscriptions spread over them.
import { setTimeout as sleep } from 'node:timers/promises';
import type { ServiceName } from '@promopulse/shared/contracts/services';
import type { PersonalData } from '../../services/users/src/personal-data/personal-data.ts';

export interface Sizes {
  users: number;
  /** All active. */
  promotions: number;
  /** A user has ten or none: one to promotion 1, the hot one, and nine to others. */
  subscriptions: number;
}

export const subscriptionsPerUser = 10;
export const metadata = '{"source":"web","campaign":"summer2026"}';

export type Sql = (text: string, values?: readonly unknown[]) => Promise<unknown[]>;

/** Fills empty tables. The users' own has placeholders, see `fillUsers`; it equals the projection. */
export async function fillTables(sql: Sql, { users, promotions, subscriptions }: Sizes): Promise<void> {
  await sql(`insert into promotions.promotions (name, description, status, start_at, end_at, version)
    select 'Promotion ' || n, repeat('Save a tenth of the price. ', 4), 'active', now() - interval '1 year', now() + interval '1 year', 2
    from generate_series(1, ${promotions}) as n`);
  await sql(`insert into users.users (first_name, last_name, email_encrypted, email_index)
    select 'Ada', 'Lovelace', 'placeholder', 'placeholder ' || n from generate_series(1, ${users}) as n`);
  await sql(`insert into subscriptions.cached_promotions (promotion_id, status, version)
    select n, 'active', 2 from generate_series(1, ${promotions}) as n`);
  await sql(
    `insert into subscriptions.known_users (user_id, version) select n, 1 from generate_series(1, ${users}) as n`,
  );
  await sql(`insert into subscriptions.projection_sources (service) values ('promotions'), ('users')`);
  // Without the triggers, which would count row by row: the function below counts all rows at once.
  await sql(`set session_replication_role = replica; insert into subscriptions.subscriptions (user_id, promotion_id, metadata, created_at)
    select 1 + n / ${subscriptionsPerUser},
           case n % ${subscriptionsPerUser} when 0 then 1 else 2 + (n::bigint * 7919 % ${promotions - 1})::int end,
           '${metadata}', now() - make_interval(secs => ${subscriptions} - n)
    from generate_series(0, ${subscriptions - 1}) as n`);
  await sql('select subscriptions.recount_subscriptions()');
  await sql('vacuum analyze');
}

/**
 * Keeps the projections of a service fresh, so that it asks no owner: those may not run in a section.
 * @returns how to end it
 */
export async function keepFresh(sql: Sql, service: ServiceName): Promise<() => Promise<void>> {
  const refresh = (): Promise<unknown> =>
    sql(`update ${service}.projection_sources
         set watermark = now(), reconciled_at = now(), compared_at = now() + interval '1 day', complete_needed = false`);
  await refresh();
  const stop = new AbortController();
  const refreshing = (async () => {
    while (!stop.signal.aborted) {
      await sleep(1_000, undefined, { signal: stop.signal }).catch(() => undefined);
      await refresh().catch(() => undefined); // at the end of a section its server may have stopped
    }
  })();
  return () => {
    stop.abort();
    return refreshing;
  };
}

/** Rows of a batch: one insert statement. */
const userBatch = 10_000;
export const emailOf = (user: number | '{a}'): string => `user${user}@example.com`;

/** Fills the table of the users service with users that it can decrypt and find. The other tables know users by id. */
export async function fillUsers(sql: Sql, count: number, personalData: PersonalData): Promise<void> {
  await sql('truncate users.users restart identity');
  for (let first = 1; first <= count; first += userBatch) {
    const length = Math.min(userBatch, count - first + 1);
    const emails = Array.from({ length }, (_, index) => emailOf(first + index));
    await sql(
      `insert into users.users (first_name, last_name, email_encrypted, email_index)
       select 'Ada', 'Lovelace', * from unnest($1::text[], $2::text[])`,
      [emails.map((email) => personalData.encrypt(email)), emails.map((email) => personalData.indexOf(email))],
    );
  }
  await sql('vacuum analyze users.users');
}

/** Statements that delete the rows which requests to a service have written, also those that their events have led to. */
const resets: Partial<Record<ServiceName, (sizes: Sizes) => string[]>> = {
  users: ({ users }) => [
    `delete from users.users where id > ${users}`,
    `delete from subscriptions.known_users where user_id > ${users}`,
    'truncate users.outbox, users.user_history',
    'vacuum users.users, subscriptions.known_users',
  ],
  promotions: ({ promotions }) => [
    `delete from promotions.promotions where id > ${promotions}`,
    `delete from subscriptions.cached_promotions where promotion_id > ${promotions}`,
    'truncate promotions.outbox, promotions.promotion_history',
    'vacuum promotions.promotions, promotions.promotion_counts, subscriptions.cached_promotions',
  ],
  subscriptions: ({ subscriptions }) => [
    `delete from subscriptions.subscriptions where id > ${subscriptions}`,
    'truncate subscriptions.outbox',
    'vacuum subscriptions.subscriptions, subscriptions.subscription_counts',
  ],
};

/** Brings the tables that a service's requests write to back to what the fill made, and vacuums them. */
export async function resetData(sql: Sql, service: ServiceName, sizes: Sizes): Promise<void> {
  const applied = appliedText[service];
  if (applied) await waitUntilApplied(sql, applied);
  for (const statement of resets[service]?.(sizes) ?? []) await sql(statement);
}

/** Whether the subscriptions service has applied all events of a service. Its own events have no consumer. */
const appliedText: Partial<Record<ServiceName, string>> = {
  users: `select not exists (select from users.outbox where published_at is null) and
    (select max(user_id) from subscriptions.known_users) >= (select max(id) from users.users) as applied`,
  promotions: `select not exists (select from promotions.outbox where published_at is null) and
    (select max(promotion_id) from subscriptions.cached_promotions) >= (select max(id) from promotions.promotions)
    as applied`,
};

/** So that work for the events of one round does not fall into the next. @throws after 30 s */
async function waitUntilApplied(sql: Sql, text: string): Promise<void> {
  const deadline = Date.now() + 30_000;
  for (;;) {
    const [row] = (await sql(text)) as { applied: boolean }[];
    if (row?.applied) return;
    if (Date.now() > deadline) throw new Error('the events of the last round were not applied within 30 s');
    await sleep(50);
  }
}
