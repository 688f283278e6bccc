// The history of a promotion: a row for each change, if and only if the change was committed.
import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';
import type { ServiceDefinition } from '@promopulse/shared/service';
import { bodyOf, type Client, invalid, type Wire } from '@promopulse/testing/client';
import { startTestService, type TestService } from '@promopulse/testing/service';
import { promotions } from '../src/service.ts';
import { type Subscriber, subscribe } from './subscriber.ts';
import {
  createPromotion,
  edited,
  eventsOf,
  getPromotion,
  notFound,
  promotionIn,
  setStatus,
  summerSale,
} from './wire.ts';

const actor = 'key:0199c0de-0000-7000-8000-000000000001';

/** The service with a known caller of every request, but of those with the id `nobody`. */
const withActor: ServiceDefinition = {
  ...promotions,
  parts: (context) => {
    const parts = promotions.parts(context);
    const routes = parts.routes.map((route) => ({
      ...route,
      handle: (input: Parameters<typeof route.handle>[0]) =>
        route.handle({ ...input, cause: { ...input.cause, actor: input.cause.requestId === 'nobody' ? null : actor } }),
    }));
    return { ...parts, routes };
  },
};

let service: TestService;
let api: Client;
let subscriber: Subscriber;
beforeAll(async () => {
  service = await startTestService(withActor, { APPLIED_REPLY_TIMEOUT_MS: '0' });
  api = service.api;
  subscriber = subscribe(service.prefix);
});
afterAll(async () => {
  await subscriber?.broker.close();
  await service?.close();
});

const historyPath = ({ id }: { id: number }, query = '') => `/promotions/${id}/history${query}`;
async function historyOf(promotion: { id: number }, query = ''): Promise<Wire[]> {
  const { status, body } = await api.get(historyPath(promotion, query));
  expect(status).toBe(200);
  return body.items;
}
const versionsOf = (items: Wire[]) => items.map(({ version }) => version);
const upTo = (last: number) => Array.from({ length: last }, (_, index) => last - index);

