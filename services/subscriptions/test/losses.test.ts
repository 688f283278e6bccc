// What is lost, set back, late, forged or ahead of the clock: nobody subscribes to an ended promotion beyond the lease, the
// loss is counted, and the projection heals by itself (docs/decisions/0015).
import { randomUUID } from 'node:crypto';
import { setTimeout as sleep } from 'node:timers/promises';
import { afterEach, beforeEach, describe, expect, test } from '@jest/globals';
import { withClient } from '@promopulse/shared/database/provision';
import { startService } from '@promopulse/shared/service';
import { client } from '@promopulse/testing/client';
import { eventually } from '@promopulse/testing/eventually';
import { fullScale } from '@promopulse/testing/scale';
import { amqpUrl } from '@promopulse/testing/servers';
import { type Channel, connect } from 'amqplib';
import { subscriptions } from '../src/service.ts';
import { promotionState, type Scene, startScene } from './owners.ts';

const leaseMs = 1_000;
const env = { FRESHNESS_LEASE_MS: String(leaseMs), RECONCILE_INTERVAL_MS: '3600000' };

let scene: Scene;
let nextUser = 0;
let stopHeartbeats: () => Promise<void>;

beforeEach(async () => {
  scene = await startScene(env);
  nextUser = 0;
  for (let id = 1; id <= 400; id += 1) scene.users.states.set(id, { id, version: 1 });
  await scene.announce('promotion.status_changed', promotionState(5, 'active', 2));
  await scene.fresh();
  stopHeartbeats = beatEvery(200);
  expect(await accepted(3)).toBe(3);
});
afterEach(async () => {
  await stopHeartbeats();
  await scene.close();
});

/** Heartbeats of the promotions relay, as long as the test runs. */
function beatEvery(ms: number): () => Promise<void> {
  const stop = new AbortController();
  const beating = (async () => {
    while (!stop.signal.aborted) {
      await scene.beat();
      await sleep(ms);
    }
  })();
  return async () => {
    stop.abort();
    await beating;
  };
}

/** Subscribes `count` new users. @returns how many were accepted */
async function accepted(count: number, api = scene.api, promotion = 5): Promise<number> {
  let sum = 0;
  for (let index = 0; index < count; index += 1) {
    nextUser += 1;
    const { status } = await api.post('/subscriptions', { user_id: nextUser, promotion_id: promotion });
    if (status === 201) sum += 1;
    else expect([422, 503]).toContain(status);
  }
  return sum;
}

async function withChannel<Result>(work: (channel: Channel) => Promise<Result>): Promise<Result> {
  const connection = await connect(amqpUrl(), { timeout: 5_000 });
  try {
    return await work(await connection.createChannel());
  } finally {
    await connection.close();
  }
}

const queue = () => `${scene.prefix}subscriptions.projections`;
const ended = promotionState(5, 'ended', 3);
const isEnded = () => eventually(async () => expect(await scene.cachedPromotion(5)).toMatchObject({ status: 'ended' }));

