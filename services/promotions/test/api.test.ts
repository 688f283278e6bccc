import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';
import { bodyOf, type Client, invalid, problem } from '@promopulse/testing/client';
import { startTestService, type TestService } from '@promopulse/testing/service';
import { promotions } from '../src/service.ts';
import { createPromotion, getPromotion, notFound, setStatus, summerSale } from './wire.ts';

let service: TestService;
let api: Client;
let internal: Client;
beforeAll(async () => {
  service = await startTestService(promotions, { APPLIED_REPLY_TIMEOUT_MS: '0' });
  ({ api, internal } = service);
});
afterAll(() => service?.close());

const time = /^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d{3})?Z$/;

describe('creating a promotion', () => {
  test('answers 201 with a draft and where it is', async () => {
    const answer = await api.post('/promotions', summerSale);
    expect(answer).toMatchObject({ status: 201 });
    expect(answer.body).toEqual({
      ...summerSale,
      id: 1,
      status: 'draft',
      created_at: expect.stringMatching(time),
      updated_at: answer.body.created_at,
      created_by: null,
    });
    expect(Math.abs(Date.now() - Date.parse(answer.body.created_at))).toBeLessThan(60_000);
    expect(answer.headers.get('location')).toBe('/promotions/1');
    expect(await api.get('/promotions/1')).toMatchObject({ status: 200, body: answer.body });
  });

  test.each([
    ['no description', { description: undefined }, { description: null }],
    ['a null description', { description: null }, { description: null }],
    ['an empty description', { description: '' }, { description: '' }],
    ['a name of one letter', { name: 'x' }, { name: 'x' }],
    ['a name of 255 letters', { name: 'x'.repeat(255) }, { name: 'x'.repeat(255) }],
    ['a name of 255 letters beyond the 65,536', { name: '😀'.repeat(255) }, { name: '😀'.repeat(255) }],
    ['a name that is composed', { name: 'Cafe\u0301' }, { name: 'Café' }],
    ['a description of 4,000 letters', { description: 'ü'.repeat(4_000) }, { description: 'ü'.repeat(4_000) }],
    ['text that means something to SQL', { name: `'; drop table $1 ? \\'` }, { name: `'; drop table $1 ? \\'` }],
    ['times of another zone', { start_at: '2026-06-01T02:00:00+02:00' }, { start_at: '2026-06-01T00:00:00Z' }],
    ['a full minute, as Java writes it', { start_at: '2026-06-01T00:00Z' }, { start_at: '2026-06-01T00:00:00Z' }],
    ['lower-case letters in a time', { start_at: '2026-06-01t00:00:00z' }, { start_at: '2026-06-01T00:00:00Z' }],
    ['the end of a day', { end_at: '2026-06-30T24:00:00+02:00' }, { end_at: '2026-06-30T22:00:00Z' }],
    ['an offset without a colon', { start_at: '2026-06-01T00:00:00-0130' }, { start_at: '2026-06-01T01:30:00Z' }],
    ['a name with a ZWNJ', { name: 'علی‌رضا' }, { name: 'علی‌رضا' }],
    ['a description of several lines', { description: 'a\r\n\tb\nc' }, { description: 'a\r\n\tb\nc' }],
    ['milliseconds', { end_at: '2026-06-30T23:59:59.999Z' }, { end_at: '2026-06-30T23:59:59.999Z' }],
    ['microseconds, which are cut', { end_at: '2026-06-30T23:59:59.123999Z' }, { end_at: '2026-06-30T23:59:59.123Z' }],
    ['a period of a millisecond', { end_at: '2026-06-01T00:00:00.001Z' }, { end_at: '2026-06-01T00:00:00.001Z' }],
    ['a leap day', { start_at: '2024-02-29T00:00:00Z' }, { start_at: '2024-02-29T00:00:00Z' }],
    ['the first time there is', { start_at: '0001-01-01T00:00:00Z' }, { start_at: '0001-01-01T00:00:00Z' }],
    ['a time of the year 70', { start_at: '0070-05-06T07:08:09.010Z' }, { start_at: '0070-05-06T07:08:09.010Z' }],
    ['the last time there is', { end_at: '9999-12-31T23:59:59.999Z' }, { end_at: '9999-12-31T23:59:59.999Z' }],
  ])('keeps %s', async (_what, sent, kept) => {
    const promotion = await createPromotion(api, sent);
    expect(promotion).toMatchObject(kept);
    expect(await getPromotion(api, promotion)).toEqual(promotion);
    expect((await api.get('/promotions?limit=1')).body.items).toEqual([promotion]);
  });
});

