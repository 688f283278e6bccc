// Walking a list by its cursors, as a caller would.
import { afterAll, beforeAll, beforeEach, describe, expect, test } from '@jest/globals';
import type { Wire } from '@promopulse/testing/client';
import pg from 'pg';
import { statements } from '../src/queries.ts';
import { promotionState, type Scene, startScene } from './owners.ts';

let scene: Scene;
let promotion = 100;
beforeAll(async () => {
  scene = await startScene({ FRESHNESS_LEASE_MS: '60000' });
  for (let id = 1; id <= 200; id += 1) scene.users.states.set(id, { id, version: 1 });
});
afterAll(() => scene.close());
beforeEach(() => {
  promotion += 1;
  scene.promotions.states.set(promotion, promotionState(promotion, 'active', 2));
});

const cursorRule = 'must be the next_cursor of a page of this list';
/** A cursor with this content. */
const textOf = (content: string): string => Buffer.from(content).toString('base64url');

async function page(query: string, cursor: string | null = null): Promise<Wire> {
  const answer = await scene.api.get(`/subscriptions?${query}${cursor === null ? '' : `&cursor=${cursor}`}`);
  expect(answer.status).toBe(200);
  return answer.body;
}

/** Every item of every page; `between` is done before each page but the first. */
async function walk(query: string, between: () => Promise<unknown> = async () => undefined): Promise<Wire[]> {
  const items: Wire[] = [];
  let { items: found, next_cursor } = await page(query);
  items.push(...found);
  while (next_cursor !== null) {
    await between();
    ({ items: found, next_cursor } = await page(query, next_cursor));
    items.push(...found);
  }
  return items;
}

/** Subscriptions of users 1 to `count`; three at a time have the same moment. */
async function fill(count: number): Promise<void> {
  await scene.sql(
    `insert into subscriptions.subscriptions (user_id, promotion_id, is_active, created_at)
     select n, $1, n % 3 > 0, timestamptz '2026-01-01T00:00:00Z' + n / 3 * interval '1 ms' from generate_series(1, $2::int) n`,
    [promotion, count],
  );
}

describe('a walk by cursor', () => {
  test.each([1, 2, 3, 7, 30, 31, 100])('in pages of %d gives what one page gives, in its order', async (limit) => {
    await fill(31);
    const query = `promotion_id=${promotion}`;
    expect(await walk(`${query}&limit=${limit}`)).toEqual((await page(query)).items);
    expect(await walk(`${query}&limit=${limit}&is_active=true`)).toEqual((await page(`${query}&is_active=true`)).items);
  });

  test("gives a user's subscriptions too", async () => {
    await scene.sql(
      'insert into subscriptions.subscriptions (user_id, promotion_id) select 777, n from generate_series(1, 25) n',
    );
    const all = (await page('user_id=777')).items;
    expect(all).toHaveLength(25);
    expect(await walk('user_id=777&limit=4')).toEqual(all);
    expect(await walk('user_id=777&limit=4&is_active=false')).toEqual([]);
  });

  test('gives each that was there exactly once, and none twice, while others subscribe and leave', async () => {
    await fill(100);
    const before = (await page(`promotion_id=${promotion}`)).items.map(({ id }: Wire) => id);
    let user = 100;
    const seen = await walk(`promotion_id=${promotion}&limit=9`, async () => {
      const answers = await Promise.all([1, 2, 3].map((step) => scene.subscribe(user + step, promotion)));
      user += 3;
      await scene.api.patch(`/subscriptions/${answers[0]?.body.id}/deactivate`);
    });
    const ids = seen.map(({ id }) => id);
    expect(new Set(ids).size).toBe(ids.length);
    expect(ids.filter((id) => before.includes(id))).toEqual(before);
    expect(user).toBeGreaterThan(120);
  });

  test('has on every page the total at that moment', async () => {
    await fill(10);
    const first = await page(`promotion_id=${promotion}&limit=4`);
    await scene.subscribe(50, promotion);
    const second = await page(`promotion_id=${promotion}&limit=4`, first.next_cursor);
    expect([first.total, second.total]).toEqual([10, 11]);
    expect(second.items.map(({ user_id }: Wire) => user_id)).toEqual([6, 5, 4, 3]);
  });

  test('may begin at an offset, and ends with null, also where the last page is full', async () => {
    await fill(6);
    const first = await page(`promotion_id=${promotion}&limit=2&offset=2`);
    const last = await page(`promotion_id=${promotion}&limit=2`, first.next_cursor);
    expect([...first.items, ...last.items].map(({ user_id }) => user_id)).toEqual([4, 3, 2, 1]);
    expect(last.next_cursor).toBeNull();
    expect((await page(`promotion_id=${promotion}&limit=6`)).next_cursor).toBeNull();
    expect((await page(`promotion_id=${promotion}&offset=6`)).next_cursor).toBeNull();
  });

  test.each([
    ['cursor=', cursorRule],
    ['cursor=x', cursorRule],
    ['cursor=%00', cursorRule],
    ['cursor=s2.1...1.7', cursorRule],
    [`cursor=${textOf('p1.7')}`, cursorRule],
    [`cursor=${textOf('p2..7')}`, cursorRule],
    [`cursor=${textOf('s3.1...1.7')}`, cursorRule],
    [`cursor=${textOf('s2.1.1.7')}`, cursorRule],
    [`cursor=${textOf('s2.1...1.7.7')}`, cursorRule],
    [`cursor=${textOf('s2.1...1.7')}A`, cursorRule],
    [`cursor=${encodeURIComponent(Buffer.from('s2.1...1.7').toString('base64'))}`, cursorRule],
    [`cursor=${textOf('s2.1...1.7')}&cursor=${textOf('s2.1...1.7')}`, 'must be given once'],
    [`cursor=${textOf('s2.1...1.7')}&offset=0`, 'cannot be combined with offset'],
  ])('?%s is 422', async (query, rule) => {
    const answer = await scene.api.get(`/subscriptions?user_id=1&${query}`);
    expect([answer.status, answer.body.errors]).toEqual([422, [{ field: 'cursor', rule }]]);
  });
});