describe('messages that nobody received', () => {
  test.each(['deleted', 'purged'] as const)(
    'because the queue was %s while the service was stopped: the ended promotion accepts nobody after the start',
    async (loss) => {
      const { invalidations } = await scene.projection();
      await scene.stop();
      await scene.announce('promotion.status_changed', ended);
      await withChannel(
        (channel): Promise<unknown> =>
          loss === 'deleted' ? channel.deleteQueue(queue()) : channel.purgeQueue(queue()),
      );
      const restarted = await startService(subscriptions, scene.env);
      try {
        expect(await accepted(40, client(restarted.url))).toBe(0);
        await isEnded();
        await eventually(async () => {
          const { projections } = (await client(restarted.internalUrl).get('/health')).body;
          expect(projections.promotions.reconciled).toBe(true);
          expect(projections.promotions.invalidations).toBeGreaterThan(invalidations);
        });
        expect(await accepted(10, client(restarted.url))).toBe(0);
      } finally {
        await stopHeartbeats();
        await restarted.close();
      }
    },
  );

  test('because they were purged behind a slow one: the gap is noticed, counted and healed', async () => {
    const { invalidations } = await scene.projection();
    await scene.announce('promotion.created', promotionState(6, 'draft', 1));
    await eventually(async () => expect(await scene.cachedPromotion(6)).toBeDefined());
    await withClient(scene.env.DATABASE_URL as string, async (holder) => {
      await holder.query('begin');
      await holder.query('select from subscriptions.cached_promotions where promotion_id = 6 for update');
      // The consumer holds at most 200 messages; those behind them wait in the queue.
      for (let version = 2; version <= 211; version += 1)
        await scene.send('promotion.updated', promotionState(6, 'draft', version));
      await scene.announce('promotion.status_changed', ended);
      await withChannel((channel) => channel.purgeQueue(queue()));
      await holder.query('rollback');
    });
    await isEnded();
    await eventually(async () => expect((await scene.projection()).reconciled).toBe(true));
    expect((await scene.projection()).invalidations).toBeGreaterThan(invalidations);
    expect(await accepted(10)).toBe(0);
  });

  test('from a lead of the relay that has ended: the next lead makes the owner be read', async () => {
    scene.promotions.states.set(5, ended); // its event is lost with the former lead
    Object.assign(scene.promotions.publication, { lead: randomUUID(), number: 0 });
    await isEnded();
    expect(await accepted(10)).toBe(0);
  });
});

describe('an owner that was set back', () => {
  beforeEach(async () => {
    for (let version = 3; version <= 10; version += 1)
      await scene.announce('promotion.updated', promotionState(5, 'active', version));
    await eventually(async () => expect(await scene.cachedPromotion(5)).toEqual({ status: 'active', version: 10 }));
  });
  const setBack = () => scene.promotions.states.set(5, promotionState(5, 'active', 5));

  test('with a new epoch: an end with a lower version takes effect', async () => {
    setBack();
    Object.assign(scene.promotions.publication, { epoch: randomUUID(), lead: randomUUID(), number: 0 });
    scene.promotions.states.set(5, promotionState(5, 'ended', 6));
    await scene.send('promotion.status_changed', promotionState(5, 'ended', 6));
    await eventually(async () => expect(await scene.cachedPromotion(5)).toEqual({ status: 'ended', version: 6 }));
    expect(await accepted(10)).toBe(0);
  });

  test('without a new epoch: the position of its outbox shows it, and every row is compared', async () => {
    scene.promotions.publication.position = 50;
    await scene.fresh();
    await sleep(500); // a heartbeat with this position is applied
    scene.promotions.states.set(5, promotionState(5, 'draft', 1));
    scene.promotions.unchanged.add(5);
    scene.promotions.publication.position = 20;
    await eventually(async () => expect(await scene.cachedPromotion(5)).toEqual({ status: 'draft', version: 1 }));
    expect(await accepted(5)).toBe(0);
    await eventually(async () => expect((await scene.projection()).reconciled).toBe(true));
  });

  test('and that nothing shows but one event: the event is not confirmed as applied, and the owner is asked', async () => {
    scene.promotions.states.set(5, promotionState(5, 'ended', 6));
    await scene.send('promotion.status_changed', promotionState(5, 'ended', 6));
    await eventually(async () => expect(await scene.cachedPromotion(5)).toEqual({ status: 'ended', version: 6 }));
    expect(await accepted(10)).toBe(0);
  });

  test('does not let messages of its former life set the projection back', async () => {
    const former = { ...scene.promotions.publication };
    Object.assign(scene.promotions.publication, { epoch: randomUUID(), lead: randomUUID(), number: 0 });
    scene.promotions.states.set(5, promotionState(5, 'ended', 6));
    await eventually(async () => expect(await scene.cachedPromotion(5)).toEqual({ status: 'ended', version: 6 }));
    await eventually(async () => expect((await scene.projection()).reconciled).toBe(true));
    await scene.send('promotion.updated', promotionState(5, 'active', 11), {
      epoch: former.epoch,
      lead: former.lead,
      sequencenumber: former.number + 1,
    });
    await scene.announce('promotion.created', promotionState(7, 'draft', 1)); // the last in the queue
    await eventually(async () => expect(await scene.cachedPromotion(7)).toBeDefined());
    expect(await scene.cachedPromotion(5)).toEqual({ status: 'ended', version: 6 });
    expect(await accepted(5)).toBe(0);
  });

  test('and that has lost rows: they are marked and reported, and a row that returns is used again', async () => {
    await scene.announce('user.created', { id: 1, version: 1 });
    scene.users.states.delete(1);
    Object.assign(scene.users.publication, { epoch: randomUUID(), lead: randomUUID(), number: 0 });
    await scene.announce('user.created', { id: 401, version: 1 });
    await eventually(async () => {
      expect(await scene.projection('users')).toMatchObject({ reconciled: true, lost: 1, subscriptions_of_lost: 1 });
    });
    expect((await scene.subscribe(1, 5)).status).toBe(404);
    const summary = await scene.internal.get('/internal/projections/users');
    expect(summary.body).toEqual({ highest_id: 401, lost: 1, subscriptions_of_lost: 1 });
    scene.users.states.set(1, { id: 1, version: 1 });
    expect((await scene.subscribe(1, 5)).status).toBe(409);
    expect(await scene.projection('users')).toMatchObject({ lost: 0, subscriptions_of_lost: 0 });
  });
});

