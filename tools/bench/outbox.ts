// Row 6: how fast the relay empties a full outbox (read, publish, confirm, mark), beside publishing the same messages
// one by one with a confirm each, and beside publishing batches with no database at all. All go to the same quorum
// queue, from this process.
import { randomUUID } from 'node:crypto';
import { queues } from '@promopulse/shared/contracts/queues';
import { openDatabase } from '@promopulse/shared/database/database';
import type { Broker, OutgoingMessage } from '@promopulse/shared/messaging/broker';
import { connectRabbit } from '@promopulse/shared/messaging/rabbitmq/broker';
import { declareExchanges, declareQueue, topologyOf } from '@promopulse/shared/messaging/rabbitmq/topology';
import { startRelay } from '@promopulse/shared/outbox/relay';
import { brokerOptions, databaseOptionsOf } from '@promopulse/shared/service';
import { createLogger } from '@promopulse/shared/telemetry/logger';
import { connect } from 'amqplib';
import { promotions } from '../../services/promotions/src/service.ts';
import type { Section } from './report.ts';
import { type Case, interleave, type Plan, ratio } from './rounds.ts';
import type { Place, Servers } from './stack.ts';

const prefix = 'drain.';
const queueName = 'subscriptions.projections';
/** As many as the relay takes at a time. */
const batch = 500;

export async function measureOutbox(servers: Servers, place: Place, plan: Plan): Promise<Section> {
  const events = plan.repeat ? 20_000 : 4_000;
  const log = createLogger({ service: 'bench', level: 'warn' });
  const topology = topologyOf(prefix);
  const connection = await connect(servers.rabbit.url);
  servers.keep(() => connection.close());
  const channel = await connection.createConfirmChannel();
  await declareExchanges(channel, topology);
  await declareQueue(channel, topology, queueName, queues[queueName]);

  const database = await openDatabase(databaseOptionsOf(promotions, place.urls.promotions ?? ''));
  const broker = connectRabbit(servers.rabbit.url, brokerOptions(prefix, log));
  const watched = watch(broker);
  const relay = startRelay({ database, broker: watched, log });
  servers.keep(async () => {
    await relay.stop(1_000);
    await broker.close();
    await database.close();
  });
  while (!broker.isConnected()) await new Promise((settle) => setTimeout(settle, 50));

  const publish = (id: string, body: Buffer): boolean => {
    const options = { persistent: true, mandatory: true, messageId: id, contentType: 'application/cloudevents+json' };
    return channel.publish(topology.events, 'promotion.updated', body, options);
  };
  const sample = Buffer.from(JSON.stringify({ id: randomUUID(), data: 'x'.repeat(600) }));
  const timed = async (count: number, work: () => Promise<void>) => {
    const start = performance.now();
    await work();
    return { count, perSecond: (count * 1_000) / (performance.now() - start), p50: Number.NaN, p99: Number.NaN };
  };
  const cases: Case[] = [
    {
      name: 'outbox drained by the relay',
      components: () => ({ postgres: servers.postgresPid, rabbitmq: servers.rabbitPid }),
      prepare: async () => {
        await channel.purgeQueue(topology.queue(queueName));
        await place.sql('truncate promotions.outbox');
      },
      run: async () => {
        const drained = watched.next(events);
        await fillOutbox(place, events);
        const seconds = await drained;
        while ((await relay.backlog()).waiting > 0) await new Promise((settle) => setTimeout(settle, 10));
        return { count: events, perSecond: events / seconds, p50: Number.NaN, p99: Number.NaN };
      },
    },
    {
      name: 'published one by one',
      components: () => ({ rabbitmq: servers.rabbitPid }),
      run: () =>
        timed(200, async () => {
          for (let index = 0; index < 200; index += 1) {
            publish(randomUUID(), sample);
            await channel.waitForConfirms();
          }
        }),
    },
    {
      name: 'published in batches',
      components: () => ({ rabbitmq: servers.rabbitPid }),
      prepare: async () => void (await channel.purgeQueue(topology.queue(queueName))),
      run: () =>
        timed(events, async () => {
          for (let index = 0; index < events; index += 1) {
            publish(randomUUID(), sample);
            if (index % batch === batch - 1) await channel.waitForConfirms();
          }
          await channel.waitForConfirms();
        }),
    },
  ];
  const rounds = await interleave(cases, { ...plan, warmUp: 400 });
  const [drained, single, batches] = cases.map(({ name }) => rounds[name]);
  const rows = [
    { row: 6, what: 'outbox drained / one confirm at a time', value: ratio(drained, single), goal: { atLeast: 15 } },
    {
      row: 6,
      what: 'outbox drained / batches without a database',
      value: ratio(drained, batches),
      goal: { atLeast: 0.75 },
    },
  ];
  return { name: 'outbox', rows, cases: rounds, skipped: [] };
}

async function fillOutbox({ sql }: Place, events: number): Promise<void> {
  await sql(`insert into promotions.outbox (event_id, name, subject, data, request_id)
    select gen_random_uuid(), 'promotion.updated', n::text,
           jsonb_build_object('id', n, 'version', 1, 'name', 'Promotion', 'description', repeat('x', 300), 'status', 'active'),
           gen_random_uuid()::text
    from generate_series(1, ${events}) as n`);
}

/** A broker that tells how long it took to have so many messages confirmed, from the first of them on. */
function watch(broker: Broker): Broker & { next(count: number): Promise<number> } {
  let first: number | undefined;
  let left = 0;
  let done: (seconds: number) => void = () => undefined;
  return {
    ...broker,
    next: (count) =>
      new Promise((settle) => {
        [first, left, done] = [undefined, count, settle];
      }),
    publish: async (messages: readonly OutgoingMessage[]) => {
      const isDrain = messages.some(({ routingKey }) => routingKey !== 'relay.heartbeat');
      if (isDrain) first ??= performance.now();
      const outcomes = await broker.publish(messages);
      if (isDrain) left -= outcomes.filter((outcome) => outcome === 'confirmed').length;
      if (isDrain && left === 0) done((performance.now() - (first ?? 0)) / 1_000);
      return outcomes;
    },
  };
}
