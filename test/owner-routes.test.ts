// What the owners tell the consumers of their events: pages of rows and digests of buckets, each with the epoch.
import { randomUUID } from 'node:crypto';
import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';
import { promotionSnapshot } from '@promopulse/shared/contracts/promotions';
import { bucketSize, snapshotDigests, snapshotPage } from '@promopulse/shared/contracts/snapshot';
import { digestSql } from '@promopulse/shared/database/digest';
import type { ServiceDefinition } from '@promopulse/shared/service';
import type { Wire } from '@promopulse/testing/client';
import { eventually } from '@promopulse/testing/eventually';
import { startTestService, type TestService, testKeys } from '@promopulse/testing/service';
import { loadServices } from '../local/services.ts';

const keys = { PII_ENCRYPTION_KEYS: testKeys[0], PII_INDEX_KEY: testKeys[2] };
const definitions = await loadServices();
const start = (owner: string, env: Record<string, string>): Promise<TestService> =>
  startTestService(definitions.find(({ name }) => name === owner) as ServiceDefinition, env);

interface Owner {
  owner: string;
  maxLimit: number;
  env: Record<string, string>;
  /** A row to be created, whatever there is already. */
  newRow(sql: TestService['sql']): object | Promise<object>;
  /** What a projection gets of one of the first five rows. */
  state(id: number, version?: number): object;
  /** Inserts the ids 30,000 to 30,999, with the versions `id % 7 + 1`. */
  insertMany: string;
  /** An edit of a row; absent when the owner cannot tell what has changed. */
  change?: object;
}

const someTime = expect.stringMatching(/^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d{3})?Z$/);
let subscribers = 0;

const owners: Owner[] = [
  {
    owner: 'users',
    maxLimit: 10_000,
    env: keys,
    newRow: () => ({ first_name: 'Ada', last_name: 'Lovelace', email: `ada.${randomUUID()}@example.com` }),
    state: (id, version = 1) => ({ id, version }),
    insertMany: `insert into users.users (id, first_name, last_name, email_encrypted, email_index, version)
      select id, 'A', 'B', '', id::text, id % 7 + 1 from generate_series(30000, 30999) as id`,
    change: { last_name: 'King' },
  },
  {
    owner: 'promotions',
    maxLimit: 1_000,
    env: {},
    newRow: () => ({ name: 'Sale', start_at: '2026-06-01T00:00:00.5Z', end_at: '2026-06-30T00:00:00Z' }),
    state: (id, version = 1) => ({
      ...{ id, status: 'draft', version, updated_at: someTime },
      ...{ start_at: '2026-06-01T00:00:00.500Z', end_at: '2026-06-30T00:00:00Z' },
    }),
    insertMany: `insert into promotions.promotions (id, name, status, start_at, end_at, version)
      select id, 'Sale', 'ended', now(), now() + interval '1 day', id % 7 + 1 from generate_series(30000, 30999) as id`,
    change: { name: 'Winter Sale' },
  },
  {
    owner: 'subscriptions',
    maxLimit: 10_000,
    env: { USERS_INTERNAL_URL: 'http://127.0.0.1:1', PROMOTIONS_INTERNAL_URL: 'http://127.0.0.1:1' },
    newRow: async (sql) => {
      subscribers += 1;
      await sql(
        `insert into subscriptions.known_users (user_id, version, verified_at) values (${subscribers}, 1, now())`,
      );
      await sql(`insert into subscriptions.cached_promotions (promotion_id, status, version, verified_at)
        values (7, 'active', 1, now()) on conflict (promotion_id) do update set verified_at = now()`);
      return { user_id: subscribers, promotion_id: 7 };
    },
    state: (id, version = 1) => ({ id, version, promotion_id: 7, is_active: true, created_at: someTime }),
    insertMany: `insert into subscriptions.subscriptions (id, user_id, promotion_id, version)
      select id, id, 1, id % 7 + 1 from generate_series(30000, 30999) as id`,
  },
];

