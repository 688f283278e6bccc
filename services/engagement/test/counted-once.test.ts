// The promise: each event is counted once, whatever is repeated, shuffled or sent at once, and every sum agrees.
import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';
import { type Database, openDatabase } from '@promopulse/shared/database/database';
import { withClient } from '@promopulse/shared/database/provision';
import { databaseOptionsOf } from '@promopulse/shared/service/schema-definition';
import { fullScale } from '@promopulse/testing/scale';
import fc from 'fast-check';
import { recordEvents, settleEvents } from '../src/queries.ts';
import { engagement } from '../src/service.ts';
import { mergeStripes } from '../src/upkeep/stripe-store.ts';
import { at, event, type Scene, startScene } from './scene.ts';

let scene: Scene;
let service: Database;
beforeAll(async () => {
  scene = await startScene();
  service = await openDatabase(databaseOptionsOf(engagement, String(scene.env.DATABASE_URL)));
});
afterAll(async () => {
  await service.close();
  await scene.close();
});

type Event = ReturnType<typeof event>;

function shuffled<Item>(items: readonly Item[]): Item[] {
  return items
    .map((item) => ({ item, order: Math.random() }))
    .sort((a, b) => a.order - b.order)
    .map(({ item }) => item);
}

const types = ['view', 'click', 'redeem'];
const many = (length: number): Event[] =>
  Array.from({ length }, (_, index) =>
    event({ type: types[index % 3], visitor: `visitor-${index % 17}`, occurred_at: at(-index * 3_000_000) }),
  );

/** Sends a batch until each event has a receipt other than "retry", as a client does. @returns how many were accepted */
async function deliver(events: readonly Event[]): Promise<number> {
  const { status, body } = await scene.api.post('/events', events);
  if (status === 503) return await deliver(events);
  expect(status).toBe(200);
  const statuses = body.receipts.map((receipt: { status: string }) => receipt.status);
  const again = events.filter((_, index) => statuses[index] === 'retry');
  const accepted = statuses.filter((each: string) => each === 'accepted').length;
  return again.length > 0 ? accepted + (await deliver(again)) : accepted;
}

describe('the same events', () => {
  test('20 times at once are each accepted once', async () => {
    const before = await scene.balance();
    const batch = many(100);
    const accepted = await Promise.all(Array.from({ length: 20 }, () => deliver(batch)));
    expect(accepted.reduce((sum, each) => sum + each)).toBe(100);
    expect((await scene.balance()).accepted).toBe(before.accepted + 100);
  });

  test('in other orders from several writers at once end in no deadlock, and are each accepted once', async () => {
    const before = await scene.balance();
    const all = many(100);
    const rounds = fullScale ? 50 : 10;
    const writer = async (): Promise<number> => {
      let accepted = 0;
      for (let round = 0; round < rounds; round += 1) accepted += await deliver(shuffled(all).slice(0, 60));
      return accepted;
    };
    const accepted = (await Promise.all([writer(), writer(), writer(), writer()])).reduce((sum, each) => sum + each);
    const rest = await deliver(all);
    expect(accepted + rest).toBe(100);
    expect((await scene.balance()).accepted).toBe(before.accepted + 100);
    expect(await scene.wrongUniques()).toEqual([]);
  });
});

test('many events of the same visitors from several writers at once count each visitor once, ever and on each day', async () => {
  const rounds = fullScale ? 30 : 8;
  const writer = async (): Promise<void> => {
    for (let round = 0; round < rounds; round += 1) {
      const events = Array.from({ length: 100 }, () =>
        event({
          promotion_id: 1 + Math.floor(Math.random() * 2),
          visitor: `seen-${Math.floor(Math.random() * 40 * (round + 1))}`,
          occurred_at: at(-5_000_000 - Math.random() * 6.8 * 86_400_000),
        }),
      );
      expect(await deliver(events)).toBe(100);
    }
  };
  await Promise.all([writer(), writer(), writer(), writer(), writer(), writer()]);
  expect(await scene.wrongUniques()).toEqual([]);
});