const timeExamples = 'such as 2026-06-01T00:00:00Z or 2026-06-01T02:00:00+02:00';
const timeRule = `must be an ISO 8601 time of the form YYYY-MM-DDTHH:MM:SS with an offset or Z, ${timeExamples}`;
const existenceRule = `must be a day of its month, and a time from 00:00:00 to 23:59:59 or 24:00:00, ${timeExamples}`;
const yearRule = 'must lie in the years 1 to 9999';
const unstorable = 'must be well-formed Unicode without NUL characters';

/** What a promotion's fields may not be, when it is made and when it is changed. */
const brokenFields: [string, object, readonly [string, string]][] = [
  ['a null name', { name: null }, ['name', 'must be a string']],
  ['a name that is a number', { name: 7 }, ['name', 'must be a string']],
  ['an empty name', { name: '' }, ['name', 'must not be empty']],
  ['a blank name', { name: ' \n ' }, ['name', 'must not be empty']],
  ['a name that is invisible', { name: '\u200b\u2060\u00ad' }, ['name', 'must not be empty']],
  ['a line break in the name', { name: 'a\r\nb' }, ['name', 'must not contain control characters or line breaks']],
  [
    'an escape code in the description',
    { description: '\x1b[31mred' },
    ['description', 'must not contain control characters other than tabs and line breaks (LF or CRLF)'],
  ],
  ['a name of 256 letters', { name: 'x'.repeat(256) }, ['name', 'must be at most 255 characters']],
  ['a NUL in the name', { name: 'a\0b' }, ['name', unstorable]],
  ['half a surrogate pair in the name', { name: 'a\ud800' }, ['name', unstorable]],
  ['a description that is a number', { description: 7 }, ['description', 'must be a string']],
  [
    'a description of 4,001 letters',
    { description: 'x'.repeat(4_001) },
    ['description', 'must be at most 4000 characters'],
  ],
  ['a NUL in the description', { description: '\0' }, ['description', unstorable]],
  ['a null start', { start_at: null }, ['start_at', timeRule]],
  ['a start that is a number', { start_at: 1_780_272_000 }, ['start_at', timeRule]],
  ['an empty start', { start_at: '' }, ['start_at', timeRule]],
  ['a start without a zone', { start_at: '2026-06-01T00:00:00' }, ['start_at', timeRule]],
  ['a start without a time', { start_at: '2026-06-01' }, ['start_at', timeRule]],
  ['a start on a day that is none', { start_at: '2026-02-29T00:00:00Z' }, ['start_at', existenceRule]],
  ['a start at an hour that is none', { start_at: '2026-06-01T25:00:00Z' }, ['start_at', existenceRule]],
  ['a start of the year 300000', { start_at: '300000-01-01T00:00:00Z' }, ['start_at', yearRule]],
  ['a start of the year 300000 in its long form', { start_at: '+300000-01-01T00:00:00Z' }, ['start_at', yearRule]],
  ['a start of the year 0', { start_at: '0000-12-31T23:59:59Z' }, ['start_at', yearRule]],
  ['a start that is of the year 0 in UTC', { start_at: '0001-01-01T00:00:00+01:00' }, ['start_at', yearRule]],
  ['an end that is of the year 10000 in UTC', { end_at: '9999-12-31T23:59:59-01:00' }, ['end_at', yearRule]],
  ['a NUL in the end', { end_at: '2026-06-30T23:59:59Z\0' }, ['end_at', timeRule]],
  ['an unknown field', { colour: 'red' }, ['colour', 'is not a known field']],
  ['a creator', { created_by: 1 }, ['created_by', 'is not a known field']],
];

