// What consumers receive when the lead of a relay changes without its end: the leader was suspended, or a relay of release
// 0.1.0, which leads by an advisory lock, runs beside one that leads by a lease.

import { type ChildProcess, spawn } from 'node:child_process';
import { randomUUID } from 'node:crypto';
import { once } from 'node:events';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { afterAll, beforeEach, expect, jest, test } from '@jest/globals';
import { childEnvironment } from '@promopulse/testing/child-environment';
import { eventually } from '@promopulse/testing/eventually';
import { amqpUrl, deleteTopology, uniquePrefix } from '@promopulse/testing/servers';
import { parseEvent, type ReceivedEvent } from '../../src/contracts/index.ts';
import { queues } from '../../src/contracts/queues.ts';
import type { Connection, Database } from '../../src/database/database.ts';
import { leaseMs } from '../../src/database/lease.ts';
import { withClient } from '../../src/database/provision.ts';
import type { Broker } from '../../src/messaging/broker.ts';
import { connectRabbit } from '../../src/messaging/rabbitmq/broker.ts';
import { Lead } from '../../src/outbox/lead.ts';
import { brokerOptions } from '../../src/service/service-broker.ts';
import {
  cleanUp,
  created,
  fakeBroker,
  leaders,
  open,
  relayOn,
  serviceUrl,
  silent,
  sql,
  useOutbox,
  waiting,
} from './outbox-fixture.ts';

const outbox = useOutbox();
let database: Database;
beforeEach(() => {
  database = outbox.database;
});
const prefix = uniquePrefix();
afterAll(() => deleteTopology(prefix));

const leadOf = ({ envelope }: ReceivedEvent): string => String((envelope as { lead?: string }).lead);
const isHeartbeat = ({ name }: ReceivedEvent): boolean => name === 'relay.heartbeat';

/** Starts a relay as a process. Resolves when it leads. */
async function startLeader(): Promise<ChildProcess> {
  const child = spawn(process.execPath, [join(import.meta.dirname, 'relay-process.ts')], {
    env: { ...childEnvironment, DATABASE_URL: serviceUrl(), AMQP_URL: amqpUrl(), AMQP_PREFIX: prefix },
    stdio: ['ignore', 'pipe', 'inherit'],
  });
  cleanUp.push(async () => child.kill('SIGKILL'));
  await once(child.stdout, 'data');
  return child;
}

/** All that a consumer receives, in its order. */
async function receiveAll(): Promise<ReceivedEvent[]> {
  const received: ReceivedEvent[] = [];
  const broker = connectRabbit({ url: amqpUrl() }, brokerOptions(prefix, silent));
  cleanUp.push(() => broker.close(1_000));
  const handle = async ({ body }: { body: string }) => void received.push(parseEvent(body));
  broker.consume({ queue: 'subscriptions.projections', bindings: queues['subscriptions.projections'], handle });
  await eventually(() => expect(broker.isConnected()).toBe(true));
  return received;
}

test('a suspended leader is replaced when its lease has expired, and sends no heartbeat when it goes on', async () => {
  const received = await receiveAll();
  const suspended = await startLeader();
  await eventually(() => expect(received.some(isHeartbeat)).toBe(true));
  const [first] = received.map(leadOf);
  const fake = fakeBroker();
  relayOn(database, fake.broker);
  await sleep(leaseMs);
  expect(fake.heartbeats).toEqual([]);

  suspended.kill('SIGSTOP');
  const start = performance.now();
  await created(database, 1);
  await eventually(() => expect(fake.published).toHaveLength(1), { timeoutMs: leaseMs + 3_000 });
  expect(performance.now() - start).toBeLessThan(leaseMs + 2_000);
  await sleep(500);
  const before = received.length;
  suspended.kill('SIGCONT');
  await sleep(3_000);
  expect(received.slice(before).filter(isHeartbeat)).toEqual([]);
  expect(new Set(received.map(leadOf))).toEqual(new Set([first]));
  expect(fake.heartbeats.length).toBeGreaterThan(0);
  expect(await sql(`select holder from users.leases`)).toEqual([
    { holder: leadOf(fake.published[0] as ReceivedEvent) },
  ]);
}, 60_000);

test('a leader that is killed is replaced at once, long before its lease expires', async () => {
  const killed = await startLeader();
  const fake = fakeBroker();
  relayOn(database, fake.broker);
  await sleep(1_000);
  killed.kill('SIGKILL');
  const start = performance.now();
  await created(database, 1);
  await eventually(() => expect(fake.published).toHaveLength(1));
  expect(performance.now() - start).toBeLessThan(leaseMs / 2);
}, 60_000);

