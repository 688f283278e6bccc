// The epoch of a database, and the numbers that a leading relay gives to its events.
import { beforeEach, describe, expect, test } from '@jest/globals';
import { eventually } from '@promopulse/testing/eventually';
import { parseEvent, type ReceivedEvent } from '../../src/contracts/index.ts';
import type { Database } from '../../src/database/database.ts';
import { changeEpoch, ensureEpoch } from '../../src/outbox/epoch.ts';
import {
  created,
  fakeBroker,
  idsOf,
  killLeaders,
  open,
  relayOn,
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

const storedEpoch = async (): Promise<string> => (await sql('select epoch from users.publication'))[0].epoch;
const nextIds = async () => (await sql('insert into users.things default values returning id, big::int'))[0];
const numbersOf = (events: readonly ReceivedEvent[]) => events.map(({ envelope }) => envelope.sequencenumber);
const leadOf = (event?: ReceivedEvent) => event?.envelope.lead;
const heartbeatData = (event?: ReceivedEvent) => event?.data as { position: number } | undefined;

describe('the epoch', () => {
  test('is kept by every later start on the same server', async () => {
    const epoch = await ensureEpoch(database, silent);
    expect(epoch).toBe(await storedEpoch());
    expect(await ensureEpoch(database, silent)).toBe(epoch);
    expect(await ensureEpoch(await open(), silent)).toBe(epoch);
    expect(await nextIds()).toEqual({ id: 1, big: 1 });
  });

  test('of the migration is kept by the first start, which remembers the server', async () => {
    const [{ epoch }] = await sql('insert into users.publication (id) values (1) returning epoch');
    expect(await ensureEpoch(database, silent)).toBe(epoch);
    const [server] = await sql(`select system_identifier, timeline from users.publication`);
    expect(server).toEqual(
      (await sql('select system_identifier::text, $1 as timeline from pg_control_system()', ['00000001']))[0],
    );
  });

  test.each(['system_identifier', 'timeline'])(
    'ends when the %s is another, and ids go on far above',
    async (column) => {
      const epoch = await ensureEpoch(database, silent);
      for (let given = 0; given < 3; given += 1) await nextIds();
      await sql(`update users.publication set ${column} = 'another'`);
      const next = await ensureEpoch(database, silent);
      expect(next).not.toBe(epoch);
      expect(await storedEpoch()).toBe(next);
      expect(await nextIds()).toEqual({ id: 100_004, big: 4 });
      expect(await ensureEpoch(database, silent)).toBe(next);
    },
  );

  test('ends once when several replicas find another server at the same time', async () => {
    await ensureEpoch(database, silent);
    await sql(`update users.publication set timeline = 'another'`);
    const replicas = [database, await open(), await open()];
    const epochs = await Promise.all(replicas.map((replica) => ensureEpoch(replica, silent)));
    expect(new Set(epochs)).toEqual(new Set([await storedEpoch()]));
    expect(await nextIds()).toMatchObject({ id: 100_001 });
  });

  test('can be ended by command: ids go on above the highest that is known elsewhere', async () => {
    const epoch = await ensureEpoch(database, silent);
    await nextIds();
    expect(await changeEpoch(database, 5_000)).toEqual({
      epoch: expect.not.stringMatching(epoch),
      raised: [{ table: 'things', lastId: 105_000 }],
    });
    expect(await nextIds()).toMatchObject({ id: 105_001 });
  });

  test('that ends while a relay leads ends the lead: the next events carry the new one, and numbers start again', async () => {
    const fake = fakeBroker();
    relayOn(database, fake.broker, { heartbeatMs: 50 });
    await created(database, 1);
    await eventually(() => expect(idsOf(fake.published)).toEqual([1]));
    await eventually(() => expect(fake.heartbeats.length).toBeGreaterThan(0));
    await sql(`update users.publication set system_identifier = 'another'`);
    const [first] = fake.published;
    await eventually(async () => {
      const epoch = await storedEpoch();
      expect(epoch).not.toBe(first?.envelope.epoch);
      expect(fake.heartbeats.at(-1)?.envelope).toMatchObject({ epoch, sequencenumber: 0 });
    });
    await created(database, 2);
    await eventually(() => expect(idsOf(fake.published)).toEqual([1, 2]));
    expect(fake.published[1]?.envelope).toMatchObject({ epoch: await storedEpoch(), sequencenumber: 1 });
    expect(leadOf(fake.published[1])).not.toBe(leadOf(first));
  });
});

describe('the numbers of a lead', () => {
  test('have no gap over batches, and count what is handed over a second time again', async () => {
    const sent: ReceivedEvent[] = [];
    let hasFailed = false;
    const { broker } = fakeBroker((messages) => {
      const events = messages.map(({ body }) => parseEvent(body));
      sent.push(...events);
      const fails = !hasFailed && idsOf(events).includes(5);
      hasFailed ||= fails;
      return events.map((_, index) => (fails && index > 0 ? 'failed' : 'confirmed'));
    });
    for (let id = 1; id <= 12; id += 1) await created(database, id);
    relayOn(database, broker, { batchSize: 3 });
    await eventually(async () => expect(await waiting()).toBe(0));
    expect(idsOf(sent)).toEqual([1, 2, 3, 4, 5, 6, 5, 6, 7, 8, 9, 10, 11, 12]);
    expect(numbersOf(sent)).toEqual(Array.from({ length: 14 }, (_, index) => index + 1));
    expect(new Set(sent.map(leadOf)).size).toBe(1);
  });

  test('start again at 1 in the next lead, which has another id in the same epoch', async () => {
    const fake = fakeBroker();
    relayOn(database, fake.broker);
    await created(database, 1);
    await eventually(() => expect(idsOf(fake.published)).toEqual([1]));
    await eventually(async () => expect(await waiting()).toBe(0)); // else the event is published again
    await killLeaders();
    await created(database, 2);
    await eventually(() => expect(idsOf(fake.published)).toEqual([1, 2]));
    const [before, after] = fake.published;
    expect(numbersOf(fake.published)).toEqual([1, 1]);
    expect(leadOf(after)).not.toBe(leadOf(before));
    expect(after?.envelope.epoch).toBe(before?.envelope.epoch);
  });
});

describe('a heartbeat', () => {
  test('carries the number of the last event before it, and the last id that the outbox has given', async () => {
    const fake = fakeBroker();
    relayOn(database, fake.broker, { heartbeatMs: 20 });
    await eventually(() => expect(numbersOf(fake.heartbeats.slice(-1))).toEqual([0]));
    expect(heartbeatData(fake.heartbeats[0])).toMatchObject({ position: 0 });
    for (let id = 1; id <= 3; id += 1) await created(database, id);
    await eventually(() => expect(numbersOf(fake.heartbeats.slice(-1))).toEqual([3]));
    const last = fake.heartbeats.at(-1);
    expect(heartbeatData(last)).toMatchObject({ position: 3 });
    expect(last?.envelope).toMatchObject({ epoch: await storedEpoch(), lead: leadOf(fake.published[0]) });
  });
});