describe('a promotion is rejected with 422', () => {
  test.each<[string, object, readonly [string, string]]>([
    ...brokenFields,
    ['no name', { name: undefined }, ['name', 'is required']],
    ['no start', { start_at: undefined }, ['start_at', 'is required']],
    ['no end', { end_at: undefined }, ['end_at', 'is required']],
    ['an end before its start', { end_at: '2026-05-31T23:59:59Z' }, ['end_at', 'must be after start_at']],
    ['an end at its start', { end_at: '2026-06-01T00:00:00Z' }, ['end_at', 'must be after start_at']],
    [
      'an end at its start in another zone',
      { end_at: '2026-06-01T02:00:00+02:00' },
      ['end_at', 'must be after start_at'],
    ],
    ['a status', { status: 'active' }, ['status', 'is not a known field']],
  ])('with %s', async (_case, fields, broken) => {
    const answer = await api.post('/promotions', { ...summerSale, ...fields });
    expect(answer.status).toBe(422);
    expect(bodyOf(answer)).toEqual(invalid(broken));
  });

  test('with everything wrong at once: all is named', async () => {
    const answer = await api.post('/promotions', { name: '', start_at: 'soon', colour: 'red' });
    expect(answer.status).toBe(422);
    const named = answer.body.errors.map(({ field }: { field: string }) => field);
    expect(named.sort()).toEqual(['colour', 'end_at', 'name', 'start_at']);
  });

  test.each(['{"name":', '[]', 'null', '"x"'])('when the body is %j', async (body) => {
    const answer = await api.post('/promotions', body);
    expect([answer.status, answer.body.errors]).toMatchObject([422, [{ field: 'body' }]]);
  });
});

test('a body of another type is rejected with 415, and one over 64 KiB with 413', async () => {
  expect((await api.post('/promotions', 'name=x', { 'content-type': 'text/plain' })).status).toBe(415);
  expect((await api.post('/promotions', { ...summerSale, name: 'x'.repeat(70_000) })).status).toBe(413);
});

describe('a promotion that is not there', () => {
  test.each([
    ['GET', '/promotions/99999', undefined],
    ['PATCH', '/promotions/99999', { name: 'x' }],
    ['POST', '/promotions/99999/status', { status: 'active' }],
  ])('%s %s is 404', async (method, path, body) => {
    const answer = await api.request(method, path, { body });
    expect(answer.status).toBe(404);
    expect(bodyOf(answer)).toEqual(notFound);
  });

  test.each(['abc', '0', '-1', '9007199254740992', '1.0', '%00', '1%2F2'])(
    'by an id that is none, %s, is 422',
    async (id) => {
      for (const answer of [
        await api.get(`/promotions/${id}`),
        await api.patch(`/promotions/${id}`, { name: 'x' }),
        await api.post(`/promotions/${id}/status`, { status: 'active' }),
      ]) {
        expect(answer.status).toBe(422);
        expect(bodyOf(answer)).toEqual(invalid(['id', 'must be an integer from 1 to 9007199254740991']));
      }
    },
  );

  test('by an unknown method is 405', async () => {
    const answer = await api.request('DELETE', '/promotions/1');
    expect([answer.status, answer.headers.get('allow')]).toEqual([405, 'GET, HEAD, PATCH']);
    const status = await api.get('/promotions/1/status');
    expect([status.status, status.headers.get('allow')]).toEqual([405, 'POST']);
  });
});