test('a leader that was suspended between its question and its heartbeat does not send it', async () => {
  const { broker, heartbeats } = fakeBroker();
  const now = new Date();
  let suspendedMs = 0;
  const clock = jest.spyOn(performance, 'now').mockImplementation(() => suspendedMs);
  const answer = { now, watermark: now, isComplete: true, isSameEpoch: true, isLeader: true, position: 1 };
  const leaderConnection = (afterMs: number): Connection => ({
    query: async <Row>() => {
      suspendedMs += afterMs;
      return [answer as Row];
    },
    release: () => undefined,
    end: () => undefined,
  });
  try {
    const lead = new Lead(randomUUID(), randomUUID(), 'users');
    await lead.sendHeartbeat({ broker, leaderConnection: leaderConnection(leaseMs) });
    expect(heartbeats).toHaveLength(1);
    const late = lead.sendHeartbeat({ broker, leaderConnection: leaderConnection(leaseMs + 1) });
    await expect(late).rejects.toThrow('another relay may lead');
    expect(heartbeats).toHaveLength(1);
  } finally {
    clock.mockRestore();
  }
});

/** Waits until the relay has tried twice to lead, and holds no lead after either. */
async function expectNoLead(): Promise<void> {
  const holder = async () => (await sql("select holder from users.leases where name = 'relay'"))[0]?.holder;
  for (let tries = 0; tries < 2; tries += 1) {
    const last = await holder();
    await eventually(async () => expect(await holder()).not.toBe(last));
    await eventually(async () => expect(await leaders()).toEqual([]));
  }
}

test('a relay takes no lead beside one of 0.1.0, and gives its lead up to one that comes', async () => {
  await withClient(serviceUrl(), async (oldRelease) => {
    const lock = "hashtextextended('promopulse.users.relay', 0)";
    await oldRelease.query(`select pg_advisory_lock(${lock})`);
    const fake = fakeBroker();
    relayOn(database, fake.broker);
    await created(database, 1);
    await expectNoLead();
    expect(fake.published).toEqual([]);
    expect(fake.heartbeats).toEqual([]);

    await oldRelease.query(`select pg_advisory_unlock(${lock})`);
    await eventually(() => expect(fake.published).toHaveLength(1));
    await eventually(() => expect(fake.heartbeats.length).toBeGreaterThan(0));

    await oldRelease.query(`select pg_advisory_lock(${lock})`);
    await expectNoLead();
    const sent = fake.heartbeats.length;
    await created(database, 2);
    await expectNoLead();
    expect(fake.published).toHaveLength(1);
    expect(fake.heartbeats).toHaveLength(sent);
  });
}, 60_000);

/** A database whose leases are in another table: its relay leads, whoever else does. As a relay of 0.1.0 would. */
async function openBesideLeases(): Promise<Database> {
  await sql('create table if not exists users.other_leases (like users.leases including all)');
  await sql('alter table users.other_leases owner to current_user');
  await sql('grant all on users.other_leases to public');
  const opened = await open();
  return {
    ...opened,
    connect: async () => {
      const connection = await opened.connect();
      const query: Connection['query'] = (statement, values) =>
        connection.query({ ...statement, text: statement.text.replaceAll('leases', 'other_leases') }, values);
      return { ...connection, query };
    },
  };
}

test('two relays that lead at once, as in an upgrade, publish every version, each in order and without a false watermark', async () => {
  const publishedAt = new Map<string, number>();
  const leads = new Map<string, number[]>();
  const claims: { watermark: number; sentAt: number }[] = [];
  let step = 0;
  const broker: Broker = {
    ...fakeBroker().broker,
    publish: async (messages) => {
      const events = messages.map(({ body }) => parseEvent(body));
      for (const event of events) {
        if (isHeartbeat(event)) {
          const { watermark } = event.data as { watermark: string };
          claims.push({ watermark: new Date(watermark).getTime(), sentAt: step });
        } else {
          leads.set(leadOf(event), [...(leads.get(leadOf(event)) ?? []), Number(event.envelope.sequencenumber)]);
          if (!publishedAt.has(event.envelope.id)) publishedAt.set(event.envelope.id, step);
          step += 1;
        }
      }
      await sleep(10);
      return messages.map(() => 'confirmed');
    },
  };
  relayOn(await openBesideLeases(), broker, { heartbeatMs: 20, batchSize: 5 });
  relayOn(database, broker, { heartbeatMs: 20, batchSize: 5 });
  await eventually(async () => expect(await leaders()).toHaveLength(1));
  // A watermark tells what was committed: `created_at` is when the transaction began.
  const committedBy: Date[] = [];
  for (let version = 1; version <= 200; version += 1) {
    await created(database, 1, version);
    committedBy.push((await sql('select clock_timestamp() as now'))[0].now);
  }
  await eventually(async () => expect(await waiting()).toBe(0));

  const rows = await sql('select event_id from users.outbox order by id');
  expect(rows.filter(({ event_id }) => !publishedAt.has(event_id))).toEqual([]);
  expect(leads.size).toBe(2);
  for (const numbers of leads.values()) expect(numbers).toEqual(numbers.map((_, index) => index + 1));
  const isFalse = ({ watermark, sentAt }: (typeof claims)[number]) =>
    rows.some(
      ({ event_id }, index) =>
        Number(committedBy[index]) < watermark && (publishedAt.get(event_id) ?? Number.POSITIVE_INFINITY) >= sentAt,
    );
  expect(claims.length).toBeGreaterThan(5);
  expect(claims.filter(isFalse)).toEqual([]);
}, 60_000);
