// The promise: a change under an entity tag is made only while the tag is the current one, whoever else edits meanwhile.
import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';
import { startService } from '@promopulse/shared/service';
import { type Client, client } from '@promopulse/testing/client';
import { startTestService, type TestService } from '@promopulse/testing/service';
import { promotions } from '../src/service.ts';
import { createPromotion, eventsOf, getPromotion, promotionIn, summerSale } from './wire.ts';

let service: TestService;
let api: Client;
beforeAll(async () => {
  service = await startTestService(promotions, { APPLIED_REPLY_TIMEOUT_MS: '0' });
  api = service.api;
});
afterAll(() => service?.close());

const tagOf = async ({ id }: { id: number }) => (await api.get(`/promotions/${id}`)).headers.get('etag');
const edit = ({ id }: { id: number }, tag: string, changes: object = { name: 'Winter Sale' }) =>
  api.patch(`/promotions/${id}`, changes, { 'If-Match': tag });
const setStatus = ({ id }: { id: number }, tag: string, status: string) =>
  api.post(`/promotions/${id}/status`, { status }, { 'If-Match': tag });

describe('the tag of a promotion', () => {
  test('is its version: on its creation, on GET and HEAD, on an edit and on a status change, with Content-Location', async () => {
    const made = await api.post('/promotions', summerSale);
    const path = `/promotions/${made.body.id}`;
    const tags = (headers: Headers) => [headers.get('etag'), headers.get('content-location')];
    expect(tags(made.headers)).toEqual(['"1"', path]);
    expect(tags((await api.get(path)).headers)).toEqual(['"1"', null]);
    expect(tags((await api.request('HEAD', path)).headers)).toEqual(['"1"', null]);
    expect(tags((await api.patch(path, { name: 'Winter Sale' })).headers)).toEqual(['"2"', path]);
    expect(tags((await api.post(`${path}/status`, { status: 'active' })).headers)).toEqual(['"3"', path]);
    expect(await tagOf(made.body)).toBe('"3"');
    expect((await api.get('/promotions')).headers.has('etag')).toBe(false);
  });

  test('stays when an edit changes nothing, and when the status is already reached', async () => {
    const promotion = await promotionIn(api, 'active');
    const before = await getPromotion(api, promotion);
    for (const same of [{}, { name: promotion.name }]) {
      const { status, headers } = await edit(promotion, '"2"', same);
      expect([status, headers.get('etag')]).toEqual([200, '"2"']);
    }
    expect((await setStatus(promotion, '"2"', 'active')).headers.get('etag')).toBe('"2"');
    expect(await getPromotion(api, promotion)).toEqual(before);
  });

  test('moves with every change of the representation', async () => {
    const promotion = await createPromotion(api);
    const seen = new Map([[await tagOf(promotion), JSON.stringify(await getPromotion(api, promotion))]]);
    for (const changes of [{ name: 'A' }, { description: null }, { start_at: '2026-05-01T00:00:00Z' }, { name: 'B' }]) {
      await api.patch(`/promotions/${promotion.id}`, changes);
      seen.set(await tagOf(promotion), JSON.stringify(await getPromotion(api, promotion)));
    }
    expect([seen.size, new Set(seen.values()).size]).toEqual([5, 5]);
  });
});

describe('two editors of one promotion', () => {
  test('one wins; the other gets 412 with the current tag, and changes nothing', async () => {
    const promotion = await createPromotion(api);
    expect((await edit(promotion, '"1"')).status).toBe(200);
    const lost = await edit(promotion, '"1"', { description: 'Get 30% off' });
    expect(lost).toMatchObject({ status: 412, body: { code: 'precondition_failed' } });
    expect(lost.headers.get('etag')).toBe('"2"');
    expect(await getPromotion(api, promotion)).toMatchObject({ name: 'Winter Sale', description: 'Get 20% off' });
    expect((await edit(promotion, '"2"', { description: 'Get 30% off' })).status).toBe(200);
  });

  test('20 at once with one tag: one wins, 19 get 412, and one event is recorded', async () => {
    for (let round = 0; round < 5; round += 1) {
      const promotion = await createPromotion(api);
      const answers = await Promise.all(
        Array.from({ length: 20 }, (_, index) => edit(promotion, '"1"', { name: `Sale ${index}` })),
      );
      expect(answers.map(({ status }) => status).sort()).toEqual([200, ...Array(19).fill(412)]);
      const winner = answers.find(({ status }) => status === 200)?.body;
      expect(await getPromotion(api, promotion)).toEqual(winner);
      expect(await eventsOf(service, promotion)).toHaveLength(2);
    }
  });

  test('edits and a status change at once with one tag: one of them wins', async () => {
    for (let round = 0; round < 10; round += 1) {
      const promotion = await createPromotion(api);
      const answers = await Promise.all([
        edit(promotion, '"1"', { end_at: '2026-12-31T00:00:00Z' }),
        setStatus(promotion, '"1"', 'active'),
        edit(promotion, '"1"', { name: 'Winter Sale' }),
      ]);
      expect(answers.map(({ status }) => status).sort()).toEqual([200, 412, 412]);
      expect(await eventsOf(service, promotion)).toHaveLength(2);
    }
  });
});