describe('listing promotions', () => {
  let list: TestService;
  beforeAll(async () => {
    list = await startTestService(promotions, { APPLIED_REPLY_TIMEOUT_MS: '0' });
    for (let number = 1; number <= 5; number += 1) await createPromotion(list.api, { name: `Sale ${number}` });
    for (const id of [2, 4]) await setStatus(list.api, { id }, 'active');
    await setStatus(list.api, { id: 4 }, 'ended');
  });
  afterAll(() => list?.close());

  const idsOf = async (query: string) => {
    const { status, body } = await list.api.get(`/promotions${query}`);
    expect(status).toBe(200);
    return { ids: body.items.map(({ id }: { id: number }) => id), total: body.total };
  };

  test.each([
    ['', [5, 4, 3, 2, 1], 5],
    ['?limit=2', [5, 4], 5],
    ['?limit=2&offset=2', [3, 2], 5],
    ['?offset=4', [1], 5],
    ['?offset=5', [], 5],
    ['?offset=2147483647', [], 5],
    ['?limit=1000', [5, 4, 3, 2, 1], 5],
    ['?status=draft', [5, 3, 1], 3],
    ['?status=draft&limit=1&offset=1', [3], 3],
    ['?status=active', [2], 1],
    ['?status=ended', [4], 1],
    ['?status=ended&offset=1', [], 1],
  ])('%s gives %j of %d, newest first', async (query, ids, total) => {
    expect(await idsOf(query)).toEqual({ ids, total });
  });

  test('gives each promotion as it is got alone', async () => {
    const { body } = await list.api.get('/promotions');
    expect(body.items).toEqual(await Promise.all([5, 4, 3, 2, 1].map((id) => getPromotion(list.api, { id }))));
  });

  test('gives 100 when no limit is given', async () => {
    await list.sql(`insert into promotions.promotions (name, start_at, end_at)
      select 'Many', now(), now() + interval '1 day' from generate_series(1, 1100)`);
    const counts = async (query: string) => {
      const { ids, total } = await idsOf(query);
      return [ids.length, total];
    };
    expect(await counts('')).toEqual([100, 1105]);
    expect(await counts('?limit=1000')).toEqual([1000, 1105]);
    await list.sql(`delete from promotions.promotions where name = 'Many'`);
  });

  const limitRule = 'must be an integer from 1 to 1000';
  const statusRule = 'must be one of draft, active, ended';
  test.each<[string, readonly [string, string]]>([
    ['limit=0', ['limit', limitRule]],
    ['limit=1001', ['limit', limitRule]],
    ['limit=-1', ['limit', limitRule]],
    ['limit=', ['limit', limitRule]],
    ['limit=ten', ['limit', limitRule]],
    ['limit=1e2', ['limit', limitRule]],
    ['limit=99999999999', ['limit', limitRule]],
    ['limit=5&limit=5', ['limit', 'must be given once']],
    ['offset=-1', ['offset', 'must be an integer from 0 to 2147483647']],
    ['offset=2147483648', ['offset', 'must be an integer from 0 to 2147483647']],
    ['offset=0&offset=1', ['offset', 'must be given once']],
    ['status=', ['status', statusRule]],
    ['status=DRAFT', ['status', statusRule]],
    ['status=paused', ['status', statusRule]],
    ['status=draft%00', ['status', statusRule]],
    ['status=draft&status=active', ['status', 'must be given once']],
    ['page=1', ['page', 'is not a known field']],
    ['limit[]=1', ['limit[]', 'is not a known field']],
    ['__proto__=1', ['__proto__', 'is not a known field']],
  ])('?%s is rejected with 422', async (query, broken) => {
    const answer = await list.api.get(`/promotions?${query}`);
    expect(answer.status).toBe(422);
    expect(bodyOf(answer)).toEqual(invalid(broken));
  });
});

describe('a change is rejected with 422 and changes nothing', () => {
  test.each<[string, object, readonly [string, string]]>([
    ...brokenFields,
    ['a status', { status: 'active' }, ['status', 'is changed by POST /promotions/{id}/status']],
    ['the status it has', { status: 'draft' }, ['status', 'is changed by POST /promotions/{id}/status']],
    ['a null status', { status: null }, ['status', 'is changed by POST /promotions/{id}/status']],
    ['an id', { id: 7 }, ['id', 'is not a known field']],
  ])('with %s', async (_case, fields, broken) => {
    const promotion = await createPromotion(api);
    const answer = await api.patch(`/promotions/${promotion.id}`, { description: 'Not kept', ...fields });
    expect(answer.status).toBe(422);
    expect(bodyOf(answer)).toEqual(invalid(broken));
    expect(await getPromotion(api, promotion)).toEqual(promotion);
  });
});

describe('for other services', () => {
  test('a promotion that is not there is 404', async () => {
    const answer = await internal.get('/internal/promotions/99999');
    expect(answer.status).toBe(404);
    expect(bodyOf(answer)).toEqual(notFound);
  });

  test('a promotion is its state and its version, which grows with every change', async () => {
    const promotion = await createPromotion(api);
    const state = () => internal.get(`/internal/promotions/${promotion.id}`);
    expect((await state()).body).toEqual({ ...promotion, version: 1 });
    await api.patch(`/promotions/${promotion.id}`, { name: 'Winter Sale' });
    await setStatus(api, promotion, 'active');
    expect((await state()).body).toEqual({ ...(await getPromotion(api, promotion)), version: 3 });
  });

  test('these routes are not in the document that callers read', async () => {
    const { body } = await internal.get('/openapi.json');
    const paths = ['/promotions', '/promotions/{id}', '/promotions/{id}/status', '/promotions/{id}/history'];
    expect(Object.keys(body.paths)).toEqual(paths);
  });
});

test('an unknown path is 404', async () => {
  for (const path of ['/', '/promotion', '/Promotions', '/promotions/1/activate']) {
    const answer = await api.get(path);
    expect(answer.status).toBe(404);
    expect(bodyOf(answer)).toEqual(
      problem(404, 'no_such_path', 'There is no such path. /openapi.json lists all paths.'),
    );
  }
});
