// The two transports for the tests. Each `Transport` is separate from all others (by a prefix in RabbitMQ, by a hub and
// a folder in memory), and `end` removes everything that it created.
import { randomUUID } from 'node:crypto';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { connect } from 'amqplib';
import type {
  Broker,
  BrokerOptions,
  DeadLetter,
  DeadLetterStore,
  OutgoingMessage,
} from '../../src/messaging/broker.ts';
import { createMemoryHub } from '../../src/messaging/in-memory/broker.ts';
import { openFileDeadLetters } from '../../src/messaging/in-memory/dead-letters.ts';
import { connectRabbit } from '../../src/messaging/rabbitmq/broker.ts';
import { openRabbitDeadLetters } from '../../src/messaging/rabbitmq/dead-letters.ts';
import { createLogger, type Logger } from '../../src/telemetry/logger.ts';

/** The only queue that the dead letter commands know. */
export const queue = 'subscriptions.projections';
export const secondQueue = 'second.queue';

export interface Transport {
  connect(options?: Partial<BrokerOptions>): Broker;
  openDeadLetters(): Promise<DeadLetterStore>;
  end(): Promise<void>;
}

export interface RabbitTransport extends Transport {
  url: string;
  prefix: string;
}

export const silent = createLogger({ service: 'test', level: 'silent' });

/** A log whose lines so far can be read. */
export function collectingLog(level: string): { log: Logger; lines(): Record<string, unknown>[] } {
  const written: string[] = [];
  const destination = { write: (line: string) => void written.push(line) };
  const log = createLogger({ service: 'test', level, destination });
  return { log, lines: () => written.map((line) => JSON.parse(line)) };
}

export class Unreachable extends Error {
  override readonly name = 'Unreachable';
}

const options: BrokerOptions = {
  log: silent,
  retry: {
    attempts: 3,
    delayMs: 20,
    maxDelayMs: 100,
    isTransient: (error) => (error as Error).name === 'Unreachable',
  },
};

export function amqpUrl(): string {
  const url = process.env.TEST_AMQP_URL;
  if (!url) throw new Error('TEST_AMQP_URL must name a RabbitMQ');
  return url;
}

/** `url` may lead through a proxy. Dead letters and the clean-up use RabbitMQ's own address. */
export function rabbitTransport(url = amqpUrl(), prefix = `test-${randomUUID()}.`): RabbitTransport {
  const brokers: Broker[] = [];
  return {
    url,
    prefix,
    connect: (overrides) => {
      const broker = connectRabbit({ url }, { ...options, prefix, ...overrides });
      brokers.push(broker);
      return broker;
    },
    openDeadLetters: () => openRabbitDeadLetters({ url: amqpUrl() }, { prefix }),
    end: async () => {
      await Promise.all(brokers.map((broker) => broker.close(0)));
      const connection = await connect(amqpUrl());
      const channel = await connection.createChannel();
      for (const name of [queue, secondQueue]) {
        await channel.deleteQueue(`${prefix}${name}`);
        await channel.deleteQueue(`${prefix}${name}.dead`);
      }
      await channel.deleteExchange(`${prefix}promopulse.events`);
      await channel.deleteExchange(`${prefix}promopulse.heartbeats`);
      await channel.deleteExchange(`${prefix}promopulse.dead-letters`);
      await connection.close();
    },
  };
}

export interface MemoryTransport extends Transport {
  dir: string;
  /** Simulates a restart of the process: closes all brokers, keeps the folder, creates a new hub. */
  restart(): Promise<void>;
}

export async function memoryTransport(): Promise<MemoryTransport> {
  const dir = await mkdtemp(join(tmpdir(), 'dead-letters-'));
  let hub = createMemoryHub({ deadLetterDir: dir });
  let brokers: Broker[] = [];
  const stop = async (): Promise<void> => {
    await Promise.all(brokers.map((broker) => broker.close(0)));
    brokers = [];
  };
  return {
    dir,
    connect: (overrides) => {
      const broker = hub.connect({ ...options, ...overrides });
      brokers.push(broker);
      return broker;
    },
    openDeadLetters: async () => openFileDeadLetters(dir),
    restart: async () => {
      await stop();
      hub = createMemoryHub({ deadLetterDir: dir });
    },
    end: async () => {
      await stop();
      await rm(dir, { recursive: true, force: true });
    },
  };
}

export function message(overrides: Partial<OutgoingMessage> = {}): OutgoingMessage {
  return { id: randomUUID(), routingKey: 'promotion.created', body: '{}', mandatory: true, ...overrides };
}

export function messages(count: number, overrides: Partial<OutgoingMessage> = {}): OutgoingMessage[] {
  return Array.from({ length: count }, () => message(overrides));
}

/** Waits until `condition` holds. @throws when it does not within `ms` */
export async function until(condition: () => boolean, what: string, ms = 15_000): Promise<void> {
  const deadline = Date.now() + ms;
  while (!condition()) {
    if (Date.now() > deadline) throw new Error(`not within ${ms} ms: ${what}`);
    await sleep(10);
  }
}

export async function connected(...brokers: Broker[]): Promise<void> {
  await until(() => brokers.every((broker) => broker.isConnected()), 'connected');
}

/** Waits until there are exactly `count` dead letters. @throws after 15 s */
export async function waitForDeadLetters(store: DeadLetterStore, count: number): Promise<DeadLetter[]> {
  const deadline = Date.now() + 15_000;
  for (;;) {
    const list = await store.list();
    if (list.length === count) return list;
    if (Date.now() > deadline) throw new Error(`${list.length} dead letters, not ${count}`);
    await sleep(50);
  }
}

/** Publishes like the outbox: what is not confirmed is published again. @throws after 25 s */
export async function publishUntilConfirmed(broker: Broker, batch: readonly OutgoingMessage[]): Promise<void> {
  let left = [...batch];
  for (const deadline = Date.now() + 25_000; left.length > 0; ) {
    if (Date.now() > deadline) throw new Error(`${left.length} messages were never confirmed`);
    const outcomes = await broker.publish(left);
    left = left.filter((_, index) => outcomes[index] !== 'confirmed');
    if (left.length > 0) await sleep(50);
  }
}