describe('the order', () => {
  test('404, then 412, then 422: of a field, of the status and of the period', async () => {
    const [draft, ended] = [await createPromotion(api), await promotionIn(api, 'ended')];
    const faults = [{ name: '' }, { end_at: '2020-01-01T00:00:00Z' }, { unknown: 1 }, '{'];
    for (const fault of faults) {
      const statuses = [
        await edit({ id: 999_999 }, '"9"', fault as object),
        await edit(draft, '"9"', fault as object),
        await edit(draft, '"1"', fault as object),
      ].map(({ status }) => status);
      expect(statuses).toEqual([404, 412, 422]);
    }
    expect((await edit(ended, '"1"', { name: 'Late' })).status).toBe(412);
    expect((await edit(ended, '"3"', { name: 'Late' })).body.code).toBe('field_not_editable');
    expect((await setStatus({ id: 999_999 }, '"1"', 'active')).status).toBe(404);
    expect((await setStatus(draft, '"9"', 'nonsense')).status).toBe(412);
    expect((await setStatus(draft, '"1"', 'nonsense')).status).toBe(422);
    expect(await tagOf(draft)).toBe('"1"');
  });
});

describe('a status change', () => {
  test('under a stale tag is 412, before what the transition allows', async () => {
    const promotion = await createPromotion(api);
    await edit(promotion, '"1"');
    const stale = await setStatus(promotion, '"1"', 'active');
    expect([stale.status, stale.headers.get('etag')]).toEqual([412, '"2"']);
    expect((await setStatus(promotion, '"1"', 'ended')).status).toBe(412);
    expect((await setStatus(promotion, '"2"', 'ended')).body.code).toBe('invalid_transition');
    expect((await setStatus(promotion, '"2"', 'active')).status).toBe(200);
  });

  test('that has been made already is 200 with the current tag, whatever If-Match says', async () => {
    const promotion = await createPromotion(api);
    expect((await setStatus(promotion, '"1"', 'active')).status).toBe(200);
    for (const tag of ['"1"', 'W/"2"', '"7"', '*']) {
      const repeated = await setStatus(promotion, tag, 'active');
      expect([repeated.status, repeated.headers.get('etag')]).toEqual([200, '"2"']);
      expect(repeated.headers.has('promopulse-projection')).toBe(false);
    }
    expect(await eventsOf(service, promotion)).toHaveLength(2);
    await setStatus(promotion, '"2"', 'ended');
    expect((await setStatus(promotion, '"1"', 'active')).status).toBe(412);
  });

  test('and an edit with If-None-Match: * are 412: the promotion exists', async () => {
    const promotion = await promotionIn(api, 'active');
    const headers = { 'If-None-Match': '*' };
    for (const status of ['active', 'ended']) {
      expect((await api.post(`/promotions/${promotion.id}/status`, { status }, headers)).status).toBe(412);
    }
    expect((await api.patch(`/promotions/${promotion.id}`, { name: 'X' }, headers)).status).toBe(412);
    expect((await api.post(`/promotions/999999/status`, { status: 'ended' }, headers)).status).toBe(404);
    expect(await getPromotion(api, promotion)).toEqual(promotion);
    const other = { 'If-None-Match': '"1", W/"9"' };
    expect((await api.post(`/promotions/${promotion.id}/status`, { status: 'ended' }, other)).status).toBe(200);
  });

  test('under a list of tags is made while one of them is current, in one statement', async () => {
    const promotion = await createPromotion(api);
    const strange = '"99999999999999999999", "x", W/"1", "1"';
    expect((await setStatus(promotion, strange, 'active')).status).toBe(200);
    expect((await setStatus(promotion, '', 'ended')).status).toBe(412);
  });
});

test('a creation with a condition that is false of the list creates nothing: 412', async () => {
  const { total } = (await api.get('/promotions')).body;
  for (const headers of [{ 'If-Match': '"1"' }, { 'If-None-Match': '*' }]) {
    expect((await api.post('/promotions', summerSale, headers as Record<string, string>)).status).toBe(412);
  }
  expect((await api.get('/promotions')).body.total).toBe(total);
});

test('with REQUIRE_IF_MATCH=true every change of a promotion needs If-Match, and a creation does not', async () => {
  const strict = await startService(promotions, { ...service.env, REQUIRE_IF_MATCH: 'true' });
  try {
    const strictApi = client(strict.url);
    const promotion = await createPromotion(strictApi);
    const path = `/promotions/${promotion.id}`;
    for (const refused of [
      await strictApi.patch(path, { name: 'X' }),
      await strictApi.post(`${path}/status`, { status: 'active' }),
    ]) {
      expect(refused).toMatchObject({ status: 428, body: { code: 'precondition_required' } });
    }
    expect(await tagOf(promotion)).toBe('"1"');
    expect((await strictApi.patch(path, { name: 'X' }, { 'If-Match': '"1"' })).status).toBe(200);
    expect((await strictApi.post(`${path}/status`, { status: 'active' }, { 'If-Match': '"2"' })).status).toBe(200);
  } finally {
    await strict.close();
  }
});

test('REQUIRE_IF_MATCH is true or false, and nothing else', async () => {
  const start = startService(promotions, { ...service.env, REQUIRE_IF_MATCH: 'yes' });
  await expect(start).rejects.toThrow('REQUIRE_IF_MATCH is not valid');
});
