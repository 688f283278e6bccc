// The promise of the outbox when processes are killed: each relay is a process of its own and is killed shortly after
// it took the lead, while changes are committed and rolled back and their events are being published.

import { type ChildProcess, spawn } from 'node:child_process';
import { randomUUID } from 'node:crypto';
import { once } from 'node:events';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { afterAll, beforeAll, expect, test } from '@jest/globals';
import { childEnvironment } from '@promopulse/testing/child-environment';
import { eventually } from '@promopulse/testing/eventually';
import {
  amqpUrl,
  createTestDatabase,
  deleteTopology,
  type TestDatabase,
  uniquePrefix,
} from '@promopulse/testing/servers';
import { parseEvent } from '../../src/contracts/index.ts';
import { queues } from '../../src/contracts/queues.ts';
import { type Database, openDatabase } from '../../src/database/database.ts';
import { Lease } from '../../src/database/lease.ts';
import { connectRabbit } from '../../src/messaging/rabbitmq/broker.ts';
import { OutboxMessage, recordEvent } from '../../src/outbox/outbox.ts';
import { Publication } from '../../src/outbox/publication.ts';
import { brokerOptions } from '../../src/service/service-broker.ts';
import { createLogger } from '../../src/telemetry/logger.ts';

const kills = 25;
const writesPerKill = 80;
const writers = 4;
const aggregates = 40;

let testDatabase: TestDatabase;
let database: Database;
const prefix = uniquePrefix();
const cleanUp: (() => unknown)[] = [];

beforeAll(async () => {
  testDatabase = await createTestDatabase(['users']);
  database = await openDatabase({
    url: testDatabase.urlFor('users'),
    schema: 'users',
    entities: [OutboxMessage, Publication, Lease],
    migrations: import.meta.dirname,
  });
  const em = database.em();
  const tables = await em.getPlatform().getSchemaGenerator(em.getDriver(), em).getCreateSchemaSQL({ wrap: false });
  await database.run({ text: tables.replace(/create schema[^;]*;/, '') }, []);
  await database.run({ text: 'create table users.things (id int primary key, version int)' }, []);
});
afterAll(async () => {
  for (const end of cleanUp.splice(0).reverse()) await end();
  await database?.close();
  await testDatabase?.drop();
  await deleteTopology(prefix);
});

interface RelayProcess {
  child: ChildProcess;
  leads: Promise<unknown>;
}

function startRelayProcess(): RelayProcess {
  const env = {
    ...childEnvironment,
    DATABASE_URL: testDatabase.urlFor('users'),
    AMQP_URL: amqpUrl(),
    AMQP_PREFIX: prefix,
  };
  const child = spawn(process.execPath, [join(import.meta.dirname, 'relay-process.ts')], {
    env,
    stdio: ['ignore', 'pipe', 'inherit'],
  });
  cleanUp.push(() => child.kill('SIGKILL'));
  return { child, leads: once(child.stdout, 'data') };
}

/** The state of a consumer: the highest version of each aggregate, and the ids of the events that arrived. */
async function startReadModel() {
  const versions = new Map<number, number>();
  const arrivals = new Set<string>();
  const broker = connectRabbit(
    { url: amqpUrl() },
    brokerOptions(prefix, createLogger({ service: 'test', level: 'silent' })),
  );
  cleanUp.push(() => broker.close(1_000));
  broker.consume({
    queue: 'subscriptions.projections',
    bindings: queues['subscriptions.projections'],
    handle: async ({ body }) => {
      const event = parseEvent(body);
      if (event.name !== 'user.created') return;
      const { id, version } = event.data;
      versions.set(id, Math.max(version, versions.get(id) ?? 0));
      arrivals.add(event.envelope.id);
    },
  });
  await eventually(() => expect(broker.isConnected()).toBe(true));
  return { versions, arrivals };
}

/** Writes the next version of a row and its event. Every tenth transaction is rolled back after both. */
async function write(number: number, committed: Set<string>, rolledBack: Set<string>): Promise<void> {
  const eventId = randomUUID();
  const id = 1 + (number % aggregates);
  const rollBack = number % 10 === 0;
  (rollBack ? rolledBack : committed).add(eventId);
  const work = database.transaction(async (em) => {
    const [row] = await em
      .getConnection()
      .execute<{ version: number }[]>(
        `insert into things values (${id}, 1) on conflict (id) do update set version = things.version + 1 returning version`,
        [],
        'all',
        em.getTransactionContext(),
      );
    await recordEvent(em, 'user.created', { id, version: Number(row?.version) }, { requestId: 'test', eventId });
    if (rollBack) throw new Error('rolled back');
  });
  if (rollBack) await expect(work).rejects.toThrow('rolled back');
  else await work;
}

test('2,000 changes of which a tenth is rolled back, and 25 leaders killed: every event goes out, none that was not committed, and the read model is right', async () => {
  const readModel = await startReadModel();
  const committed = new Set<string>();
  const rolledBack = new Set<string>();
  let allowed = writesPerKill;
  let started = 0;
  const writing = Promise.all(
    Array.from({ length: writers }, async () => {
      while (started < kills * writesPerKill) {
        if (started >= allowed) await sleep(5);
        else await write(started++, committed, rolledBack);
        await sleep(8);
      }
    }),
  );

  const relays = Array.from({ length: 3 }, startRelayProcess);
  for (let killed = 1; killed <= kills; killed += 1) {
    const index = await Promise.race(relays.map(({ leads }, at) => leads.then(() => at)));
    await sleep(250 + Math.random() * 200);
    relays[index]?.child.kill('SIGKILL');
    relays[index] = startRelayProcess();
    allowed += writesPerKill;
  }
  await writing;

  await eventually(
    async () => {
      const [row] = await database.run<{ waiting: number }>(
        { text: 'select count(*)::int as waiting from outbox where published_at is null' },
        [],
      );
      expect(row?.waiting).toBe(0);
    },
    { timeoutMs: 15_000 },
  );
  await eventually(() => expect([...committed].filter((id) => !readModel.arrivals.has(id))).toEqual([]));
  expect([committed.size, rolledBack.size]).toEqual([1_800, 200]);
  expect([...readModel.arrivals].filter((id) => !committed.has(id))).toEqual([]);
  const rows = await database.run<{ id: number; version: number }>({ text: 'select id, version from things' }, []);
  expect(new Map(rows.map(({ id, version }) => [id, version]))).toEqual(readModel.versions);
}, 180_000);
