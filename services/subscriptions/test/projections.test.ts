// The projections converge on their owners' last state, whatever happens to the events in transit.
import { randomUUID } from 'node:crypto';
import { setTimeout as sleep } from 'node:timers/promises';
import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';
import type { PromotionStatus } from '@promopulse/shared/contracts/promotions';
import { openRabbitDeadLetters } from '@promopulse/shared/messaging/rabbitmq/dead-letters';
import { applyEvents } from '@promopulse/shared/projections/rows/store';
import { eventually } from '@promopulse/testing/eventually';
import { amqpUrl } from '@promopulse/testing/servers';
import fc from 'fast-check';
import { projections } from '../src/active-check/projections.ts';
import { type BareDatabase, openBareDatabase } from './bare-database.ts';
import { promotionState, type Scene, startScene } from './owners.ts';

let scene: Scene;
beforeAll(async () => {
  scene = await startScene({ RECONCILE_INTERVAL_MS: '3600000' });
});
afterAll(() => scene.close());

const statusHistory: PromotionStatus[] = ['draft', 'draft', 'active', 'active', 'ended'];
const statusOf = (version: number) => statusHistory[version - 1] as PromotionStatus;

describe('events', () => {
  test('each delivered five times in any order lead to the state of the highest version', async () => {
    const ids = [1001, 1002, 1003, 1004];
    const events = ids.flatMap((id) =>
      statusHistory.flatMap((status, index) => Array.from({ length: 5 }, () => promotionState(id, status, index + 1))),
    );
    const shuffled = fc.sample(fc.shuffledSubarray(events, { minLength: events.length }), { numRuns: 1, seed: 42 })[0];
    await Promise.all((shuffled ?? []).map((state) => scene.announce('promotion.updated', state)));
    await eventually(async () => {
      for (const id of ids) expect(await scene.cachedPromotion(id)).toEqual({ status: 'ended', version: 5 });
    });
  });

  test('in any permutation with repetitions end at the highest version that came', async () => {
    let id = 2000;
    await fc.assert(
      fc.asyncProperty(fc.array(fc.integer({ min: 1, max: 5 }), { minLength: 1, maxLength: 12 }), async (versions) => {
        id += 1;
        const mine = id;
        for (const version of versions)
          await scene.announce('promotion.updated', promotionState(mine, statusOf(version), version));
        const highest = Math.max(...versions);
        await eventually(async () =>
          expect(await scene.cachedPromotion(mine)).toEqual({ status: statusOf(highest), version: highest }),
        );
      }),
      { numRuns: 40, seed: 7 },
    );
  });

  test('of an earlier release, without a field that is not used here, are applied', async () => {
    await scene.announce('promotion.created', { id: 1050, status: 'active', version: 2 } as never);
    await eventually(async () => expect(await scene.cachedPromotion(1050)).toEqual({ status: 'active', version: 2 }));
  });

  test('replayed from the beginning change nothing', async () => {
    for (const [index, status] of statusHistory.entries()) {
      await scene.announce('promotion.updated', promotionState(1001, status, index + 1));
    }
    await scene.announce('promotion.created', promotionState(1099, 'draft', 1)); // the last in the queue
    await eventually(async () => expect(await scene.cachedPromotion(1099)).toBeDefined());
    expect(await scene.cachedPromotion(1001)).toEqual({ status: 'ended', version: 5 });
  });
});

