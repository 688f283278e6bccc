// Faults of RabbitMQ and the network: the transport reconnects by itself and loses nothing.
import { Writable } from 'node:stream';
import { setTimeout as sleep } from 'node:timers/promises';
import { afterEach, beforeEach, describe, expect, test } from '@jest/globals';
import { eventually } from '@promopulse/testing/eventually';
import { rabbitmqctl } from '@promopulse/testing/servers';
import { startTcpProxy, type TcpProxy } from '@promopulse/testing/tcp-proxy';
import { type Channel, type ConsumeMessage, connect } from 'amqplib';
import { contentType } from '../../src/contracts/envelope.ts';
import { type Broker, type Consumer, type IncomingMessage, Unprocessable } from '../../src/messaging/broker.ts';
import { createLogger } from '../../src/telemetry/logger.ts';
import {
  amqpUrl,
  connected,
  message,
  messages,
  publishUntilConfirmed,
  queue,
  type RabbitTransport,
  rabbitTransport,
  Unreachable,
  until,
  waitForDeadLetters,
} from './transports.ts';

/** Runs `work` on a channel of its own, without the proxy. */
async function withChannel<Result>(work: (channel: Channel) => Promise<Result>): Promise<Result> {
  const connection = await connect(amqpUrl());
  try {
    const channel = await connection.createChannel();
    const result = await work(channel);
    await channel.close();
    return result;
  } finally {
    await connection.close();
  }
}

/** An AMQP method frame. */
function frame(channel: number, payload: string): Buffer {
  const bytes = Buffer.from(payload, 'hex');
  const head = Buffer.alloc(7);
  head.writeUInt8(1, 0);
  head.writeUInt16BE(channel, 1);
  head.writeUInt32BE(bytes.length, 3);
  return Buffer.concat([head, bytes, Buffer.of(0xce)]);
}

/** basic.ack of an unknown delivery tag: RabbitMQ closes the channel with a 406. */
const ackOfNothing = frame(1, '003c0050000000000000271000');