describe('a cursor belongs to the list of its filters', () => {
  const rule = 'must be the same as in the request that gave the cursor';
  const of = {
    promotion: () => `promotion_id=${promotion}`,
    'another promotion': () => `promotion_id=${promotion + 1_000}`,
    'active of a promotion': () => `promotion_id=${promotion}&is_active=true`,
    'inactive of a promotion': () => `promotion_id=${promotion}&is_active=false`,
    user: () => 'user_id=778',
    'another user': () => 'user_id=779',
    'active of a user': () => 'user_id=778&is_active=true',
    nothing: () => '',
    both: () => `user_id=778&promotion_id=${promotion}`,
  };
  type List = keyof typeof of;

  beforeEach(async () => {
    await fill(9);
    await scene.sql(
      `insert into subscriptions.subscriptions (user_id, promotion_id)
       select u, n from generate_series(1, 5) n, generate_series(778, 779) u on conflict do nothing`,
    );
  });

  const cases: [List, List, string[]][] = [
    ['promotion', 'another promotion', ['promotion_id']],
    ['promotion', 'active of a promotion', ['is_active']],
    ['active of a promotion', 'promotion', ['is_active']],
    ['active of a promotion', 'inactive of a promotion', ['is_active']],
    ['user', 'another user', ['user_id']],
    ['user', 'active of a user', ['is_active']],
    ['user', 'promotion', ['user_id', 'promotion_id']],
    ['active of a promotion', 'user', ['user_id', 'promotion_id', 'is_active']],
    ['user', 'nothing', ['user_id']],
    ['user', 'both', ['promotion_id']],
  ];
  test.each(cases)('of %s sent with %s is 422, and names what differs', async (given, sent, fields) => {
    const { next_cursor } = await page(`${of[given]()}&limit=2`);
    const answer = await scene.api.get(`/subscriptions?${of[sent]()}&limit=2&cursor=${next_cursor}`);
    expect([answer.status, answer.body.code]).toEqual([422, 'validation_failed']);
    expect(answer.body.errors).toEqual(fields.map((field) => ({ field, rule })));
    expect(answer.body.detail).toBe(fields.map((field) => `${field} ${rule}`).join('; '));
  });

  test('and is accepted with another limit, and with the same filter written in another way', async () => {
    const query = of['active of a promotion']();
    const all = (await page(query)).items;
    const { items, next_cursor } = await page(`${query}&limit=2`);
    const again = [`promotion_id=${promotion}&is_active=1`, `is_active=YES&promotion_id=${promotion}`, query];
    for (const [index, each] of again.entries()) {
      const rest = await page(`${each}&limit=${100 + 100 * index}`, next_cursor);
      expect([...items, ...rest.items]).toEqual(all);
    }
  });

  test('and of release 0.1.0, which has no filters, leads on: a walk survives the update', async () => {
    const all = (await page(of.promotion())).items;
    const { items } = await page(`${of.promotion()}&limit=2`);
    const last = items.at(-1);
    const rest = await page(of.promotion(), textOf(`s1.${Date.parse(last.created_at)}.${last.id}`));
    expect([...items, ...rest.items]).toEqual(all);
  });
});