describe('the upsert behind all of them', () => {
  let bare: BareDatabase;
  beforeAll(async () => {
    bare = await openBareDatabase();
  });
  afterAll(() => bare?.drop());

  const chunksOf = <Item>(size: number, items: Item[]): Item[][] =>
    Array.from({ length: Math.ceil(items.length / size) }, (_, index) => items.slice(index * size, (index + 1) * size));

  /** Some of the versions, repeated, in any order; then all of them, in any order. */
  const lossyThenReplayed = fc
    .tuple(
      fc.array(fc.integer({ min: 1, max: statusHistory.length }), { maxLength: 8 }),
      fc.shuffledSubarray([1, 2, 3, 4, 5], { minLength: statusHistory.length }),
    )
    .map(([some, all]) => [...some, ...all]);

  test('moves on exactly when a higher version comes: 1,000 permutations with repetitions, losses and a replay', async () => {
    const stories = fc.sample(lossyThenReplayed, { numRuns: 1_000, seed: 29 });
    const rows = stories.map(() => ({ version: 0, doubted: false }));
    const epoch = randomUUID();
    const longest = Math.max(...stories.map((story) => story.length));
    for (let step = 0; step < longest; step += 1) {
      for (const indexes of chunksOf(100, [...stories.keys()])) {
        const arriving = indexes.filter((index) => stories[index]?.[step] !== undefined);
        const versions = arriving.map((index) => stories[index]?.[step] as number);
        const expected = arriving.map((index, place) => {
          const row = rows[index] as (typeof rows)[number];
          const version = versions[place] as number;
          row.doubted ||= version < row.version;
          const isApplied = version > row.version ? !row.doubted : version === row.version;
          row.version = Math.max(row.version, version);
          return isApplied ? 'applied' : 'superseded';
        });
        const users = arriving.map((index, place) => ({
          id: 10_000 + index,
          version: versions[place] as number,
          deleted: false,
        }));
        const promotions = users.map((user) => ({ ...user, status: statusOf(user.version) }));
        const outcomes = [
          await applyEvents(bare.database, projections.owners.promotions, promotions, epoch),
          await applyEvents(bare.database, projections.owners.users, users, epoch),
        ];
        expect(outcomes).toEqual([expected, expected]);
      }
    }
    const stored = await bare.database.run(
      {
        text: `select status, p.version, u.version as user_version, count(*)::int as rows
       from cached_promotions p join known_users u on u.user_id = p.promotion_id
       group by 1, 2, 3`,
      },
      [],
    );
    expect(stored).toEqual([{ status: 'ended', version: 5, user_version: 5, rows: 1_000 }]);
  });
});

describe('a poison message', () => {
  test('is dead-lettered with a reason, the others are applied, and the source is invalidated until reconciled', async () => {
    scene.promotions.states.set(3000, promotionState(3000, 'active', 2));
    const before = await invalidations();
    const id = randomUUID();
    await scene.announceRaw({ id, routingKey: 'promotion.updated', body: '{"not":"an event"}' });
    await scene.announce('promotion.created', promotionState(3001, 'draft', 1));
    await eventually(async () => expect(await scene.cachedPromotion(3001)).toBeDefined());
    const deadLetters = await openRabbitDeadLetters({ url: amqpUrl() }, { prefix: scene.prefix });
    try {
      await eventually(async () => {
        const deadLetter = (await deadLetters.list()).find((each) => each.id === id);
        expect(deadLetter).toMatchObject({
          queue: 'subscriptions.projections',
          attempts: 1,
          routingKey: 'promotion.updated',
        });
        expect(deadLetter?.reason).toContain('Unprocessable');
      });
      await eventually(async () =>
        expect(await scene.internal.get('/health')).toMatchObject({
          status: 200,
          body: { status: 'degraded', degraded: ['1 dead letter'], dead_letters: 1 },
        }),
      );
      await deadLetters.discard([id]);
    } finally {
      await deadLetters.close();
    }
    expect(await invalidations()).toBe(before + 1);
    // The reconciliation that follows brings what the lost event would have said.
    await eventually(async () => expect(await scene.cachedPromotion(3000)).toEqual({ status: 'active', version: 2 }));
    await eventually(async () => expect((await sourceState()).reconciled).toBe(true));
  });

  async function sourceState() {
    return (await scene.internal.get('/health')).body.projections.promotions;
  }
  async function invalidations(): Promise<number> {
    return (await sourceState())?.invalidations ?? 0;
  }
});

