// The statements that count events. Each is one transaction, and all receipts of it are true when it is committed.
// `record` inserts events and counts them; `settle` counts what is not accepted. All lock in one order: events, first seen,
// counts of events, counts of receipts, each sorted by its key. Each step reads from the one before it, so that it begins
// later: else PostgreSQL would choose their order (decision 0035).
import type { Database } from '@promopulse/shared/database/database';
import { joinSource, reliance } from '@promopulse/shared/projections/rows/reliance';
import { bucketMinutes, lateAfterDays, maxAheadMinutes, type UnacceptedVerdict, type Verdict } from './rules.ts';

/** An event as its client has sent it. */
interface NewEvent {
  id: string;
  type: string;
  promotion_id: number;
  user_id?: number | undefined;
  visitor?: string | undefined;
  occurred_at: Date;
  source?: string | undefined;
}

/** An item of a batch: its place in it, and its event. */
export interface Item {
  position: number;
  event: NewEvent;
}

/**
 * The answers of owners that this request has got: the ids that were asked about, and those of which there is nothing. Of
 * users the second is enough: a user that exists counts, whatever was asked.
 */
export interface Consulted {
  promotions: readonly number[];
  missingPromotions: readonly number[];
  missingUsers: readonly number[];
}

/** $1: client. $2 to $9: columns of the items. */
const given = `given as materialized (
  select *, (occurred_at at time zone 'UTC')::date as day,
    substr(sha256(convert_to(coalesce('user ' || user_id, 'visitor ' || visitor), 'UTF8')), 1, 16) as subject,
    ${bucketSql('occurred_at')} as bucket
  from unnest($2::int[], $3::text[], $4::text[], $5::bigint[], $6::bigint[], $7::text[], $8::timestamptz[], $9::text[])
    as item (position, event_id, type, promotion_id, user_id, visitor, occurred_at, source)
)`;

function bucketSql(time: string): string {
  return `date_bin('${bucketMinutes} minutes', ${time}, '2000-01-01T00:00:00Z')`;
}

const user = reliance({ row: 'u', source: 'us', lease: '$10' });
const promotion = reliance({ row: 'p', source: 'ps', lease: '$10' });

/** The days of the items that have a partition. With `offset 0` it is looked up once for each day, and not for each item. */
const readyDays = `ready_days as materialized (
  select day from (select distinct day from given offset 0) as days
  where to_regclass('events_' || to_char(day, 'YYYYMMDD')) is not null
)`;

/**
 * $10: lease in seconds. $11 to $13: what was consulted. A "no" that is not final needs the owner's answer. The rows of
 * promotions and users are looked up one by one: a plan for all would read their whole tables.
 */
const judged = `promotions as materialized (
  select p.* from (select distinct promotion_id from given offset 0) as asked
  cross join lateral (select * from cached_promotions where promotion_id = asked.promotion_id limit 1) as p
), judged as materialized (
  select *, verdict = 'countable' as is_countable from (select item.*, p.promotion_id is not null as is_known, case
    when occurred_at > now() + interval '${maxAheadMinutes} minutes' then 'occurred_in_future'
    when occurred_at < now() - interval '${lateAfterDays} days'
      or day < (select first_day from event_horizon) then 'late'
    when item.user_id is not null and (u.user_id is null or not ${user.believed}) then
      case when item.user_id = any($13::bigint[]) then 'user_not_found' else 'ask_users' end
    when u.deleted then 'user_not_found'
    when p.promotion_id is null or not ${promotion.believed} then
      case when item.promotion_id = any($12::bigint[]) then 'promotion_not_found' else 'ask_promotions' end
    when p.status not in ('active', 'ended') then
      case when item.promotion_id = any($11::bigint[]) then 'promotion_not_active' else 'ask_promotions' end
    when occurred_at < p.start_at or occurred_at >= p.end_at or p.status = 'ended' and occurred_at > p.updated_at
      then 'outside_promotion_dates'
    when p.status = 'active' and ${promotion.fresh} is not true then 'ask_promotions'
    when (day in (select day from ready_days)) is not true then 'retry'
    else 'countable' end as verdict
  from given as item
  left join lateral (select * from known_users where user_id = item.user_id limit 1) as u on true
  left join promotions as p using (promotion_id)
  ${joinSource('users', 'us')} ${joinSource('promotions', 'ps')}
  ) as item
)`;

