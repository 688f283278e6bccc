// A projection with several contents, of types that a text and a boolean do not stand for, and without dependents.
import { randomUUID } from 'node:crypto';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { afterAll, beforeAll, beforeEach, describe, expect, test } from '@jest/globals';
import { defineEntity, p } from '@mikro-orm/postgresql';
import { eventually } from '@promopulse/testing/eventually';
import { createTestDatabase, type TestDatabase } from '@promopulse/testing/servers';
import { z } from 'zod';
import { promotionSnapshot } from '../../src/contracts/promotions.ts';
import { subscriptionSnapshot } from '../../src/contracts/subscriptions.ts';
import { type Database, openDatabase } from '../../src/database/database.ts';
import { digestSql } from '../../src/database/digest.ts';
import { Lease } from '../../src/database/lease.ts';
import { Publication } from '../../src/outbox/publication.ts';
import { defineProjections } from '../../src/projections/definition.ts';
import { OwnerClient } from '../../src/projections/reading/owner-client.ts';
import { Reconciliation } from '../../src/projections/reading/reconciliation.ts';
import { listDigests, summarize } from '../../src/projections/rows/digest-store.ts';
import { ProjectionSource, relianceColumns, relianceIndexes } from '../../src/projections/rows/projection-tables.ts';
import { joinSource, reliance } from '../../src/projections/rows/reliance.ts';
import {
  adoptEpoch,
  invalidate,
  markReconciled,
  readClock,
  sourceStates,
} from '../../src/projections/rows/source-store.ts';
import { applyAnswers, applyEvent, applyEvents, applyPage, doubt, markLost } from '../../src/projections/rows/store.ts';
import { createLogger } from '../../src/telemetry/logger.ts';

const KnownPromotion = defineEntity({
  name: 'KnownPromotion',
  tableName: 'known_promotions',
  properties: {
    promotion_id: p.bigint('number').primary().autoincrement(false),
    status: p.text(),
    start_at: p.datetime(3),
    end_at: p.datetime(3),
    updated_at: p.datetime(3),
    ...relianceColumns(),
  },
  indexes: relianceIndexes('known_promotions', 'promotion_id'),
});

const KnownSubscription = defineEntity({
  name: 'KnownSubscription',
  tableName: 'known_subscriptions',
  properties: {
    subscription_id: p.bigint('number').primary().autoincrement(false),
    promotion_id: p.bigint('number'),
    is_active: p.boolean(),
    created_at: p.datetime(3),
    ...relianceColumns(),
  },
  indexes: relianceIndexes('known_subscriptions', 'subscription_id'),
});

const promotion = promotionSnapshot.extend({ status: z.string().min(1) });
/** These tests read none. */
const noEvents = {} as never;
const { owners } = defineProjections({
  service: 'users',
  queue: 'subscriptions.projections',
  owners: {
    promotions: {
      table: 'known_promotions',
      id: 'promotion_id',
      contents: { status: 'text', start_at: 'timestamptz', end_at: 'timestamptz', updated_at: 'timestamptz' },
      digestedStatus: 'status',
      pageSize: 1_000,
      state: promotion,
      events: noEvents,
    },
    subscriptions: {
      table: 'known_subscriptions',
      id: 'subscription_id',
      contents: { promotion_id: 'bigint', is_active: 'boolean', created_at: 'timestamptz' },
      hasChanges: false,
      pageSize: 10_000,
      state: subscriptionSnapshot,
      events: noEvents,
    },
  },
});

let testDatabase: TestDatabase;
let database: Database;
beforeAll(async () => {
  testDatabase = await createTestDatabase(['users']);
  database = await openDatabase({
    url: testDatabase.urlFor('users'),
    schema: 'users',
    entities: [KnownPromotion, KnownSubscription, ProjectionSource, Publication, Lease],
    migrations: import.meta.dirname,
  });
  const em = database.em();
  const tables = await em.getPlatform().getSchemaGenerator(em.getDriver(), em).getCreateSchemaSQL({ wrap: false });
  await database.run({ text: tables.replace(/create schema[^;]*;/, '') }, []);
  await database.run({ text: 'insert into publication (id) values (1)' }, []);
});
afterAll(async () => {
  await database?.close();
  await testDatabase?.drop();
});
beforeEach(async () => {
  await database.run({ text: 'truncate known_promotions, known_subscriptions, projection_sources' }, []);
});