describe('a heartbeat', () => {
  test('is not applied while an event before it is still to be applied', async () => {
    // A lock on the row holds the event's upsert up; the heartbeat behind it must wait.
    await scene.announce('promotion.created', promotionState(4000, 'draft', 1));
    await eventually(async () => expect(await scene.cachedPromotion(4000)).toBeDefined());
    const watermark = async () =>
      Number(
        (await scene.sql(`select watermark from subscriptions.projection_sources where service = 'promotions'`))[0]
          ?.watermark ?? 0,
      );
    await scene.beat(3600);
    await eventually(async () => expect(await watermark()).toBeGreaterThan(0));
    const old = await watermark();

    const locked = scene.sql(
      `do $$ begin perform from subscriptions.cached_promotions where promotion_id = 4000 for update; perform pg_sleep(0.8); end $$`,
    );
    await new Promise((resolve) => setTimeout(resolve, 200));
    await scene.announce('promotion.status_changed', promotionState(4000, 'active', 2));
    await scene.beat();
    await new Promise((resolve) => setTimeout(resolve, 200));
    expect(await watermark()).toBe(old);
    await locked;
    await eventually(async () => expect(await watermark()).toBeGreaterThan(old));
    expect(await scene.cachedPromotion(4000)).toEqual({ status: 'active', version: 2 });
  });

  test("of another service, even one's own, is ignored", async () => {
    await scene.announce('relay.heartbeat', { service: 'subscriptions', watermark: new Date().toISOString() });
    await scene.announce('promotion.created', promotionState(4100, 'draft', 1));
    await eventually(async () => expect(await scene.cachedPromotion(4100)).toBeDefined());
    const rows = await scene.sql('select service from subscriptions.projection_sources order by service');
    expect(rows.map((row) => row.service)).toEqual(['promotions', 'users']);
  });
});

describe('an event that cannot be applied', () => {
  test('holds up no other, and how far behind the projection is shows in its health', async () => {
    const health = async () => (await scene.internal.get('/health')).body.projections.promotions;
    await scene.announce('promotion.created', promotionState(5000, 'draft', 1));
    await scene.beat();
    await eventually(async () => expect(await scene.cachedPromotion(5000)).toBeDefined());
    const { invalidations } = await health();
    const locked = scene.sql(
      'do $$ begin perform from subscriptions.cached_promotions where promotion_id = 5000 for update; perform pg_sleep(5); end $$',
    );
    await sleep(200);
    await scene.announce('promotion.status_changed', promotionState(5000, 'active', 2));
    const others = Array.from({ length: 100 }, (_, index) => 5001 + index);
    for (const id of others) await scene.announce('promotion.created', promotionState(id, 'draft', 1));
    await scene.beat();
    await eventually(async () => {
      for (const id of others) expect(await scene.cachedPromotion(id)).toBeDefined();
      expect((await health()).behind_seconds).toBeGreaterThan(2);
    });
    expect(await scene.cachedPromotion(5000)).toEqual({ status: 'draft', version: 1 });
    await locked;
    await eventually(async () => expect(await scene.cachedPromotion(5000)).toEqual({ status: 'active', version: 2 }));
    await scene.beat();
    await eventually(async () => expect((await health()).behind_seconds).toBeLessThan(2));
    expect((await health()).invalidations).toBe(invalidations);
  });
});

describe('a service that stops', () => {
  test('does not wait for a snapshot to be read to its end', async () => {
    const other = await startScene();
    for (let id = 1; id <= 10_000; id += 1) other.promotions.states.set(id, promotionState(id, 'active', 2));
    other.promotions.mood = 400;
    await other.sql('delete from subscriptions.projection_sources');
    await eventually(async () => {
      expect((await other.sql('select from subscriptions.cached_promotions limit 1')).length).toBe(1);
    });
    const start = performance.now();
    await other.close();
    expect(performance.now() - start).toBeLessThan(4_000); // twenty pages take eight seconds
  });
});

describe('an empty projection', () => {
  test('is filled from the owners, page by page, at the start', async () => {
    const other = await startScene();
    try {
      for (let id = 1; id <= 1_203; id += 1) {
        other.promotions.states.set(id, promotionState(id, 'active', 2));
        other.users.states.set(id, { id, version: 1 });
      }
      await other.sql(`delete from subscriptions.projection_sources`);
      await eventually(async () => {
        const [counted] = await other.sql(
          `select (select count(*) from subscriptions.cached_promotions)::int as promotions,
                  (select count(*) from subscriptions.known_users)::int as users`,
        );
        expect(counted).toEqual({ promotions: 1_203, users: 1_203 });
      });
    } finally {
      await other.close();
    }
  });
});
