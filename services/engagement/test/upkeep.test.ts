// The days of events, and the totals that are published.
import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';
import { type Database, openDatabase } from '@promopulse/shared/database/database';
import { withClient } from '@promopulse/shared/database/provision';
import { databaseOptionsOf } from '@promopulse/shared/service/schema-definition';
import { eventually } from '@promopulse/testing/eventually';
import { engagement } from '../src/service.ts';
import { addDays, countDaysAhead, removeDays } from '../src/upkeep/partition-store.ts';
import { mergeStripes } from '../src/upkeep/stripe-store.ts';
import { daysFromNow, event, type Scene, startScene } from './scene.ts';

let scene: Scene;
let database: Database;
beforeAll(async () => {
  scene = await startScene({ ROLLUP_INTERVAL_SECONDS: '1' });
  database = await openDatabase(databaseOptionsOf(engagement, String(scene.env.DATABASE_URL)));
});
afterAll(async () => {
  await database.close();
  await scene.close();
});

/** As the owner of the tables. */
const alter = (text: string, values: readonly unknown[] = []) =>
  withClient(String(scene.env.DATABASE_URL), async (client) => {
    await client.query('set search_path = engagement');
    return (await client.query(text, [...values])).rows;
  });

const running = new AbortController().signal;
const nameOf = (prefix: string, days: number) => `${prefix}_${daysFromNow(days).slice(0, 10).replaceAll('-', '')}`;

async function tables(): Promise<string[]> {
  const rows = await scene.sql<{ name: string }>(
    `select inhrelid::regclass::text as name from pg_inherits join pg_class on oid = inhrelid where relkind = 'r' order by 1`,
  );
  return rows.map(({ name }) => name.replace('engagement.', ''));
}

describe('the days', () => {
  test('are made from 8 days ago to 3 days ahead, once, by any number of processes', async () => {
    await Promise.all(Array.from({ length: 5 }, () => addDays(database)));
    expect((await tables()).sort()).toEqual(Array.from({ length: 12 }, (_, index) => nameOf('events', index - 8)));
    expect(await countDaysAhead(database)).toBe(3);
  });

  test('ahead are counted to the first one that is missing', async () => {
    await alter(`drop table engagement.${nameOf('events', 2)}`);
    expect(await countDaysAhead(database)).toBe(1);
    await addDays(database);
    expect(await countDaysAhead(database)).toBe(3);
  });

  test('are removed after their retention, and their events stay counted: the sums are balanced at each step', async () => {
    await scene.send(
      Array.from({ length: 10 }, (_, index) => event({ occurred_at: daysFromNow(-6), user_id: (index % 3) + 1 })),
    );
    const before = await scene.balance();
    // The day is moved to a time long ago, as if so many days had passed.
    await alter(`create table engagement.events_20200101 (like engagement.events including all)`);
    await alter(
      `with moved as (delete from engagement.events where day = $1 returning *)
      insert into engagement.events_20200101 select client, event_id, '2020-01-01', type, promotion_id, user_id, visitor, occurred_at, source, received_at from moved`,
      [daysFromNow(-6).slice(0, 10)],
    );
    await alter(
      `alter table engagement.events attach partition engagement.events_20200101 for values from ('2020-01-01') to ('2020-01-02')`,
    );
    expect(await scene.balance()).toEqual(before);
    await alter(`select engagement.close_event_day('2020-01-01')`);
    const closed = await scene.balance();
    expect(closed).toEqual({ ...before, rows_removed: 10 });
    await alter(`select engagement.close_event_day('2020-01-01')`);
    expect(await scene.balance()).toEqual(closed);
    await removeDays(database, 90, running);
    expect(await tables()).not.toContain('events_20200101');
    expect(await scene.balance()).toEqual(closed);
    expect(await scene.balance(1)).toMatchObject({ rows_removed: 10 });
  });

  test('that are read by an open transaction are removed later', async () => {
    await alter(
      `create table engagement.events_20200202 partition of engagement.events for values from ('2020-02-02') to ('2020-02-03')`,
    );
    const held = await database.connect();
    try {
      await held.query({ text: 'begin' });
      await held.query({ text: 'select from events limit 1' });
      const startedAt = performance.now();
      await expect(removeDays(database, 90, running)).rejects.toMatchObject({ code: '55P03' });
      expect(performance.now() - startedAt).toBeLessThan(5_000);
      expect(await scene.statuses(event())).toEqual(['accepted']);
    } finally {
      held.end();
    }
    await eventually(() => removeDays(database, 90, running));
    expect(await tables()).not.toContain('events_20200202');
    await scene.balance();
  });

  test('that are still needed cannot be dropped', async () => {
    await expect(alter(`select engagement.drop_event_day($1)`, [nameOf('events', -1)])).rejects.toThrow('not closed');
    await expect(alter(`select engagement.drop_event_day('rollups')`)).rejects.toThrow('not the table of a day');
  });
});

