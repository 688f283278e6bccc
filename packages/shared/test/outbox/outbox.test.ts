import { randomUUID } from 'node:crypto';
import { setTimeout as sleep } from 'node:timers/promises';
import { beforeEach, describe, expect, test } from '@jest/globals';
import { eventually } from '@promopulse/testing/eventually';
import { amqpUrl, deleteTopology, uniquePrefix } from '@promopulse/testing/servers';
import { startTcpProxy } from '@promopulse/testing/tcp-proxy';
import { parseEvent, type ReceivedEvent } from '../../src/contracts/index.ts';
import { queues } from '../../src/contracts/queues.ts';
import type { Database } from '../../src/database/database.ts';
import type { Broker, PublishOutcome } from '../../src/messaging/broker.ts';
import { connectRabbit } from '../../src/messaging/rabbitmq/broker.ts';
import { recordEvent } from '../../src/outbox/outbox.ts';
import { brokerOptions } from '../../src/service/service-broker.ts';
import {
  cause,
  cleanUp,
  created as createdOn,
  fakeBroker,
  idsOf,
  killLeaders,
  leaders,
  open,
  relayOn,
  silent,
  sql,
  useOutbox,
  versionsOf,
  waiting,
} from './outbox-fixture.ts';

const outbox = useOutbox();
let database: Database;
beforeEach(() => {
  database = outbox.database;
});

const created = (id: number, version = 1) => createdOn(database, id, version);

describe('recording an event', () => {
  test('commits with the change it is about', async () => {
    await database.transaction(async (em) => {
      await em.getConnection().execute('insert into things (id) values (1)', [], 'all', em.getTransactionContext());
      await recordEvent(
        em,
        'user.created',
        { id: 1, version: 1 },
        { ...cause, replyTo: 'an-address', eventId: randomUUID() },
      );
      expect(await sql('select id from users.outbox')).toEqual([]);
    });
    expect(await sql('select id from users.things')).toEqual([{ id: 1 }]);
    expect(await sql('select name, subject, data, request_id, reply_to, published_at from users.outbox')).toEqual([
      {
        name: 'user.created',
        subject: '1',
        data: { id: 1, version: 1 },
        request_id: 'request-1',
        reply_to: 'an-address',
        published_at: null,
      },
    ]);
  });

  test('leaves nothing behind when the transaction is rolled back', async () => {
    const work = database.transaction(async (em) => {
      await recordEvent(em, 'user.created', { id: 1, version: 1 }, cause);
      throw new Error('no');
    });
    await expect(work).rejects.toThrow('no');
    expect(await sql('select id from users.outbox')).toEqual([]);
  });

  test.each([
    ['an id that is none', { id: 0, version: 1 }],
    ['no version', { id: 1 }],
    ['text for a number', { id: '1', version: 1 }],
  ])('with data that break the contract (%s) fails, and its change is rolled back', async (_what, data) => {
    const work = database.transaction(async (em) => {
      await em.getConnection().execute('insert into things (id) values (1)', [], 'all', em.getTransactionContext());
      await recordEvent(em, 'user.created', data as never, cause);
    });
    await expect(work).rejects.toMatchObject({ name: 'ZodError' });
    expect(await sql('select id from users.things')).toEqual([]);
    expect(await sql('select id from users.outbox')).toEqual([]);
  });

  test('leaves out fields that the contract does not name', async () => {
    const data = { id: 1, version: 1, email: 'ada@example.com' };
    await database.transaction((em) => recordEvent(em, 'user.created', data, cause));
    expect(await sql('select data from users.outbox')).toEqual([{ data: { id: 1, version: 1 } }]);
  });
});

