// A marked address and phone go through every route and every refusal; afterwards nothing but the answers to their
// own caller has seen them: no log line, no column, no event.
import { afterAll, beforeAll, expect, test } from '@jest/globals';
import { type Client, client, eventually } from '../packages/shared/src/testing.ts';
import { type RunningMesh, startFreshMesh } from './mesh.ts';

const canary = 'canary.7f3a9c';
const phone = '+15550199377';
let mesh: RunningMesh;
let api: Client;

beforeAll(async () => {
  mesh = await startFreshMesh('rabbit', { LOG_LEVEL: 'trace' });
  api = client(mesh.url);
}, 60_000);
afterAll(() => mesh?.close());

test('an email and a phone are in no log line, no column and no event', async () => {
  const email = `${canary}@example.com`;
  const user = { first_name: 'Ada', last_name: 'L', email, phone };
  const { id } = (await api.post('/users', user)).body;
  expect((await api.post('/users', { ...user, email: email.toUpperCase() })).status).toBe(409);
  expect((await api.get(`/users?email=${email}`)).body.total).toBe(1);
  expect((await api.get(`/users?email=${canary}@@example.com`)).status).toBe(422);
  expect((await api.get(`/users/${email}`)).status).toBe(422);
  expect((await api.get(`/nowhere/${email}?email=${email}`)).status).toBe(404);
  expect((await api.patch(`/users/${id}`, { email: `new.${email}`, phone })).status).toBe(200);
  expect((await api.post('/users', `{"email":"${email}",`)).status).toBe(422);
  expect((await api.post('/users', { ...user, unknown: email })).status).toBe(422);
  expect((await api.post('/users', JSON.stringify(user), { 'content-type': 'text/plain' })).status).toBe(415);
  const promotion = { name: 'Sale', start_at: '2026-06-01T00:00:00Z', end_at: '2026-07-01T00:00:00Z' };
  const { id: promotionId } = (await api.post('/promotions', promotion)).body;
  await api.post(`/promotions/${promotionId}/status`, { status: 'active' });
  await api.post('/subscriptions', { user_id: id, promotion_id: promotionId, metadata: { note: 'none of it' } });
  await eventually(async () => {
    const [{ waiting }] = await mesh.sql(
      'select count(*)::int as waiting from users.outbox where published_at is null',
    );
    expect(waiting).toBe(0);
  });

  const dump = await everyRow();
  expect(dump).toContain('user.created');
  expect(mesh.logs()).toContain('"method":"POST"');
  for (const [where, text] of Object.entries({ logs: mesh.logs(), database: dump })) {
    for (const secret of [canary, canary.toUpperCase(), phone, phone.slice(1)]) {
      expect([where, secret, text.includes(secret)]).toEqual([where, secret, false]);
    }
  }
});

async function everyRow(): Promise<string> {
  const tables = await mesh.sql(
    `select format('%I.%I', schemaname, tablename) as name from pg_tables
     where schemaname in ('users', 'promotions', 'subscriptions')`,
  );
  const rows = await Promise.all(tables.map(({ name }) => mesh.sql(`select to_jsonb(t)::text as row from ${name} t`)));
  return rows
    .flat()
    .map(({ row }) => row)
    .join('\n');
}
