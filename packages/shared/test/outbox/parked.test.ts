// Events that no queue takes: they are parked, hold up nothing, and go out when a queue appears.
import { setTimeout as sleep } from 'node:timers/promises';
import { beforeEach, expect, test } from '@jest/globals';
import { eventually } from '@promopulse/testing/eventually';
import { fullScale } from '@promopulse/testing/scale';
import { parseEvent } from '../../src/contracts/index.ts';
import type { Database } from '../../src/database/database.ts';
import { created, fakeBroker, idsOf, relayOn, sql, useOutbox, waiting } from './outbox-fixture.ts';

const outbox = useOutbox();
let database: Database;
beforeEach(() => {
  database = outbox.database;
});

/** `user.deleted` has a queue only once `hasQueue` is set. */
function brokerWithoutQueue() {
  const state = { hasQueue: false, attempts: 0 };
  const fake = fakeBroker((messages) =>
    messages.map(({ body }) => {
      const isOrphan = parseEvent(body).name === 'user.deleted' && !state.hasQueue;
      if (isOrphan) state.attempts += 1;
      return isOrphan ? 'unroutable' : 'confirmed';
    }),
  );
  return { ...fake, state };
}

const deleteUsers = (count: number) =>
  sql(
    `insert into users.outbox (event_id, name, subject, data, created_at)
     select gen_random_uuid(), 'user.deleted', n::text, jsonb_build_object('id', n, 'version', 2), now() - interval '1 hour'
     from generate_series(1, $1) as n`,
    [count],
  );
const parked = async (): Promise<number> =>
  (await sql('select count(*)::int as n from users.outbox where parked_at is not null and published_at is null'))[0].n;
test('500 events without a queue are parked: later events and heartbeats go out at once', async () => {
  await deleteUsers(500);
  const { broker, published, heartbeats, state } = brokerWithoutQueue();
  const relay = relayOn(database, broker, { heartbeatMs: 100 });
  await eventually(async () => expect(await parked()).toBe(500), { timeoutMs: 2_000 });
  await created(database, 1_001);
  await eventually(() => expect(idsOf(published)).toEqual([1_001]), { timeoutMs: 1_000 });
  const [{ now }] = await sql('select now()');
  await eventually(() => {
    const data = heartbeats.at(-1)?.data as { watermark: string } | undefined;
    expect(new Date(data?.watermark ?? 0).getTime()).toBeGreaterThanOrEqual(now.getTime());
  });
  expect(await relay.backlog()).toEqual({ waiting: 0, oldest_seconds: 0, parked: 500 });
  // One of them is tried at each heartbeat.
  const attempts = state.attempts;
  await sleep(1_000);
  expect(state.attempts - attempts).toBeGreaterThan(2);
  expect(state.attempts - attempts).toBeLessThan(15);
});

test('all parked events go out when a queue appears, in order and once each, and delay no other event', async () => {
  const count = fullScale ? 100_000 : 2_000;
  await deleteUsers(count);
  const { broker, published, state } = brokerWithoutQueue();
  const relay = relayOn(database, broker, { heartbeatMs: 100 });
  await eventually(async () => expect(await parked()).toBe(count), { timeoutMs: 60_000 });
  state.hasQueue = true;
  const startedAt = performance.now();
  const delays: number[] = [];
  let seen = 0;
  let deletions = 0;
  /** Looks at what was published since the last call. @returns whether the event of this user is among it */
  const sees = (id: number): boolean => {
    const added = published.slice(seen);
    seen += added.length;
    deletions += added.filter(({ name }) => name === 'user.deleted').length;
    return added.some(({ data }) => (data as { id: number }).id === id);
  };
  for (let id = count + 1; deletions < count; id += 1) {
    const start = performance.now();
    await created(database, id);
    await eventually(() => expect(sees(id)).toBe(true), { timeoutMs: 5_000, everyMs: 5 });
    delays.push(performance.now() - start);
  }
  const ms = (value: number): string => `${value.toFixed(0)} ms`;
  process.stderr.write(
    `published ${count} parked events in ${ms(performance.now() - startedAt)}; ${delays.length} other events took at most ${ms(Math.max(...delays))}\n`,
  );
  expect(Math.max(...delays)).toBeLessThan(1_000);
  const deleted = published.filter(({ name }) => name === 'user.deleted');
  expect(idsOf(deleted)).toEqual(Array.from({ length: count }, (_, index) => index + 1));
  expect(published.map(({ envelope }) => envelope.sequencenumber)).toEqual(
    published.map(({ envelope }) => envelope.sequencenumber).sort((a, b) => Number(a) - Number(b)),
  );
  await eventually(async () => expect([await waiting(), await parked()]).toEqual([0, 0]));
  expect(await relay.backlog()).toMatchObject({ parked: 0 });
}, 120_000);

test('parked events outlive their relay', async () => {
  await deleteUsers(3);
  const { broker, published, state } = brokerWithoutQueue();
  const first = relayOn(database, broker);
  await eventually(async () => expect(await parked()).toBe(3));
  await first.stop(1_000);
  state.hasQueue = true;
  relayOn(database, broker);
  await eventually(() => expect(idsOf(published)).toEqual([1, 2, 3]));
});
