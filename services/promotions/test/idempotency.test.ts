// Requests about promotions that are repeated with an idempotency key.
import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';
import type { Client } from '@promopulse/testing/client';
import { startTestService, type TestService } from '@promopulse/testing/service';
import { promotions } from '../src/service.ts';
import { createPromotion, eventsOf, getPromotion, promotionIn, summerSale } from './wire.ts';

let service: TestService;
let api: Client;
beforeAll(async () => {
  service = await startTestService(promotions, { APPLIED_REPLY_TIMEOUT_MS: '50' });
  api = service.api;
});
afterAll(() => service?.close());

let made = 0;
const newKey = () => {
  made += 1;
  return { 'idempotency-key': `"promotion ${made}"` };
};
const namesOf = async (promotion: { id: number }) => (await eventsOf(service, promotion)).map(({ name }) => name);
const countPromotions = async () => (await api.get('/promotions?limit=1')).body.total;

describe('a creation', () => {
  test('50 times at once makes one promotion', async () => {
    const before = await countPromotions();
    const headers = newKey();
    const answers = await Promise.all(Array.from({ length: 50 }, () => api.post('/promotions', summerSale, headers)));
    const ids = answers.filter(({ status }) => status === 201).map(({ body }) => body.id);
    expect(new Set(ids).size).toBe(1);
    for (const { status, body } of answers) {
      if (status !== 201) expect([status, body.code]).toEqual([409, 'idempotency_in_progress']);
    }
    expect(await countPromotions()).toBe(before + 1);
    const again = await api.post('/promotions', summerSale, headers);
    expect([again.status, again.body.id, again.headers.get('location')]).toEqual([
      201,
      ids[0],
      `/promotions/${ids[0]}`,
    ]);
    expect(again.headers.get('idempotent-replayed')).toBe('true');
  });

  test('without a key, or with another one, makes another promotion', async () => {
    const ids = [
      (await api.post('/promotions', summerSale, newKey())).body.id,
      (await api.post('/promotions', summerSale, newKey())).body.id,
      (await createPromotion(api)).id,
    ];
    expect(new Set(ids).size).toBe(3);
  });

  test('with a malformed key is 400, and makes none', async () => {
    const before = await countPromotions();
    const answer = await api.post('/promotions', summerSale, { 'idempotency-key': 'a b' });
    expect([answer.status, answer.body.code]).toEqual([400, 'malformed_idempotency_key']);
    expect(await countPromotions()).toBe(before);
  });
});

describe('a status change', () => {
  test('that is repeated is answered as before, also when the status has changed since', async () => {
    const promotion = await createPromotion(api);
    const headers = newKey();
    const first = await api.post(`/promotions/${promotion.id}/status`, { status: 'active' }, headers);
    expect(first).toMatchObject({ status: 200, body: { status: 'active' } });
    await api.post(`/promotions/${promotion.id}/status`, { status: 'ended' });
    const again = await api.post(`/promotions/${promotion.id}/status`, { status: 'active' }, headers);
    expect(again.body).toEqual(first.body);
    expect([again.status, again.headers.get('idempotent-replayed')]).toEqual([200, 'true']);
    expect((await getPromotion(api, promotion)).status).toBe('ended');
    expect(await namesOf(promotion)).toEqual([
      'promotion.created',
      'promotion.status_changed',
      'promotion.status_changed',
    ]);
  });

  test('is pending when it is repeated; one that changed nothing says nothing of the projection', async () => {
    const promotion = await createPromotion(api);
    const [one, other] = [newKey(), newKey()];
    const activate = (headers: Record<string, string>) =>
      api.post(`/promotions/${promotion.id}/status`, { status: 'active' }, headers);
    await activate(one);
    expect((await activate(one)).headers.get('promopulse-projection')).toBe('pending');
    expect((await activate(other)).headers.get('promopulse-projection')).toBeNull();
    const again = await activate(other);
    expect(again.headers.get('promopulse-projection')).toBeNull();
    expect(again.headers.get('idempotent-replayed')).toBe('true');
  });

  test('that the rules forbid leaves the key free for the time when they allow it', async () => {
    const promotion = await createPromotion(api);
    const headers = newKey();
    const end = () => api.post(`/promotions/${promotion.id}/status`, { status: 'ended' }, headers);
    expect((await end()).body.code).toBe('invalid_transition');
    await api.post(`/promotions/${promotion.id}/status`, { status: 'active' });
    expect((await end()).status).toBe(200);
    expect((await end()).headers.get('idempotent-replayed')).toBe('true');
  });

  test('20 with keys of their own at once make one event', async () => {
    const promotion = await createPromotion(api);
    const answers = await Promise.all(
      Array.from({ length: 20 }, () => api.post(`/promotions/${promotion.id}/status`, { status: 'active' }, newKey())),
    );
    expect(answers.map(({ status }) => status)).toEqual(Array(20).fill(200));
    expect(await namesOf(promotion)).toEqual(['promotion.created', 'promotion.status_changed']);
  });
});

describe('an edit', () => {
  test('that is repeated does not overwrite the edit of another caller', async () => {
    const promotion = await createPromotion(api);
    const headers = newKey();
    const edit = () => api.patch(`/promotions/${promotion.id}`, { name: 'Mine' }, headers);
    const first = await edit();
    expect(first).toMatchObject({ status: 200, body: { name: 'Mine' } });
    await api.patch(`/promotions/${promotion.id}`, { name: 'Theirs' });
    expect((await edit()).body).toEqual(first.body);
    expect((await getPromotion(api, promotion)).name).toBe('Theirs');
  });

  test('that the status forbids is refused each time', async () => {
    const promotion = await promotionIn(api, 'ended');
    const headers = newKey();
    for (let n = 0; n < 2; n += 1) {
      const answer = await api.patch(`/promotions/${promotion.id}`, { name: 'Late' }, headers);
      expect([answer.status, answer.body.code]).toEqual([422, 'field_not_editable']);
    }
  });

  test('30 with keys of their own at once leave versions without a gap', async () => {
    const promotion = await createPromotion(api);
    const answers = await Promise.all(
      Array.from({ length: 30 }, (_, index) =>
        api.patch(`/promotions/${promotion.id}`, { name: `Sale ${index}` }, newKey()),
      ),
    );
    expect(new Set(answers.map(({ status }) => status))).toEqual(new Set([200]));
    const versions = (await eventsOf(service, promotion)).map(({ data }) => data.version);
    expect(versions).toEqual(Array.from({ length: 31 }, (_, index) => index + 1));
  });
});
