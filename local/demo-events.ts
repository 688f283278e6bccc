// A month of traffic for `npm run seed`: plausible, and the same each time that it is made on one day. Events of the last
// days go through the API. Older ones would be late there, so they are stored as if they had been accepted in time.
import { withClient } from '@promopulse/shared/database/provision';
import { addSql, counted, eventCounts, receiptCounts } from '../services/engagement/src/queries.ts';
import { seededRandom } from './random.ts';

export interface DemoEvent {
  id: string;
  type: 'view' | 'click' | 'redeem';
  promotion_id: number;
  visitor: string;
  occurred_at: string;
}

const dayMs = 86_400_000;
const days = 30;
/** The API accepts events of the last 7 days. */
const acceptedDays = 6;
const viewsPerDay = 60;
/** Saturday and Sunday have more. */
const weekdays = [1.5, 0.8, 0.9, 0.9, 1, 1.2, 1.6];
const clicksPerView = 0.18;
const redemptionsPerClick = 0.25;

/** The same seed for the same text (FNV-1a). */
function seedOf(text: string): number {
  return [...text].reduce((hash, character) => Math.imul(hash ^ character.charCodeAt(0), 0x01000193), 0x811c9dc5);
}

interface Period {
  id: number;
  start_at: string;
  end_at: string;
}

/** The events of whole days: from a month ago, or the start of the promotion, until yesterday, or its end. */
export function demoEvents(
  { id, start_at, end_at }: Period,
  today = new Date(),
): { recent: DemoEvent[]; older: DemoEvent[] } {
  const midnight = Date.UTC(today.getUTCFullYear(), today.getUTCMonth(), today.getUTCDate());
  const events = Array.from({ length: days }, (_, index) => midnight - (days - index) * dayMs)
    .filter((day) => day >= Date.parse(start_at) && day + dayMs <= Date.parse(end_at))
    .flatMap((day) => eventsOfDay(id, day));
  const isRecent = ({ occurred_at }: DemoEvent): boolean => Date.parse(occurred_at) >= midnight - acceptedDays * dayMs;
  return { recent: events.filter(isRecent), older: events.filter((event) => !isRecent(event)) };
}

function eventsOfDay(promotion_id: number, day: number): DemoEvent[] {
  const date = new Date(day).toISOString().slice(0, 10);
  const { next: random } = seededRandom(seedOf(`${promotion_id} ${date}`));
  const events: DemoEvent[] = [];
  const add = (type: DemoEvent['type'], visitor: string, at: number): void => {
    const id = `seed-${promotion_id}-${date}-${events.length}`;
    events.push({ id, type, promotion_id, visitor, occurred_at: new Date(at).toISOString() });
  };
  const views = Math.round(viewsPerDay * (weekdays[new Date(day).getUTCDay()] ?? 1) * (0.8 + 0.4 * random()));
  for (let view = 0; view < views; view += 1) {
    const visitor = `seed-${Math.floor(random() * 400)}`;
    // The mean of two: most events are around noon.
    const at = day + ((random() + random()) / 2) * (dayMs - 600_000);
    add('view', visitor, at);
    if (random() >= clicksPerView) continue;
    add('click', visitor, at + 20_000);
    if (random() < redemptionsPerClick) add('redeem', visitor, at + 300_000);
  }
  return events;
}

const store = `with given as (
    select *, (occurred_at at time zone 'UTC')::date as day, date_bin('15 minutes', occurred_at, '2000-01-01T00:00:00Z') as bucket,
      substr(sha256(convert_to('visitor ' || visitor, 'UTF8')), 1, 16) as subject
    from unnest($1::text[], $2::text[], $3::bigint[], $4::text[], $5::timestamptz[])
      as event (event_id, type, promotion_id, visitor, occurred_at)
  ), inserted as (
    insert into events (client, event_id, day, type, promotion_id, visitor, occurred_at, source, received_at)
    select '', event_id, day, type, promotion_id, visitor, occurred_at, 'seed', occurred_at from given
    on conflict do nothing returning event_id, day
  ), accepted as (
    select given.*, lag(day) over (partition by promotion_id, type, subject order by occurred_at) as day_before
    from given join inserted using (event_id, day)
  ), ${counted}, received as (
    select promotion_id, type, bucket, count(*) as received, count(*) as accepted, 0 as duplicate, 0 as late, 0 as rejected
    from accepted group by 1, 2, 3
  ), counts_added as (${addSql(eventCounts, { stripe: '0', rows: 'counted' })}
  ), receipts_added as (${addSql(receiptCounts, { stripe: '0', rows: 'received' })})
  select count(*)::int as count from inserted`;

/** Stores events with their counts, in the database of engagement. @returns how many were not there */
export async function storeDemoEvents(url: string, events: readonly DemoEvent[]): Promise<number> {
  const column = (name: keyof DemoEvent) => events.map((event) => event[name]);
  return await withClient(url, async (client) => {
    await client.query('set search_path = engagement');
    const dates = [...new Set(events.map(({ occurred_at }) => occurred_at.slice(0, 10)))];
    for (const date of dates) await client.query('select add_event_day($1::date)', [date]);
    const values = [column('id'), column('type'), column('promotion_id'), column('visitor'), column('occurred_at')];
    return (await client.query<{ count: number }>(store, values)).rows[0]?.count ?? 0;
  });
}