test('a visitor who was seen on the day holds up no batch', async () => {
  const view = () => event({ visitor: 'busy' });
  expect(await deliver([view()])).toBe(1);
  const held = await service.connect();
  try {
    await held.query({ text: 'begin' });
    const subject = `substr(sha256('visitor busy'), 1, 16)`;
    const locked = await held.query({ text: `select 1 from first_seen where subject = ${subject} for update` });
    expect(locked.length).toBe(1);
    expect(await scene.statuses([view(), view()])).toEqual(['accepted', 'accepted']);
  } finally {
    held.end();
  }
});

test('batches and merges in one stripe that wait for each other without a time-out meet in no deadlock', async () => {
  const before = await scene.balance();
  const rounds = fullScale ? 60 : 15;
  const work = (use: (database: Database) => Promise<unknown>): Promise<void> =>
    withClient(String(scene.env.DATABASE_URL), async (client) => {
      await client.query('set search_path = engagement');
      // A connection without lock_timeout: PostgreSQL ends a deadlock after a second, by an error.
      const run = async ({ text }: { text: string }, values: readonly unknown[]) =>
        (await client.query(text.replace(/1 \+ pg_backend_pid\(\) % \d+/g, '1'), [...values])).rows;
      for (let round = 0; round < rounds; round += 1) await use({ write: run, run } as unknown as Database);
    });
  const options = {
    client: 'deadlock',
    leaseSeconds: 60,
    consulted: { promotions: [], missingPromotions: [], missingUsers: [] },
  };
  const known = many(100);
  const batch = () =>
    shuffled([...known, ...many(100)])
      .slice(0, 100)
      .map((each, position) => ({ position, event: { ...each, occurred_at: new Date(each.occurred_at) } }));
  const writers = Array.from({ length: 5 }, () => work((database) => recordEvents(database, batch(), options)));
  const settlers = Array.from({ length: 2 }, () =>
    work((database) =>
      settleEvents(database, 'other', {
        unaccepted: batch().map(({ event }) => ({ event, verdict: 'late' as const })),
        invalid: 1,
      }),
    ),
  );
  const merging = Array.from({ length: rounds }, () => mergeStripes(service, new AbortController().signal));
  await Promise.all([...writers, ...settlers, ...merging]);
  const after = await scene.balance();
  expect(after.late - before.late).toBe(2 * rounds * 100);
  expect(await scene.wrongUniques()).toEqual([]);
}, 60_000);

const item = fc.oneof(
  {
    weight: 4,
    arbitrary: fc.record({
      id: fc.constantFrom('p1', 'p2', 'p3', 'p4', 'p5'),
      type: fc.constantFrom(...types, 'like'),
      promotion_id: fc.constantFrom(1, 1, 2, 3, 99, 0, 1e300),
      user_id: fc.constantFrom(1, 2, 4, undefined),
      visitor: fc.constantFrom(undefined, undefined, 'v', '👋', 'a\0b', '\ud800', ''),
      age: fc.constantFrom(1_000, 3_700_000, 90_000_000, 700_000_000, -3_600_000),
    }),
  },
  {
    weight: 1,
    arbitrary: fc
      .anything({ withNullPrototype: false, maxDepth: 2 })
      .map((value) => JSON.parse(JSON.stringify(value) ?? 'null')),
  },
);

test('any batch has one receipt for each item, and adds them to the sums', async () => {
  await fc.assert(
    fc.asyncProperty(fc.array(item, { minLength: 1, maxLength: 100 }), async (items) => {
      const before = await scene.balance();
      const events = items.map((each) => {
        if (typeof each !== 'object' || each === null || !('age' in each)) return each;
        const { age, ...fields } = each as { age: number };
        return { ...fields, occurred_at: at(-age) };
      });
      const receipts = await scene.send(events);
      const count = (status: string) => receipts.filter((receipt) => receipt.status === status).length;
      const after = await scene.balance();
      for (const status of ['accepted', 'duplicate', 'late', 'rejected'])
        expect([status, after[status] - before[status]]).toEqual([status, count(status)]);
      expect(after.received - before.received).toBe(items.length - count('retry'));
    }),
    { numRuns: fullScale ? 500 : 60 },
  );
});
