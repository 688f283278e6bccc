// A schema `users` with an outbox for each test file, and a broker whose outcomes the test decides.
import { afterAll, afterEach, beforeAll, beforeEach } from '@jest/globals';
import { createTestDatabase, type TestDatabase } from '@promopulse/testing/servers';
import pg from 'pg';
import { parseEvent, type ReceivedEvent } from '../../src/contracts/index.ts';
import { type Database, openDatabase } from '../../src/database/database.ts';
import type { Broker, OutgoingMessage, PublishOutcome } from '../../src/messaging/broker.ts';
import { OutboxMessage, recordEvent } from '../../src/outbox/outbox.ts';
import { Publication } from '../../src/outbox/publication.ts';
import { type Relay, startRelay } from '../../src/outbox/relay.ts';
import { createLogger, type Logger } from '../../src/telemetry/logger.ts';

export const silent: Logger = createLogger({ service: 'test', level: 'silent' });
export const cause = { requestId: 'request-1' };

let testDatabase: TestDatabase;
let admin: pg.Pool;
/** Called in reverse after each test. */
export const cleanUp: (() => Promise<unknown>)[] = [];

/** Registers the hooks. `database` is opened for each test. */
export function useOutbox(): { readonly database: Database } {
  const outbox = { database: undefined as unknown as Database };
  beforeAll(async () => {
    testDatabase = await createTestDatabase(['users']);
    admin = new pg.Pool({ connectionString: testDatabase.adminUrl, max: 4 });
    admin.on('error', () => undefined);
    const first = await open();
    const em = first.em();
    const tables = await em.getPlatform().getSchemaGenerator(em.getDriver(), em).getCreateSchemaSQL({ wrap: false });
    await first.run({ text: tables.replace(/create schema[^;]*;/, '') }, []);
    await first.run({ text: 'create table users.things (id serial primary key, big bigserial)' }, []);
    await cleanUp.pop()?.();
  });
  afterAll(async () => {
    await admin.end();
    await testDatabase.drop();
  });
  beforeEach(async () => {
    await sql('truncate users.outbox, users.things, users.publication restart identity');
    outbox.database = await open();
  });
  afterEach(async () => {
    for (const end of cleanUp.splice(0).reverse()) await end();
  });
  return outbox;
}

export async function open(): Promise<Database> {
  const opened = await openDatabase({
    url: testDatabase.urlFor('users'),
    schema: 'users',
    entities: [OutboxMessage, Publication],
    migrations: import.meta.dirname,
  });
  cleanUp.push(() => opened.close());
  return opened;
}

/** Runs SQL as the administrator. */
// biome-ignore lint/suspicious/noExplicitAny: rows of any statement
export async function sql(text: string, values: unknown[] = []): Promise<any[]> {
  return (await admin.query(text, values)).rows;
}

/** A broker whose outcomes the test decides. Heartbeats are confirmed and collected separately. */
export function fakeBroker(
  publish: (messages: readonly OutgoingMessage[]) => Promise<PublishOutcome[]> | PublishOutcome[] = (messages) =>
    messages.map(() => 'confirmed'),
) {
  const published: ReceivedEvent[] = [];
  const heartbeats: ReceivedEvent[] = [];
  const broker: Broker = {
    publish: async (messages) => {
      const events = messages.map(({ body }) => parseEvent(body));
      if (events[0]?.name === 'relay.heartbeat') {
        heartbeats.push(...events);
        return messages.map(() => 'confirmed');
      }
      const outcomes = await publish(messages);
      published.push(...events.filter((_, index) => outcomes[index] === 'confirmed'));
      return outcomes;
    },
    consume: () => undefined,
    replyAddress: () => undefined,
    onReply: () => undefined,
    userName: () => 'test',
    isConnected: () => true,
    problem: () => undefined,
    countDeadLetters: async () => 0,
    close: async () => undefined,
  };
  return { broker, published, heartbeats };
}

export function relayOn(on: Database, broker: Broker, options: Partial<Parameters<typeof startRelay>[0]> = {}): Relay {
  const relay = startRelay({ database: on, broker, log: silent, ...options });
  cleanUp.push(() => relay.stop(0));
  return relay;
}

export const created = (on: Database, id: number, version = 1) =>
  on.transaction((em) => recordEvent(em, 'user.created', { id, version }, cause));
export const versionsOf = (events: readonly ReceivedEvent[]) =>
  events.map(({ data }) => (data as { version: number }).version);
export const idsOf = (events: readonly ReceivedEvent[]) => events.map(({ data }) => (data as { id: number }).id);
export const waiting = async () => (await sql('select id from users.outbox where published_at is null')).length;

/** The pids of the backends that lead (hold an advisory lock) in this file's database. */
export const leaders = async (): Promise<number[]> =>
  (
    await sql(
      `select pid from pg_locks join pg_database on pg_database.oid = database
       where datname = current_database() and locktype = 'advisory' and granted`,
    )
  ).map(({ pid }) => Number(pid));
export async function killLeaders(): Promise<void> {
  for (const pid of await leaders()) await sql('select pg_terminate_backend($1)', [pid]);
}
