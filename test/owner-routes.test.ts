// What the owners tell the consumers of their events: pages of rows and digests of buckets, each with the epoch.
import { randomUUID } from 'node:crypto';
import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';
import { bucketSize, snapshotDigests, snapshotPage } from '@promopulse/shared/contracts/snapshot';
import { digestSql } from '@promopulse/shared/database/digest';
import type { ServiceDefinition } from '@promopulse/shared/service';
import type { Wire } from '@promopulse/testing/client';
import { eventually } from '@promopulse/testing/eventually';
import { startTestService, type TestService, testKeys } from '@promopulse/testing/service';
import { loadServices } from '../local/services.ts';

const keys = { PII_ENCRYPTION_KEYS: testKeys[0], PII_INDEX_KEY: testKeys[2] };
const definitions = await loadServices();
const owners = [
  { owner: 'users', maxLimit: 10_000, change: { last_name: 'King' } },
  { owner: 'promotions', maxLimit: 1_000, change: { name: 'Winter Sale' } },
];

const newRow: Record<string, () => object> = {
  users: () => ({ first_name: 'Ada', last_name: 'Lovelace', email: `ada.${randomUUID()}@example.com` }),
  promotions: () => ({ name: 'Sale', start_at: '2026-06-01T00:00:00Z', end_at: '2026-06-30T00:00:00Z' }),
};

describe.each(owners)('the routes of $owner for other services', ({ owner, maxLimit, change }) => {
  let service: TestService;
  const path = `/internal/${owner}`;
  beforeAll(async () => {
    const definition = definitions.find(({ name }) => name === owner) as ServiceDefinition;
    service = await startTestService(definition, keys);
    for (let row = 1; row <= 5; row += 1) await create();
  });
  afterAll(() => service?.close());

  const create = async (): Promise<number> => {
    const answer = await service.api.post(`/${owner}`, newRow[owner]?.());
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
  const state = (id: number, status = 'draft', version = 1) =>
    owner === 'users' ? { id, version } : { id, status, version };

  test('list rows by ascending id, between two ids, with what a projection needs and nothing else', async () => {
    expect((await page('after_id=0&limit=2')).items).toEqual([state(1), state(2)]);
    expect(idsOf(await page(`after_id=2&limit=${maxLimit}`))).toEqual([3, 4, 5]);
    expect(idsOf(await page('after_id=1&limit=10&up_to_id=3'))).toEqual([2, 3]);
    expect(idsOf(await page('after_id=2147483647&limit=10'))).toEqual([]);
  });

  test('list only the rows that are asked for by id', async () => {
    expect(idsOf(await page('after_id=0&limit=10&ids=5,2,99'))).toEqual([2, 5]);
    expect(idsOf(await page('after_id=2&limit=10&ids=5,2,2147483647'))).toEqual([5]);
    const { created_at } = (await service.sql(`select now() - interval '1 day' as created_at`))[0];
    expect(idsOf(await page(`after_id=0&limit=1&ids=4,5&changed_since=${created_at.toISOString()}`))).toEqual([4]);
  });

  test('list only the rows that were changed later than a time', async () => {
    const { read_at } = await page('after_id=0&limit=1');
    expect(idsOf(await page(`after_id=0&limit=10&changed_since=${read_at}`))).toEqual([]);
    await service.api.patch(`/${owner}/3`, change);
    const added = await create();
    const later = await page(`after_id=0&limit=10&changed_since=${read_at}`);
    expect(later.items).toEqual([state(3, 'draft', 2), state(added)]);
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
    await service.sql(
      owner === 'users'
        ? `insert into users.users (id, first_name, last_name, email_encrypted, email_index, version)
           select id, 'A', 'B', '', id::text, id % 7 + 1 from generate_series(30000, 30999) as id`
        : `insert into promotions.promotions (id, name, status, start_at, end_at, version)
           select id, 'Sale', 'ended', now(), now() + interval '1 day', id % 7 + 1 from generate_series(30000, 30999) as id`,
    );
    const first = await digests('from_bucket=0&limit=20');
    expect(first).toMatchObject({ last_bucket: 3, items: [{ bucket: 0 }, { bucket: 3, count: 1_000 }] });
    expect([first.next_bucket, (await digests('from_bucket=0&limit=2')).next_bucket]).toEqual([null, 3]);
    const [{ digest }] = await service.sql(
      `select ${digestSql({ id: 'user_id', version: 'number', ...(owner !== 'users' && { status: 'text' }) })}::text as digest
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