describe('the history of a promotion', () => {
  test('has every change, the newest first: its version, time, actor, request, reason and fields', async () => {
    const headers = (step: string) => ({ 'x-request-id': `request-${step}`, 'x-reason': `Because of ${step}` });
    const { body: created } = await api.post('/promotions', summerSale, headers('a'));
    const path = `/promotions/${created.id}`;
    const changes = { name: edited.name, description: null, end_at: edited.end_at, start_at: summerSale.start_at };
    const { body: changed } = await api.patch(path, changes, headers('b'));
    const { body: activated } = await api.post(`${path}/status`, { status: 'active' }, headers('c'));
    const { body: described } = await api.patch(path, { description: 'Get 30% off' }, { 'x-request-id': 'nobody' });
    const { body: ended } = await api.post(`${path}/status`, { status: 'ended' }, headers('d'));
    const cause = (step: string) => ({ actor, request_id: `request-${step}`, reason: `Because of ${step}` });
    const set = (field: string, from: string | null, to: string | null) => ({ field, from, to });
    expect(await historyOf(created)).toEqual([
      { version: 5, at: ended.updated_at, ...cause('d'), changes: [set('status', 'active', 'ended')] },
      {
        version: 4,
        at: described.updated_at,
        ...{ actor: null, request_id: 'nobody', reason: null },
        changes: [set('description', null, 'Get 30% off')],
      },
      { version: 3, at: activated.updated_at, ...cause('c'), changes: [set('status', 'draft', 'active')] },
      {
        version: 2,
        at: changed.updated_at,
        ...cause('b'),
        changes: [
          set('name', summerSale.name, edited.name),
          set('description', summerSale.description, null),
          set('end_at', summerSale.end_at, edited.end_at),
        ],
      },
      {
        version: 1,
        at: created.updated_at,
        ...cause('a'),
        changes: [...Object.entries({ ...summerSale, status: 'draft' })].map(([field, to]) => set(field, null, to)),
      },
    ]);
  });

  test('leaves out what a creation leaves out', async () => {
    const { description: _left, ...others } = summerSale;
    const { body: promotion } = await api.post('/promotions', others);
    const [{ changes }] = await historyOf(promotion);
    expect(changes.map(({ field }: Wire) => field)).toEqual([...Object.keys(others), 'status']);
  });

  test.each([
    ['text that means something to SQL', `'; drop table ? $1 :a \\' -- ??`],
    ['JSON', '{"field":"x","to":"\\u0000"}'],
    ['letters beyond the 65,536', '😀 \u2028'],
  ])('keeps %s as it was', async (_what, description) => {
    const promotion = await createPromotion(api, { description });
    await api.patch(`/promotions/${promotion.id}`, { description: `${description}?` });
    const [later, first] = await historyOf(promotion);
    expect(later.changes).toEqual([{ field: 'description', from: description, to: `${description}?` }]);
    expect(first.changes).toContainEqual({ field: 'description', from: null, to: description });
  });

  test('has nothing of what changed nothing or was rejected', async () => {
    const promotion = await promotionIn(api, 'active');
    const path = `/promotions/${promotion.id}`;
    const rows = () => service.sql('select * from promotions.promotion_history order by id');
    const before = await rows();
    const answers = [
      await setStatus(api, promotion, 'active'),
      await api.patch(path, {}),
      await api.patch(path, { name: promotion.name, description: promotion.description }),
      await setStatus(api, promotion, 'draft'),
      await api.patch(path, { name: 'Mixed', end_at: '2027-01-01T00:00:00Z' }),
      await api.post('/promotions', { ...summerSale, end_at: summerSale.start_at }),
      await setStatus(api, { id: 99_999 }, 'active'),
    ];
    expect(answers.map(({ status }) => status)).toEqual([200, 200, 200, 422, 422, 422, 404]);
    expect(await rows()).toEqual(before);
  });

  test('that cannot be written leaves the change undone, and its event unrecorded', async () => {
    const draft = await createPromotion(api);
    const active = await promotionIn(api, 'active');
    const rows = () => service.sql('select * from promotions.promotions order by id');
    const [before, events] = [await rows(), await service.events()];
    await service.sql(`create function promotions.reject_history() returns trigger language plpgsql as
      $$ begin raise exception 'no history today'; end $$`);
    await service.sql(
      'create trigger rejects before insert on promotions.promotion_history execute function promotions.reject_history()',
    );
    const answers = [
      await api.post('/promotions', summerSale),
      await api.patch(`/promotions/${draft.id}`, { name: 'Half applied' }),
      await setStatus(api, draft, 'active'),
      await setStatus(api, active, 'ended'),
    ];
    await service.sql('drop trigger rejects on promotions.promotion_history');
    expect(answers.map(({ status }) => status)).toEqual([500, 500, 500, 500]);
    expect(await rows()).toEqual(before);
    expect(await service.events()).toEqual(events);
    expect((await setStatus(api, draft, 'active')).status).toBe(200);
    expect(versionsOf(await historyOf(draft))).toEqual([2, 1]);
  });

  test('has each version once and in order, when edits and transitions race', async () => {
    const promotion = await createPromotion(api);
    const path = `/promotions/${promotion.id}`;
    await Promise.all([
      ...Array.from({ length: 20 }, (_, index) => api.patch(path, { name: `Sale ${index}` })),
      setStatus(api, promotion, 'active'),
      setStatus(api, promotion, 'active'),
    ]);
    const items = await historyOf(promotion);
    expect(versionsOf(items)).toEqual(upTo(items.length));
    expect(versionsOf(items)).toEqual(
      (await eventsOf(service, promotion)).map(({ data }) => data.version).sort((a, b) => b - a),
    );
    const times = items.map(({ at }) => Date.parse(at));
    expect(times).toEqual([...times].sort((a, b) => b - a));
    // Each change begins where the one before it has ended.
    const named = items.flatMap(({ changes }) => changes.filter(({ field }: Wire) => field === 'name'));
    expect(named.slice(0, -1).map(({ from }) => from)).toEqual(named.slice(1).map(({ to }) => to));
    expect(named[0].to).toBe((await getPromotion(api, promotion)).name);
  });
});

describe('who asked', () => {
  test('is in the outbox, in the event and in the history of every change; the reason is in the history only', async () => {
    const headers = { 'x-reason': 'A marked reason 7f3a' };
    const { body: promotion } = await api.post('/promotions', summerSale, headers);
    await api.patch(`/promotions/${promotion.id}`, { name: edited.name }, headers);
    await api.post(`/promotions/${promotion.id}/status`, { status: 'active' }, headers);
    const arrivals = await subscriber.arrivals(promotion, 3);
    expect(arrivals.map(({ event }) => event.envelope.actor)).toEqual([actor, actor, actor]);
    const rows = await service.sql('select * from promotions.outbox where subject = $1', [String(promotion.id)]);
    expect(rows.map((row) => row.actor)).toEqual([actor, actor, actor]);
    const items = await historyOf(promotion);
    expect(items.map((item) => [item.actor, item.reason])).toEqual(Array(3).fill([actor, headers['x-reason']]));
    expect(JSON.stringify([rows, arrivals])).not.toContain('marked reason');
  });

  test('is null, and not in the event, when nobody is known', async () => {
    const { body: promotion } = await api.post('/promotions', summerSale, { 'x-request-id': 'nobody' });
    const [arrival] = await subscriber.arrivals(promotion, 1);
    expect(JSON.parse(String(arrival?.body))).not.toHaveProperty('actor');
    expect(await historyOf(promotion)).toMatchObject([{ actor: null, request_id: 'nobody' }]);
  });
});

