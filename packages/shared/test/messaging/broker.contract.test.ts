// What the mesh may rely on from its transport, whichever it is. Also true under at-least-once: repetitions are
// allowed everywhere, losses and wrong answers nowhere.
import { setTimeout as sleep } from 'node:timers/promises';
import { afterEach, beforeEach, describe, expect, test } from '@jest/globals';
import { type Consumer, type IncomingMessage, Unprocessable } from '../../src/messaging/broker.ts';
import {
  connected,
  memoryTransport,
  message,
  messages,
  publishUntilConfirmed,
  queue,
  rabbitTransport,
  secondQueue,
  type Transport,
  Unreachable,
  until,
  waitForDeadLetters,
} from './transports.ts';

const transports: { name: string; start: () => Transport | Promise<Transport> }[] = [
  { name: 'RabbitMQ', start: rabbitTransport },
  { name: 'memory', start: memoryTransport },
];

function consumer(handle: Consumer['handle'], overrides: Partial<Consumer> = {}): Consumer {
  return { queue, bindings: ['promotion.*'], handle, ...overrides };
}

describe.each(transports)('a broker over $name', ({ start }) => {
  let transport: Transport;

  beforeEach(async () => {
    transport = await start();
  });
  afterEach(() => transport.end());

  test('delivers a message to every queue whose pattern matches, and to no other', async () => {
    const broker = transport.connect();
    const first: string[] = [];
    const second: string[] = [];
    broker.consume(consumer(async ({ routingKey }) => void first.push(routingKey), { bindings: ['a.*', 'b.#'] }));
    broker.consume(
      consumer(async ({ routingKey }) => void second.push(routingKey), { queue: secondQueue, bindings: ['#.end'] }),
    );
    await connected(broker);
    const keys = ['a.x', 'a.x.y', 'a', 'b', 'b.x', 'b.x.y.end', 'a.end', 'end', 'c.x'];
    const outcomes = await broker.publish(keys.map((routingKey) => message({ routingKey })));
    expect(outcomes).toEqual(keys.map((key) => (['a.x.y', 'a', 'c.x'].includes(key) ? 'unroutable' : 'confirmed')));
    await until(() => first.length >= 5 && second.length >= 3, 'all delivered');
    expect([...new Set(first)].sort()).toEqual(['a.end', 'a.x', 'b', 'b.x', 'b.x.y.end']);
    expect([...new Set(second)].sort()).toEqual(['a.end', 'b.x.y.end', 'end']);
  });

  test('hands over what was published, word for word', async () => {
    const broker = transport.connect();
    const got: IncomingMessage[] = [];
    broker.consume(consumer(async (incoming) => void got.push(incoming)));
    await connected(broker);
    const body = JSON.stringify({ name: 'Ünï¢ødé ✓ \u0000', long: 'x'.repeat(200_000) });
    const sent = message({ id: 'an-id', body });
    await publishUntilConfirmed(broker, [sent]);
    await until(() => got.length > 0, 'delivered');
    expect(got[0]).toEqual({ id: 'an-id', routingKey: 'promotion.created', body, redelivered: false });
  });

  test('reports an unroutable message only when it was mandatory', async () => {
    const broker = transport.connect();
    broker.consume(consumer(async () => undefined));
    await connected(broker);
    const batch = [
      message({ routingKey: 'nobody.listens', mandatory: true }),
      message(),
      message({ routingKey: 'nobody.listens', mandatory: false }),
    ];
    expect(await broker.publish(batch)).toEqual(['unroutable', 'confirmed', 'confirmed']);
    expect(await broker.publish([])).toEqual([]);
  });

  test('reports each of two unroutable messages of the same id', async () => {
    const broker = transport.connect();
    await connected(broker);
    const lost = message();
    const routed = message({ id: lost.id, mandatory: false });
    expect(await broker.publish([lost, lost, routed, lost])).toEqual([
      'unroutable',
      'unroutable',
      'confirmed',
      'unroutable',
    ]);
  });

  test('has each message handled at least once with many in flight from several senders', async () => {
    const senders = [transport.connect(), transport.connect(), transport.connect()];
    const receiver = transport.connect();
    const handled = new Set<string>();
    const handle = async ({ id }: IncomingMessage): Promise<void> => {
      await sleep(Math.random() * 3);
      handled.add(id);
    };
    receiver.consume(consumer(handle));
    receiver.consume(consumer(handle)); // competing for the same queue
    await connected(receiver, ...senders);
    const batches = senders.map(() => messages(1_000));
    await Promise.all(senders.map((sender, index) => publishUntilConfirmed(sender, batches[index] ?? [])));
    await until(() => handled.size === 3_000, 'all handled');
    expect(batches.flat().every(({ id }) => handled.has(id))).toBe(true);
  });

  test('tries a failing message again after a pause, then sets it aside, and applies the 999 others', async () => {
    const broker = transport.connect();
    const applied = new Set<string>();
    const attempts: number[] = [];
    const batch = messages(1_000);
    const poison = batch[500]?.id;
    broker.consume(
      consumer(async ({ id }) => {
        if (id !== poison) return void applied.add(id);
        attempts.push(performance.now());
        throw Object.assign(new Error('value (alice@example.com) is bad'), { code: 'E_BAD' });
      }),
    );
    await connected(broker);
    await publishUntilConfirmed(broker, batch);
    await until(() => applied.size === 999 && attempts.length >= 3, 'others applied, poison tried');
    const letters = await transport.openDeadLetters();
    const list = await waitForDeadLetters(letters, 1);
    expect(list).toEqual([
      {
        id: poison,
        queue,
        routingKey: 'promotion.created',
        reason: 'Error E_BAD',
        attempts: 3,
        failedAt: expect.stringMatching(/^\d{4}-\d\d-\d\dT[\d:.]+Z$/),
        body: '{}',
      },
    ]);
    expect(attempts).toHaveLength(3);
    const [first = 0, second = 0, third = 0] = attempts;
    expect(second - first).toBeGreaterThanOrEqual(9); // half of 20 ms at least, and a timer may be a little early
    expect(third - second).toBeGreaterThanOrEqual(18);
    await letters.close();
  });

  test('sets a message nobody can read aside after one attempt, having told its consumer first', async () => {
    const broker = transport.connect();
    const letters = await transport.openDeadLetters();
    let attempts = 0;
    const told: { id: string; reason: string; lettersThen: number }[] = [];
    broker.consume(
      consumer(
        async () => {
          attempts += 1;
          throw new Unprocessable('what the body says', { cause: new SyntaxError('"alice@example.com" is not JSON') });
        },
        {
          onDeadLetter: async ({ id }, reason) => {
            told.push({ id, reason, lettersThen: (await letters.list()).length });
          },
        },
      ),
    );
    await connected(broker);
    const bad = message({ body: 'alice@example.com' });
    await publishUntilConfirmed(broker, [bad]);
    const list = await waitForDeadLetters(letters, 1);
    expect(list).toMatchObject([{ id: bad.id, reason: 'Unprocessable <- SyntaxError', attempts: 1, body: bad.body }]);
    expect(attempts).toBe(1);
    expect(told).toEqual([{ id: bad.id, reason: 'Unprocessable <- SyntaxError', lettersThen: 0 }]);
    await letters.close();
  });

  test('sets a message aside also when its consumer cannot be told', async () => {
    const broker = transport.connect();
    const fail = async (): Promise<void> => {
      throw new Error('broken');
    };
    broker.consume(consumer(fail, { onDeadLetter: fail }));
    await connected(broker);
    await publishUntilConfirmed(broker, [message()]);
    const letters = await transport.openDeadLetters();
    expect(await waitForDeadLetters(letters, 1)).toMatchObject([{ reason: 'Error', attempts: 3 }]);
    await letters.close();
  });

  test('keeps trying for as long as an error is transient, here 20 times', async () => {
    const broker = transport.connect();
    let attempts = 0;
    let applied = false;
    broker.consume(
      consumer(async () => {
        attempts += 1;
        if (attempts <= 20) throw new Unreachable('the database is away');
        applied = true;
      }),
    );
    await connected(broker);
    await publishUntilConfirmed(broker, [message()]);
    await until(() => applied, 'applied in the end');
    const letters = await transport.openDeadLetters();
    expect(await letters.list()).toEqual([]);
    await letters.close();
  });

  test('tells the sender that a message was applied, after it was and not before', async () => {
    const sender = transport.connect();
    const receiver = transport.connect();
    const gate = Promise.withResolvers<void>();
    let applied = false;
    receiver.consume(
      consumer(async ({ body }) => {
        if (body === 'bad') throw new Unprocessable('bad');
        await gate.promise;
        applied = true;
      }),
    );
    const replies: { id: string; applied: boolean }[] = [];
    sender.onReply((id) => void replies.push({ id, applied }));
    await connected(sender, receiver);
    const replyTo = sender.replyAddress();
    expect(replyTo).toEqual(expect.any(String));
    const asked = message({ replyTo });
    const publishing = publishUntilConfirmed(sender, [asked, message(), message({ replyTo, body: 'bad' })]);
    await sleep(200);
    expect(replies).toEqual([]);
    gate.resolve();
    await publishing;
    await until(() => replies.length > 0, 'told');
    await sleep(100);
    expect(replies).toEqual([{ id: asked.id, applied: true }]);
  });

  test('has no more messages in hand than the prefetch allows', async () => {
    const broker = transport.connect();
    let inHand = 0;
    let most = 0;
    let done = 0;
    broker.consume(
      consumer(
        async () => {
          inHand += 1;
          most = Math.max(most, inHand);
          await sleep(5);
          inHand -= 1;
          done += 1;
        },
        { prefetch: 3 },
      ),
    );
    await connected(broker);
    await publishUntilConfirmed(broker, messages(60));
    await until(() => done >= 60, 'all done');
    expect(most).toBe(3);
  });

  test('lets handlers in hand finish when it closes, and does not deliver again what they applied', async () => {
    const sender = transport.connect();
    const closing = transport.connect();
    const started = new Set<string>();
    const finished = new Set<string>();
    closing.consume(
      consumer(async ({ id }) => {
        started.add(id);
        await sleep(300);
        finished.add(id);
      }),
    );
    await connected(sender, closing);
    const publishing = sender.publish(messages(5));
    await until(() => started.size === 5, 'in hand');
    await closing.close();
    expect(finished.size).toBe(5);
    expect(await publishing).toEqual(Array(5).fill('confirmed'));
    const later = transport.connect();
    const again: string[] = [];
    later.consume(consumer(async ({ id }) => void again.push(id)));
    await connected(later);
    await sleep(300);
    expect(again).toEqual([]);
  });

  test('delivers a message again that was in hand or waiting for its next attempt when its consumer was cut off', async () => {
    const sender = transport.connect({ confirmTimeoutMs: 2_000 });
    const first = transport.connect();
    const seen: string[] = [];
    first.consume(
      consumer(async ({ id, body }) => {
        seen.push(id);
        if (body === 'fails') throw new Unreachable('later');
        await sleep(1_500);
      }),
    );
    await connected(sender, first);
    const held = message();
    const failing = message({ body: 'fails' });
    const publishing = publishUntilConfirmed(sender, [held, failing]);
    await until(() => seen.includes(held.id) && seen.filter((id) => id === failing.id).length > 1, 'both in hand');
    const before = performance.now();
    await first.close(0);
    expect(performance.now() - before).toBeLessThan(1_400);
    const second = transport.connect();
    const again = new Set<string>();
    second.consume(consumer(async ({ id }) => void again.add(id)));
    await until(() => again.has(held.id) && again.has(failing.id), 'delivered again');
    await publishing;
  });

  test('keeps dead letters through any number of looks, and puts back or throws away the chosen ones', async () => {
    const broker = transport.connect();
    const applied: IncomingMessage[] = [];
    let healed = false;
    broker.consume(
      consumer(async (incoming) => {
        if (!healed) throw new Unprocessable('not yet');
        applied.push(incoming);
      }),
    );
    await connected(broker);
    const batch = messages(6, { routingKey: 'promotion.updated' });
    const ids = batch.map(({ id }) => id);
    await publishUntilConfirmed(broker, batch);
    const letters = await transport.openDeadLetters();
    const listed = async (): Promise<string[]> => (await letters.list()).map(({ id }) => id).sort();
    const [one] = await waitForDeadLetters(letters, 6);
    for (let look = 0; look < 25; look += 1) expect(await listed()).toEqual([...ids].sort());
    expect((await letters.list()).find(({ id }) => id === one?.id)).toEqual(one); // also when and why are kept

    const [back = '', gone = '', ...rest] = ids;
    healed = true;
    expect(await letters.replay([back, 'unknown'])).toBe(1);
    await until(() => applied.length > 0, 'put back and applied');
    expect(applied[0]).toMatchObject({ id: back, routingKey: 'promotion.updated', body: '{}' });
    expect(await letters.discard([gone])).toBe(1);
    expect(await listed()).toEqual([...rest].sort());
    expect(await letters.replay()).toBe(4);
    await until(() => applied.length >= 5, 'all put back');
    expect(await listed()).toEqual([]);
    expect(new Set(applied.map(({ id }) => id))).toEqual(new Set([back, ...rest]));
    expect(await letters.discard()).toBe(0);
    await letters.close();
  });

  test('sets a replayed message aside again when it still fails', async () => {
    const broker = transport.connect();
    let attempts = 0;
    broker.consume(
      consumer(async () => {
        attempts += 1;
        throw new Unprocessable('still');
      }),
    );
    await connected(broker);
    const bad = message({ routingKey: 'promotion.updated' });
    await publishUntilConfirmed(broker, [bad]);
    const letters = await transport.openDeadLetters();
    for (const round of [1, 2, 3]) {
      await until(() => attempts === round, `attempt ${round}`);
      const list = await waitForDeadLetters(letters, 1);
      expect(list).toMatchObject([{ id: bad.id, routingKey: 'promotion.updated' }]);
      if (round < 3) expect(await letters.replay()).toBe(1);
    }
    await letters.close();
  });

  test('leaves nothing behind after close, and takes nothing more', async () => {
    const resources = (): string[] =>
      process.getActiveResourcesInfo().filter((kind) => ['TCPSocketWrap', 'Timeout'].includes(kind));
    const before = resources().length;
    const broker = transport.connect();
    let handled = 0;
    broker.consume(
      consumer(async () => {
        handled += 1;
      }),
    );
    await connected(broker);
    await publishUntilConfirmed(broker, messages(10));
    await until(() => handled >= 10, 'handled');
    await Promise.all([broker.close(), broker.close()]);
    expect(broker.isConnected()).toBe(false);
    expect(broker.replyAddress()).toBeUndefined();
    expect(await broker.publish([message()])).toEqual(['failed']);
    broker.consume(consumer(async () => undefined));
    expect(broker.isConnected()).toBe(false);
    await until(() => resources().length <= before, 'sockets and timers are gone');
  });
});
