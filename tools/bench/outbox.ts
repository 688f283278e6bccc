// Measures how fast the relay empties a full outbox (read, publish, confirm, mark). Two references publish the same
// messages to the same quorum queue from this process: one by one with a confirm each, and in batches without a database.
// Then the projection applies what the relay has published (projection.ts).
import { randomUUID } from 'node:crypto';
import { setTimeout as sleep } from 'node:timers/promises';
import { queues } from '@promopulse/shared/contracts/queues';
import { openDatabase } from '@promopulse/shared/database/database';
import type { Broker, OutgoingMessage } from '@promopulse/shared/messaging/broker';
import { connectRabbit } from '@promopulse/shared/messaging/rabbitmq/broker';
import { declareExchanges, declareQueue, topologyOf } from '@promopulse/shared/messaging/rabbitmq/topology';
import { startRelay } from '@promopulse/shared/outbox/relay';
import { databaseOptionsOf } from '@promopulse/shared/service/schema-definition';
import { brokerOptions } from '@promopulse/shared/service/service-broker';
import { createLogger } from '@promopulse/shared/telemetry/logger';
import { connect } from 'amqplib';
import { promotions } from '../../services/promotions/src/service.ts';
import { appliedCase } from './projection.ts';
import type { Row, Section } from './report.ts';
import { type Case, interleave, type Load, type Plan, ratio, totalCpu } from './rounds.ts';
import type { BenchDatabase, Servers } from './stack.ts';

const prefix = 'drain.';
const queueName = 'subscriptions.projections';
/** The relay's maximum batch size. */
const batchSize = 500;
const singles = 200;

export async function measureOutbox(servers: Servers, benchDatabase: BenchDatabase, plan: Plan): Promise<Section> {
  const events = plan.quick ? 4_000 : 20_000;
  const publisher = await openPublisher(servers);
  const { relay, broker } = await startDrain(servers, benchDatabase);
  const empty = async (): Promise<void> => {
    await publisher.purge();
    await benchDatabase.sql('truncate promotions.outbox');
  };
  /** @returns the seconds until the last event was confirmed */
  const drainOutbox = async (): Promise<number> => {
    const confirmed = broker.whenConfirmed(events);
    await fillOutbox(benchDatabase, events);
    const seconds = await confirmed;
    while ((await relay.backlog()).waiting > 0) await sleep(10);
    return seconds;
  };
  const drain: Case = {
    name: 'outbox drained by the relay',
    components: () => ({ postgres: servers.postgresPid, rabbitmq: servers.rabbitPid }),
    prepare: empty,
    run: async () => ({ count: events, perSecond: events / (await drainOutbox()), p50: Number.NaN, p99: Number.NaN }),
  };
  const fillQueue = async (): Promise<void> => {
    await empty();
    await drainOutbox();
  };
  const applied = await appliedCase(servers, benchDatabase, { prefix, events, fillQueue });
  const one: Case = {
    name: 'published one by one',
    components: () => ({ rabbitmq: servers.rabbitPid }),
    run: () => timed(singles, () => publisher.publish(singles, 1)),
  };
  const batches: Case = {
    name: 'published in batches',
    components: () => ({ rabbitmq: servers.rabbitPid }),
    prepare: () => publisher.purge(),
    run: () => timed(events, () => publisher.publish(events, batchSize)),
  };
  const rounds = await interleave([drain, one, batches, applied], { ...plan, warmUp: 400 });
  const row = (what: string, reference: Case, atLeast: number): Row => {
    const value = ratio(rounds[drain.name], rounds[reference.name]);
    return { measure: 'outbox drain', what, value, goal: { atLeast } };
  };
  const rows: Row[] = [
    row('outbox drained / one confirm at a time', one, 15),
    row('outbox drained / batches without a database', batches, 0.75),
    {
      measure: 'projection',
      what: 'events applied by the projection / drained by the relay',
      value: ratio(rounds[applied.name], rounds[drain.name]),
      cpuRatio: ratio(rounds[drain.name], rounds[applied.name], totalCpu),
      goal: { atLeast: 0.8 },
    },
  ];
  return { name: 'outbox', rows, cases: rounds, skipped: [] };
}

/** A channel of its own to the same queue, past our broker. */
async function openPublisher(servers: Servers) {
  const topology = topologyOf(prefix);
  const connection = await connect(servers.rabbit.url);
  servers.keep(() => connection.close());
  const channel = await connection.createConfirmChannel();
  await declareExchanges(channel, topology);
  await declareQueue(channel, topology, queueName, queues[queueName]);
  const sample = Buffer.from(JSON.stringify({ id: randomUUID(), data: 'x'.repeat(600) }));
  return {
    purge: async (): Promise<void> => void (await channel.purgeQueue(topology.queue(queueName))),
    /** Publishes `count` messages and waits for the confirms after each `size` of them. */
    publish: async (count: number, size: number): Promise<void> => {
      for (let index = 0; index < count; index += 1) {
        const options = { persistent: true, mandatory: true, contentType: 'application/cloudevents+json' };
        channel.publish(topology.events, 'promotion.updated', sample, { ...options, messageId: randomUUID() });
        if (index % size === size - 1) await channel.waitForConfirms();
      }
      await channel.waitForConfirms();
    },
  };
}

/** The relay of the promotions service, in this process, on its schema. */
async function startDrain(servers: Servers, benchDatabase: BenchDatabase) {
  const log = createLogger({ service: 'bench', level: 'warn' });
  const database = await openDatabase(databaseOptionsOf(promotions, benchDatabase.urls.promotions ?? ''));
  const broker = countConfirms(connectRabbit({ url: servers.rabbit.url }, brokerOptions(prefix, log)));
  const relay = startRelay({ database, broker, log });
  servers.keep(async () => {
    await relay.stop(1_000);
    await broker.close();
    await database.close();
  });
  while (!broker.isConnected()) await sleep(50);
  return { relay, broker };
}

async function timed(count: number, work: () => Promise<void>): Promise<Load> {
  const start = performance.now();
  await work();
  return { count, perSecond: (count * 1_000) / (performance.now() - start), p50: Number.NaN, p99: Number.NaN };
}

async function fillOutbox({ sql }: BenchDatabase, events: number): Promise<void> {
  await sql(`insert into promotions.outbox (event_id, name, subject, data, request_id)
    select gen_random_uuid(), 'promotion.updated', n::text,
           jsonb_build_object('id', n, 'version', 1, 'name', 'Promotion', 'description', repeat('x', 300), 'status', 'active'),
           gen_random_uuid()::text
    from generate_series(1, ${events}) as n`);
}

/** Adds to a broker a measurement of the seconds from the first publish until `count` messages are confirmed. */
function countConfirms(broker: Broker): Broker & { whenConfirmed(count: number): Promise<number> } {
  let startedAt: number | undefined;
  let remaining = 0;
  let resolve: (seconds: number) => void = () => undefined;
  return {
    ...broker,
    whenConfirmed: (count) => {
      const { promise, ...deferred } = Promise.withResolvers<number>();
      [startedAt, remaining, resolve] = [undefined, count, deferred.resolve];
      return promise;
    },
    publish: async (messages: readonly OutgoingMessage[]) => {
      const isDrain = messages.some(({ routingKey }) => routingKey !== 'relay.heartbeat');
      if (isDrain) startedAt ??= performance.now();
      const outcomes = await broker.publish(messages);
      if (isDrain) remaining -= outcomes.filter((outcome) => outcome === 'confirmed').length;
      if (isDrain && remaining === 0) resolve((performance.now() - (startedAt ?? 0)) / 1_000);
      return outcomes;
    },
  };
}