/**
 * Of items with one id the first that can be counted is proposed. `accepted` is what was inserted, and `day_before` the day
 * of the subject's event before: another one, or null, in the first event of each of its days.
 */
const inserted = `proposed as materialized (
  select distinct on (event_id, day) * from judged where is_countable order by event_id, day, position
), inserted as (
  insert into events (client, event_id, day, type, promotion_id, user_id, visitor, occurred_at, source)
  select $1, event_id, day, type, promotion_id, user_id, visitor, occurred_at, source from proposed order by event_id, day
  on conflict do nothing returning event_id, day
), accepted as materialized (
  select proposed.*, lag(day) over of_subject as day_before
  from proposed where ((event_id, day) in (select event_id, day from inserted)) is true
  window of_subject as (partition by promotion_id, type, subject order by occurred_at, position)
)`;

/**
 * `seen` has the subjects of `accepted` with a new day; `known` are their days before, null when there was no row. A subject
 * whose days are known is not touched: a lock of its row would hold up other batches. Days that are late by now are left
 * out, with a margin for the clock.
 */
const seen = `seen as (
  insert into first_seen as held (promotion_id, type, subject, days)
  select promotion_id, type, subject, days from (
    select promotion_id, type, subject, array_agg(day) as days from accepted where day is distinct from day_before
    group by promotion_id, type, subject) as each
  where ((select known.days from first_seen as known
    where (known.promotion_id, known.type, known.subject) = (each.promotion_id, each.type, each.subject)) @> each.days) is not true
  order by promotion_id, type, subject
  on conflict (promotion_id, type, subject) do update set days = excluded.days || array(
    select day from unnest(held.days) as day
    where day <> all (excluded.days) and day > (now() at time zone 'UTC')::date - ${lateAfterDays + 3})
  where not held.days @> excluded.days
  returning promotion_id, type, subject, old.days as known, days
)`;

/**
 * What is counted of `accepted`. A subject counts in its first event: of all, and of a day. `in` as a value, and not as a condition, is looked up in a hash
 * table. The planner would compare all pairs.
 */
export const counted = `${seen}, counted as materialized (
  select promotion_id, type, bucket, count(*) as accepted,
    count(*) filter (where day_before is null and is_new) as first_ever,
    count(*) filter (where is_new or is_new_day) as first_of_day
  from (
    select promotion_id, type, bucket, day_before,
      day is distinct from day_before
        and (promotion_id, type, subject) in (select promotion_id, type, subject from seen where known is null) as is_new,
      day is distinct from day_before and (promotion_id, type, subject, day) in (
        select promotion_id, type, subject, day from seen, unnest(days) as day where day <> all (known)) as is_new_day
    from accepted
  ) as each group by 1, 2, 3
)`;

export interface Counts {
  table: string;
  columns: readonly string[];
}

export const eventCounts: Counts = { table: 'event_counts', columns: ['accepted', 'first_ever', 'first_of_day'] };
const receiptColumns = ['received', 'accepted', 'duplicate', 'late', 'rejected'];
export const receiptCounts: Counts = { table: 'receipt_counts', columns: receiptColumns };

/** Should two connections have the same one, they wait for each other. Stripe 0 has what was merged. */
const ownStripe = '1 + pg_backend_pid() % 30000';

/**
 * Adds to the counts, in the order of their keys.
 * @param from a row for each key: the expression of its stripe, and the name of its table
 */
export function addSql({ table, columns }: Counts, from: { stripe: string; rows: string }): string {
  const key = 'promotion_id, type, bucket';
  return `insert into ${table} as held (${key}, stripe, ${columns.join(', ')})
    select ${key}, ${from.stripe}, ${columns.join(', ')} from ${from.rows} order by ${key}
    on conflict (${key}, stripe) do update
      set ${columns.map((column) => `${column} = held.${column} + excluded.${column}`).join(', ')}
    returning 1`;
}

const addCounts = `counts_added as (${addSql(eventCounts, { stripe: ownStripe, rows: 'counted' })}),
  counts_done as materialized (select count(*) from counts_added)`;
const addReceipts = `receipts_added as (${addSql(receiptCounts, { stripe: ownStripe, rows: 'receipts' })})`;

/**
 * What is counted of the items in `outcomes`. What is to be sent again is counted then.
 * @param after a common table expression of one row, which is read first
 */
