// The totals of lists are kept by triggers beside the rows. They must be the number of rows, whatever is done to those,
// by whom, and however it ends; and maintaining them must block no writer.
import { setTimeout as sleep } from 'node:timers/promises';
import { afterAll, afterEach, beforeAll, describe, expect, test } from '@jest/globals';
import { migrate, revert } from '@promopulse/shared/database/migrations';
import { databaseOptionsOf } from '@promopulse/shared/service/schema-definition';
import { createLogger } from '@promopulse/shared/telemetry/logger';
import type { Wire } from '@promopulse/testing/client';
import { eventually } from '@promopulse/testing/eventually';
import { createTestDatabase } from '@promopulse/testing/servers';
import fc from 'fast-check';
import pg from 'pg';
import { subscriptions } from '../src/service.ts';
import { promotionState, type Scene, startScene } from './owners.ts';

let scene: Scene;
beforeAll(async () => {
  scene = await startScene({ DATABASE_POOL_MAX: '16', FRESHNESS_LEASE_MS: '60000', OWNER_TIMEOUT_MS: '5000' });
  for (let id = 1; id <= 300; id += 1) scene.users.states.set(id, { id, version: 1 });
  for (let id = 1; id <= 30; id += 1) scene.promotions.states.set(id, promotionState(id, 'active', 2));
});
afterAll(() => scene.close());
afterEach(() => scene.sql('truncate subscriptions.subscriptions'));

/** Each promotion's totals as the list says them: all, active, inactive. */
async function listed(promotions: number[]) {
  const totalOf = async (query: string): Promise<number> =>
    (await scene.api.get(`/subscriptions?limit=1&${query}`)).body.total;
  return await Promise.all(
    promotions.map(async (id) => ({
      id,
      total: await totalOf(`promotion_id=${id}`),
      active: await totalOf(`promotion_id=${id}&is_active=true`),
      inactive: await totalOf(`promotion_id=${id}&is_active=false`),
    })),
  );
}

async function counted(promotions: number[]) {
  return await scene.sql(
    `select p.id, count(s.id)::int as total, (count(*) filter (where is_active))::int as active,
            (count(*) filter (where not is_active))::int as inactive
     from unnest($1::int[]) as p(id) left join subscriptions.subscriptions s on s.promotion_id = p.id
     group by p.id order by p.id`,
    [promotions],
  );
}

async function expectTrueTotals(promotions: number[]) {
  expect(await listed(promotions)).toEqual(await counted(promotions));
}

const leave = (id: number) => scene.api.patch(`/subscriptions/${id}/deactivate`);
const comeBack = (id: number) => scene.api.patch(`/subscriptions/${id}/reactivate`);
const idsOf = async (): Promise<number[]> =>
  (await scene.sql('select id from subscriptions.subscriptions')).map(({ id }) => id);

/** A connection of its own, as an operator would have. */
async function connect(url = scene.env.DATABASE_URL): Promise<pg.Client> {
  const connection = new pg.Client({ connectionString: url, options: '-c search_path=subscriptions' });
  await connection.connect();
  return connection;
}

describe('totals are the number of rows', () => {
  test('after any subscribing, leaving and coming back at once', async () => {
    const step = fc.record({
      user: fc.integer({ min: 1, max: 8 }),
      promotion: fc.integer({ min: 1, max: 3 }),
      action: fc.constantFrom('subscribe', 'leave', 'come back'),
    });
    await fc.assert(
      fc.asyncProperty(fc.array(step, { minLength: 1, maxLength: 60 }), async (steps) => {
        const known = await idsOf();
        const statuses = await Promise.all(
          steps.map(async ({ user, promotion, action }) => {
            const id = known[(user * promotion) % Math.max(known.length, 1)];
            if (action === 'subscribe' || id === undefined) return (await scene.subscribe(user, promotion)).status;
            return (await (action === 'leave' ? leave(id) : comeBack(id))).status;
          }),
        );
        expect([200, 201, 409, 422]).toEqual(expect.arrayContaining([...new Set(statuses)]));
        await expectTrueTotals([1, 2, 3]);
      }),
      { numRuns: 25 },
    );
  });

  test('when connections are killed during hundreds of concurrent writes, without a deadlock', async () => {
    const deadlocks = async () =>
      (await scene.sql('select deadlocks::int from pg_stat_database where datname = current_database()'))[0]?.deadlocks;
    const before = await deadlocks();
    const statuses: number[] = [];
    let killed = 0;
    let finished = false;
    const kills = (async () => {
      while (!finished) {
        const rows = await scene.sql(
          `select pg_terminate_backend(pid) from pg_stat_activity
           where datname = current_database() and application_name = 'promopulse-subscriptions' and state = 'active'
           order by random() limit 2`,
        );
        killed += rows.length;
        await sleep(10);
      }
    })();
    for (let round = 0; round < 4 || killed < 6; round += 1) {
      const known = await idsOf();
      const answers = await Promise.all([
        ...Array.from({ length: 100 }, (_, index) =>
          scene.subscribe(1 + ((round * 50 + (index % 50)) % 300), 1 + (index % 2)),
        ),
        ...known.slice(-40).flatMap((id) => [leave(id), comeBack(id)]),
      ]);
      statuses.push(...answers.map(({ status }) => status));
    }
    finished = true;
    await kills;
    expect([200, 201, 409, 422, 503]).toEqual(expect.arrayContaining([...new Set(statuses)]));
    expect(statuses.filter((status) => status === 201).length).toBeGreaterThan(50);
    await eventually(() => expectTrueTotals([1, 2]));
    expect(await deadlocks()).toBe(before);
  });

  test("also after an operator's own SQL: many rows at once, rows moved, deleted, all gone", async () => {
    const statements = [
      'insert into subscriptions (user_id, promotion_id) select u, p from generate_series(1, 500) u, generate_series(1, 4) p',
      'insert into subscriptions (user_id, promotion_id) select u, 4 from generate_series(1, 600) u on conflict do nothing',
      'update subscriptions set is_active = false, version = version + 1 where user_id % 3 = 0',
      `update subscriptions set metadata = '{"note":"unchanged"}' where user_id < 50`,
      'update subscriptions set promotion_id = 9, is_active = not is_active where promotion_id = 3 and user_id % 5 = 0',
      'delete from subscriptions where user_id % 7 = 0 or promotion_id = 2',
    ];
    const operator = await connect();
    for (const statement of statements) {
      await operator.query(statement);
      await expectTrueTotals([1, 2, 3, 4, 9]);
    }
    expect((await listed([1, 9])).map(({ total }) => total)).toEqual([429, 86]);
    await operator.query('begin; delete from subscriptions; rollback');
    await expectTrueTotals([1, 2, 3, 4, 9]);
    await operator.query('truncate subscriptions');
    await operator.end();
    expect(await listed([1, 9])).toEqual([1, 9].map((id) => ({ id, total: 0, active: 0, inactive: 0 })));
  });
});

