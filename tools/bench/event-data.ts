// Generated data of the engagement service: what it knows of promotions and users, stored events of the last week, and
// the counts of a year for promotion 1.
import type { BenchDatabase } from './stack.ts';

/** Fills empty tables. */
export async function fillEvents(database: BenchDatabase, stored: number): Promise<void> {
  const { sql } = database;
  await sql(
    `select engagement.add_event_day(day::date) from generate_series(current_date - 8, current_date + 3, '1 day') as day`,
  );
  await sql(`insert into engagement.cached_promotions (promotion_id, status, start_at, end_at, updated_at, version)
    select id, status, start_at, end_at, updated_at, version from promotions.promotions`);
  await sql('insert into engagement.known_users (user_id, version) select id, 1 from users.users');
  await sql(`insert into engagement.projection_sources (service) values ('promotions'), ('users'), ('subscriptions')`);
  await storeEvents(database, stored);
  await sql(`insert into engagement.event_counts (promotion_id, type, bucket, accepted, first_ever, first_of_day)
    select 1, 'view', at, 10, 1, 2 from generate_series(date_trunc('day', now()) - interval '370 days', now(), '15 minutes') as at`);
  await sql('vacuum analyze');
  await sql('checkpoint'); // else the requests would write what the fill has left in the buffers
}

async function storeEvents({ sql, sizes: { promotions } }: BenchDatabase, stored: number): Promise<void> {
  await sql(`insert into engagement.events (client, event_id, day, type, promotion_id, visitor, occurred_at)
    select '', 'stored-' || n, at::date, 'view', 1 + n % ${promotions}, 'v' || n % 100000, at
    from generate_series(1, ${stored}) as n, lateral (select current_date - interval '1 second' * (n % 500000) as at) as times`);
  await sql(`insert into engagement.first_seen (promotion_id, type, subject, days)
    select promotion_id, type, substr(sha256(convert_to('visitor ' || visitor, 'UTF8')), 1, 16), array_agg(distinct day)
    from engagement.events group by 1, 2, 3 on conflict do nothing`);
}

/** How many events are stored before a round on few of them. */
export const fewEvents = 10_000;

/** @returns how many events were received and accepted so far */
export async function countReceipts({ sql }: BenchDatabase): Promise<{ received: number; accepted: number }> {
  const [row] = await sql(
    'select sum(received)::float as received, sum(accepted)::float as accepted from engagement.receipt_counts',
  );
  const { received, accepted } = row as { received: number | null; accepted: number | null };
  return { received: received ?? 0, accepted: accepted ?? 0 };
}

/** Brings the tables that requests write to back to what the fill made with `fewEvents`, and vacuums them. */
export async function resetEvents(database: BenchDatabase): Promise<void> {
  const tables = ['events', 'first_seen', 'receipt_counts', 'outbox'];
  await database.sql(`truncate ${tables.map((table) => `engagement.${table}`).join(', ')}`);
  await storeEvents(database, fewEvents);
  await database.sql('vacuum engagement.events, engagement.first_seen, engagement.event_counts');
}
