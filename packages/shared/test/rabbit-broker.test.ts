// What RabbitMQ and the network do to a connection, and that the mesh comes back from it by itself with nothing lost.

import { Writable } from 'node:stream';
import { setTimeout as sleep } from 'node:timers/promises';
import { afterEach, beforeEach, describe, expect, test } from '@jest/globals';
import { type Channel, type ConsumeMessage, connect } from 'amqplib';
import { type Broker, type Consumer, Unprocessable } from '../src/broker.ts';
import { contentType } from '../src/events.ts';
import { createLogger } from '../src/logger.ts';
import {
  amqpUrl,
  connected,
  lettersOf,
  message,
  messages,
  publishSurely,
  queue,
  type RabbitMesh,
  rabbitMesh,
  until,
} from './meshes.ts';
import { startTcpProxy, type TcpProxy } from './tcp-proxy.ts';

/** A channel of our own, straight to RabbitMQ. */
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

describe('a broker behind a bad network', () => {
  let proxy: TcpProxy;
  let mesh: RabbitMesh;
  let handled: string[];

  beforeEach(async () => {
    proxy = await startTcpProxy(amqpUrl());
    mesh = rabbitMesh(proxy.through(amqpUrl()));
    handled = [];
  });
  afterEach(async () => {
    await mesh.end();
    await proxy.close();
  });

  function collect(broker: Broker, handle: Consumer['handle'] = async ({ id }) => void handled.push(id)): void {
    broker.consume({ queue, bindings: ['promotion.*'], handle });
  }

  test('connects by itself once RabbitMQ can be reached, and says so once', async () => {
    proxy.limit(0);
    const lines: string[] = [];
    const destination = new Writable({
      write: (chunk, _encoding, done) => {
        lines.push(JSON.parse(String(chunk)).msg);
        done();
      },
    });
    const log = createLogger({ service: 'test', level: 'info', destination });
    const broker = mesh.connect({ log });
    await until(() => proxy.accepted() > 3, 'some attempts');
    expect(broker.isConnected()).toBe(false);
    expect(await broker.publish([message()])).toEqual(['failed']);
    proxy.limit(undefined);
    await connected(broker);
    expect(lines).toEqual(['no connection to the broker', 'connected to the broker']);
  });

  test('loses nothing when its connections are cut again and again', async () => {
    const sender = mesh.connect();
    const receiver = mesh.connect();
    collect(receiver, async ({ id }) => {
      await sleep(1);
      handled.push(id);
    });
    await connected(sender, receiver);
    const batch = messages(3_000);
    let over = false;
    const cuts = (async () => {
      for (let cut = 0; cut < 10 && !over; cut += 1) {
        await sleep(150);
        proxy.cut();
        await connected(sender, receiver);
      }
    })();
    for (let from = 0; from < batch.length; from += 100) await publishSurely(sender, batch.slice(from, from + 100));
    over = true;
    await cuts;
    await until(() => new Set(handled).size === batch.length, 'all handled');
    const letters = await mesh.letters();
    expect(await letters.list()).toEqual([]);
    await letters.close();
  });

  test('comes back from a cut at any point of its setup', async () => {
    const steps = Array.from({ length: 40 }, (_, step) => step * 25);
    const networks = await Promise.all(steps.map(() => startTcpProxy(amqpUrl())));
    const brokers = networks.map((network, index) => {
      network.limit(steps[index]);
      const broker = rabbitMesh(network.through(amqpUrl()), mesh.prefix).connect();
      collect(broker);
      return broker;
    });
    // The last limits are beyond the setup: those brokers work at once.
    const tried = (network: TcpProxy, index: number): boolean =>
      network.accepted() >= 4 || brokers[index]?.isConnected() === true;
    await until(() => networks.every(tried), 'each was cut some times');
    for (const network of networks) network.limit(undefined);
    for (const network of networks) network.cut();
    await connected(...brokers);
    const batch = messages(brokers.length);
    await Promise.all(brokers.map((broker, index) => publishSurely(broker, batch.slice(index, index + 1))));
    await until(() => batch.every(({ id }) => handled.includes(id)), 'all handled');
    await Promise.all(brokers.map((broker) => broker.close()));
    await Promise.all(networks.map((network) => network.close()));
  });

  test('answers "failed" when confirms stay away, and publishes again on a new connection', async () => {
    const broker = mesh.connect({ confirmTimeoutMs: 500 });
    collect(broker);
    await connected(broker);
    proxy.stall(); // half-open: the socket takes what is written, nothing comes back
    const before = performance.now();
    expect(await broker.publish(messages(600))).toEqual(Array(600).fill('failed'));
    expect(performance.now() - before).toBeLessThan(3_000);
    expect(await broker.publish([message()])).toEqual(['failed']);
    proxy.cut();
    proxy.resume();
    await connected(broker);
    const batch = messages(600);
    await publishSurely(broker, batch);
    await until(() => batch.every(({ id }) => handled.includes(id)), 'handled');
  });

  test('refuses to publish while RabbitMQ is blocked by an alarm, consumes on, and publishes again after it', async () => {
    const broker = mesh.connect({ confirmTimeoutMs: 500 });
    collect(broker);
    await connected(broker);
    proxy.inject('client', frame(0, `000a003c03${Buffer.from('low').toString('hex')}`)); // connection.blocked
    await until(() => !broker.isConnected(), 'blocked');
    const before = performance.now();
    expect(await broker.publish([message()])).toEqual(['failed']);
    expect(performance.now() - before).toBeLessThan(400);
    const elsewhere = rabbitMesh(amqpUrl(), mesh.prefix).connect();
    await connected(elsewhere);
    await publishSurely(elsewhere, [message()]);
    await until(() => handled.length === 1, 'consumed');
    await elsewhere.close();
    const accepted = proxy.accepted();
    proxy.inject('client', frame(0, '000a003d')); // connection.unblocked
    await connected(broker);
    expect(await broker.publish([message()])).toEqual(['confirmed']);
    expect(proxy.accepted()).toBe(accepted); // an alarm is no reason to connect anew
  });

  test('closes within its bound when RabbitMQ has gone silent', async () => {
    const broker = mesh.connect();
    const started = Promise.withResolvers<void>();
    collect(broker, async () => {
      started.resolve();
      await sleep(100);
    });
    await connected(broker);
    await publishSurely(broker, [message()]);
    await started.promise;
    proxy.stall();
    const sockets = (): number => process.getActiveResourcesInfo().filter((kind) => kind === 'TCPSocketWrap').length;
    const open = sockets();
    const before = performance.now();
    await broker.close(500);
    expect(performance.now() - before).toBeLessThan(3_500);
    await until(() => sockets() <= open - 2, 'its sockets are gone, not left to the patience of the system');
  });

  test('closes while it has no connection', async () => {
    proxy.limit(0);
    const broker = mesh.connect();
    collect(broker);
    await until(() => proxy.accepted() > 2, 'some attempts');
    await broker.close();
    const accepted = proxy.accepted();
    await sleep(300);
    expect(proxy.accepted()).toBe(accepted);
  });

  test('comes back from channels that RabbitMQ closed alone with a 406', async () => {
    const broker = mesh.connect();
    collect(broker);
    await connected(broker);
    proxy.inject('server', frame(1, '003c0050000000000000271000')); // basic.ack of a delivery that never was
    await until(() => proxy.accepted() >= 4, 'both connections are new', 3_000);
    await connected(broker);
    await publishSurely(broker, [message()]);
    await until(() => handled.length > 0, 'handled');
  });

  test('keeps trying while its queue exists with other arguments, and starts when that is resolved', async () => {
    await withChannel((channel) => channel.assertQueue(`${mesh.prefix}${queue}`, { durable: true }));
    const broker = mesh.connect();
    collect(broker);
    await until(() => proxy.accepted() >= 4, 'refused with a 406 some times');
    expect(broker.isConnected()).toBe(false);
    await withChannel((channel) => channel.deleteQueue(`${mesh.prefix}${queue}`));
    await connected(broker);
    await publishSurely(broker, [message()]);
    await until(() => handled.length > 0, 'handled');
  });
});