describe('a broker behind a faulty network', () => {
  let proxy: TcpProxy;
  let transport: RabbitTransport;
  let handled: string[];

  beforeEach(async () => {
    proxy = await startTcpProxy(amqpUrl());
    transport = rabbitTransport(proxy.through(amqpUrl()));
    handled = [];
  });
  afterEach(async () => {
    await transport.end();
    await proxy.close();
  });

  function collect(broker: Broker, handle: Consumer['handle'] = async ({ id }) => void handled.push(id)): void {
    broker.consume({ queue, bindings: ['promotion.*'], handle });
  }

  test('connects when RabbitMQ becomes reachable, and logs it once', async () => {
    proxy.limit(0);
    const lines: string[] = [];
    const destination = new Writable({
      write: (chunk, _encoding, done) => {
        lines.push(JSON.parse(String(chunk)).msg);
        done();
      },
    });
    const log = createLogger({ service: 'test', level: 'info', destination });
    const broker = transport.connect({ log });
    await until(() => proxy.accepted() > 3, 'several attempts');
    expect(broker.isConnected()).toBe(false);
    expect(await broker.publish([message()])).toEqual(['failed']);
    proxy.limit(undefined);
    await connected(broker);
    expect(lines).toEqual(['no connection to the broker', 'connected to the broker']);
  });

  test('reconnects after a cut at any point of its setup', async () => {
    const steps = Array.from({ length: 40 }, (_, step) => step * 25);
    const networks = await Promise.all(steps.map(() => startTcpProxy(amqpUrl())));
    const brokers = networks.map((network, index) => {
      network.limit(steps[index]);
      const broker = rabbitTransport(network.through(amqpUrl()), transport.prefix).connect();
      collect(broker);
      return broker;
    });
    // The last limits are longer than the setup: these brokers connect at once.
    const tried = (network: TcpProxy, index: number): boolean =>
      network.accepted() >= 4 || brokers[index]?.isConnected() === true;
    await until(() => networks.every(tried), 'each was cut several times');
    for (const network of networks) network.limit(undefined);
    for (const network of networks) network.cut();
    await connected(...brokers);
    const batch = messages(brokers.length);
    await Promise.all(brokers.map((broker, index) => publishUntilConfirmed(broker, batch.slice(index, index + 1))));
    await until(() => batch.every(({ id }) => handled.includes(id)), 'all handled');
    await Promise.all(brokers.map((broker) => broker.close()));
    await Promise.all(networks.map((network) => network.close()));
  });

  test('publishes with "failed" while no confirms arrive, and publishes again on a new connection', async () => {
    const broker = transport.connect({ confirmTimeoutMs: 500 });
    collect(broker);
    await connected(broker);
    proxy.stall(); // half-open: the socket accepts writes, and nothing comes back
    const before = performance.now();
    expect(await broker.publish(messages(600))).toEqual(Array(600).fill('failed'));
    expect(performance.now() - before).toBeLessThan(3_000);
    expect(await broker.publish([message()])).toEqual(['failed']);
    proxy.cut();
    proxy.resume();
    await connected(broker);
    const batch = messages(600);
    await publishUntilConfirmed(broker, batch);
    await until(() => batch.every(({ id }) => handled.includes(id)), 'handled');
  });

  test('fails to publish during an alarm of RabbitMQ, still consumes, and publishes again after it', async () => {
    const broker = transport.connect({ confirmTimeoutMs: 500 });
    collect(broker);
    await connected(broker);
    proxy.inject('client', frame(0, `000a003c03${Buffer.from('low').toString('hex')}`)); // connection.blocked
    await until(() => !broker.isConnected(), 'blocked');
    const before = performance.now();
    expect(await broker.publish([message()])).toEqual(['failed']);
    expect(performance.now() - before).toBeLessThan(400);
    const other = rabbitTransport(amqpUrl(), transport.prefix).connect();
    await connected(other);
    await publishUntilConfirmed(other, [message()]);
    await until(() => handled.length === 1, 'consumed');
    await other.close();
    const accepted = proxy.accepted();
    proxy.inject('client', frame(0, '000a003d')); // connection.unblocked
    await connected(broker);
    expect(await broker.publish([message()])).toEqual(['confirmed']);
    expect(proxy.accepted()).toBe(accepted); // an alarm is no reason to reconnect
  });

  test('closes within its timeout when RabbitMQ is silent', async () => {
    const broker = transport.connect();
    const started = Promise.withResolvers<void>();
    collect(broker, async () => {
      started.resolve();
      await sleep(100);
    });
    await connected(broker);
    await publishUntilConfirmed(broker, [message()]);
    await started.promise;
    proxy.stall();
    const sockets = (): number => process.getActiveResourcesInfo().filter((kind) => kind === 'TCPSocketWrap').length;
    const open = sockets();
    const before = performance.now();
    await broker.close(500);
    expect(performance.now() - before).toBeLessThan(3_500);
    await until(() => sockets() <= open - 2, 'its sockets are destroyed, and do not wait for a timeout of the system');
  });

  test('closes while it has no connection', async () => {
    proxy.limit(0);
    const broker = transport.connect();
    collect(broker);
    await until(() => proxy.accepted() > 2, 'several attempts');
    await broker.close();
    await sleep(50); // the proxy may accept an attempt that was made before
    const accepted = proxy.accepted();
    await sleep(1_000);
    expect(proxy.accepted()).toBe(accepted);
  });

  test('reconnects after RabbitMQ has closed only its channels with a 406', async () => {
    const broker = transport.connect();
    collect(broker);
    await connected(broker);
    proxy.inject('server', ackOfNothing);
    await until(() => proxy.accepted() >= 4, 'both connections are new', 3_000);
    await connected(broker);
    await publishUntilConfirmed(broker, [message()]);
    await until(() => handled.length > 0, 'handled');
  });

  test('retries while its queue exists with other arguments, and starts when that queue is deleted', async () => {
    await withChannel((channel) => channel.assertQueue(`${transport.prefix}${queue}`, { durable: true }));
    const broker = transport.connect();
    collect(broker);
    await until(() => proxy.accepted() >= 4, 'rejected with a 406 several times');
    expect(broker.isConnected()).toBe(false);
    await withChannel((channel) => channel.deleteQueue(`${transport.prefix}${queue}`));
    await connected(broker);
    await publishUntilConfirmed(broker, [message()]);
    await until(() => handled.length > 0, 'handled');
  });
});

