// What only the transport inside the process promises: confirmed means applied, dead letters are files, and a stuck
// message does not delay the others.
import { readdir, readFile, rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { Writable } from 'node:stream';
import { setTimeout as sleep } from 'node:timers/promises';
import { afterEach, beforeEach, expect, test } from '@jest/globals';
import { type Broker, type Consumer, Unprocessable } from '../../src/messaging/broker.ts';
import { createMemoryHub } from '../../src/messaging/in-memory/broker.ts';
import { createLogger } from '../../src/telemetry/logger.ts';
import {
  type MemoryTransport,
  memoryTransport,
  message,
  messages,
  publishUntilConfirmed,
  queue,
  silent,
  until,
  waitForDeadLetters,
} from './transports.ts';

let transport: MemoryTransport;
beforeEach(async () => {
  transport = await memoryTransport();
});
afterEach(() => transport.end());

function consume(broker: Broker, handle: Consumer['handle'], prefetch = 20): void {
  broker.consume({ queue, bindings: ['promotion.*'], handle, prefetch });
}

test('a message is confirmed only after its consumer has applied it', async () => {
  const broker = transport.connect();
  const gate = Promise.withResolvers<void>();
  consume(broker, () => gate.promise);
  let outcomes: string[] | undefined;
  const publishing = broker.publish([message()]).then((result) => {
    outcomes = result;
  });
  await sleep(100);
  expect(outcomes).toBeUndefined();
  gate.resolve();
  await publishing;
  expect(outcomes).toEqual(['confirmed']);
});

test('a stuck message fails after the timeout, later at once, and the others of its batch are confirmed', async () => {
  const broker = transport.connect({ confirmTimeoutMs: 300 });
  const gate = Promise.withResolvers<void>();
  const stuck = message();
  let handled = 0;
  consume(broker, async ({ id }) => {
    handled += id === stuck.id ? 1 : 0;
    if (id === stuck.id) await gate.promise;
  });
  expect(await broker.publish([message(), stuck, message()])).toEqual(['confirmed', 'failed', 'confirmed']);
  const before = performance.now();
  expect(await broker.publish([stuck, message()])).toEqual(['failed', 'confirmed']);
  expect(performance.now() - before).toBeLessThan(250);
  expect(handled).toBe(1); // the same id joins the message that is being handled
  gate.resolve();
  await sleep(50);
  expect(await broker.publish([stuck])).toEqual(['confirmed']);
  expect(handled).toBe(1);
});

test('a message that was dead-lettered after the timeout is confirmed when it is published again', async () => {
  const retry = { attempts: 3, delayMs: 200, maxDelayMs: 400, isTransient: () => false };
  const broker = transport.connect({ confirmTimeoutMs: 100, retry });
  let attempts = 0;
  consume(broker, async () => {
    attempts += 1;
    throw new Error('no');
  });
  const poison = message();
  await publishUntilConfirmed(broker, [poison]);
  expect(attempts).toBe(3);
  expect(await (await transport.openDeadLetters()).list()).toMatchObject([{ id: poison.id, attempts: 3 }]);
});

test('a message that no consumer has started is removed when its sender stops waiting', async () => {
  const broker = transport.connect({ confirmTimeoutMs: 100 });
  const gate = Promise.withResolvers<void>();
  const seen: string[] = [];
  consume(
    broker,
    async ({ id }) => {
      seen.push(id);
      await gate.promise;
    },
    1,
  );
  const [first, second] = [message(), message()];
  expect(await broker.publish([first, second])).toEqual(['failed', 'failed']);
  gate.resolve();
  await sleep(100);
  expect(seen).toEqual([first.id]);
});

test('a message whose handler is cut off by a close fails at once', async () => {
  const sender = transport.connect();
  const receiver = transport.connect();
  let started = false;
  consume(receiver, async () => {
    started = true;
    await sleep(1_000);
  });
  const publishing = sender.publish(messages(30));
  await until(() => started, 'the handler is running');
  await receiver.close(0);
  const before = performance.now();
  expect(await publishing).toEqual(Array(30).fill('failed'));
  expect(await sender.publish([message()])).toEqual(['failed']); // the queue exists and has no consumer
  expect(performance.now() - before).toBeLessThan(900);
});

test('a service that closes does not affect the others of its process', async () => {
  const [other, closing, receiver] = [transport.connect(), transport.connect(), transport.connect()];
  consume(receiver, async () => undefined);
  expect(await closing.publish([message()])).toEqual(['confirmed']);
  await closing.close();
  expect(await closing.publish([message()])).toEqual(['failed']);
  expect(await other.publish([message()])).toEqual(['confirmed']);
});

test('a dead letter replayed while no process runs is handled at the next start, and its file is deleted', async () => {
  const first = transport.connect();
  consume(first, async () => {
    throw new Unprocessable('no');
  });
  const ids = ['plain', '../../etc/passwd', 'x'.repeat(500)];
  await publishUntilConfirmed(
    first,
    ids.map((id) => message({ id })),
  );
  const deadLetters = await transport.openDeadLetters();
  expect((await waitForDeadLetters(deadLetters, 3)).map(({ id }) => id).sort()).toEqual([...ids].sort());
  await transport.restart();
  expect(await deadLetters.replay()).toBe(3);
  expect(await deadLetters.list()).toEqual([]);
  await writeFile(join(transport.dir, 'garbage.replay'), 'not a dead letter'); // must not delay the others
  const handled: string[] = [];
  consume(transport.connect(), async ({ id }) => void handled.push(id));
  await until(() => handled.length === 3, 'handled');
  await sleep(100);
  expect(handled.sort()).toEqual([...ids].sort());
  expect(await readdir(transport.dir)).toEqual(['garbage.handling']);
});

test('a replay that is cut off continues at the next start', async () => {
  const first = transport.connect();
  consume(first, async () => {
    throw new Unprocessable('no');
  });
  const sent = message();
  await publishUntilConfirmed(first, [sent]);
  const deadLetters = await transport.openDeadLetters();
  await deadLetters.replay();
  await transport.restart();
  const second = transport.connect();
  let started = false;
  consume(second, async () => {
    started = true;
    await sleep(500);
  });
  await until(() => started, 'the handler is running');
  await transport.restart();
  expect(await readdir(transport.dir)).toEqual([`${queue}.${sent.id}.handling`]);
  const handled: string[] = [];
  consume(transport.connect(), async ({ id }) => void handled.push(id));
  await until(() => handled.includes(sent.id), 'handled');
});

test('a replay whose file cannot be renamed is retried, and does not delay the others', async () => {
  const tooLong = 'a'.repeat(248); // with `.replay` 255 bytes, the limit of a file name; with `.handling` 257
  await writeFile(join(transport.dir, `${tooLong}.replay`), 'not a dead letter');
  let failures = 0;
  const destination = new Writable({
    write: (chunk, _encoding, done) => {
      failures += JSON.parse(String(chunk)).dead_letter === tooLong ? 1 : 0;
      done();
    },
  });
  const broker = transport.connect({ log: createLogger({ service: 'test', level: 'warn', destination }) });
  const handled: string[] = [];
  let succeeds = false;
  consume(broker, async ({ id }) => {
    if (!succeeds) throw new Unprocessable('no');
    handled.push(id);
  });
  const sent = message();
  await publishUntilConfirmed(broker, [sent]);
  const deadLetters = await transport.openDeadLetters();
  succeeds = true;
  expect(await deadLetters.replay([sent.id])).toBe(1);
  await until(() => failures > 1 && handled.length > 0, 'tried again, and the other replayed', 10_000);
  expect(handled).toEqual([sent.id]);
});

test('a message is not confirmed until its dead letter can be stored', async () => {
  const blocked = join(transport.dir, 'dead-letters');
  await writeFile(blocked, 'a file in place of the folder');
  const retry = { attempts: 1, delayMs: 20, maxDelayMs: 50, isTransient: () => false };
  const broker = createMemoryHub({ deadLetterDir: blocked }).connect({ log: silent, retry, confirmTimeoutMs: 200 });
  let attempts = 0;
  consume(broker, async () => {
    attempts += 1;
    throw new Unprocessable('no');
  });
  const sent = message();
  expect(await broker.publish([sent])).toEqual(['failed']);
  expect(await readFile(blocked, 'utf8')).toBe('a file in place of the folder');
  await rm(blocked);
  await publishUntilConfirmed(broker, [sent]);
  expect(attempts).toBe(1);
  expect(await readdir(blocked)).toEqual([`${queue}.${sent.id}.json`]);
  await broker.close();
});