describe('the relay', () => {
  test('publishes what was recorded, as a CloudEvent, and marks it', async () => {
    const fake = fakeBroker();
    relayOn(database, fake.broker);
    await created(7);
    await eventually(async () => expect(await waiting()).toBe(0));
    const [row] = await sql('select event_id, created_at from users.outbox');
    expect(fake.published).toEqual([
      {
        name: 'user.created',
        data: { id: 7, version: 1 },
        envelope: {
          specversion: '1.0',
          id: row.event_id,
          source: '/promopulse/users',
          type: 'promopulse.user.created.v1',
          subject: '7',
          time: row.created_at.toISOString(),
          datacontenttype: 'application/json',
          dataschema: 'urn:promopulse:schema:user.created:1',
          requestid: 'request-1',
          epoch: expect.any(String),
          lead: expect.any(String),
          sequencenumber: 1,
          data: { id: 7, version: 1 },
        },
      },
    ]);
  });

  test('is woken by a commit, and finds by polling what another process has committed', async () => {
    const fake = fakeBroker();
    relayOn(database, fake.broker, { pollMs: 20_000 });
    await eventually(() => expect(fake.heartbeats).toHaveLength(1));
    await sleep(100);
    await created(1);
    await eventually(() => expect(idsOf(fake.published)).toEqual([1]), { timeoutMs: 2_000 });

    const polling = fakeBroker();
    const other = await open();
    await killLeaders();
    relayOn(other, polling.broker, { pollMs: 100 });
    await eventually(async () => expect(await leaders()).toHaveLength(1));
    await sql(`insert into users.outbox (event_id, name, subject, data) values ($1, 'user.created', '2', $2)`, [
      randomUUID(),
      { id: 2, version: 1 },
    ]);
    await eventually(() => expect([...idsOf(polling.published), ...idsOf(fake.published)]).toContain(2), {
      timeoutMs: 25_000,
    });
  }, 40_000);

  test('publishes in the order of the rows, whatever the size of a batch', async () => {
    for (let version = 1; version <= 25; version++) await created(1, version);
    const fake = fakeBroker();
    relayOn(database, fake.broker, { batchSize: 10 });
    await eventually(() => expect(fake.published).toHaveLength(25));
    expect(versionsOf(fake.published)).toEqual(Array.from({ length: 25 }, (_, n) => n + 1));
  });

  test('publishes what was failed again later, and the rest of the batch once', async () => {
    let fails = true;
    const fake = fakeBroker((messages) =>
      messages.map(({ body }) => (fails && parseEvent(body).envelope.subject === '2' ? 'failed' : 'confirmed')),
    );
    const relay = relayOn(database, fake.broker);
    await database.transaction(async (em) => {
      for (const id of [1, 2, 3]) await recordEvent(em, 'user.created', { id, version: 1 }, cause);
    });
    await eventually(async () => expect(await waiting()).toBe(1));
    await sleep(500);
    expect(idsOf(fake.published)).toEqual([1, 3]);
    const backlog = await relay.backlog();
    expect(backlog.waiting).toBe(1);
    expect(backlog.oldest_seconds).toBeGreaterThan(0.4);
    fails = false;
    await eventually(async () => expect(await waiting()).toBe(0));
    expect(idsOf(fake.published)).toEqual([1, 3, 2]);
    expect(await relay.backlog()).toEqual({ waiting: 0, oldest_seconds: 0, parked: 0 });
  });

  test('prefetches while a batch is being confirmed, and publishes what failed before the rows that follow it', async () => {
    for (let version = 1; version <= 12; version += 1) await created(1, version);
    const sent: number[][] = [];
    let hasFailed = false;
    const { broker } = fakeBroker((messages) => {
      const versions = versionsOf(messages.map(({ body }) => parseEvent(body)));
      sent.push(versions);
      if (!versions.includes(5) || hasFailed) return messages.map(() => 'confirmed');
      hasFailed = true;
      return versions.map((version) => (version === 5 ? 'failed' : 'confirmed'));
    });
    relayOn(database, broker, { batchSize: 3 });
    await eventually(async () => expect(await waiting()).toBe(0));
    expect(sent).toEqual([[1, 2, 3], [4, 5, 6], [5, 7, 8], [9, 10, 11], [12]]);
  });

  test('publishes less and less often while nothing is confirmed, also while commits continue', async () => {
    let batches = 0;
    const fake = fakeBroker((messages) => {
      batches += 1;
      return messages.map(() => 'failed');
    });
    relayOn(database, fake.broker, { pollMs: 50 });
    const end = Date.now() + 1_500;
    for (let n = 1; Date.now() < end; n += 1) {
      await created(n);
      await sleep(20);
    }
    expect(batches).toBeGreaterThanOrEqual(3);
    expect(batches).toBeLessThan(10); // 30 at a constant interval
  });

  test('publishes again what was confirmed when it dies before the mark', async () => {
    let crash = true;
    const fake = fakeBroker(async (messages) => {
      if (crash) await killLeaders();
      crash = false;
      return messages.map(() => 'confirmed');
    });
    relayOn(database, fake.broker);
    await created(1);
    await eventually(async () => expect(await waiting()).toBe(0));
    expect(idsOf(fake.published)).toEqual([1, 1]);
    expect(new Set(fake.published.map(({ envelope }) => envelope.id)).size).toBe(1);
  });
});

