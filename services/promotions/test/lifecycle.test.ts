// What a promotion may become, and what of it may be edited, over the wire.
import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';
import { promotionStatuses as statuses } from '@promopulse/shared/contracts/promotions';
import { bodyOf, type Client, invalid, problem } from '@promopulse/testing/client';
import { startTestService, type TestService } from '@promopulse/testing/service';
import { editableFields, fields, transitions } from '../src/rules.ts';
import { promotions } from '../src/service.ts';
import { createPromotion, edited, eventsOf, getPromotion, promotionIn, setStatus } from './wire.ts';

let service: TestService;
let api: Client;
beforeAll(async () => {
  service = await startTestService(promotions, { APPLIED_REPLY_TIMEOUT_MS: '0' });
  api = service.api;
});
afterAll(() => service?.close());

describe('the status', () => {
  test.each(statuses.flatMap((from) => statuses.map((to) => [from, to] as const)))('%s to %s', async (from, to) => {
    const promotion = await promotionIn(api, from);
    const before = await eventsOf(service, promotion);
    const answer = await setStatus(api, promotion, to);
    const after = await getPromotion(api, promotion);
    if (transitions[from].includes(to)) {
      expect(answer).toMatchObject({ status: 200, body: { ...promotion, status: to, updated_at: after.updated_at } });
      expect(after).toEqual(answer.body);
      expect(Date.parse(after.updated_at)).toBeGreaterThanOrEqual(Date.parse(promotion.updated_at));
      return;
    }
    expect(after).toEqual(promotion);
    expect(await eventsOf(service, promotion)).toEqual(before);
    if (from === to) {
      expect(answer).toMatchObject({ status: 200, body: promotion });
      expect(answer.headers.has('promopulse-projection')).toBe(false);
      return;
    }
    expect(answer.status).toBe(422);
    expect(bodyOf(answer)).toEqual({
      ...problem(
        422,
        'invalid_transition',
        `Cannot transition from ${from} to ${to}. Valid transitions: DRAFT→ACTIVE, ACTIVE→ENDED`,
        [{ field: 'status', rule: `must be reachable from ${from}` }],
      ),
      promotion_status: from,
    });
  });

  test.each<[unknown, readonly [string, string]]>([
    [{}, ['status', 'is required']],
    [{ status: 'ACTIVE' }, ['status', 'must be one of draft, active, ended']],
    [{ status: null }, ['status', 'must be one of draft, active, ended']],
    [{ status: 'active\0' }, ['status', 'must be one of draft, active, ended']],
    [{ status: 'active', at: 'once' }, ['at', 'is not a known field']],
    [undefined, ['body', 'is required']],
  ])('%j is rejected with 422', async (body, broken) => {
    const promotion = await createPromotion(api);
    const answer = await api.post(`/promotions/${promotion.id}/status`, body);
    expect(answer.status).toBe(422);
    expect(bodyOf(answer)).toEqual(invalid(broken));
    expect(await getPromotion(api, promotion)).toEqual(promotion);
  });
});

const rejected = (status: string, ...names: string[]) => ({
  ...problem(
    422,
    'field_not_editable',
    `Cannot edit field '${names[0]}' when promotion is in ${status} status`,
    names.map((field) => ({ field, rule: `cannot be edited when the promotion is ${status}` })),
  ),
  promotion_status: status,
});

describe('editing', () => {
  test.each(statuses.flatMap((status) => fields.map((field) => [field, status] as const)))(
    'the %s when %s',
    async (field, status) => {
      const promotion = await promotionIn(api, status);
      const answer = await api.patch(`/promotions/${promotion.id}`, { [field]: edited[field] });
      const after = await getPromotion(api, promotion);
      if (editableFields[status].includes(field)) {
        expect(answer.status).toBe(200);
        expect(answer.body).toEqual({ ...promotion, [field]: edited[field], updated_at: after.updated_at });
        expect(after).toEqual(answer.body);
      } else {
        expect(answer.status).toBe(422);
        expect(bodyOf(answer)).toEqual(rejected(status, field));
        expect(after).toEqual(promotion);
      }
    },
  );

  test('a draft takes all fields at once', async () => {
    const promotion = await createPromotion(api);
    const answer = await api.patch(`/promotions/${promotion.id}`, edited);
    expect(answer).toMatchObject({ status: 200, body: { ...edited, id: promotion.id, status: 'draft' } });
  });

  test('a mixed patch of an active promotion changes nothing', async () => {
    const promotion = await promotionIn(api, 'active');
    const answer = await api.patch(`/promotions/${promotion.id}`, edited);
    expect(answer.status).toBe(422);
    const fixed = fields.filter((field) => !editableFields.active.includes(field));
    expect(bodyOf(answer)).toEqual(rejected('active', ...fixed));
    expect(await getPromotion(api, promotion)).toEqual(promotion);
  });

  test('even the value it has is rejected where the field cannot be edited', async () => {
    const { id, name } = await promotionIn(api, 'ended');
    expect(bodyOf(await api.patch(`/promotions/${id}`, { name }))).toEqual(rejected('ended', 'name'));
  });

  test.each(statuses)('nothing at all is 200 and changes nothing when %s', async (status) => {
    const promotion = await promotionIn(api, status);
    const before = await eventsOf(service, promotion);
    expect(await api.patch(`/promotions/${promotion.id}`, {})).toMatchObject({ status: 200, body: promotion });
    expect(await getPromotion(api, promotion)).toEqual(promotion);
    expect(await eventsOf(service, promotion)).toEqual(before);
  });

  test('a null description clears it', async () => {
    const promotion = await createPromotion(api);
    expect((await api.patch(`/promotions/${promotion.id}`, { description: null })).body.description).toBeNull();
    expect((await getPromotion(api, promotion)).description).toBeNull();
  });

  test.each([
    ['a start after the stored end', { start_at: '2026-07-01T00:00:00Z' }],
    ['a start at the stored end', { start_at: '2026-06-30T23:59:59Z' }],
    ['an end before the stored start', { end_at: '2026-05-31T00:00:00Z' }],
    ['an end at the stored start', { end_at: '2026-06-01T00:00:00Z' }],
    ['an end before the start given with it', { start_at: '2027-02-01T00:00:00Z', end_at: '2027-01-01T00:00:00Z' }],
  ])('%s is rejected with 422 and changes nothing', async (_case, period) => {
    const promotion = await createPromotion(api);
    const answer = await api.patch(`/promotions/${promotion.id}`, { name: 'Not kept', ...period });
    expect(answer.status).toBe(422);
    expect(bodyOf(answer)).toEqual(invalid(['end_at', 'must be after start_at']));
    expect(await getPromotion(api, promotion)).toEqual(promotion);
  });

  test('both halves of a period may move past the stored ones together', async () => {
    const { id } = await createPromotion(api);
    const period = { start_at: '2027-01-01T00:00:00Z', end_at: '2027-02-01T00:00:00Z' };
    expect(await api.patch(`/promotions/${id}`, period)).toMatchObject({ status: 200, body: period });
  });
});