test('a page has at most 1 MiB of subscriptions with large metadata, and a walk gives each of them once', async () => {
  await fill(600);
  await scene.sql('update subscriptions.subscriptions set metadata = $2::json where promotion_id = $1', [
    promotion,
    JSON.stringify({ note: '\n'.repeat(2_000), more: 'é'.repeat(2_000) }),
  ]);
  const all = `promotion_id=${promotion}`;
  const sizes: number[] = [];
  for (const query of [`${all}&limit=1000`, `${all}&limit=100`, `${all}&limit=101&is_active=true`]) {
    const ids: number[] = [];
    let cursor: string | null = '';
    while (cursor !== null) {
      const answer = await fetch(`${scene.url}/subscriptions?${query}${cursor && `&cursor=${cursor}`}`);
      const text = await answer.text();
      const body = JSON.parse(text);
      sizes.push(Buffer.byteLength(text));
      ids.push(...body.items.map(({ id }: Wire) => id));
      cursor = body.next_cursor;
      expect(body.total).toBe(query.includes('is_active') ? 400 : 600);
    }
    expect(new Set(ids).size).toBe(query.includes('is_active') ? 400 : 600);
    expect(ids).toHaveLength(new Set(ids).size);
  }
  expect(Math.max(...sizes)).toBeLessThanOrEqual(1_048_576);
  expect(Math.max(...sizes)).toBeGreaterThan(1_000_000);

  const { items, next_cursor } = await page(`${all}&limit=1000&offset=550`);
  expect([items.length, next_cursor]).toEqual([50, null]);
  expect(await page(`${all}&limit=10&offset=5000`)).toMatchObject({ items: [], total: 600, next_cursor: null });
});

test('a page and its total cost the same at any depth of a long list', async () => {
  await fill(50_000);
  await scene.sql('analyze subscriptions.subscriptions');
  /** Blocks that Postgres looks at for a page of ten after this position, as for any other by the prepared statement. */
  const blocks = async ({ name, text }: { name: string; text: string }, createdAt: string, filter = '') => {
    const connection = new pg.Client({
      connectionString: scene.env.DATABASE_URL,
      options: '-c search_path=subscriptions',
    });
    await connection.connect();
    await connection.query(`set plan_cache_mode = force_generic_plan; prepare ${name} as ${text}`);
    const { rows } = await connection.query(
      `explain (analyze, buffers, format json) execute ${name} (${promotion}, 11, 0, '${createdAt}', 0${filter})`,
    );
    await connection.end();
    const { Plan: plan } = rows[0]['QUERY PLAN'][0];
    expect(plan['Actual Rows']).toBe(11);
    return plan['Shared Hit Blocks'] + plan['Shared Read Blocks'];
  };
  for (const createdAt of ['infinity', '2026-01-01T00:00:16Z', '2026-01-01T00:00:00.010Z']) {
    expect(await blocks(statements.byPromotion.cheap, createdAt)).toBeLessThan(60);
    expect(await blocks(statements.byPromotionActive.cheap, createdAt, ', true')).toBeLessThan(60);
  }
});