describe('a relay that stops', () => {
  test('publishes everything committed until then', async () => {
    const fake = fakeBroker(async (messages) => {
      await sleep(20);
      return messages.map(() => 'confirmed');
    });
    const relay = relayOn(database, fake.broker, { batchSize: 20 });
    await eventually(async () => expect(await leaders()).toHaveLength(1));
    for (let done = 0; done < 200; done += 20) {
      await Promise.all(Array.from({ length: 20 }, (_, n) => created(done + n + 1)));
    }
    await relay.stop(10_000);
    expect(await waiting()).toBe(0);
    expect(fake.published).toHaveLength(200);
    expect(await leaders()).toEqual([]);
  });

  test('stops at its deadline when nothing is confirmed, and releases the lead', async () => {
    const fake = fakeBroker((messages) => messages.map(() => 'failed'));
    const relay = relayOn(database, fake.broker);
    await created(1);
    await sleep(2_500); // until its pauses have grown
    const start = performance.now();
    await relay.stop(500);
    expect(performance.now() - start).toBeLessThan(2_200);
    await eventually(async () => expect(await leaders()).toEqual([]));
    expect(await waiting()).toBe(1);
  });

  test('stops at its deadline when a publish is stuck, and releases the lead', async () => {
    const fake = fakeBroker(async (messages) => {
      await sleep(2_500);
      return messages.map(() => 'failed');
    });
    const relay = relayOn(database, fake.broker);
    await created(1);
    await sleep(300);
    const start = performance.now();
    await relay.stop(500);
    expect(performance.now() - start).toBeLessThan(2_200);
    await eventually(async () => expect(await leaders()).toEqual([]));
  });

  test('stops at once while it does not lead', async () => {
    relayOn(database, fakeBroker().broker);
    await eventually(async () => expect(await leaders()).toHaveLength(1));
    const second = relayOn(await open(), fakeBroker().broker);
    await sleep(200);
    const start = performance.now();
    await second.stop(5_000);
    expect(performance.now() - start).toBeLessThan(1_000);
  });
});

describe('two relays', () => {
  test('of one schema never lead together: a thousand versions of one aggregate go out once each, in order', async () => {
    const order: number[] = [];
    const publishers = new Set<string>();
    for (const name of ['one', 'two']) {
      const on = name === 'one' ? database : await open();
      const { broker } = fakeBroker((messages) => {
        publishers.add(name);
        order.push(...versionsOf(messages.map(({ body }) => parseEvent(body))));
        return messages.map(() => 'confirmed');
      });
      relayOn(on, broker, { batchSize: 50 });
    }
    for (let version = 1; version <= 1_000; version += 10) {
      await database.transaction(async (em) => {
        for (let n = version; n < version + 10; n++) {
          await recordEvent(em, 'user.created', { id: 1, version: n }, cause);
        }
      });
      if (version % 100 === 1) expect((await leaders()).length).toBeLessThanOrEqual(1);
    }
    await eventually(() => expect(order.length).toBeGreaterThanOrEqual(1_000));
    expect(order).toEqual(Array.from({ length: 1_000 }, (_, n) => n + 1));
    expect(publishers.size).toBe(1);
  });

  test('take over from each other within three seconds when the leader dies, and lose nothing', async () => {
    const fakes = [fakeBroker(), fakeBroker()];
    const published = () => fakes.flatMap((fake) => idsOf(fake.published));
    for (const fake of fakes) relayOn(await open(), fake.broker);
    for (let id = 1; id <= 5; id++) {
      await eventually(async () => expect(await leaders()).toHaveLength(1));
      await killLeaders();
      const start = performance.now();
      await created(id);
      await eventually(() => expect(published()).toContain(id));
      expect(performance.now() - start).toBeLessThan(3_000);
    }
    await eventually(async () => expect(await waiting()).toBe(0));
    expect(new Set(published())).toEqual(new Set([1, 2, 3, 4, 5]));
  });

  test('publish every version while leaders die repeatedly, and in order after each death', async () => {
    const runs: number[][] = [];
    for (const on of [database, await open()]) {
      const { broker } = fakeBroker(async (messages) => {
        runs.push(versionsOf(messages.map(({ body }) => parseEvent(body))));
        await sleep(5);
        return messages.map(() => 'confirmed');
      });
      relayOn(on, broker, { batchSize: 20 });
    }
    let writing = true;
    const killing = (async () => {
      while (writing) {
        await sleep(500);
        await killLeaders();
      }
    })();
    for (let version = 1; version <= 200; version++) {
      await created(1, version);
      await sleep(5);
    }
    await eventually(async () => expect(await waiting()).toBe(0));
    writing = false;
    await killing;
    for (const run of runs) expect(run).toEqual([...run].sort((a, b) => a - b));
    expect(new Set(runs.flat())).toEqual(new Set(Array.from({ length: 200 }, (_, n) => n + 1)));
  });
});

