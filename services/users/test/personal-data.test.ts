// A canary is an email and a phone that occur nowhere else. It is looked for wherever personal data could leak.
import { inspect } from 'node:util';
import { afterAll, beforeAll, expect, test } from '@jest/globals';
import { openDatabase } from '@promopulse/shared/database/database';
import { violatedConstraint } from '@promopulse/shared/database/sqlstate';
import { type RunningService, startService } from '@promopulse/shared/service';
import { databaseOptionsOf } from '@promopulse/shared/service/schema-definition';
import { type Client, client } from '@promopulse/testing/client';
import { eventually } from '@promopulse/testing/eventually';
import { startTestService, type TestService } from '@promopulse/testing/service';
import { User } from '../src/entities.ts';
import { createPersonalData } from '../src/personal-data/personal-data.ts';
import { users } from '../src/service.ts';
import { keys } from './wire.ts';

const canary = { email: 'Canary.7f3a+tag@example.com', phone: '+14155559876' };
const otherCanary = { email: 'Second.CANARY@example.com', phone: '+441632949876' };
const traces = /canary|4155559876|1632949876/i;
const person = { first_name: 'Ada', last_name: 'Lovelace' };

let frame: TestService;
let service: RunningService;
let api: Client;
const logged: string[] = [];

beforeAll(async () => {
  frame = await startTestService(users, keys);
  service = await startService(
    users,
    { ...frame.env, LOG_LEVEL: 'trace' },
    { logDestination: { write: (line) => void logged.push(line) } },
  );
  api = client(service.url);
  // The text of every statement that writes, as the server reads it (and would write it into its log).
  await frame.sql(`create table users.statements (statement text)`);
  await frame.sql(`create function users.note() returns trigger language plpgsql security definer as
    $$ begin insert into users.statements values (current_query()); return new; end $$`);
  for (const table of ['users', 'outbox', 'idempotency_keys']) {
    await frame.sql(`create trigger note before insert or update on users.${table} execute function users.note()`);
  }
});
afterAll(async () => {
  await service?.close();
  await frame?.close();
});

/** Requests of every outcome, all with the canary; the answers to those that are rejected. */
async function leaveTraces(): Promise<object[]> {
  // Also in keys, which people make of what they have.
  const keyed = { 'idempotency-key': `"create ${canary.email}"` };
  const created = await api.post('/users', { ...person, ...canary }, keyed);
  expect(created).toMatchObject({ status: 201, body: canary });
  expect((await api.post('/users', { ...person, ...canary }, keyed)).body).toEqual(created.body);
  const path = `/users/${created.body.id}`;
  expect((await api.get(path)).body).toMatchObject(canary);
  expect((await api.get(`/users?email=${encodeURIComponent(canary.email)}`)).body.total).toBe(1);
  const phoneAsKey = { 'idempotency-key': canary.phone.slice(1) };
  expect((await api.patch(path, otherCanary, phoneAsKey)).body).toMatchObject(otherCanary);
  expect((await api.patch(path, canary)).status).toBe(200);
  const rejected = [
    await api.post('/users', { ...person, ...canary }),
    await api.post('/users', { ...person, email: `${canary.email}.test`, phone: `${canary.phone}00000` }),
    await api.post('/users', { ...person, ...canary, last_name: 7 }),
    await api.post('/users', `{"email":"${canary.email}"`),
    await api.post('/users', { ...person, email: `x${canary.email}` }, keyed),
    await api.post('/users', { ...person, ...canary }, { 'idempotency-key': canary.email }),
    await api.post('/users', `${canary.email}`, { 'content-type': 'text/plain' }),
    await api.patch(path, { email: `${canary.email}\0` }),
    await api.get(`/users?email=${canary.email}`), // the bare plus is a space
    await api.get(`/users/${canary.email}`),
    await api.get(`/users/${canary.phone}`),
    await api.get(`/nowhere/${encodeURIComponent(canary.email)}?phone=${canary.phone}`),
    await api.request('DELETE', `/users/${canary.email}`),
    await withoutOutbox(() => api.post('/users', { ...person, ...otherCanary })),
  ];
  expect(rejected.map(({ status }) => status)).toEqual([
    ...[409, 422, 422, 422, 422, 400, 415, 422, 422, 422, 422, 404, 405, 500],
  ]);
  return rejected.map(({ body, headers }) => ({ body, headers: [...headers] }));
}

