// The totals of the list are kept by triggers beside the promotions; its pages are walked by cursor.
import { afterAll, beforeAll, beforeEach, describe, expect, test } from '@jest/globals';
import type { Wire } from '@promopulse/testing/client';
import { startTestService, type TestService } from '@promopulse/testing/service';
import pg from 'pg';
import { promotions } from '../src/service.ts';
import { createPromotion, promotionIn, setStatus } from './wire.ts';

let service: TestService;
beforeAll(async () => {
  service = await startTestService(promotions, { APPLIED_REPLY_TIMEOUT_MS: '0', DATABASE_POOL_MAX: '16' });
});
afterAll(() => service?.close());
beforeEach(() => service.sql('truncate promotions.promotions'));

const cursorRule = 'must be the next_cursor of a page of this list';
const statuses = ['', 'draft', 'active', 'ended'];

async function expectTrueTotals(): Promise<void> {
  const totals = await Promise.all(
    statuses.map(async (status) => (await page(status && `status=${status}`)).total as number),
  );
  const rows = await service.sql<{ count: number }>(
    `select (select count(*)::int from promotions.promotions where wanted in ('', status)) as count
     from unnest($1::text[]) wanted`,
    [statuses],
  );
  expect(totals).toEqual(rows.map(({ count }) => count));
}

async function page(query: string, cursor?: string | null): Promise<Wire> {
  const answer = await service.api.get(
    `/promotions?${[query, cursor && `cursor=${cursor}`].filter(Boolean).join('&')}`,
  );
  expect(answer.status).toBe(200);
  return answer.body;
}

/** The ids of every page; `between` is done before each page but the first. */
async function walk(query: string, between: () => Promise<unknown> = async () => undefined): Promise<number[]> {
  const ids: number[] = [];
  let cursor: string | null = null;
  do {
    if (cursor) await between();
    const { items, next_cursor }: Wire = await page(query, cursor);
    ids.push(...items.map(({ id }: { id: number }) => id));
    cursor = next_cursor;
  } while (cursor);
  return ids;
}

const make = (count: number) =>
  service.sql(
    `insert into promotions.promotions (name, status, start_at, end_at)
     select 'P', (array['draft', 'active', 'ended'])[1 + n % 3], now(), now() + interval '1 day' from generate_series(1, $1::int) n`,
    [count],
  );

describe('totals are the number of promotions', () => {
  test('after any creating, activating and ending at once', async () => {
    for (let round = 0; round < 5; round += 1) {
      const made = await Promise.all(Array.from({ length: 12 }, () => createPromotion(service.api)));
      await Promise.all(
        made.flatMap((promotion, index) => [
          createPromotion(service.api),
          ...(index % 3 > 0
            ? [setStatus(service.api, promotion, 'active'), setStatus(service.api, promotion, 'active')]
            : []),
          ...(index % 3 > 1 ? [setStatus(service.api, promotion, 'ended')] : []),
        ]),
      );
      await expectTrueTotals();
    }
    expect((await page('')).total).toBe(120);
  });

  test("after an operator's own SQL, and after a recount of what was written behind the triggers", async () => {
    await make(100);
    await expectTrueTotals();
    await service.sql(`update promotions.promotions set status = 'ended' where status = 'active'`);
    await service.sql(`delete from promotions.promotions where id % 5 = 0`);
    await expectTrueTotals();
    await service.sql(`begin; set local session_replication_role = replica;
      delete from promotions.promotions where status = 'draft';
      commit`);
    expect((await page('status=draft')).total).toBeGreaterThan(0);
    await service.sql('select promotions.recount_promotions()');
    await expectTrueTotals();
  });

  test('and a transaction left open in the middle blocks no creation or activation', async () => {
    const operator = new pg.Client({ connectionString: service.env.DATABASE_URL });
    await operator.connect();
    await operator.query(
      `begin; insert into promotions.promotions (name, start_at, end_at) values ('P', now(), now() + interval '1 day')`,
    );
    const promotion = await promotionIn(service.api, 'ended');
    expect((await page('')).items.map(({ id }: { id: number }) => id)).toEqual([promotion.id]);
    expect((await page('')).total).toBe(1);
    await operator.query('commit');
    await operator.end();
    await expectTrueTotals();
  });
});

describe('a walk by cursor', () => {
  test.each([1, 4, 29, 30, 100])('in pages of %d gives what one page gives', async (limit) => {
    await make(30);
    for (const status of statuses) {
      const filter = status && `status=${status}&`;
      const all = (await page(filter)).items.map(({ id }: { id: number }) => id);
      expect(all).toHaveLength(status ? 10 : 30);
      expect(await walk(`${filter}limit=${limit}`)).toEqual(all);
    }
  });

  test('gives each that was there exactly once while others are created, and the total of the moment', async () => {
    await make(30);
    const before = (await page('')).items.map(({ id }: { id: number }) => id);
    expect(await walk('limit=4', () => createPromotion(service.api))).toEqual(before);
    const { items, total, next_cursor } = await page('limit=4');
    expect([items[0].id > before[0], total]).toEqual([true, 37]);
    await make(3);
    expect((await page('limit=4', next_cursor)).total).toBe(40);
  });

  /** A cursor with this content. */
  const textOf = (content: string): string => Buffer.from(content).toString('base64url');

  test.each([
    ['cursor=', cursorRule],
    ['cursor=x', cursorRule],
    ['cursor=p2..7', cursorRule],
    [`cursor=${textOf('s1.1.7')}`, cursorRule],
    [`cursor=${textOf('s2.1...1.7')}`, cursorRule],
    [`cursor=${textOf('p2.7')}`, cursorRule],
    [`cursor=${textOf('p2..7.7')}`, cursorRule],
    [`cursor=${textOf('p3..7')}`, cursorRule],
    [`cursor=${textOf('p2..7')}=`, cursorRule],
    [`cursor=${textOf('p2..7')}&cursor=${textOf('p2..7')}`, 'must be given once'],
    [`cursor=${textOf('p2..7')}&offset=10`, 'cannot be combined with offset'],
  ])('?%s is 422', async (query, rule) => {
    const answer = await service.api.get(`/promotions?${query}`);
    expect([answer.status, answer.body.errors]).toEqual([422, [{ field: 'cursor', rule }]]);
  });

  test.each([
    ['status=draft', 'status=active'],
    ['status=ended', ''],
    ['', 'status=draft'],
  ])('with the cursor of "%s" sent with "%s" is 422, and names the status', async (given, sent) => {
    await make(30);
    const { next_cursor } = await page(`${given}&limit=2`);
    const answer = await service.api.get(`/promotions?${sent}&limit=2&cursor=${next_cursor}`);
    const rule = 'must be the same as in the request that gave the cursor';
    expect([answer.status, answer.body.errors]).toEqual([422, [{ field: 'status', rule }]]);
    expect((await page(`limit=7&${given}`, next_cursor)).items).toHaveLength(7);
  });

  test('that was begun in release 0.1.0, whose cursors have no filter, goes on', async () => {
    await make(30);
    const all = (await page('status=active')).items;
    const rest = await page('status=active', textOf(`p1.${all[1].id}`));
    expect(rest.items).toEqual(all.slice(2));
  });
});