describe('the heartbeat', () => {
  const watermarkOf = (event: ReceivedEvent) => {
    expect(event.data).toMatchObject({ service: 'users' });
    return new Date((event.data as { watermark: string }).watermark);
  };

  test('is sent at about the configured interval, also without events', async () => {
    const fake = fakeBroker();
    relayOn(database, fake.broker, { heartbeatMs: 200 });
    await sleep(1_600);
    expect(fake.heartbeats.length).toBeGreaterThanOrEqual(4);
    expect(fake.heartbeats.length).toBeLessThanOrEqual(10);
    const [{ now }] = await sql('select now()');
    const latest = watermarkOf(fake.heartbeats.at(-1) as ReceivedEvent);
    expect(now.getTime() - latest.getTime()).toBeLessThan(1_000);
  });

  test('never has a watermark later than the commit of an unpublished event', async () => {
    const publishedAt = new Map<string, number>();
    const claims: { watermark: number; sentAt: number }[] = [];
    let step = 0;
    const fake = fakeBroker(async (messages) => {
      await sleep(15);
      const outcomes = messages.map((): PublishOutcome => (Math.random() < 0.2 ? 'failed' : 'confirmed'));
      messages.forEach(({ id }, index) => {
        if (outcomes[index] === 'confirmed') publishedAt.set(id, step++);
      });
      return outcomes;
    });
    const broker: Broker = {
      ...fake.broker,
      publish: async (messages) => {
        const event = parseEvent(String(messages[0]?.body));
        if (event.name === 'relay.heartbeat') claims.push({ watermark: watermarkOf(event).getTime(), sentAt: step });
        return fake.broker.publish(messages);
      },
    };
    relayOn(database, broker, { heartbeatMs: 10, batchSize: 5, pollMs: 10 });

    const commits: { eventId: string; before: number }[] = [];
    const end = Date.now() + 2_000;
    await Promise.all(
      [0, 5, 50, 400].map(async (transactionMs, writer) => {
        while (Date.now() < end) {
          const eventId = randomUUID();
          await database.transaction(async (em) => {
            await recordEvent(em, 'user.created', { id: writer + 1, version: 1 }, { ...cause, eventId });
            await sleep(transactionMs);
          });
          const [{ at }] = await sql('select clock_timestamp() as at');
          commits.push({ eventId, before: at.getTime() });
          await sleep(5);
        }
      }),
    );
    await eventually(async () => expect(await waiting()).toBe(0));
    expect(claims.length).toBeGreaterThan(20);
    const broken = claims.flatMap(({ watermark, sentAt }) =>
      commits.filter(({ eventId, before }) => before < watermark && Number(publishedAt.get(eventId)) >= sentAt),
    );
    expect(broken).toEqual([]);
  });

  test('is not sent while the backlog is too long to be inspected, and is sent again after it', async () => {
    await sql(`insert into users.outbox (event_id, name, subject, data)
      select gen_random_uuid(), 'user.created', n::text, jsonb_build_object('id', n, 'version', 1)
      from generate_series(1, 10000) as n`);
    let broken = true;
    const fake = fakeBroker((messages) => messages.map(() => (broken ? 'failed' : 'confirmed')));
    const relay = relayOn(database, fake.broker, { heartbeatMs: 20, pollMs: 10 });
    await eventually(async () => expect(await leaders()).toHaveLength(1));
    await sleep(300);
    expect(fake.heartbeats).toEqual([]);
    expect(await relay.backlog()).toMatchObject({ waiting: 10_000, oldest_seconds: expect.any(Number) });
    broken = false;
    await eventually(() => expect(fake.heartbeats.length).toBeGreaterThan(0));
    await eventually(async () => expect(await waiting()).toBe(0));
  });

  test('has a watermark no later than the oldest waiting row', async () => {
    await created(1);
    const [{ created_at }] = await sql('select created_at from users.outbox');
    const fake = fakeBroker((messages) => messages.map(() => 'failed'));
    relayOn(database, fake.broker, { heartbeatMs: 50 });
    await eventually(() => expect(fake.heartbeats.length).toBeGreaterThan(3));
    for (const heartbeat of fake.heartbeats) {
      expect(watermarkOf(heartbeat).getTime()).toBeLessThanOrEqual(created_at.getTime());
    }
  });
});

