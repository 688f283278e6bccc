// Several rows in one question to their owner, and the answer in two statements.
import { createServer, type RequestListener, type Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, test } from '@jest/globals';
import { OwnerClient } from '@promopulse/shared/projections/reading/owner-client';
import { readClock } from '@promopulse/shared/projections/rows/source-store';
import { applyAnswers, applyEvents, markLost } from '@promopulse/shared/projections/rows/store';
import { projections } from '../src/active-check/projections.ts';
import { type BareDatabase, openBareDatabase } from './bare-database.ts';

const { promotions } = projections.owners;
const cause = { requestId: 'request', traceparent: '00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01' };
const epoch = '0197c0de-0000-7000-8000-000000000001';
const unavailable = { code: 'dependency_unavailable', kind: 'unavailable' };

describe('a question about several ids', () => {
  let server: Server;
  let url: string;
  let handler: RequestListener;
  const asked: { url: string; headers: object }[] = [];
  beforeAll(async () => {
    server = createServer((request, response) => {
      asked.push({ url: String(request.url), headers: request.headers });
      handler(request, response);
    });
    await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
    url = `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
  });
  afterAll(() => new Promise((resolve) => server.close(resolve)));
  beforeEach(() => {
    asked.length = 0;
  });
  afterEach(() => server.closeAllConnections());

  const client = (options: { timeoutMs?: number; resetMs?: number } = {}): OwnerClient =>
    new OwnerClient(promotions, { url, timeoutMs: 2_000, resetMs: 60_000, ...options });
  const answer =
    (...items: unknown[]): RequestListener =>
    (_request, response) =>
      void response.end(JSON.stringify({ epoch, position: 1, read_at: '2026-06-01T00:00:00Z', items }));

  test('is one request of its cause, and each id is a state, missing, or of an unknown shape', async () => {
    handler = answer({ id: 2, version: 1 }, { id: 5, version: 3, status: 'active', name: 'x' });
    const answers = await client().getMany([5, 2, 9, 5], cause);
    expect(answers).toEqual({
      states: new Map([[5, { id: 5, version: 3, status: 'active' }]]),
      missing: [9],
      unknownIds: [2],
    });
    expect(asked).toEqual([
      {
        url: '/internal/promotions?after_id=0&limit=3&ids=5%2C2%2C9',
        headers: expect.objectContaining({ 'x-request-id': 'request', traceparent: cause.traceparent }),
      },
    ]);
  });

  test('takes up to 500 ids; without an id nobody is asked', async () => {
    handler = answer();
    const ids = Array.from({ length: 501 }, (_, index) => index + 1);
    expect((await client().getMany(ids.slice(1), cause)).missing).toEqual(ids.slice(1));
    await expect(client().getMany(ids, cause)).rejects.toThrow(RangeError);
    expect(await client().getMany([], cause)).toEqual({ states: new Map(), missing: [], unknownIds: [] });
    expect(asked.length).toBe(1);
  });

  test.each<[string, RequestListener]>([
    ['a 404, also of its own', (_request, response) => void response.writeHead(404).end('{"code":"not_found"}')],
    ['a 503', (_request, response) => void response.writeHead(503).end('{}')],
    ['a page of something else', (_request, response) => void response.end('<h1>Welcome</h1>')],
    ['an object without rows', (_request, response) => void response.end('{}')],
    ['a row without an id', answer({ version: 1, status: 'active' })],
    ['a row that was not asked for', answer({ id: 7, version: 1, status: 'active' })],
    ['a row of an unknown shape that was not asked for', answer({ id: 7 })],
    ['nothing in time', () => undefined],
  ])('is "unavailable" when the owner answers %s: no id is "missing"', async (_case, listener) => {
    handler = listener;
    await expect(client({ timeoutMs: 300 }).getMany([1, 2], cause)).rejects.toMatchObject(unavailable);
  });

  test('shares its breaker with the questions about one id', async () => {
    const owner = client({ resetMs: 100 });
    handler = (_request, response) => void response.writeHead(500).end();
    for (let call = 0; call < 5; call += 1) {
      await expect(call % 2 ? owner.get(call, cause) : owner.getMany([1, 2], cause)).rejects.toMatchObject(unavailable);
    }
    expect([owner.isBreakerOpen, asked.length]).toEqual([true, 5]);
    await expect(owner.getMany([1], cause)).rejects.toMatchObject(unavailable);
    await expect(owner.get(1, cause)).rejects.toMatchObject(unavailable);
    expect(asked.length).toBe(5);

    handler = answer({ id: 1, version: 1, status: 'draft' });
    await new Promise((resolve) => setTimeout(resolve, 150));
    expect((await owner.getMany([1], cause)).states.size).toBe(1);
    expect(owner.isBreakerOpen).toBe(false);
  });
});

describe('the answer about several rows', () => {
  let bare: BareDatabase;
  let statements: number;
  beforeAll(async () => {
    bare = await openBareDatabase();
  });
  afterAll(() => bare?.drop());
  beforeEach(() => {
    statements = 0;
  });

  const counted = () => ({
    ...bare.database,
    run: <Row>(...read: Parameters<typeof bare.database.run>) => {
      statements += 1;
      return bare.database.run<Row>(...read);
    },
  });
  const rows = (from: number, to: number) =>
    bare.database.run<object>(
      {
        text: `select promotion_id as id, status, version, verified_at is not null as verified,
            doubted_at is not null as doubted, lost_at is not null as lost
          from cached_promotions where promotion_id between $1 and $2 order by 1`,
      },
      [from, to],
    );
  const state = (id: number, version: number, status = 'active') => ({ id, version, status });
  const row = (id: number, version: number, status = 'active', more: object = {}) => ({
    ...state(id, version, status),
    ...{ verified: false, doubted: false, lost: false },
    ...more,
  });

  test('is applied by one statement, whatever the versions were, and ends doubts', async () => {
    await applyEvents(bare.database, promotions, [state(1, 5), state(2, 5), state(3, 5)], epoch);
    await applyEvents(bare.database, promotions, [state(3, 4)], epoch);
    const readAt = await readClock(bare.database);
    await applyAnswers(counted(), promotions, [state(4, 1), state(2, 2, 'ended'), state(3, 5), state(1, 5)], readAt);
    expect(statements).toBe(1);
    const verified = { verified: true };
    expect(await rows(1, 4)).toEqual([
      row(1, 5, 'active', verified),
      row(2, 2, 'ended', verified),
      row(3, 5, 'active', verified),
      row(4, 1, 'active', verified),
    ]);
  });

  test('replaces no row that has changed since the owner was asked, nor marks it', async () => {
    const readAt = await readClock(bare.database);
    await applyEvents(bare.database, promotions, [state(11, 5), state(12, 5)], epoch);
    await applyAnswers(bare.database, promotions, [state(11, 4, 'draft')], readAt);
    expect(await markLost(bare.database, promotions, [12], readAt)).toEqual([]);
    expect(await rows(11, 12)).toEqual([row(11, 5), row(12, 5)]);
  });

  test('counts however shortly before the question a row has changed', async () => {
    for (let id = 31; id <= 70; id += 1) {
      await applyEvents(bare.database, promotions, [state(id, 1)], epoch);
      expect(await markLost(bare.database, promotions, [id], await readClock(bare.database))).toEqual([id]);
    }
  });

  test('marks the rows that the owner does not have by one statement, each once, and no other row', async () => {
    await applyEvents(bare.database, promotions, [state(21, 1), state(22, 1), state(23, 1)], epoch);
    const readAt = await readClock(bare.database);
    expect((await markLost(counted(), promotions, [23, 21, 29], readAt)).sort()).toEqual([21, 23]);
    expect(await markLost(counted(), promotions, [21, 23], await readClock(bare.database))).toEqual([]);
    expect(statements).toBe(2);
    const lost = { lost: true };
    expect(await rows(21, 29)).toEqual([row(21, 1, 'active', lost), row(22, 1), row(23, 1, 'active', lost)]);
  });

  test('is no statement when there is nothing to say', async () => {
    const readAt = await readClock(bare.database);
    await applyAnswers(counted(), promotions, [], readAt);
    expect(await markLost(counted(), promotions, [], readAt)).toEqual([]);
    expect(statements).toBe(0);
  });

  test('meets events and other answers of the same rows in any order without a deadlock', async () => {
    const ids = Array.from({ length: 100 }, (_, index) => 1_000 + index);
    await applyEvents(
      bare.database,
      promotions,
      ids.map((id) => state(id, 1)),
      epoch,
    );
    const rounds = Array.from({ length: 30 }, async (_, round) => {
      const order = round % 2 ? ids : ids.toReversed();
      const states = order.map((id) => state(id, round + 2));
      const readAt = await readClock(bare.database);
      await Promise.all([
        applyAnswers(bare.database, promotions, states, readAt),
        markLost(bare.database, promotions, order, readAt),
      ]);
    });
    await Promise.all(rounds);
    expect((await rows(1_000, 1_099)).length).toBe(100);
  });
});