test('a transaction left open in the middle blocks no subscribing or leaving', async () => {
  const { body: early } = await scene.subscribe(1, 1);
  const operator = await connect();
  await operator.query('begin; insert into subscriptions (user_id, promotion_id) values (2, 1)');
  expect((await scene.subscribe(3, 1)).status).toBe(201);
  expect((await leave(early.id)).status).toBe(200);
  expect(await listed([1])).toEqual([{ id: 1, total: 2, active: 1, inactive: 1 }]);
  await operator.query('commit');
  await operator.end();
  expect(await listed([1])).toEqual([{ id: 1, total: 3, active: 2, inactive: 1 }]);
});

test('writers at once share a few rows of counts, and do not leave one for each write', async () => {
  for (let round = 0; round < 5; round += 1) {
    await Promise.all(Array.from({ length: 50 }, (_, index) => scene.subscribe(1 + round * 50 + index, 1)));
  }
  const [row] = await scene.sql('select count(*)::int, sum(total)::int from subscriptions.subscription_counts');
  expect(row.sum).toBe(250);
  expect(row.count).toBeLessThanOrEqual(16); // the pool's size
});

describe('a recount', () => {
  const recount = async (connection: pg.Client): Promise<number> =>
    Number((await connection.query('select recount_subscriptions() as mended')).rows[0]?.mended);

  test('mends what was written behind the triggers, while others subscribe and also when two do it at once', async () => {
    for (const user of [1, 2, 3]) await scene.subscribe(user, 1);
    await scene.sql(`begin; set local session_replication_role = replica;
      insert into subscriptions.subscriptions (user_id, promotion_id) select u, p from generate_series(101, 200) u, generate_series(1, 2) p;
      delete from subscriptions.subscriptions where user_id = 1;
      insert into subscriptions.subscription_counts (promotion_id, total, active) values (7, 5, 5);
      commit`);
    expect(await listed([1, 2, 7])).not.toEqual(await counted([1, 2, 7]));
    const [one, other] = await Promise.all([connect(), connect()]);
    await one.query('begin');
    expect(await recount(one)).toBe(3);
    const second = recount(other); // waits for the first, else both would add what is missing
    await Promise.all(Array.from({ length: 60 }, (_, index) => scene.subscribe(4 + index, 1 + (index % 2))));
    await one.query('commit');
    expect(await second).toBe(0);
    await expectTrueTotals([1, 2, 7]);
    await Promise.all([one.end(), other.end()]);
  });

  test('changes nothing where nothing is wrong', async () => {
    await scene.subscribe(1, 1);
    const operator = await connect();
    expect(await recount(operator)).toBe(0);
    await operator.end();
    expect(await scene.sql('select total, active from subscriptions.subscription_counts')).toEqual([
      { total: 1, active: 1 },
    ]);
  });
});

test('the migration counts what is there and what replicas of the version before write meanwhile', async () => {
  const testDatabase = await createTestDatabase(['subscriptions']);
  const log = createLogger({ service: 'test', level: 'silent' });
  const options = databaseOptionsOf(subscriptions, testDatabase.urlFor('subscriptions'));
  await migrate(options, log);
  while (!(await revert(options, log))?.endsWith('_counts'));
  const writers = await Promise.all([1, 2, 3].map(() => connect(options.url)));
  await writers[0]?.query(
    'insert into subscriptions (user_id, promotion_id) select u, 1 from generate_series(1, 5000) u',
  );
  let migrated = false;
  let written = 0;
  const writing = writers.map(async (writer, index) => {
    for (let user = 5_001 + index * 100_000; !migrated; user += 1) {
      await writer.query('insert into subscriptions (user_id, promotion_id) values ($1, 1)', [user]);
      await writer.query('update subscriptions set is_active = false where user_id = $1', [user - 5_000]);
      written += 1;
      await sleep(2); // or three of them, without a pause, would keep the migration from its locks
    }
    await writer.end();
  });
  const before = written;
  await migrate(options, log).finally(() => {
    migrated = true;
  });
  await Promise.all(writing);
  expect(written - before).toBeGreaterThan(10);
  const reader = await connect(options.url);
  const { rows } = await reader.query<Wire>(
    `select (select sum(total)::int from subscription_counts) = count(*) as total,
            (select sum(active)::int from subscription_counts) = count(*) filter (where is_active) as active
     from subscriptions`,
  );
  await reader.end();
  await testDatabase.drop();
  expect(rows).toEqual([{ total: true, active: true }]);
}, 120_000);