const networkFaults: [what: string, inject: (network: TcpProxy) => unknown][] = [
  ['cut', (network) => network.cut()],
  [
    'silent and then cut',
    async (network) => {
      network.stall();
      await sleep(100);
      network.cut();
      network.resume();
    },
  ],
];
// Four networks at once with five faults each, because the pauses between attempts grow with each fault.
test.each(networkFaults)(
  'nothing is lost when connections are %s, 20 times',
  async (_what, inject) => {
    await Promise.all(
      Array.from({ length: 4 }, async () => {
        const network = await startTcpProxy(amqpUrl());
        const transport = rabbitTransport(network.through(amqpUrl()));
        const [sender, receiver] = [transport.connect(), transport.connect()];
        const handled = new Set<string>();
        const handle = async ({ id }: { id: string }): Promise<void> => {
          await sleep(1);
          handled.add(id);
        };
        receiver.consume({ queue, bindings: ['promotion.*'], handle });
        await connected(sender, receiver);
        const sent: string[] = [];
        let done = false;
        const sending = (async () => {
          while (!done) {
            const batch = messages(50);
            await publishUntilConfirmed(sender, batch);
            sent.push(...batch.map(({ id }) => id));
          }
        })();
        for (let round = 0; round < 5; round += 1) {
          await sleep(50 + Math.random() * 150);
          await inject(network);
          await connected(sender, receiver);
        }
        done = true;
        await sending;
        await until(() => sent.every((id) => handled.has(id)), 'all handled');
        const deadLetters = await transport.openDeadLetters();
        expect(await deadLetters.list()).toEqual([]);
        await deadLetters.close();
        await transport.end();
        await network.close();
      }),
    );
  },
  60_000,
);

describe('of 20 consumers', () => {
  interface Connected {
    network: TcpProxy;
    transport: RabbitTransport;
    broker: Broker;
    handled: string[];
  }
  const all: Connected[] = [];
  beforeEach(async () => {
    for (let index = 0; index < 20; index += 1) {
      const network = await startTcpProxy(amqpUrl());
      const transport = rabbitTransport(network.through(amqpUrl()));
      const broker = transport.connect();
      const handled: string[] = [];
      broker.consume({ queue, bindings: ['promotion.*'], handle: async ({ id }) => void handled.push(id) });
      all.push({ network, transport, broker, handled });
    }
    await connected(...all.map(({ broker }) => broker));
  }, 60_000);
  afterEach(async () => {
    for (const { network, transport } of all.splice(0)) {
      await transport.end();
      await network.close();
    }
  }, 60_000);

  const faults: [what: string, inject: (target: Connected) => unknown][] = [
    ['whose channels RabbitMQ closes with a 406', ({ network }) => network.inject('server', ackOfNothing)],
    [
      'that RabbitMQ cancels, because their queue is deleted,',
      ({ transport }) => withChannel((channel) => channel.deleteQueue(`${transport.prefix}${queue}`)),
    ],
  ];
  test.each(faults)(
    '%s all consume again',
    async (_what, inject) => {
      const before = all.map(({ network }) => network.accepted());
      await Promise.all(all.map(inject));
      await until(
        () => all.every(({ network }, index) => network.accepted() > Number(before[index])),
        'all have reconnected',
      );
      const sent = all.map(() => message());
      await Promise.all(all.map(({ broker }, index) => publishUntilConfirmed(broker, sent.slice(index, index + 1))));
      await until(
        () => all.every(({ handled }, index) => handled.includes(String(sent[index]?.id))),
        'all consume again',
      );
    },
    60_000,
  );
});