describe('the own database set back by seconds', () => {
  const save = () =>
    scene.sql(`create table public.saved_promotions as table subscriptions.cached_promotions;
               create table public.saved_sources as table subscriptions.projection_sources`);
  const setBack = () =>
    scene.sql(`delete from subscriptions.cached_promotions;
               insert into subscriptions.cached_promotions select * from public.saved_promotions;
               delete from subscriptions.projection_sources;
               insert into subscriptions.projection_sources select * from public.saved_sources`);

  test('and restarted: nothing is believed until it was reconciled', async () => {
    await save();
    await scene.announce('promotion.status_changed', ended);
    await isEnded();
    await scene.stop();
    await setBack();
    scene.promotions.mood = 'failing';
    const restarted = await startService(subscriptions, scene.env);
    try {
      expect(await accepted(30, client(restarted.url))).toBe(0);
      scene.promotions.mood = 'up';
      await isEnded();
    } finally {
      await stopHeartbeats();
      await restarted.close();
    }
  });

  test('without a restart: the next heartbeat notices it', async () => {
    await save();
    await scene.announce('promotion.status_changed', ended);
    await isEnded();
    await sleep(500);
    await setBack();
    await isEnded();
    expect(await accepted(5)).toBe(0);
  });

  test('without a restart, by less than the time between two heartbeats: its failover to another server shows it', async () => {
    await stopHeartbeats();
    await save();
    await scene.announce('promotion.status_changed', ended);
    await isEnded();
    await setBack();
    await scene.sql(`update subscriptions.publication set timeline = 'FFFFFFFF'`);
    await scene.sql(
      `select pg_terminate_backend(pid) from pg_stat_activity
       where application_name = 'promopulse-subscriptions' and datname = current_database()`,
    );
    stopHeartbeats = beatEvery(200);
    await isEnded();
    expect(await accepted(5)).toBe(0);
  });
});

