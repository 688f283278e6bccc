// The contract of both transports. Delivery is at least once: duplicates are allowed everywhere, losses and wrong
// outcomes nowhere.
import { setTimeout as sleep } from 'node:timers/promises';
import { afterEach, beforeEach, describe, expect, test } from '@jest/globals';
import { eventually } from '@promopulse/testing/eventually';
import { z } from 'zod';
import { type Broker, type Consumer, type IncomingMessage, Unprocessable } from '../../src/messaging/broker.ts';
import {
  collectingLog,
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

  test('delivers no heartbeat to a queue of all events, and to one that names heartbeats also those', async () => {
    const broker = transport.connect();
    const events: string[] = [];
    const both: string[] = [];
    broker.consume(consumer(async ({ routingKey }) => void events.push(routingKey), { bindings: ['#', 'relay.*'] }));
    broker.consume(
      consumer(async ({ routingKey }) => void both.push(routingKey), {
        queue: secondQueue,
        bindings: ['promotion.*', 'relay.heartbeat'],
      }),
    );
    await connected(broker);
    const keys = ['promotion.created', 'relay.heartbeat', 'promotion.updated', 'relay.heartbeat', 'promotion.ended'];
    const outcomes = await broker.publish(keys.map((routingKey) => message({ routingKey })));
    expect(outcomes).toEqual(keys.map(() => 'confirmed'));
    await until(() => events.length >= 3 && both.length >= 5, 'all delivered');
    await sleep(100);
    expect(both).toEqual(keys); // in the order in which they were sent
    expect(events).toEqual(keys.filter((key) => key !== 'relay.heartbeat'));
  });

  test('reports a mandatory heartbeat that no queue names as unroutable, also beside a queue of all events', async () => {
    const broker = transport.connect();
    broker.consume(consumer(async () => undefined, { bindings: ['#'] }));
    await connected(broker);
    const batch = [true, false].map((mandatory) => message({ routingKey: 'relay.heartbeat', mandatory }));
    expect(await broker.publish(batch)).toEqual(['unroutable', 'confirmed']);
  });

  test('delivers exactly what was published', async () => {
    const broker = transport.connect();
    const got: IncomingMessage[] = [];
    broker.consume(consumer(async (incoming) => void got.push(incoming)));
    await connected(broker);
    const body = JSON.stringify({ name: 'Ünï¢ødé ✓ \u0000', long: 'x'.repeat(200_000) });
    const sent = message({ id: 'an-id', body });
    await publishUntilConfirmed(broker, [sent]);
    await until(() => got.length > 0, 'delivered');
    expect(got[0]).toMatchObject({ id: 'an-id', routingKey: 'promotion.created', body, redelivered: false });
    expect(got[0]?.userId).toBe(broker.userName());
  });

  test('reports an unroutable message only when it was mandatory', async () => {
    const broker = transport.connect();
    broker.consume(consumer(async () => undefined));
    await connected(broker);
    const batch = [
      message({ routingKey: 'no.queue', mandatory: true }),
      message(),
      message({ routingKey: 'no.queue', mandatory: false }),
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

  test('has each message handled at least once, with many in flight from several senders', async () => {
    const senders = [transport.connect(), transport.connect(), transport.connect()];
    const receiver = transport.connect();
    const handled = new Set<string>();
    const handle = async ({ id }: IncomingMessage): Promise<void> => {
      await sleep(Math.random() * 3);
      handled.add(id);
    };
    receiver.consume(consumer(handle));
    receiver.consume(consumer(handle)); // two consumers compete for the same queue
    await connected(receiver, ...senders);
    const batches = senders.map(() => messages(1_000));
    await Promise.all(senders.map((sender, index) => publishUntilConfirmed(sender, batches[index] ?? [])));
    await until(() => handled.size === 3_000, 'all handled');
    expect(batches.flat().every(({ id }) => handled.has(id))).toBe(true);
  });

  test('retries a failing message with pauses, then dead-letters it, and applies the 999 others', async () => {
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
    await until(
      () => applied.size === 999 && attempts.length >= 3,
      'the others are applied, the poison message has failed',
    );
    const deadLetters = await transport.openDeadLetters();
    const list = await waitForDeadLetters(deadLetters, 1);
    expect(list).toEqual([
      {
        id: poison,
        queue,
        routingKey: 'promotion.created',
        reason: 'Error E_BAD',
        attempts: 3,
        failedAt: expect.stringMatching(/^\d{4}-\d\d-\d\dT[\d:.]+Z$/),
        publishedBy: broker.userName(),
        body: '{}',
      },
    ]);
    expect(attempts).toHaveLength(3);
    const [first = 0, second = 0, third = 0] = attempts;
    expect(second - first).toBeGreaterThanOrEqual(9); // at least half of 20 ms, and a timer may fire a little early
    expect(third - second).toBeGreaterThanOrEqual(18);
    await deadLetters.close();
  });

  test('dead-letters an unprocessable message after one attempt, and notifies its consumer before', async () => {
    const broker = transport.connect();
    const deadLetters = await transport.openDeadLetters();
    let attempts = 0;
    const notified: { id: string; reason: string; deadLetters: number }[] = [];
    broker.consume(
      consumer(
        async () => {
          attempts += 1;
          throw new Unprocessable('what the body says', { cause: new SyntaxError('"alice@example.com" is not JSON') });
        },
        {
          onDeadLetter: async ({ id }, reason) => {
            notified.push({ id, reason, deadLetters: (await deadLetters.list()).length });
          },
        },
      ),
    );
    await connected(broker);
    const bad = message({ body: 'alice@example.com' });
    await publishUntilConfirmed(broker, [bad]);
    const list = await waitForDeadLetters(deadLetters, 1);
    expect(list).toMatchObject([{ id: bad.id, reason: 'Unprocessable <- SyntaxError', attempts: 1, body: bad.body }]);
    expect(attempts).toBe(1);
    expect(notified).toEqual([{ id: bad.id, reason: 'Unprocessable <- SyntaxError', deadLetters: 0 }]);
    await deadLetters.close();
  });

  test('a dead letter names the first three fields that break a rule, and the rules, but no value', async () => {
    const broker = transport.connect();
    const event = z.object({
      data: z.object({
        status: z.enum(['active', 'ended']),
        prices: z.array(z.number()),
        to: z.record(z.email(), z.int()),
      }),
    });
    const handle = async ({ body }: IncomingMessage): Promise<void> => {
      try {
        event.parse(JSON.parse(body));
      } catch (cause) {
        throw new Unprocessable('not an event', { cause });
      }
    };
    broker.consume(consumer(handle));
    await connected(broker);
    const bodies = {
      one: { data: { status: 'alice@example.com', prices: [1], to: {} } },
      many: { data: { status: 1, prices: ['x', 2, null, 'alice'], to: {} } },
      key: { data: { status: 'ended', prices: [], to: { 'alice@example.com': 'alice' } } },
      root: 'alice@example.com',
    };
    await publishUntilConfirmed(
      broker,
      Object.entries(bodies).map(([id, body]) => message({ id, body: JSON.stringify(body) })),
    );
    const deadLetters = await transport.openDeadLetters();
    const list = await waitForDeadLetters(deadLetters, 4);
    expect(Object.fromEntries(list.map(({ id, reason }) => [id, reason]))).toEqual({
      one: 'Unprocessable <- ZodError data.status invalid_value',
      many:
        'Unprocessable <- ZodError ' +
        'data.status invalid_value, data.prices.0 invalid_type, data.prices.2 invalid_type',
      key: 'Unprocessable <- ZodError data.to.(not shown) invalid_type',
      root: 'Unprocessable <- ZodError (root) invalid_type',
    });
    await deadLetters.close();
  });

  test('dead-letters a message also when notifying its consumer fails', async () => {
    const broker = transport.connect();
    const fail = async (): Promise<void> => {
      throw new Error('broken');
    };
    broker.consume(consumer(fail, { onDeadLetter: fail }));
    await connected(broker);
    await publishUntilConfirmed(broker, [message()]);
    const deadLetters = await transport.openDeadLetters();
    expect(await waitForDeadLetters(deadLetters, 1)).toMatchObject([{ reason: 'Error', attempts: 3 }]);
    await deadLetters.close();
  });

  test('retries for as long as an error is transient, here 20 times', async () => {
    const broker = transport.connect();
    let attempts = 0;
    let applied = false;
    broker.consume(
      consumer(async () => {
        attempts += 1;
        if (attempts <= 20) throw new Unreachable('the database is down');
        applied = true;
      }),
    );
    await connected(broker);
    await publishUntilConfirmed(broker, [message()]);
    await until(() => applied, 'applied');
    const deadLetters = await transport.openDeadLetters();
    expect(await deadLetters.list()).toEqual([]);
    await deadLetters.close();
  });

  test('replies to the sender after a message was applied, and not before', async () => {
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
    const replies: { id: string; from: string; applied: boolean }[] = [];
    sender.onReply((id, from) => void replies.push({ id, from, applied }));
    await connected(sender, receiver);
    const replyTo = sender.replyAddress();
    expect(replyTo).toEqual(expect.any(String));
    const withReply = message({ replyTo });
    const publishing = publishUntilConfirmed(sender, [withReply, message(), message({ replyTo, body: 'bad' })]);
    await sleep(200);
    expect(replies).toEqual([]);
    gate.resolve();
    await publishing;
    await until(() => replies.length > 0, 'replied');
    await sleep(100);
    expect(replies).toEqual([{ id: withReply.id, from: queue, applied: true }]);
  });

  test('handles no more messages at once than the prefetch allows', async () => {
    const broker = transport.connect();
    let handling = 0;
    let maxHandling = 0;
    let done = 0;
    broker.consume(
      consumer(
        async () => {
          handling += 1;
          maxHandling = Math.max(maxHandling, handling);
          await sleep(5);
          handling -= 1;
          done += 1;
        },
        { prefetch: 3 },
      ),
    );
    await connected(broker);
    await publishUntilConfirmed(broker, messages(60));
    await until(() => done >= 60, 'all done');
    expect(maxHandling).toBe(3);
  });

  test('lets running handlers finish when it closes, and does not redeliver what they applied', async () => {
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
    await until(() => started.size === 5, 'all handlers are running');
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

  test('redelivers a message that was handled or waiting for its next attempt when its consumer was cut off', async () => {
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
    await until(
      () => seen.includes(held.id) && seen.filter((id) => id === failing.id).length > 1,
      'one is handled, one has failed twice',
    );
    const before = performance.now();
    await first.close(0);
    expect(performance.now() - before).toBeLessThan(1_400);
    const second = transport.connect();
    const again = new Set<string>();
    second.consume(consumer(async ({ id }) => void again.add(id)));
    await until(() => again.has(held.id) && again.has(failing.id), 'redelivered');
    await publishing;
  });

  test('redelivers after a cut only what was not settled, although later messages were', async () => {
    const sender = transport.connect({ confirmTimeoutMs: 2_000 });
    const first = transport.connect();
    const open: string[] = [];
    let applied = 0;
    first.consume(
      consumer(
        async ({ id, body }) => {
          if (body === 'open') {
            open.push(id);
            await new Promise(() => undefined);
          }
          applied += 1;
        },
        { prefetch: 100 },
      ),
    );
    await connected(sender, first);
    const held = [message({ body: 'open' }), message({ body: 'open' })] as const;
    const batch = [...messages(20), held[0], ...messages(20), held[1], ...messages(20)];
    const publishing = publishUntilConfirmed(sender, batch);
    await until(() => applied === 60 && open.length === 2, 'all others are applied');
    await first.close(500);
    const again: string[] = [];
    const second = transport.connect();
    second.consume(consumer(async ({ id }) => void again.push(id), { prefetch: 1 }));
    await publishing;
    await until(() => again.length >= 2, 'redelivered');
    await sleep(100);
    expect(again).toEqual(held.map(({ id }) => id));
  });

  test('calls the handler for each message in the order of the queue, before an earlier one is handled', async () => {
    const broker = transport.connect();
    const entered: string[] = [];
    const handle = async ({ id }: IncomingMessage): Promise<void> => {
      entered.push(id);
      await sleep(Math.random() * 20);
    };
    broker.consume(consumer(handle, { prefetch: 50 }));
    await connected(broker);
    const batch = messages(500);
    await publishUntilConfirmed(broker, batch);
    await until(() => entered.length >= 500, 'all are handled');
    expect(entered).toEqual(batch.map(({ id }) => id));
  });

  test('aborts the signal of its messages when the session ends, and redelivers those whose handlers then give up', async () => {
    const sender = transport.connect();
    const stopping = transport.connect({ retry: { attempts: 1, delayMs: 1, maxDelayMs: 1, isTransient: () => false } });
    const waiting: IncomingMessage[] = [];
    const handle = async (incoming: IncomingMessage): Promise<void> => {
      waiting.push(incoming);
      await new Promise((resolve) => incoming.signal.addEventListener('abort', resolve));
      throw new Error('gives up');
    };
    stopping.consume(consumer(handle));
    await connected(sender, stopping);
    const batch = messages(3);
    const publishing = publishUntilConfirmed(sender, batch);
    await until(() => waiting.length === 3, 'all handlers wait');
    expect(waiting.map(({ signal }) => signal.aborted)).toEqual([false, false, false]);
    expect(new Set(waiting.map(({ session }) => session)).size).toBe(1);
    const again = new Map<string, IncomingMessage>();
    const later = transport.connect();
    later.consume(consumer(async (incoming) => void again.set(incoming.id, incoming)));
    await connected(later);
    await stopping.close();
    await until(() => batch.every(({ id }) => again.has(id)), 'all are redelivered');
    await publishing;
    expect([...again.values()].filter(({ session }) => session === waiting[0]?.session)).toEqual([]);
    const deadLetters = await transport.openDeadLetters();
    expect(await deadLetters.list()).toEqual([]);
    await deadLetters.close();
  });

  test('every line of the log about a message has the id of the request that caused it', async () => {
    const { log, lines } = collectingLog('debug');
    const broker = transport.connect({ log });
    const attempts = new Map<string, number>();
    broker.consume(
      consumer(async ({ id }) => {
        const attempt = (attempts.get(id) ?? 0) + 1;
        attempts.set(id, attempt);
        if (id === 'bad') throw new Unprocessable('no');
        if (id === 'failing') throw new Error('no');
        if (id === 'late' && attempt < 3) throw new Unreachable('later');
        return id === 'unused' ? 'ignored' : undefined;
      }),
    );
    await connected(broker);
    const ids = ['plain', 'unused', 'late', 'bad', 'failing'];
    const body = (id: string): string => JSON.stringify({ requestid: `request-${id}`, data: 'alice@example.com' });
    await publishUntilConfirmed(
      broker,
      ids.map((id) => message({ id, body: body(id) })),
    );
    const deadLetters = await transport.openDeadLetters();
    await waitForDeadLetters(deadLetters, 2);
    await deadLetters.close();
    const linesOf = (id: string): unknown[] =>
      lines()
        .filter((line) => line.message_id === id)
        .map(({ request_id, level, msg }) => [request_id, level, msg]);
    await until(() => linesOf('failing').length >= 4 && linesOf('late').length >= 3, 'all lines are written');
    expect(linesOf('plain')).toEqual([['request-plain', 'debug', 'applied the message']]);
    expect(linesOf('unused')).toEqual([['request-unused', 'debug', 'ignored the message']]);
    expect(linesOf('late')).toEqual([
      ['request-late', 'warn', 'handling the message failed, retrying'],
      ['request-late', 'debug', 'handling the message failed, retrying'],
      ['request-late', 'info', 'applied the message after retries'],
    ]);
    expect(linesOf('bad')).toEqual([
      ['request-bad', 'error', 'dead-lettering the message'],
      ['request-bad', 'warn', 'stored the dead letter'],
    ]);
    expect(linesOf('failing').slice(-2)).toEqual([
      ['request-failing', 'error', 'dead-lettering the message'],
      ['request-failing', 'warn', 'stored the dead letter'],
    ]);
    expect(JSON.stringify(lines())).not.toContain('alice');
  });

  test.each([
    ['no JSON', 'alice@example.com'],
    ['null', 'null'],
    ['an id that no gateway accepts', '{"requestid":"alice@example.com"}'],
    ['an id of 129 characters', JSON.stringify({ requestid: 'a'.repeat(129) })],
    ['an id that is an object', '{"requestid":{"alice":1}}'],
  ])('logs no request id and nothing of the body when the body is %s', async (_what, body) => {
    const { log, lines } = collectingLog('debug');
    const broker = transport.connect({ log });
    broker.consume(consumer(async () => undefined));
    await connected(broker);
    await publishUntilConfirmed(broker, [message({ id: 'odd', body })]);
    await until(() => lines().some(({ message_id }) => message_id === 'odd'), 'logged');
    expect(lines().find(({ message_id }) => message_id === 'odd')).not.toHaveProperty('request_id');
    expect(JSON.stringify(lines())).not.toMatch(/alice|aaa/);
  });

  test('keeps dead letters however often they are listed, and replays or discards the selected ones', async () => {
    const broker = transport.connect();
    const applied: IncomingMessage[] = [];
    let succeeds = false;
    broker.consume(
      consumer(async (incoming) => {
        if (!succeeds) throw new Unprocessable('not yet');
        applied.push(incoming);
      }),
    );
    await connected(broker);
    const batch = messages(6, { routingKey: 'promotion.updated' });
    const ids = batch.map(({ id }) => id);
    await publishUntilConfirmed(broker, batch);
    const deadLetters = await transport.openDeadLetters();
    const listed = async (): Promise<string[]> => (await deadLetters.list()).map(({ id }) => id).sort();
    const [one] = await waitForDeadLetters(deadLetters, 6);
    for (let time = 0; time < 25; time += 1) expect(await listed()).toEqual([...ids].sort());
    expect((await deadLetters.list()).find(({ id }) => id === one?.id)).toEqual(one); // with the same time and reason

    const [replayed = '', discarded = '', ...rest] = ids;
    succeeds = true;
    expect(await deadLetters.replay([replayed, 'unknown'])).toBe(1);
    await until(() => applied.length > 0, 'replayed and applied');
    expect(applied[0]).toMatchObject({ id: replayed, routingKey: 'promotion.updated', body: '{}' });
    expect(await deadLetters.discard([discarded])).toBe(1);
    expect(await listed()).toEqual([...rest].sort());
    expect(await deadLetters.replay()).toBe(4);
    await until(() => applied.length >= 5, 'all replayed');
    expect(await listed()).toEqual([]);
    expect(new Set(applied.map(({ id }) => id))).toEqual(new Set([replayed, ...rest]));
    expect(await deadLetters.discard()).toBe(0);
    await deadLetters.close();
  });

  test('counts the dead letters of the queues that it consumes', async () => {
    const [first, second, both, neither] = [0, 1, 2, 3].map(() => transport.connect()) as [
      Broker,
      Broker,
      Broker,
      Broker,
    ];
    const fail = async (): Promise<void> => {
      throw new Unprocessable('no');
    };
    const ofFirst = consumer(fail);
    const ofSecond = consumer(fail, { queue: secondQueue, bindings: ['second.*'] });
    first.consume(ofFirst);
    second.consume(ofSecond);
    for (const each of [ofFirst, ofSecond]) both.consume(each);
    await connected(first, second, both, neither);
    const counts = () => Promise.all([first, second, both, neither].map((broker) => broker.countDeadLetters()));
    expect(await counts()).toEqual([0, 0, 0, 0]);
    const batch = ['promotion.created', 'promotion.updated', 'second.created'].map((key) =>
      message({ routingKey: key }),
    );
    await publishUntilConfirmed(first, batch);
    await eventually(async () => expect(await counts()).toEqual([2, 1, 3, 0]));
    expect(await Promise.all(Array.from({ length: 100 }, () => both.countDeadLetters()))).toEqual(Array(100).fill(3));
    const deadLetters = await transport.openDeadLetters();
    expect(await deadLetters.discard([batch[0]?.id ?? ''])).toBe(1);
    await deadLetters.close();
    await eventually(async () => expect(await counts()).toEqual([1, 1, 2, 0]));
    await first.close();
    expect(await first.countDeadLetters()).toBeNull();
    expect(await both.countDeadLetters()).toBe(2);
  });

  test('dead-letters a replayed message again when it still fails', async () => {
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
    const deadLetters = await transport.openDeadLetters();
    for (const round of [1, 2, 3]) {
      await until(() => attempts === round, `attempt ${round}`);
      const list = await waitForDeadLetters(deadLetters, 1);
      expect(list).toMatchObject([{ id: bad.id, routingKey: 'promotion.updated' }]);
      if (round < 3) expect(await deadLetters.replay()).toBe(1);
    }
    await deadLetters.close();
  });

  test('leaves no socket or timer after close, and accepts no more messages', async () => {
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
