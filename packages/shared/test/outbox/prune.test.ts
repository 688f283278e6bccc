// Published events are deleted after the retention time, and this delays no event.
import { setTimeout as sleep } from 'node:timers/promises';
import { beforeEach, expect, test } from '@jest/globals';
import { eventually } from '@promopulse/testing/eventually';
import { fullScale } from '@promopulse/testing/scale';
import type { Database } from '../../src/database/database.ts';
import { created, fakeBroker, idsOf, relayOn, sql, useOutbox } from './outbox-fixture.ts';

const outbox = useOutbox();
let database: Database;
beforeEach(() => {
  database = outbox.database;
});

const retention = { retentionSeconds: 3_600, pruneEveryMs: 50 };

/** Rows of two hours ago. `publishedAt` is SQL. */
const insertOld = (count: number, publishedAt = `now() - interval '2 hours'`, parkedAt = 'null') =>
  sql(
    `insert into users.outbox (event_id, name, subject, data, created_at, published_at, parked_at)
     select gen_random_uuid(), 'user.created', n::text, '{"id":1,"version":1}', now() - interval '2 hours',
            ${publishedAt}, ${parkedAt}
     from generate_series(1, $1) as n`,
    [count],
  );
const exists = async (id: number) => (await sql('select id from users.outbox where id = $1', [id])).length === 1;
const remaining = async (): Promise<number> => (await sql('select count(*)::int as n from users.outbox'))[0].n;

test('prunes rows after the retention time, and none that wait', async () => {
  await insertOld(1);
  await insertOld(1, `now() - interval '30 minutes'`);
  await insertOld(1, 'null');
  const fake = fakeBroker((messages) => messages.map(() => 'failed'));
  relayOn(database, fake.broker, retention);
  await eventually(async () => expect(await remaining()).toBe(2));
  await sleep(300);
  expect(await sql('select published_at is null as waits from users.outbox order by id')).toEqual([
    { waits: false },
    { waits: true },
  ]);
});

test('prunes what lies behind rows that were published late, that wait or that are parked', async () => {
  await insertOld(1_500, 'now()');
  await insertOld(1_500, 'null');
  await insertOld(1_500, 'null', 'now()');
  await insertOld(3_500);
  const fake = fakeBroker((messages) => messages.map(() => 'failed'));
  relayOn(database, fake.broker, retention);
  await eventually(async () => expect(await remaining()).toBe(4_500), { timeoutMs: 5_000 });
  await sleep(300);
  expect(await remaining()).toBe(4_500);
});

test('goes on at the youngest row that it has seen', async () => {
  const fake = fakeBroker();
  relayOn(database, fake.broker, { retentionSeconds: 1, pruneEveryMs: 50 });
  for (let id = 1; id <= 3; id += 1) {
    await created(database, id);
    await eventually(async () => expect(await remaining()).toBe(1));
    await eventually(async () => expect(await remaining()).toBe(0), { timeoutMs: 3_000 });
  }
});

test('events go out without delay while a large number of rows is pruned', async () => {
  const count = fullScale ? 1_000_000 : 50_000;
  await insertOld(count);
  const fake = fakeBroker();
  relayOn(database, fake.broker, { ...retention, pruneEveryMs: 1_000 });
  await eventually(() => expect(fake.heartbeats.length).toBeGreaterThan(0));
  const startedAt = performance.now();
  const delays: number[] = [];
  for (let id = 1; await exists(count); id += 1) {
    const start = performance.now();
    await created(database, id);
    await eventually(() => expect(idsOf(fake.published.slice(-1))).toEqual([id]), { timeoutMs: 5_000, everyMs: 2 });
    delays.push(performance.now() - start);
    await sleep(10);
  }
  const seconds = (performance.now() - startedAt) / 1_000;
  const { length } = delays;
  const sorted = delays.toSorted((a, b) => a - b);
  process.stderr.write(
    `pruned ${count} rows in ${seconds.toFixed(1)} s; ${length} events meanwhile: p99 ${sorted[Math.floor(length * 0.99)]?.toFixed(0)} ms, max ${sorted.at(-1)?.toFixed(0)} ms\n`,
  );
  expect(length).toBeGreaterThan(10);
  expect(Math.max(...delays)).toBeLessThan((seconds * 1_000) / 2); // behind the pruning, they would wait for its end
  expect(fake.heartbeats.length).toBeGreaterThan(seconds / 2);
}, 600_000);