const receiptsSql = (after = ''): string => `receipts as materialized (
  select case when is_known then promotion_id else 0 end as promotion_id, type, ${bucketSql('now()')} as bucket,
    count(*) as received, count(*) filter (where verdict = 'accepted') as accepted,
    count(*) filter (where verdict = 'duplicate') as duplicate, count(*) filter (where verdict = 'late') as late,
    count(*) filter (where verdict not in ('accepted', 'duplicate', 'late')) as rejected
  from outcomes${after && `, ${after}`} where verdict <> 'retry' group by 1, 2, 3
)`;

const statements = {
  record: {
    name: 'events_record',
    text: `with ${given}, ${readyDays}, ${judged}, ${inserted}, ${counted}, ${addCounts}, outcomes as materialized (
        select position, promotion_id, type, is_known,
          case when position in (select position from accepted) then 'accepted' else 'duplicate' end as verdict
        from judged where is_countable
      ), ${receiptsSql('counts_done')}, ${addReceipts}
      select null as position, 'accepted' as verdict
      union all select position, verdict from outcomes where verdict <> 'accepted'
      union all select position, verdict from judged where not is_countable`,
  },
  /** $2, $3: ids and days of items that are not accepted. $4 to $6: promotion, type and verdict. $7: number of invalid items. */
  settle: {
    name: 'events_settle',
    text: `with given as materialized (
        select * from unnest($2::text[], $3::date[], $4::bigint[], $5::text[], $6::text[])
          with ordinality as item (event_id, day, promotion_id, type, verdict, position)
      ), outcomes as materialized (
        select position, promotion_id, type,
          exists (select from cached_promotions p where p.promotion_id = given.promotion_id) as is_known,
          case when exists (select from events where client = $1 and event_id = given.event_id and day = given.day)
            then 'duplicate' else verdict end as verdict
        from given
        union all select null, 0, '', false, 'invalid' from generate_series(1, $7::int)
      ), ${receiptsSql()}, ${addReceipts}
      select verdict from outcomes where position is not null order by position`,
  },
};

export interface RecordOptions {
  client: string;
  leaseSeconds: number;
  consulted: Consulted;
}

/**
 * Commits the items that can be counted: accepted ones and duplicates.
 * @returns the verdict of each item, by its position. What is neither accepted nor a duplicate has changed nothing
 * @throws the database's error
 */
export async function recordEvents(
  database: Database,
  items: readonly Item[],
  { client, leaseSeconds, consulted }: RecordOptions,
): Promise<Map<number, Verdict>> {
  const column = <Value>(read: (event: NewEvent) => Value) => items.map(({ event }) => read(event));
  const rows = await database.write<{ position: number | null; verdict: Verdict }>(statements.record, [
    client,
    items.map(({ position }) => position),
    column(({ id }) => id),
    column(({ type }) => type),
    column(({ promotion_id }) => promotion_id),
    column(({ user_id }) => user_id ?? null),
    column(({ visitor }) => visitor ?? null),
    column(({ occurred_at }) => occurred_at.toISOString()),
    column(({ source }) => source ?? null),
    leaseSeconds,
    consulted.promotions,
    consulted.missingPromotions,
    consulted.missingUsers,
  ]);
  // Most items are accepted: only the others have a row, beside one that says that the statement has run.
  const verdicts = new Map<number, Verdict>(items.map(({ position }) => [position, 'accepted']));
  for (const { position, verdict } of rows) if (position !== null) verdicts.set(position, verdict);
  return verdicts;
}

export interface Unaccepted {
  event: NewEvent;
  verdict: UnacceptedVerdict;
}

/**
 * Counts items that are not accepted, and those that are no events. An item with the verdict `retry` is counted if it is a
 * duplicate.
 * @returns the verdict of each: `duplicate` where the id was accepted before
 * @throws the database's error
 */
export async function settleEvents(
  database: Database,
  client: string,
  { unaccepted, invalid }: { unaccepted: readonly Unaccepted[]; invalid: number },
): Promise<UnacceptedVerdict[]> {
  const rows = await database.write<{ verdict: UnacceptedVerdict }>(statements.settle, [
    client,
    unaccepted.map(({ event }) => event.id),
    unaccepted.map(({ event }) => event.occurred_at.toISOString().slice(0, -14)),
    unaccepted.map(({ event }) => event.promotion_id),
    unaccepted.map(({ event }) => event.type),
    unaccepted.map(({ verdict }) => verdict),
    invalid,
  ]);
  return rows.map(({ verdict }) => verdict);
}