describe('a queue in RabbitMQ', () => {
  let transport: RabbitTransport;
  beforeEach(() => {
    transport = rabbitTransport();
  });
  afterEach(() => transport.end());

  test('a deleted queue is declared again and consumed within two seconds', async () => {
    const broker = transport.connect();
    const handled: string[] = [];
    broker.consume({ queue, bindings: ['promotion.*'], handle: async ({ id }) => void handled.push(id) });
    await connected(broker);
    for (let round = 0; round < 3; round += 1) {
      await withChannel((channel) => channel.deleteQueue(`${transport.prefix}${queue}`));
      const sent = message();
      const deadline = Date.now() + 2_000;
      while ((await broker.publish([sent]))[0] !== 'confirmed' && Date.now() < deadline) await sleep(20);
      await until(() => handled.includes(sent.id), 'consumed again', Math.max(500, deadline - Date.now()));
      await sleep(1_100); // longer than `stableMs`, which resets the back-off
    }
  });

  test('a message that RabbitMQ itself dead-lettered is listed with a reason', async () => {
    const broker = transport.connect();
    broker.consume({ queue, bindings: ['promotion.*'], handle: async () => undefined });
    await connected(broker);
    await broker.close();
    const sent = message({ routingKey: 'promotion.updated' });
    // As RabbitMQ does it: by the queue's dead letter arguments, with RabbitMQ's headers instead of ours.
    await withChannel(async (channel) => {
      const body = Buffer.from(sent.body);
      const options = { messageId: sent.id, contentType, persistent: true };
      channel.publish(`${transport.prefix}promopulse.events`, sent.routingKey, body, options);
      await new Promise<void>((resolve) => {
        const rejectOne = (raw: ConsumeMessage | null): void => {
          if (raw) channel.reject(raw, false);
          resolve();
        };
        void channel.consume(`${transport.prefix}${queue}`, rejectOne);
      });
    });
    const deadLetters = await transport.openDeadLetters();
    const expected = {
      id: sent.id,
      queue,
      routingKey: 'promotion.updated',
      reason: 'RabbitMQ: rejected',
      attempts: expect.any(Number),
      failedAt: expect.stringMatching(/^\d{4}-/),
      body: sent.body,
    };
    expect(await waitForDeadLetters(deadLetters, 1)).toEqual([expected]);
    expect(await deadLetters.list()).toEqual([expected]);
    await deadLetters.close();
  });

  /** Runs `work` while RabbitMQ dead-letters a message of this test after three returns to its queue. */
  async function withDeliveryLimit(work: () => Promise<void>): Promise<void> {
    const policy = `limit-of-${transport.prefix}`;
    const pattern = `^${transport.prefix.replaceAll('.', '\\.')}`;
    await rabbitmqctl('set_policy', policy, pattern, '{"delivery-limit":3}', '--apply-to', 'queues');
    try {
      await work();
    } finally {
      await rabbitmqctl('clear_policy', policy);
    }
  }

  // Needs rabbitmqctl: at a RabbitMQ given by AMQP_URL set TEST_RABBITMQCTL.
  test(
    'a message that is interrupted by five graceful stops is still in its queue, once, at a delivery limit of three',
    () =>
      withDeliveryLimit(async () => {
        const sent = message({ routingKey: 'promotion.updated', replyTo: 'nowhere' });
        for (let stop = 0; stop < 5; stop += 1) {
          const broker = transport.connect();
          let attempts = 0;
          const handle = async (): Promise<void> => {
            attempts += 1;
            throw new Unreachable('the database is down');
          };
          broker.consume({ queue, bindings: ['promotion.*'], handle });
          await connected(broker);
          if (stop === 0) await publishUntilConfirmed(broker, [sent]);
          await until(() => attempts > 1, `interrupted for the ${stop + 1}. time between two attempts`);
          await broker.close();
        }
        const broker = transport.connect();
        const handled: IncomingMessage[] = [];
        broker.consume({ queue, bindings: ['promotion.*'], handle: async (each) => void handled.push(each) });
        await until(() => handled.length > 0, 'delivered after the stops');
        await sleep(300);
        expect(handled).toMatchObject([
          { id: sent.id, routingKey: 'promotion.updated', body: sent.body, userId: undefined },
        ]);
        const deadLetters = await transport.openDeadLetters();
        expect(await deadLetters.list()).toEqual([]);
        await deadLetters.close();
      }),
    60_000,
  );

  test('a message that is interrupted by stops without time for a confirm is still in its queue, once', async () => {
    const sender = transport.connect();
    const sent = message();
    for (let stop = 0; stop < 5; stop += 1) {
      const broker = transport.connect();
      let attempts = 0;
      const handle = async (): Promise<void> => {
        attempts += 1;
        throw new Unreachable('the database is down');
      };
      broker.consume({ queue, bindings: ['promotion.*'], handle });
      await connected(broker, sender);
      if (stop === 0) await publishUntilConfirmed(sender, [sent]);
      await until(() => attempts > 1, 'waits for its next attempt');
      await broker.close(0);
    }
    const handled: string[] = [];
    sender.consume({ queue, bindings: ['promotion.*'], handle: async ({ id }) => void handled.push(id) });
    await until(() => handled.length > 0, 'delivered after the stops');
    await sleep(300);
    expect(handled).toEqual([sent.id]);
  });

  test('a message that is interrupted while RabbitMQ accepts no messages goes back to its queue all the same', async () => {
    const network = await startTcpProxy(amqpUrl());
    const stopping = rabbitTransport(network.through(amqpUrl()), transport.prefix).connect();
    const sender = transport.connect();
    let attempts = 0;
    const handle = async (): Promise<void> => {
      attempts += 1;
      throw new Unreachable('the database is down');
    };
    stopping.consume({ queue, bindings: ['promotion.*'], handle });
    await connected(stopping, sender);
    const sent = message();
    await publishUntilConfirmed(sender, [sent]);
    await until(() => attempts > 1, 'waits for its next attempt');
    network.inject('client', frame(0, `000a003c03${Buffer.from('low').toString('hex')}`)); // connection.blocked
    await until(() => !stopping.isConnected(), 'blocked');
    await stopping.close();
    const handled: IncomingMessage[] = [];
    sender.consume({ queue, bindings: ['promotion.*'], handle: async (each) => void handled.push(each) });
    await until(() => handled.length > 0, 'delivered again');
    expect(handled).toMatchObject([{ id: sent.id, redelivered: true }]);
    await network.close();
  });

  test(
    'a message whose consumer dies on every delivery is dead-lettered by RabbitMQ after one delivery more than its limit',
    () =>
      withDeliveryLimit(async () => {
        const deliveries: boolean[] = [];
        const network = await startTcpProxy(amqpUrl());
        const dying = rabbitTransport(network.through(amqpUrl()), transport.prefix).connect();
        const handle = async ({ redelivered }: { redelivered: boolean }): Promise<void> => {
          deliveries.push(redelivered);
          network.cut(); // as when the process dies while it handles the message
          await sleep(50);
        };
        dying.consume({ queue, bindings: ['promotion.*'], handle });
        const sender = transport.connect();
        await connected(dying, sender);
        const sent = message();
        await publishUntilConfirmed(sender, [sent]);
        const deadLetters = await transport.openDeadLetters();
        expect(await waitForDeadLetters(deadLetters, 1)).toMatchObject([
          { id: sent.id, reason: 'RabbitMQ: delivery_limit' },
        ]);
        expect(deliveries).toEqual([false, true, true, true]);
        await deadLetters.close();
        await dying.close();
        await network.close();
      }),
    60_000,
  );

  test('the count of dead letters is unknown without a connection or a queue, and the consumer goes on', async () => {
    const network = await startTcpProxy(amqpUrl());
    const broker = rabbitTransport(network.through(amqpUrl()), transport.prefix).connect();
    const handled: string[] = [];
    broker.consume({ queue, bindings: ['promotion.*'], handle: async ({ id }) => void handled.push(id) });
    expect(await broker.countDeadLetters()).toBeNull();
    await connected(broker);
    expect(await broker.countDeadLetters()).toBe(0);
    const accepted = network.accepted();
    await withChannel((channel) => channel.deleteQueue(`${transport.prefix}${queue}.dead`));
    expect(await broker.countDeadLetters()).toBeNull();
    const sent = message();
    await publishUntilConfirmed(broker, [sent]);
    await until(() => handled.includes(sent.id), 'handled on the same connection');
    expect(network.accepted()).toBe(accepted);
    network.stall();
    const counting = broker.countDeadLetters();
    network.cut();
    expect(await counting).toBeNull();
    network.resume();
    await connected(broker);
    expect(await broker.countDeadLetters()).toBe(0); // the new connection has declared it again
    await broker.close();
    await network.close();
  });

  test("a queue that names heartbeats also gets those that release 0.1.0 sends to the events' exchange", async () => {
    const broker = transport.connect();
    const handled: string[] = [];
    const handle = async ({ body }: IncomingMessage): Promise<void> => void handled.push(body);
    broker.consume({ queue, bindings: ['promotion.*', 'relay.heartbeat'], handle });
    await connected(broker);
    // Until the queue is bound, what is sent is lost.
    await eventually(async () => {
      await withChannel(async (channel) => {
        for (const exchange of ['events', 'heartbeats']) {
          channel.publish(`${transport.prefix}promopulse.${exchange}`, 'relay.heartbeat', Buffer.from(exchange));
        }
      });
      expect([...new Set(handled)].sort()).toEqual(['events', 'heartbeats']);
    });
  });

  test('a dead letter without an id gets one and keeps it', async () => {
    const broker = transport.connect();
    const handle = async (): Promise<void> => {
      throw new Unprocessable('no');
    };
    broker.consume({ queue, bindings: ['promotion.*'], handle });
    await connected(broker);
    await withChannel(async (channel) => {
      channel.publish(`${transport.prefix}promopulse.events`, 'promotion.created', Buffer.from('by hand'));
    });
    const deadLetters = await transport.openDeadLetters();
    const [deadLetter] = await waitForDeadLetters(deadLetters, 1);
    expect(deadLetter).toMatchObject({ id: expect.stringMatching(/^[\w-]{36}$/), body: 'by hand' });
    expect(await deadLetters.discard([deadLetter?.id ?? ''])).toBe(1);
    expect(await deadLetters.list()).toEqual([]);
    await deadLetters.close();
  });
});