describe('the stripes of counts', () => {
  const stripes = async (table: string) =>
    (
      await alter(`select count(*)::int as rows, count(distinct (promotion_id, type, bucket))::int as keys,
        count(*) filter (where stripe <> 0)::int as unmerged from ${table} where bucket < now() - interval '1 hour'`)
    )[0];
  const old = () =>
    Array.from({ length: 50 }, (_, index) =>
      event({ occurred_at: daysFromNow(-1 - (index % 4)), visitor: `v${index % 7}` }),
    );

  test('of the past are merged, and every sum stays as it was', async () => {
    await scene.send(old());
    await alter(`insert into receipt_counts (promotion_id, type, bucket, stripe, received, accepted, duplicate, late, rejected)
      select 1, 'view', '2026-01-01T00:00:00Z', stripe, 3, 0, 1, 1, 1 from generate_series(0, 9) as stripe`);
    await alter(`insert into event_counts (promotion_id, type, bucket, stripe, accepted, first_ever, first_of_day)
      select 1, 'view', '2026-01-01T00:00:00Z', stripe, 0, 1, 2 from generate_series(1, 10) as stripe`);
    const [before, statistics] = [await scene.balance(), await scene.statistics({ promotion_id: 1, type: 'view' })];
    await mergeStripes(database, running);
    expect(await scene.balance()).toEqual(before);
    expect((await scene.statistics({ promotion_id: 1, type: 'view' })).body).toEqual(statistics.body);
    for (const table of ['event_counts', 'receipt_counts']) {
      const { rows, keys, unmerged } = await stripes(table);
      expect([table, rows, unmerged]).toEqual([table, keys, 0]);
    }
    const sums = await alter(
      `select first_ever::int, first_of_day::int from event_counts where bucket = '2026-01-01T00:00:00Z'`,
    );
    expect(sums).toEqual([{ first_ever: 10, first_of_day: 20 }]);
  });

  test('are merged while events are counted in them, and no count is lost', async () => {
    const before = await scene.balance();
    let isSending = true;
    const merging = (async () => {
      while (isSending) await mergeStripes(database, running);
    })();
    const senders = Array.from({ length: 4 }, async () => {
      for (let round = 0; round < 15; round += 1)
        expect(await scene.statuses(old())).toEqual(Array(50).fill('accepted'));
    });
    await Promise.all(senders).finally(() => {
      isSending = false;
    });
    await merging;
    expect((await scene.balance()).accepted).toBe(before.accepted + 4 * 15 * 50);
    await mergeStripes(database, running);
    expect((await stripes('event_counts'))?.unmerged).toBe(0);
  });

  test('that a statement has locked are merged later', async () => {
    await alter(`insert into event_counts (promotion_id, type, bucket, stripe, accepted, first_ever, first_of_day)
      values (1, 'view', '2026-01-02T00:00:00Z', 5, 0, 1, 1)`);
    const held = await database.connect();
    try {
      await held.query({ text: 'begin' });
      await held.query({ text: 'select from event_counts where stripe = 5 for update' });
      await mergeStripes(database, running);
      expect((await stripes('event_counts'))?.unmerged).toBe(1);
    } finally {
      held.end();
    }
    await eventually(async () => {
      await mergeStripes(database, running);
      expect((await stripes('event_counts'))?.unmerged).toBe(0);
    });
  });
});

describe('the totals', () => {
  test('are published when something was counted, at most once in an interval, with a growing version', async () => {
    const published = async () =>
      (await scene.events()).filter(({ name, subject }) => name === 'engagement.counted' && subject === '1');
    await scene.send([event({ type: 'click', user_id: 2 }), event({ type: 'click', user_id: 2 })]);
    await eventually(async () => {
      const last = (await published()).at(-1);
      expect(last?.data).toMatchObject({ id: 1, click: { count: 2, unique: 1 }, redeem: { count: 0, unique: 0 } });
    });
    const known = (await published()).length;
    await scene.send(event({ type: 'redeem' }));
    await eventually(async () => expect((await published()).at(-1)?.data.redeem).toEqual({ count: 1, unique: 1 }));
    const versions = (await published()).map(({ data }) => data.version);
    expect(versions).toEqual(versions.map((_, index) => index + 1));
    expect(versions.length).toBeLessThanOrEqual(known + 2);
    await new Promise((resolve) => setTimeout(resolve, 2_500));
    expect(await published()).toHaveLength(versions.length);
  });
});
