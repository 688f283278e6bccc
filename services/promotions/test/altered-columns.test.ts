// Columns are altered while requests are served: a prepared statement whose plan no longer fits is planned anew.
import { setTimeout as sleep } from 'node:timers/promises';
import { afterAll, beforeAll, expect, test } from '@jest/globals';
import type { Client } from '@promopulse/testing/client';
import { startTestService, type TestService } from '@promopulse/testing/service';
import { promotions } from '../src/service.ts';
import { createPromotion, setStatus, summerSale } from './wire.ts';

let service: TestService;
let api: Client;
beforeAll(async () => {
  service = await startTestService(promotions, { APPLIED_REPLY_TIMEOUT_MS: '0' });
  api = service.api;
});
afterAll(() => service?.close());

test.each([
  ['another length', 'alter column name type varchar(500)'],
  ['another type', 'alter column name type text'],
  ['a narrower type', 'alter column name type varchar(200)'],
  ['a new column', 'add column note text default $$none$$'],
  ['a column less', 'drop column note'],
  ['another nullability', 'alter column description set not null'],
])('%s under load is no error to anybody', async (_name, change) => {
  const readable = await createPromotion(api);
  const answers: number[] = [];
  let isLoaded = true;
  const load = Array.from({ length: 12 }, async () => {
    while (isLoaded) {
      const promotion = await createPromotion(api);
      const sent = await Promise.all([
        api.get(`/promotions/${readable.id}`),
        api.get('/promotions?limit=3'),
        api.get('/promotions?status=draft&limit=3'),
        api.post('/promotions', summerSale),
        setStatus(api, promotion, 'active'),
        api.patch(`/promotions/${promotion.id}`, { description: 'Other' }),
      ]);
      answers.push(...sent.map(({ status }) => status));
    }
  });
  // One at a time: a lane rejects what waits for too long.
  const costlyPages = ['limit=200', 'status=draft&offset=2000'].map(async (query) => {
    while (isLoaded) answers.push((await api.get(`/promotions?${query}`)).status);
  });
  await sleep(300);
  await service.sql(`alter table promotions.promotions ${change}`);
  await sleep(700);
  isLoaded = false;
  await Promise.all([...load, ...costlyPages]);
  expect(answers.length).toBeGreaterThan(20);
  expect(answers.filter((status) => status >= 300)).toEqual([]);
  expect((await service.events()).filter(({ name }) => name === 'promotion.created').length).toBeGreaterThan(0);
});