const epoch = randomUUID();
const state = (id: number, version: number, more: Partial<z.infer<typeof promotion>> = {}) => ({
  ...{ id, version, status: 'active', start_at: '2026-06-01T00:00:00Z', end_at: '2026-06-30T00:00:00Z' },
  ...{ updated_at: `2026-05-01T00:00:00.${String(version).padStart(3, '0')}Z`, ...more },
});
const rows = () =>
  database.run<{ start_at: Date; end_at: Date; updated_at: Date; changed_at: Date; doubted_at: Date | null }>(
    { text: 'select * from known_promotions order by promotion_id' },
    [],
  );

describe('a row with several contents', () => {
  test('has all of them from its event, its page or its answer', async () => {
    const readAt = await readClock(database);
    expect(await applyEvents(database, owners.promotions, [state(1, 1)], epoch)).toEqual(['applied']);
    expect(await applyPage(database, owners.promotions, [state(2, 1)], readAt)).toBe(1);
    await applyAnswers(database, owners.promotions, [state(4, 1), state(3, 1)], readAt);
    const contents = {
      version: 1,
      status: 'active',
      start_at: new Date('2026-06-01T00:00:00Z'),
      end_at: new Date('2026-06-30T00:00:00Z'),
      updated_at: new Date('2026-05-01T00:00:00.001Z'),
    };
    expect(await rows()).toMatchObject([1, 2, 3, 4].map((promotion_id) => ({ promotion_id, ...contents })));
  });

  test.each([
    ['status', { status: 'ended' }],
    ['start', { start_at: '2026-06-01T00:00:00.001Z' }],
    ['end', { end_at: '2026-07-30T00:00:00Z' }],
    ['last change', { updated_at: '2026-05-02T00:00:00Z' }],
  ])('is contradicted by another %s of the same version, which a page corrects', async (_what, other) => {
    await applyEvents(database, owners.promotions, [state(1, 3), state(2, 3)], epoch);
    const outcomes = await applyEvents(database, owners.promotions, [state(1, 3, other), state(2, 3)], epoch);
    expect(outcomes).toEqual(['superseded', 'applied']);
    const [doubtful, same] = await rows();
    expect([doubtful, same?.doubted_at]).toEqual([expect.objectContaining({ doubted_at: expect.any(Date) }), null]);
    expect(doubtful).toMatchObject({ status: 'active', start_at: new Date('2026-06-01T00:00:00Z') });

    const readAt = await readClock(database);
    expect(await applyPage(database, owners.promotions, [state(1, 3, other), state(2, 3)], readAt)).toBe(1);
    const [corrected, untouched] = await rows();
    expect(corrected?.doubted_at).toBeNull();
    expect(untouched).toEqual(same);
    expect(await applyEvent(database, owners.promotions, state(1, 3, other), epoch)).toBe('applied');
  });

  test('is not changed by the same state, however its times are written', async () => {
    await applyEvents(database, owners.promotions, [state(1, 1)], epoch);
    const before = await rows();
    const same = state(1, 1, { start_at: '2026-06-01T02:00:00.000+02:00' });
    expect(await applyEvents(database, owners.promotions, [same], epoch)).toEqual(['applied']);
    expect(await applyPage(database, owners.promotions, [same], await readClock(database))).toBe(0);
    expect(await rows()).toEqual(before);
  });
});

test('contents may be ids and booleans, and digests cover the status only where there is one', async () => {
  const joined = { promotion_id: 2 ** 40, is_active: true, created_at: '2026-06-01T08:15:00.75Z' };
  const states = [
    { id: 1, version: 1, ...joined },
    { id: 2, version: 4, ...joined, is_active: false },
  ];
  await applyEvents(database, owners.subscriptions, states, epoch);
  await applyEvents(database, owners.promotions, [state(1, 1), state(2, 4)], epoch);
  const digestOf = async (status?: string): Promise<string> => {
    const digest = digestSql({ id: 'id', version: 'version', ...(status && { status }) });
    const text = `select (${digest})::text as digest from (values (1::bigint, 1, 'active'), (2, 4, 'active')) as t (id, version, status)`;
    return String((await database.run<{ digest: string }>({ text }, []))[0]?.digest);
  };
  expect(await listDigests(database, owners.subscriptions, 0, 0)).toEqual([
    { bucket: 0, count: 2, digest: await digestOf() },
  ]);
  expect(await listDigests(database, owners.promotions, 0, 0)).toEqual([
    { bucket: 0, count: 2, digest: await digestOf('status') },
  ]);
});