describe('a heartbeat', () => {
  test('an hour ahead of the clock is refused once and counted once, and the lease still ends', async () => {
    const { invalidations } = await scene.projection();
    await stopHeartbeats();
    stopHeartbeats = async () => undefined;
    for (let count = 0; count < 5; count += 1) await scene.beat(-3_600);
    await eventually(async () => expect((await scene.projection()).invalidations).toBe(invalidations + 1));
    await eventually(async () => expect((await scene.projection()).reconciled).toBe(true));
    scene.promotions.states.set(5, ended); // its event is late
    await sleep(leaseMs + 100);
    expect(await accepted(10)).toBe(0);
    expect((await scene.projection()).invalidations).toBe(invalidations + 1);
    await scene.beat();
    await eventually(async () => expect((await scene.projection()).behind_seconds).toBeLessThan(5));
  });

  test('does not pass an event that is tried for longer than a minute', async () => {
    // 1 s: the lease; in full: longer than any clock that could forget the event.
    const lockedMs = fullScale ? 66_000 : 5_000;
    const locked = scene.sql(
      `do $$ begin perform from subscriptions.cached_promotions where promotion_id = 5 for update; perform pg_sleep(${lockedMs / 1000}); end $$`,
    );
    await sleep(200);
    await scene.announce('promotion.status_changed', ended);
    await sleep(leaseMs + 500);
    const until = performance.now() + lockedMs - 4_000;
    while (performance.now() < until) {
      expect(await accepted(1)).toBe(0);
      await sleep(500);
    }
    await locked;
    await isEnded();
    expect(await accepted(1)).toBe(0);
  }, 120_000);
});

describe('a forged message', () => {
  /** Publishes as somebody who has the password of a user of the broker. */
  const forge = (routingKey: string, event: object, userId?: string) =>
    withChannel(async (channel) => {
      const options = { messageId: randomUUID(), ...(userId && { userId }) };
      channel.publish(`${scene.prefix}promopulse.events`, routingKey, Buffer.from(JSON.stringify(event)), options);
      await channel.assertExchange(`${scene.prefix}promopulse.events`, 'topic', { durable: true }); // it was received
    });
  const eventOf = (name: string, data: { id: number }) => ({
    specversion: '1.0',
    id: randomUUID(),
    source: `/promopulse/${name.split('.')[0]}s`,
    type: `promopulse.${name}.v1`,
    subject: String(data.id),
    time: new Date().toISOString(),
    datacontenttype: 'application/json',
    data,
  });

  test('with the highest version of all changes nothing: the owner is asked', async () => {
    await scene.announce('promotion.status_changed', ended);
    await isEnded();
    await forge('promotion.updated', eventOf('promotion.updated', promotionState(5, 'active', 2_147_483_647)));
    await scene.announce('promotion.created', promotionState(8, 'draft', 1));
    await eventually(async () => expect(await scene.cachedPromotion(8)).toBeDefined());
    expect(await scene.cachedPromotion(5)).toEqual({ status: 'ended', version: 3 });
    expect(await accepted(5)).toBe(0);
  });

  test('that deletes a user, or vouches for the future, changes nothing', async () => {
    await forge('user.deleted', eventOf('user.deleted', { id: 399, version: 7 } as never));
    await forge('relay.heartbeat', {
      ...eventOf('relay.heartbeat', { id: 1 }),
      data: { service: 'promotions', watermark: new Date().toISOString(), position: 1 },
    });
    await scene.announce('promotion.created', promotionState(8, 'draft', 1));
    await eventually(async () => expect(await scene.cachedPromotion(8)).toBeDefined());
    expect((await scene.subscribe(399, 5)).status).toBe(201);
  });

  test('that tells everything right is undone by the next comparison with the owner', async () => {
    await scene.announce('promotion.status_changed', ended);
    await isEnded();
    await scene.send('promotion.updated', promotionState(5, 'active', 2_147_483_647));
    await eventually(async () => expect(await scene.cachedPromotion(5)).toMatchObject({ status: 'active' }));
    await scene.sql('update subscriptions.projection_sources set compared_at = null');
    await eventually(async () => expect(await scene.cachedPromotion(5)).toEqual({ status: 'ended', version: 3 }));
    expect(await accepted(5)).toBe(0);
  });
});
