// The types are those of the document, and the client sends what they say.
import { readFileSync } from 'node:fs';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { afterAll, beforeAll, beforeEach, expect, test } from '@jest/globals';
import { generated, generateTypes, source } from '../source.ts';
import { createPromoPulse, type PromoPulse, type Schemas } from '../src/client.ts';

let promopulse: PromoPulse;
let once: PromoPulse;
let requests: string[];
let keys: (string | string[] | undefined)[];
const server = createServer((request, response) => {
  requests.push(`${request.method} ${request.url}`);
  keys.push(request.headers['idempotency-key']);
  response.writeHead(503, { 'content-type': 'application/problem+json', 'retry-after': '0' });
  response.end(JSON.stringify({ status: 503, code: 'overloaded' }));
});
beforeAll(async () => {
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  const base = `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
  promopulse = createPromoPulse(base, { retry: { attempts: 3, maxJitterMs: 1 } });
  once = createPromoPulse(`${base}/promo/`, { retry: false });
});
beforeEach(() => {
  [requests, keys] = [[], []];
});
afterAll(() => {
  server.closeAllConnections();
  server.close();
});

test('the committed types are those of docs/openapi.json; otherwise run: npm run client', async () => {
  expect(readFileSync(generated, 'utf8')).toBe(await generateTypes(JSON.parse(readFileSync(source, 'utf8'))));
});

test('another document gives other types', async () => {
  const document = JSON.parse(readFileSync(source, 'utf8'));
  document.components.schemas.Promotion.properties.budget = { type: 'integer' };
  expect(await generateTypes(document)).toContain('budget?: number');
});

test('every change has a key of its own, and its repetitions have the same', async () => {
  const body = { name: 'Sale', start_at: '2026-06-01T00:00:00Z', end_at: '2026-07-01T00:00:00Z' };
  await promopulse.POST('/promotions', { body });
  await promopulse.PATCH('/subscriptions/{id}/deactivate', { params: { path: { id: 7 } } });
  const [first, second] = [keys[0], keys[3]];
  expect(first).toMatch(/^[0-9a-f]{32}$/);
  expect(second).toMatch(/^[0-9a-f]{32}$/);
  expect(first).not.toBe(second);
  expect(keys).toEqual([first, first, first, second, second, second]);
});

test('a caller may give the key; a read has none, and a request that is sent once has none either', async () => {
  const body = { first_name: 'Ada', last_name: 'Lovelace', email: 'ada@example.com' };
  await promopulse.POST('/users', { body, params: { header: { 'Idempotency-Key': 'row-17' } } });
  await promopulse.GET('/promotions');
  await once.POST('/users', { body });
  expect(keys).toEqual([...Array(3).fill('row-17'), ...Array(3).fill(undefined), undefined]);
});

test('a change of API keys has a key like every other change', async () => {
  await promopulse.POST('/api-keys', { body: { name: 'Shop', scopes: ['users:read'] } });
  await promopulse.DELETE('/api-keys/{id}', { params: { path: { id: '0199c0de-7a1b-7c3d-8e5f-0123456789ab' } } });
  expect(keys).toEqual([...Array(3).fill(keys[0]), ...Array(3).fill(keys[3])]);
  expect([keys[0], keys[3]]).toEqual([
    expect.stringMatching(/^[0-9a-f]{32}$/),
    expect.stringMatching(/^[0-9a-f]{32}$/),
  ]);
});

test('a request that the gateway asks to repeat is repeated, unless it shall be sent once', async () => {
  const { error, response } = await promopulse.GET('/promotions/{id}', { params: { path: { id: 7 } } });
  expect([response.status, error?.code]).toEqual([503, 'overloaded']);
  await once.GET('/promotions', { params: { query: { status: 'active', limit: 10 } } });
  expect(requests).toEqual([...Array(3).fill('GET /promotions/7'), 'GET /promo/promotions?status=active&limit=10']);
});

test('the types know the fields of requests and responses', () => {
  const promotion = { name: 'Sale', start_at: '2026-06-01T00:00:00Z', end_at: '2026-07-01T00:00:00Z' };
  const bodies: Schemas['CreatePromotion'][] = [
    promotion,
    // @ts-expect-error there is no such field
    { ...promotion, budget: 1 },
    // @ts-expect-error end_at is required
    { name: promotion.name, start_at: promotion.start_at },
  ];
  // @ts-expect-error there is no such status
  const status: Schemas['Promotion']['status'] = 'paused';
  expect([bodies.length, status]).toEqual([3, 'paused']);
});