describe.each(owners)('the routes of $owner for other services', ({ owner, maxLimit, env, newRow, ...more }) => {
  const { state, insertMany, change } = more;
  let service: TestService;
  const path = `/internal/${owner}`;
  beforeAll(async () => {
    service = await start(owner, env);
    for (let row = 1; row <= 5; row += 1) await create();
  });
  afterAll(() => service?.close());

  const create = async (): Promise<number> => {
    const answer = await service.api.post(`/${owner}`, await newRow(service.sql));
    expect(answer.status).toBe(201);
    return answer.body.id;
  };
  const page = async (query: string) => snapshotPage.parse(await read(`?${query}`));
  const digests = async (query: string) => snapshotDigests.parse(await read(`/digests?${query}`));
  async function read(rest: string): Promise<Wire> {
    const answer = await service.internal.get(path + rest);
    expect(answer).toMatchObject({ status: 200 });
    return answer.body;
  }
  const idsOf = ({ items }: { items: unknown[] }) => (items as { id: number }[]).map(({ id }) => id);

  test('list rows by ascending id, between two ids, with what a projection needs and nothing else', async () => {
    expect((await page('after_id=0&limit=2')).items).toEqual([state(1), state(2)]);
    expect(idsOf(await page(`after_id=2&limit=${maxLimit}`))).toEqual([3, 4, 5]);
    expect(idsOf(await page('after_id=1&limit=10&up_to_id=3'))).toEqual([2, 3]);
    expect(idsOf(await page('after_id=2147483647&limit=10'))).toEqual([]);
  });

  test('list only the rows that are asked for by id', async () => {
    expect(idsOf(await page('after_id=0&limit=10&ids=5,2,99'))).toEqual([2, 5]);
    expect(idsOf(await page('after_id=2&limit=10&ids=5,2,2147483647'))).toEqual([5]);
    expect(idsOf(await page('after_id=0&limit=1&ids=4,5'))).toEqual([4]);
  });

  test('show one row with its version, and what a page has of it; a missing one is 404 with its own code', async () => {
    const [row] = (await page('after_id=2&limit=1')).items;
    expect(await read('/3')).toMatchObject({ id: 3, version: 1, ...(row as object) });
    expect(await service.internal.get(`${path}/99`)).toMatchObject({ status: 404, body: { code: 'not_found' } });
  });

  test('list only the rows that were changed later than a time, or reject the question', async () => {
    const { read_at } = await page('after_id=0&limit=1');
    const ofDay = `changed_since=${new Date(new Date(read_at).getTime() - 86_400_000).toISOString()}`;
    if (!change) {
      const rejected = await service.internal.get(`${path}?after_id=0&limit=1&${ofDay}`);
      expect(rejected).toMatchObject({ status: 422, body: { errors: [{ field: 'changed_since' }] } });
      return;
    }
    expect(idsOf(await page(`after_id=0&limit=1&ids=4,5&${ofDay}`))).toEqual([4]);
    expect(idsOf(await page(`after_id=0&limit=10&changed_since=${read_at}`))).toEqual([]);
    await service.api.patch(`/${owner}/3`, change);
    const added = await create();
    const later = await page(`after_id=0&limit=10&changed_since=${read_at}`);
    expect(later.items).toEqual([state(3, 2), state(added)]);
  });

  test('tell the epoch, the position of the outbox and the time of the read', async () => {
    const [stored] = await service.sql(`select epoch, max(outbox.id)::int as position, now() as now
      from ${owner}.publication cross join ${owner}.outbox group by epoch`);
    for (const answer of [await page('after_id=0&limit=1'), await digests('from_bucket=0&limit=1')]) {
      expect(answer).toMatchObject({ epoch: stored.epoch, position: stored.position });
      expect(Math.abs(new Date(answer.read_at).getTime() - stored.now.getTime())).toBeLessThan(2_000);
    }
  });

  test('digest each bucket that has rows; a digest depends on the values alone', async () => {
    await service.sql(insertMany);
    const first = await digests('from_bucket=0&limit=20');
    expect(first).toMatchObject({ last_bucket: 3, items: [{ bucket: 0 }, { bucket: 3, count: 1_000 }] });
    expect([first.next_bucket, (await digests('from_bucket=0&limit=2')).next_bucket]).toEqual([null, 3]);
    const [{ digest }] = await service.sql(
      `select ${digestSql({ id: 'user_id', version: 'number', ...(owner === 'promotions' && { status: 'text' }) })}::text as digest
       from (select id::bigint as user_id, (id % 7 + 1)::int as number, 'ended' as text
             from generate_series(30000, 30999) as id) as copy`,
    );
    expect(first.items[1]?.digest).toBe(digest);
    expect((await digests('from_bucket=1&limit=2')).items).toEqual([]);
    expect((await digests('from_bucket=3&limit=1')).items).toEqual([first.items[1]]);
    expect((await digests(`from_bucket=${Math.floor(Number.MAX_SAFE_INTEGER / bucketSize)}&limit=20`)).items).toEqual(
      [],
    );

    await service.sql(`update ${owner}.${owner} set version = version + 1 where id = 30500`);
    const second = await digests('from_bucket=0&limit=20');
    expect(second.items[0]).toEqual(first.items[0]);
    expect(second.items[1]).toMatchObject({ count: 1_000, digest: expect.not.stringMatching(String(digest)) });
    await service.sql(`delete from ${owner}.${owner} where id = 30500`);
    expect((await digests('from_bucket=3&limit=1')).items[0]?.count).toBe(999);
  });

  test.each([
    ['no limit', '?after_id=0'],
    ['a limit that is too high', `?after_id=0&limit=${maxLimit + 1}`],
    ['an unknown parameter', '?after_id=0&limit=1&offset=2'],
    ['a time without an offset', '?after_id=0&limit=1&changed_since=2026-06-01'],
    ['an id that is none', '?after_id=0&limit=1&ids=1,x'],
    ['an id that is too large', '?after_id=0&limit=1&ids=1,9007199254740992'],
    ['501 ids', `?after_id=0&limit=1&ids=${Array.from({ length: 501 }, (_, index) => index + 1).join(',')}`],
    ['too many buckets', '/digests?from_bucket=0&limit=21'],
    ['a bucket that does not exist', '/digests?from_bucket=900719925475&limit=1'],
  ])('reject %s with 422', async (_what, rest) => {
    expect(await service.internal.get(path + rest)).toMatchObject({ status: 422, body: { code: 'validation_failed' } });
  });

  test('answer 503 while the database is on another server than its epoch, and with a new epoch afterwards', async () => {
    const { epoch } = await page('after_id=0&limit=1');
    // Keeps the relay from beginning a new epoch.
    await service.sql(`alter table ${owner}.publication add constraint frozen check (timeline = 'another') not valid`);
    await service.sql(`update ${owner}.publication set timeline = 'another'`);
    for (const rest of ['?after_id=0&limit=1', '/digests?from_bucket=0&limit=1']) {
      expect(await service.internal.get(path + rest)).toMatchObject({ status: 503, body: { code: 'unavailable' } });
    }
    await service.sql(`alter table ${owner}.publication drop constraint frozen`);
    await eventually(async () => expect((await service.internal.get(`${path}?after_id=0&limit=1`)).status).toBe(200));
    expect((await page('after_id=0&limit=1')).epoch).not.toBe(epoch);
    expect(await create()).toBeGreaterThan(130_000);
  });
});

test("the times of a page are those of the row's events: in UTC, to the millisecond, in every year", async () => {
  const service = await start('promotions', {});
  try {
    const times = { start_at: '0001-01-01T00:00:00.123Z', end_at: '9999-12-31T23:59:59.999Z' };
    await service.api.post('/promotions', { name: 'Sale', ...times });
    const { items } = snapshotPage.parse((await service.internal.get('/internal/promotions?after_id=0&limit=1')).body);
    const [event] = await service.events();
    const { id, version, status, updated_at } = event?.data ?? {};
    expect(items).toEqual([{ id, version, status, updated_at, ...times }]);
    expect(promotionSnapshot.parse(items[0])).toEqual(items[0]);
  } finally {
    await service.close();
  }
});
