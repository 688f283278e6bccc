// The days of events: a partition of `events` for each. Functions of the schema make and remove them (the first migration),
// so that the role of the service needs no right to.
import type { Database } from '@promopulse/shared/database/database';
import { runApart } from '@promopulse/shared/database/own-connection';
import { lateAfterDays } from '../rules.ts';

/** Days that are made before they begin. */
const daysAhead = 3;
/** A day more than events are accepted for: its end is then late, whatever the clock of the process says. */
const daysBehind = lateAfterDays + 1;

const today = `(now() at time zone 'UTC')::date`;
const isReady = (day: string): string => `to_regclass('events_' || to_char(${day}, 'YYYYMMDD')) is not null`;

const statements = {
  add: {
    text: `select add_event_day(day::date) from generate_series(${today} - ${daysBehind}, ${today} + ${daysAhead}, '1 day') as day`,
  },
  /** Days in a row after today; -1 when today is missing. */
  ahead: {
    name: 'days_ahead',
    text: `select coalesce(min(ahead) filter (where not (${isReady(`${today} + ahead`)})), ${daysAhead + 1}) - 1 as days
      from generate_series(0, ${daysAhead}) as ahead`,
  },
  /** $1: days that events are kept for. Oldest first, as they must be closed. */
  old: {
    text: `select relname as name, to_date(right(relname, 8), 'YYYYMMDD')::text as day
      from pg_class where relnamespace = current_schema()::regnamespace and relkind = 'r'
        and relname ~ '^events_\\d{8}$' and to_date(right(relname, 8), 'YYYYMMDD') < ${today} - ${daysBehind} - $1::int
      order by day`,
  },
  /** It counts the events of a whole day. */
  close: { text: 'select close_event_day($1::date)', timeoutMs: 60_000 },
  drop: { text: 'select drop_event_day($1)' },
};

/** Makes the missing days from the oldest one for which events are accepted. Several processes may do it at once. */
export async function addDays(database: Database): Promise<void> {
  await runApart(database, statements.add, []);
}

/** @returns how many days after today can take events, at most 3; -1 when today cannot */
export async function countDaysAhead(database: Database): Promise<number> {
  return (await database.run<{ days: number }>(statements.ahead, []))[0]?.days ?? -1;
}

/**
 * Removes the days that are older than the retention. It goes on where it was interrupted.
 * @param retentionDays how long events are kept beyond the days in which they are accepted
 * @throws the database's error, for example SQLSTATE 55P03 while a backup holds the tables
 */
export async function removeDays(database: Database, retentionDays: number, stop: AbortSignal): Promise<void> {
  const days = await runApart<{ name: string; day: string }>(database, statements.old, [retentionDays]);
  for (const { name, day } of days) {
    if (stop.aborted) return;
    await runApart(database, statements.close, [day]);
    await runApart(database, statements.drop, [name]);
  }
}