async function withoutOutbox<Result>(work: () => Promise<Result>): Promise<Result> {
  await frame.sql('alter table users.outbox rename to outbox_away');
  try {
    return await work();
  } finally {
    await frame.sql('alter table users.outbox_away rename to outbox');
  }
}

test('an email and a phone are in no table, event, statement, log line or error answer', async () => {
  const rejections = await leaveTraces();
  await eventually(() => expect(logged.filter((line) => line.includes('"msg":"request"'))).toHaveLength(20));

  const tables = await frame.sql<{ name: string }>(
    `select table_name as name from information_schema.tables where table_schema = 'users'`,
  );
  expect(tables.map(({ name }) => name).sort()).toEqual([
    'email_indexing',
    'idempotency_keys',
    'key_fingerprints',
    'leases',
    'mikro_orm_migrations',
    'outbox',
    'publication',
    'statements',
    'user_history',
    'users',
  ]);
  for (const { name } of tables) {
    const rows = await frame.sql<{ row: string }>(`select t::text as row from users."${name}" t`);
    expect(rows.length).toBeGreaterThan(0);
    expect(rows.map(({ row }) => row).join('\n')).not.toMatch(traces);
  }
  const last = await frame.sql<{ query: string }>(
    'select query from pg_stat_activity where datname = current_database() and usename <> current_user',
  );
  expect(last.map(({ query }) => query).join('\n')).not.toMatch(traces);

  expect(logged.join('')).toContain('unexpected error');
  expect(logged.join('')).not.toMatch(traces);
  expect(JSON.stringify(rejections)).not.toMatch(traces);
});

test('what the database says of a duplicate, and would write into its own log, holds no plaintext', async () => {
  const personalData = createPersonalData({
    PII_ENCRYPTION_KEYS: keys.PII_ENCRYPTION_KEYS.split(','),
    PII_INDEX_KEY: keys.PII_INDEX_KEY,
  });
  const database = await openDatabase(databaseOptionsOf(users, String(frame.env.DATABASE_URL)));
  const insert = () =>
    database.transaction(async (em) => {
      em.create(User, {
        ...person,
        email_encrypted: personalData.encrypt('duplicate.canary@example.com'),
        email_index: personalData.indexOf('duplicate.canary@example.com'),
        phone_encrypted: personalData.encrypt(canary.phone),
      });
      await em.flush();
    });
  try {
    await insert();
    const error: unknown = await insert().catch((thrown: unknown) => thrown);
    expect(violatedConstraint(error)).toBe('users_email_index_unique');
    const everything = inspect(error, { depth: Number.POSITIVE_INFINITY, showHidden: true });
    expect(everything).toContain('Key (email_index)=('); // so the detail was looked at
    expect(everything).not.toMatch(traces);
  } finally {
    await database.close();
  }
});

test('the same email and phone are encrypted into other text each time', async () => {
  const phone = canary.phone;
  await api.post('/users', { ...person, email: 'one@example.com', phone });
  await api.post('/users', { ...person, email: 'two@example.com', phone });
  const rows = await frame.sql('select phone_encrypted, email_index from users.users order by id desc limit 2');
  expect(rows[0].phone_encrypted).not.toBe(rows[1].phone_encrypted);
  for (const row of rows) {
    expect(row.phone_encrypted).toMatch(/^gAAAAA[\w-]+={0,2}$/);
    expect(row.email_index).toMatch(/^[0-9a-f]{64}$/);
  }
});
