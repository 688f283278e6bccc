// A reason on its way through the gateway and the services: it is in the history, and nowhere else.
import { readFileSync } from 'node:fs';
import { afterAll, beforeAll, expect, test } from '@jest/globals';
import { type Client, client } from '@promopulse/testing/client';
import { eventually } from '@promopulse/testing/eventually';
import { type RunningStack, startFreshStack } from './support/stack.ts';

let stack: RunningStack;
let api: Client;
beforeAll(async () => {
  stack = await startFreshStack('rabbit', { LOG_LEVEL: 'trace' });
  api = client(stack.url);
}, 60_000);
afterAll(() => stack?.close());

const promotion = { name: 'Sale', start_at: '2026-06-01T00:00:00Z', end_at: '2026-07-01T00:00:00Z' };
const user = { first_name: 'Ada', last_name: 'Lovelace', email: 'ada@example.com' };

test('a reason is in the history of every change, and in no event, table, log line or answer beside it', async () => {
  const headers = { 'x-reason': 'Marked%20reason %C3%BC7f3a', 'x-request-id': 'request-of-this-test' };
  const { body: created } = await api.post('/promotions', promotion, headers);
  const answers = [
    await api.patch(`/promotions/${created.id}`, { name: 'Winter Sale' }, headers),
    await api.post(`/promotions/${created.id}/status`, { status: 'active' }, headers),
    await api.post('/users', user, headers),
    await api.patch('/users/1', { last_name: 'King' }, headers),
    await api.post('/subscriptions', { user_id: 1, promotion_id: created.id }, headers),
  ];
  expect(answers.map(({ status }) => status)).toEqual([200, 200, 201, 200, 201]);
  for (const [path, versions] of [
    [`/promotions/${created.id}/history`, [3, 2, 1]],
    ['/users/1/history', [2, 1]],
  ] as const) {
    const { body } = await api.get(path);
    expect(body.items).toMatchObject(
      versions.map((version) => ({ version, request_id: 'request-of-this-test', reason: 'Marked reason ü7f3a' })),
    );
  }
  await eventually(async () => {
    const waiting = 'select from promotions.outbox where published_at is null';
    expect(await stack.sql(waiting)).toEqual([]);
  });
  const tables = await stack.sql(
    `select format('%I.%I', schemaname, tablename) as name from pg_tables
     where schemaname in ('users', 'promotions', 'subscriptions') and tablename !~ '_history$'`,
  );
  const rows = await Promise.all(tables.map(({ name }) => stack.sql(`select to_jsonb(t)::text as row from ${name} t`)));
  const texts = { logs: stack.logs(), tables: JSON.stringify(rows), answers: JSON.stringify(answers) };
  for (const [where, text] of Object.entries(texts)) {
    expect([where, text.length > 100, /marked/i.test(text)]).toEqual([where, true, false]);
  }
});

test('a reason in Latin-1 is 422 through the gateway too', async () => {
  const answer = await api.post('/promotions', promotion, { 'x-reason': 'Grüße' });
  expect([answer.status, answer.body.errors]).toEqual([422, [{ field: 'X-Reason', rule: expect.any(String) }]]);
});

test('the statements of the operations page show the size of a history, and delete what is old', async () => {
  const page = readFileSync(new URL('../docs/operations.md', import.meta.url), 'utf8');
  const block = /^## History$.*?```sql\n(.*?)```/ms.exec(page)?.[1] ?? '';
  const [size = '', prune = ''] = block
    .split(';\n')
    .map((text) => text.replaceAll('promotion_history', 'promotions.$&'));
  const { body: kept } = await api.post('/promotions', promotion);
  const { body: old } = await api.post('/promotions', promotion);
  await stack.sql(`update promotions.promotion_history set at = now() - interval '3 years' where promotion_id = $1`, [
    old.id,
  ]);
  expect(await stack.sql(size)).toEqual([
    { count: expect.any(Number), min: expect.any(Date), pg_size_pretty: expect.any(String) },
  ]);
  await stack.sql(prune);
  expect((await api.get(`/promotions/${old.id}/history`)).body.items).toEqual([]);
  expect((await api.get(`/promotions/${kept.id}/history`)).body.items).toHaveLength(1);
});
