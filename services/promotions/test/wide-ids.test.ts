// A running service while the columns of its ids become bigint (packages/shared/src/database/ids/widen-ids.ts).
import { afterAll, beforeAll, expect, test } from '@jest/globals';
import { MikroORM } from '@mikro-orm/postgresql';
import { sleep } from '@promopulse/shared/backoff';
import { type DatabaseOptions, ormOptions } from '@promopulse/shared/database/database';
import { migrate, revert } from '@promopulse/shared/database/migrations';
import { databaseOptionsOf } from '@promopulse/shared/service/schema-definition';
import { createLogger } from '@promopulse/shared/telemetry/logger';
import { eventually } from '@promopulse/testing/eventually';
import { startTestService, type TestService } from '@promopulse/testing/service';
import { promotions } from '../src/service.ts';

const silent = createLogger({ service: 'test', level: 'silent' });
const rows = 30_000; // packages/shared/test/database/widen-ids.test.ts has more

const draft = { name: 'Sale', start_at: '2026-06-01T00:00:00Z', end_at: '2026-06-30T00:00:00Z' };

let service: TestService;
beforeAll(async () => {
  service = await startTestService(promotions);
});
afterAll(() => service?.close());

const typeOfId = async () =>
  (
    await service.sql(`select data_type from information_schema.columns
    where table_schema = 'promotions' and table_name = 'promotions' and column_name = 'id'`)
  )[0].data_type;

/** Reverts `wide_ids` alone: the service needs what later migrations have added. */
async function revertWideIds(options: DatabaseOptions): Promise<void> {
  const later: string[] = [];
  let name = await revert(options, silent);
  for (; name && !name.endsWith('_wide_ids'); name = await revert(options, silent)) later.unshift(name);
  const orm = new MikroORM(ormOptions(options));
  await orm.migrator.up({ migrations: later });
  await orm.close();
}

test('serves requests all the while: none is a 5xx or waits a second, no promotion is lost, and totals are right', async () => {
  const options = databaseOptionsOf(promotions, String(service.env.DATABASE_URL));
  await revertWideIds(options);
  expect(await typeOfId()).toBe('integer');
  await service.sql(`insert into promotions.promotions (name, start_at, end_at)
    select 'Old', now(), now() + interval '1 day' from generate_series(1, ${rows}) as n`);

  const answers: { status: number; ms: number }[] = [];
  const created: number[] = [];
  let stopped = false;
  const send = async (request: () => ReturnType<typeof service.api.get>) => {
    const startedAt = performance.now();
    const answer = await request();
    answers.push({ status: answer.status, ms: performance.now() - startedAt });
    return answer;
  };
  const anId = () => 1 + Math.floor(Math.random() * rows);
  const work = [
    () => send(() => service.api.get(`/promotions/${anId()}`)),
    () => send(() => service.api.get('/promotions?limit=5')),
    () => send(() => service.api.patch(`/promotions/${anId()}`, { name: 'New' })),
    async () => {
      const { id } = (await send(() => service.api.post('/promotions', draft))).body as { id: number };
      created.push(id);
      await send(() => service.api.post(`/promotions/${id}/status`, { status: 'active' }));
    },
  ];
  const workers = work.map(async (step) => {
    while (!stopped) {
      await step();
      await sleep(5);
    }
  });
  await eventually(() => expect(answers.length).toBeGreaterThan(100));
  await migrate(options, silent);
  expect(await typeOfId()).toBe('bigint');
  const before = answers.length;
  await eventually(() => expect(answers.length).toBeGreaterThan(before + 300)); // after the exchange as well
  stopped = true;
  await Promise.all(workers);

  expect(answers.filter(({ status }) => status >= 500)).toEqual([]);
  expect(Math.max(...answers.map(({ ms }) => ms))).toBeLessThan(2_000); // a wait of a second for a lock would be a 503
  expect(new Set(created).size).toBe(created.length);
  expect(created.every(Number.isSafeInteger)).toBe(true);
  expect((await service.api.get('/promotions?limit=1')).body.total).toBe(rows + created.length);
  expect((await service.api.get('/promotions?status=active&limit=1')).body.total).toBe(created.length);
}, 240_000);

test('counts beyond 2^31 - 1 are the total of every page, also of one that costs more', async () => {
  const many = 3_000_000_000;
  await service.sql(`insert into promotions.promotion_counts (status, total) values ('ended', ${many})`);
  for (const query of ['limit=5', 'limit=500', 'offset=2000', 'status=ended&limit=500']) {
    const { status, body } = await service.api.get(`/promotions?${query}`);
    expect({ query, status, isCounted: body.total >= many }).toEqual({ query, status: 200, isCounted: true });
  }
});