describe('the pages of a history', () => {
  let promotion: { id: number };
  const last = 25;
  beforeAll(async () => {
    promotion = await createPromotion(api);
    for (let version = 2; version <= last; version += 1) {
      await api.patch(`/promotions/${promotion.id}`, { name: `Sale ${version}` });
    }
  });

  test('give each change once, also while changes are added', async () => {
    const other = await createPromotion(api);
    const versions: number[] = [];
    let cursor: string | null = null;
    do {
      const query: string = cursor ? `?limit=10&cursor=${cursor}` : '?limit=10';
      const { body } = await api.get(historyPath(promotion, query));
      versions.push(...versionsOf(body.items));
      cursor = body.next_cursor;
      await api.patch(`/promotions/${other.id}`, { name: `Other ${versions.length}` });
      if (versions.length === 10) await api.patch(`/promotions/${promotion.id}`, { name: 'Added' });
    } while (cursor);
    expect(versions).toEqual(upTo(last));
  });

  test('of one change end with the first', async () => {
    const { body } = await api.get(historyPath(await createPromotion(api), '?limit=1'));
    expect([versionsOf(body.items), body.next_cursor]).toEqual([[1], null]);
    expect(Object.keys(body)).toEqual(['items', 'next_cursor']);
  });

  test('of large changes have at most 1 MiB, and a walk gives each change once', async () => {
    const { id } = await createPromotion(api, { description: '"'.repeat(4_000) });
    await service.sql(
      `insert into promotions.promotion_history (promotion_id, version, at, changes)
       select $1, version, now(), jsonb_build_array(jsonb_build_object('field', 'description', 'from', repeat('"', 4000),
         'to', repeat('é', 4000)))
       from generate_series(2, 300) as version`,
      [id],
    );
    for (const limit of [1_000, 100, 40]) {
      const versions: number[] = [];
      let cursor: string | null = null;
      do {
        const path = historyPath({ id }, `?limit=${limit}${cursor ? `&cursor=${cursor}` : ''}`);
        const text: string = await (await fetch(service.url + path)).text();
        expect(Buffer.byteLength(text)).toBeLessThanOrEqual(1_048_576);
        const body: Wire = JSON.parse(text);
        versions.push(...versionsOf(body.items));
        cursor = body.next_cursor;
      } while (cursor);
      expect(versions).toEqual(upTo(300));
    }
  });

  test.each([
    ['?limit=0', ['limit', 'must be an integer from 1 to 1000']],
    ['?limit=1001', ['limit', 'must be an integer from 1 to 1000']],
    ['?limit=5&limit=5', ['limit', 'must be given once']],
    ['?offset=1', ['offset', 'is not a known field']],
    ['?cursor=', ['cursor', 'must be the next_cursor of a page of this list']],
    ['?cursor=cDIuMQ', ['cursor', 'must be the next_cursor of a page of this list']],
    ['?status=draft', ['status', 'is not a known field']],
  ] as const)('%s is rejected with 422', async (query, broken) => {
    const answer = await api.get(historyPath(promotion, query));
    expect([answer.status, bodyOf(answer)]).toEqual([422, invalid(broken)]);
  });

  test('the cursor of another promotion, and of the list of promotions, is rejected with 422', async () => {
    const { body: page } = await api.get(historyPath(promotion, '?limit=1'));
    const other = await createPromotion(api);
    const { body: list } = await api.get('/promotions?limit=1');
    for (const cursor of [page.next_cursor, list.next_cursor]) {
      const answer = await api.get(historyPath(other, `?cursor=${cursor}`));
      expect([answer.status, bodyOf(answer)]).toEqual([
        422,
        invalid(['cursor', 'must be the next_cursor of a page of this list']),
      ]);
    }
  });

  test('of a promotion that is not there are 404, and by an id that is none 422', async () => {
    const answer = await api.get('/promotions/99999/history');
    expect([answer.status, bodyOf(answer)]).toEqual([404, notFound]);
    for (const id of ['abc', '0', '9007199254740992']) {
      const wrong = await api.get(`/promotions/${id}/history`);
      expect([wrong.status, bodyOf(wrong)]).toEqual([
        422,
        invalid(['id', 'must be an integer from 1 to 9007199254740991']),
      ]);
    }
    const post = await api.post('/promotions/1/history', {});
    expect([post.status, post.headers.get('allow')]).toEqual([405, 'GET, HEAD']);
  });

  test('of a promotion from before there was a history are empty, and then begin with its next change', async () => {
    const old = await createPromotion(api);
    await service.sql('delete from promotions.promotion_history where promotion_id = $1', [old.id]);
    expect((await api.get(historyPath(old))).body).toEqual({ items: [], next_cursor: null });
    await api.patch(`/promotions/${old.id}`, { name: 'Known' });
    expect(await historyOf(old)).toMatchObject([
      { version: 2, changes: [{ field: 'name', from: summerSale.name, to: 'Known' }] },
    ]);
  });

  test('go on in order after the version was set back', async () => {
    const back = await createPromotion(api);
    const rename = (name: string) => api.patch(`/promotions/${back.id}`, { name });
    for (const name of ['A', 'B']) await rename(name);
    await service.sql('update promotions.promotions set version = 1 where id = $1', [back.id]);
    for (const name of ['C', 'D']) expect((await rename(name)).status).toBe(200);
    expect(versionsOf(await historyOf(back))).toEqual([3, 2, 3, 2, 1]);
  });

  test('outlive the events', async () => {
    const promotion = await promotionIn(api, 'ended');
    await subscriber.arrivals(promotion, 3);
    await service.sql('delete from promotions.outbox where subject = $1', [String(promotion.id)]);
    expect(versionsOf(await historyOf(promotion))).toEqual([3, 2, 1]);
  });
});

