// Requests for one locked promotion wait. Those for others do not.
import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';
import type { Client } from '@promopulse/testing/client';
import { requestWhileLocked } from '@promopulse/testing/locked-row';
import { startTestService, type TestService } from '@promopulse/testing/service';
import { promotions } from '../src/service.ts';
import { createPromotion, type Promotion, setStatus, summerSale } from './wire.ts';

let service: TestService;
let api: Client;
let locked: Promotion;
let others: Promotion[];
beforeAll(async () => {
  service = await startTestService(promotions, { APPLIED_REPLY_TIMEOUT_MS: '0' });
  api = service.api;
});
afterAll(() => service?.close());

const activate = () => setStatus(api, locked, 'active');
const edit = (index: number) => api.patch(`/promotions/${locked.id}`, { name: `Sale ${index}` });
const other = (index: number) => others[index] as Promotion;
const strangers = [
  (index: number) => api.get(`/promotions/${other(index).id}`),
  () => api.get('/promotions?limit=5'),
  () => api.post('/promotions', summerSale),
  (index: number) => setStatus(api, other(index), 'active'),
  (index: number) => api.patch(`/promotions/${other(index).id}`, { name: 'Other' }),
];
const lock = () => `select from promotions.promotions where id = ${locked.id} for update`;

describe.each([
  ['status changes', activate],
  ['edits', edit],
  ['status changes and edits', (index: number) => (index % 2 ? activate() : edit(index))],
])('20 %s that wait for a locked promotion', (_name, waiter) => {
  beforeAll(async () => {
    locked = await createPromotion(api);
    others = await Promise.all(Array.from({ length: 40 }, () => createPromotion(api)));
  });

  test('hold up no other request', async () => {
    const answers = await requestWhileLocked(service, { lock: lock(), waiter, strangers });
    expect(answers.strangers.filter(({ status }) => status >= 300)).toEqual([]);
    expect(answers.waiters.filter(({ status, retryAfter }) => status !== 503 || retryAfter !== '1')).toEqual([]);
    const last = (of: { at: number }[]) => Math.max(...of.map(({ at }) => at));
    expect(last(answers.strangers)).toBeLessThan(last(answers.waiters));
  });

  test('are all answered when it is unlocked', async () => {
    const answers = await requestWhileLocked(service, { lock: lock(), heldMs: 400, waiter, strangers });
    expect([...answers.strangers, ...answers.waiters].filter(({ status }) => status >= 300)).toEqual([]);
  });
});