describe('over RabbitMQ', () => {
  let prefix: string;
  beforeEach(() => {
    prefix = uniquePrefix();
    cleanUp.push(() => deleteTopology(prefix));
  });

  function rabbit(url = amqpUrl()): Broker {
    const broker = connectRabbit({ url }, brokerOptions(prefix, silent));
    cleanUp.push(() => broker.close(1_000));
    return broker;
  }
  function listen(broker: Broker): ReceivedEvent[] {
    const received: ReceivedEvent[] = [];
    broker.consume({
      queue: 'subscriptions.projections',
      bindings: queues['subscriptions.projections'],
      handle: async ({ body }) => {
        const event = parseEvent(body);
        if (event.name !== 'relay.heartbeat') received.push(event);
      },
    });
    return received;
  }

  test('recorded events arrive, each aggregate in order, and are marked', async () => {
    const listener = rabbit();
    const received = listen(listener);
    const broker = rabbit();
    // If the queue is bound during a batch, its first messages are unroutable and follow in a later batch.
    await eventually(() => expect([broker.isConnected(), listener.isConnected()]).toEqual([true, true]));
    relayOn(database, broker);
    const versions = Array.from({ length: 30 }, (_, n) => n + 1);
    const ids = Array.from({ length: 10 }, (_, n) => n + 1);
    await Promise.all(
      ids.map(async (id) => {
        for (const version of versions) await created(id, version);
      }),
    );
    await eventually(() => expect(received).toHaveLength(300));
    for (const id of ids) {
      const ofOne = received.filter(({ envelope }) => envelope.subject === String(id));
      expect(versionsOf(ofOne)).toEqual(versions);
    }
    await eventually(async () => expect(await waiting()).toBe(0));
  });

  test('an unroutable event waits until a queue is bound', async () => {
    const broker = rabbit();
    await eventually(() => expect(broker.isConnected()).toBe(true));
    relayOn(database, broker);
    await created(1);
    await sleep(700);
    expect(await waiting()).toBe(1);
    const received = listen(broker);
    await eventually(() => expect(idsOf(received)).toEqual([1]));
    await eventually(async () => expect(await waiting()).toBe(0));
  });

  test('an event that has no consumer is published and marked', async () => {
    const broker = rabbit();
    relayOn(database, broker);
    const none = { count: 0, unique: 0 };
    const data = { id: 1, version: 1, view: none, click: none, redeem: none, counted_at: '2026-06-01T00:00:00Z' };
    await database.transaction((em) => recordEvent(em, 'engagement.counted', data, cause));
    await eventually(async () => expect(await waiting()).toBe(0));
  });

  test('all events are published once a broker that was down at the start is up', async () => {
    const proxy = await startTcpProxy(amqpUrl());
    cleanUp.push(() => proxy.close());
    proxy.limit(0);
    const received = listen(rabbit());
    relayOn(database, rabbit(proxy.through(amqpUrl())));
    await Promise.all(Array.from({ length: 20 }, (_, n) => created(n + 1)));
    await sleep(1_000);
    expect(await waiting()).toBe(20);
    proxy.limit(undefined);
    await eventually(async () => expect(await waiting()).toBe(0), { timeoutMs: 15_000 });
    await eventually(() => expect(new Set(idsOf(received)).size).toBe(20));
  });
});