describe('X-Reason', () => {
  const encoding = 'must be ASCII, with % and all other characters as UTF-8 in percent-encoding (%25, %C3%BC)';
  const address =
    'must not have an @ or 7 or more digits in a row, also with separators between them (a date may stand)';

  test.each([
    ['words', 'Wrong end date', 'Wrong end date'],
    ['characters in percent-encoding', 'Gr%C3%BC%C3%9Fe %F0%9F%98%80 50%25', 'Grüße 😀 50%'],
    ['a composed letter', 'Cafe%CC%81', 'Café'],
    ['dates and times', 'Moved from 2026-06-30 23:59 to 31.12.2026', 'Moved from 2026-06-30 23:59 to 31.12.2026'],
    ['six digits', 'Ticket INC-123456', 'Ticket INC-123456'],
    ['200 characters', 'x'.repeat(200), 'x'.repeat(200)],
    ['200 characters of 4 bytes', '%F0%9F%98%80'.repeat(200), '😀'.repeat(200)],
  ])('keeps %s', async (_what, sent, kept) => {
    const { status, body } = await api.post('/promotions', summerSale, { 'x-reason': sent });
    expect(status).toBe(201);
    expect(await historyOf(body)).toMatchObject([{ reason: kept }]);
  });

  test.each([
    ['nothing', '', 'must not be empty'],
    ['only what is invisible', '%E2%80%8B', 'must not be empty'],
    ['a line break', 'a%0D%0Ab', 'must not contain control characters or line breaks'],
    ['a NUL', 'a%00', 'must be well-formed Unicode without NUL characters'],
    ['a character of Latin-1', 'Grüße', encoding],
    ['a % of its own', '50% off', encoding],
    ['half a character', 'a%C3', encoding],
    ['201 characters', 'x'.repeat(201), 'must be at most 200 characters'],
    ['an email', 'Asked by ada@example.com', address],
    ['an email in percent-encoding', 'Asked by ada%40example.com', address],
    ['an email encoded twice', 'Asked by ada%2540example.com', address],
    ['an email with another @', 'ada%EF%BC%A0example.com', address],
    ['a phone number', 'Call +14155550123', address],
    ['a phone number with separators', 'Call +1 (415) 555-0123', address],
    ['a phone number of other digits', '%D9%A1%D9%A2%D9%A3%D9%A4%D9%A5%D9%A6%D9%A7', address],
    ['a phone number beside a date', 'On 2026-06-30 call 555 01 99', address],
  ])('with %s is rejected with 422, and nothing is changed', async (_what, sent, rule) => {
    const promotion = await createPromotion(api);
    const path = `/promotions/${promotion.id}`;
    const headers = { 'x-reason': sent };
    const answers = [
      await api.post('/promotions', summerSale, headers),
      await api.patch(path, { name: edited.name }, headers),
      await api.post(`${path}/status`, { status: 'active' }, headers),
    ];
    for (const answer of answers) expect([answer.status, bodyOf(answer)]).toEqual([422, invalid(['X-Reason', rule])]);
    expect(await getPromotion(api, promotion)).toEqual(promotion);
  });

  test('has no effect on a read', async () => {
    expect((await api.get('/promotions', { 'x-reason': 'ada@example.com' })).status).toBe(200);
  });
});