test('without dependents, the summary has the rows of the projection alone', async () => {
  expect(await summarize(database, owners.promotions)).toEqual({ highest_id: 0, lost: 0, subscriptions_of_lost: 0 });
  await applyEvents(database, owners.promotions, [state(4, 1), state(9, 1)], epoch);
  await markLost(database, owners.promotions, [4], await readClock(database));
  expect(await summarize(database, owners.promotions)).toEqual({ highest_id: 9, lost: 1, subscriptions_of_lost: 0 });
});

test('a row is believed while its source is reconciled or its owner was asked, and fresh within the lease', async () => {
  const { believed, fresh } = reliance({ row: 'k', source: 'source', lease: '$2' });
  const text = `select ${believed} as believed, coalesce(${fresh}, false) as fresh
    from known_promotions k ${joinSource('promotions', 'source')} where k.promotion_id = $1`;
  const read = async (id: number) => (await database.run<object>({ text }, [id, 60]))[0];
  const neither = { believed: false, fresh: false };
  await invalidate(database, 'promotions');
  await applyEvents(database, owners.promotions, [state(1, 1), state(2, 1)], epoch);
  expect([await read(1), await read(2)]).toEqual([neither, neither]);
  await applyAnswers(database, owners.promotions, [state(2, 1)], await readClock(database));
  expect([await read(1), await read(2)]).toEqual([neither, { believed: true, fresh: true }]);

  const position = { epoch, position: 1, read_at: new Date().toISOString() };
  await adoptEpoch(database, 'promotions', position);
  expect(await read(2)).toEqual(neither);
  await markReconciled(database, 'promotions', { invalidations: 2, read: position, complete: true, corrected: 0 });
  expect([await read(1), await read(2)]).toEqual([
    { believed: true, fresh: false },
    { believed: true, fresh: false },
  ]);
  await doubt(database, owners.promotions, 1);
  await markLost(database, owners.promotions, [2], await readClock(database));
  expect([await read(1), await read(2)]).toEqual([neither, neither]);
});

test.each([
  ['that can tell its changes is asked for them only', 'promotions', ['changes']],
  ['that cannot is always compared completely', 'subscriptions', ['digests']],
] as const)('after the first reading, an owner %s', async (_what, owner, expected) => {
  const asked: string[] = [];
  const server = createServer((request, response) => {
    const url = new URL(String(request.url), 'http://owner');
    const isDigests = url.pathname.endsWith('/digests');
    asked.push(isDigests ? 'digests' : url.searchParams.has('changed_since') ? 'changes' : 'page');
    const read = { epoch, position: 1, read_at: new Date().toISOString(), items: [] };
    response.end(JSON.stringify({ ...read, ...(isDigests && { last_bucket: -1, next_bucket: null }) }));
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  const url = `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
  const client = new OwnerClient(owners[owner], { url, timeoutMs: 2_000, resetMs: 1_000 });
  const counts = { read: () => undefined, corrected: () => undefined };
  const log = createLogger({ service: 'test', level: 'silent' });
  const options = { database, clients: [client], intervalMs: 3_600_000, log, counts };
  const reconciliation = new Reconciliation(options);
  const isReconciled = () =>
    eventually(async () => expect((await sourceStates(database)).get(owner)?.reconciled).toBe(true));
  const stop = reconciliation.start();
  try {
    await isReconciled();
    asked.length = 0;
    await invalidate(database, owner);
    reconciliation.wake();
    await isReconciled();
    expect(asked).toEqual(expected);
  } finally {
    await stop();
    server.closeAllConnections();
    await new Promise((resolve) => server.close(resolve));
  }
});