describe('what happens to a queue in RabbitMQ', () => {
  let mesh: RabbitMesh;
  beforeEach(() => {
    mesh = rabbitMesh();
  });
  afterEach(() => mesh.end());

  test('a deleted queue is declared anew and consumed again within two seconds', async () => {
    const broker = mesh.connect();
    const handled: string[] = [];
    broker.consume({ queue, bindings: ['promotion.*'], handle: async ({ id }) => void handled.push(id) });
    await connected(broker);
    for (let round = 0; round < 3; round += 1) {
      await withChannel((channel) => channel.deleteQueue(`${mesh.prefix}${queue}`));
      const sent = message();
      const deadline = Date.now() + 2_000;
      while ((await broker.publish([sent]))[0] !== 'confirmed' && Date.now() < deadline) await sleep(20);
      await until(() => handled.includes(sent.id), 'consumed again', Math.max(500, deadline - Date.now()));
      await sleep(1_100); // an operator's pace: without it the pauses between attempts would grow
    }
  });

  test('a message that RabbitMQ set aside by itself is listed with a reason', async () => {
    const broker = mesh.connect();
    broker.consume({ queue, bindings: ['promotion.*'], handle: async () => undefined });
    await connected(broker);
    await broker.close();
    const sent = message({ routingKey: 'promotion.updated' });
    // As RabbitMQ does it: through the queue's own dead letter arguments, with its own headers and not ours.
    await withChannel(async (channel) => {
      const body = Buffer.from(sent.body);
      const options = { messageId: sent.id, contentType, persistent: true };
      channel.publish(`${mesh.prefix}promopulse.events`, sent.routingKey, body, options);
      await new Promise<void>((resolve) => {
        const refuse = (raw: ConsumeMessage | null): void => {
          if (raw) channel.reject(raw, false);
          resolve();
        };
        void channel.consume(`${mesh.prefix}${queue}`, refuse);
      });
    });
    const letters = await mesh.letters();
    const expected = {
      id: sent.id,
      queue,
      routingKey: 'promotion.updated',
      reason: 'RabbitMQ: rejected',
      attempts: expect.any(Number),
      failedAt: expect.stringMatching(/^\d{4}-/),
      body: sent.body,
    };
    expect(await lettersOf(letters, 1)).toEqual([expected]);
    expect(await letters.list()).toEqual([expected]);
    await letters.close();
  });

  test('a dead letter without an id gets one that stays', async () => {
    const broker = mesh.connect();
    const handle = async (): Promise<void> => {
      throw new Unprocessable('no');
    };
    broker.consume({ queue, bindings: ['promotion.*'], handle });
    await connected(broker);
    await withChannel(async (channel) => {
      channel.publish(`${mesh.prefix}promopulse.events`, 'promotion.created', Buffer.from('by hand'));
    });
    const letters = await mesh.letters();
    const [letter] = await lettersOf(letters, 1);
    expect(letter).toMatchObject({ id: expect.stringMatching(/^[\w-]{36}$/), body: 'by hand' });
    expect(await letters.discard([letter?.id ?? ''])).toBe(1);
    expect(await letters.list()).toEqual([]);
    await letters.close();
  });
});
