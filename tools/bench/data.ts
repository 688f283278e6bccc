// Generated data: users and promotions known to all, and subscriptions spread over them.
export interface Sizes {
  users: number;
  /** All active. */
  promotions: number;
  /** Every user who has any has ten: one to promotion 1, the hot one, and nine to others. */
  subscriptions: number;
}

export const perUser = 10;

type Sql = (text: string) => Promise<unknown[]>;

/** Fills empty tables. What subscriptions knows of promotions counts as fresh for ever. */
export async function fill(sql: Sql, { users, promotions, subscriptions }: Sizes): Promise<void> {
  await sql(`insert into promotions.promotions (name, description, status, start_at, end_at, version)
    select 'Promotion ' || n, repeat('Save a tenth of the price. ', 4), 'active', now(), now() + interval '30 days', 2
    from generate_series(1, ${promotions}) as n`);
  await sql(`insert into subscriptions.cached_promotions (promotion_id, status, version)
    select n, 'active', 2 from generate_series(1, ${promotions}) as n`);
  await sql(
    `insert into subscriptions.known_users (user_id, version) select n, 1 from generate_series(1, ${users}) as n`,
  );
  await sql(`insert into subscriptions.projection_sources (service, watermark, reconciled_at)
    values ('promotions', 'infinity', now()), ('users', 'infinity', now())`);
  // Counted at once afterwards, not row by row by the triggers.
  await sql(`set session_replication_role = replica; insert into subscriptions.subscriptions (user_id, promotion_id, metadata, created_at)
    select 1 + n / ${perUser},
           case n % ${perUser} when 0 then 1 else 2 + (n::bigint * 7919 % ${promotions - 1})::int end,
           '${metadata}', now() - make_interval(secs => ${subscriptions} - n)
    from generate_series(0, ${subscriptions - 1}) as n`);
  await sql('select subscriptions.recount_subscriptions()');
  await sql('vacuum analyze');
}

export const metadata = '{"source":"web","campaign":"summer2026"}';

/** Back to what `fill` made: rows written since are gone, and so is what they left in tables and indexes. */
export async function takeBack(sql: Sql, { subscriptions }: Sizes): Promise<void> {
  await sql(`delete from subscriptions.subscriptions where id > ${subscriptions}`);
  await sql('truncate subscriptions.outbox');
  await sql('vacuum subscriptions.subscriptions, subscriptions.subscription_counts');
}
