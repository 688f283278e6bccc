// Requests for one locked user, or for an email that another transaction is about to take, wait. Others do not.
import { randomUUID } from 'node:crypto';
import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';
import type { Client } from '@promopulse/testing/client';
import { requestWhileLocked } from '@promopulse/testing/locked-row';
import { startTestService, type TestService } from '@promopulse/testing/service';
import { users } from '../src/service.ts';
import { ada, createUser, keys, retryOn503 } from './wire.ts';

let service: TestService;
let api: Client;
let locked: { id: number; email: string };
/** Its row is kept apart. */
let leaving: { id: number; email: string };
let others: { id: number; email: string }[];
beforeAll(async () => {
  service = await startTestService(users, keys);
  api = service.api;
  locked = await createUser(api);
  leaving = await createUser(api);
  await service.sql(`create table users.gone as select * from users.users where id = ${leaving.id}`);
  await service.sql('grant select on users.gone to public');
  await service.sql(`delete from users.users where id = ${leaving.id}`);
  others = await Promise.all(Array.from({ length: 40 }, () => createUser(api)));
});
afterAll(() => service?.close());

const other = (index: number) => others[index] as { id: number; email: string };
const newKey = () => ({ 'idempotency-key': randomUUID() });
const strangers = [
  (index: number) => api.get(`/users/${other(index).id}`),
  (index: number) => api.get(`/users?email=${other(index).email}`),
  () => api.post('/users', { ...ada, email: `${randomUUID()}@example.com` }),
  (index: number) => api.patch(`/users/${other(index).id}`, { first_name: 'Augusta' }),
  (index: number) => api.patch(`/users/${other(index).id}`, { first_name: 'Ada' }, newKey()),
];

const cases = [
  {
    name: 'edits that wait for a locked user',
    lock: () => `select from users.users where id = ${locked.id} for update`,
    waiter: (index: number) => api.patch(`/users/${locked.id}`, { last_name: `King ${index}` }),
    statuses: Array(20).fill(200),
  },
  {
    name: 'users with an email that another transaction is about to take',
    lock: () => 'insert into users.users select * from users.gone',
    waiter: () => api.post('/users', { ...ada, email: leaving.email }),
    statuses: [201, ...Array(19).fill(409)],
  },
];

describe.each(cases)('20 $name', ({ lock, waiter, statuses }) => {
  test('hold up no other request', async () => {
    const answers = await requestWhileLocked(service, { lock: lock(), waiter, strangers });
    expect(answers.strangers.filter(({ status }) => status >= 300)).toEqual([]);
    expect(answers.waiters.filter(({ status, retryAfter }) => status !== 503 || retryAfter !== '1')).toEqual([]);
    const last = (of: { at: number }[]) => Math.max(...of.map(({ at }) => at));
    expect(last(answers.strangers)).toBeLessThan(last(answers.waiters));
  });

  test('are all answered when it is unlocked', async () => {
    const answers = await requestWhileLocked(service, { lock: lock(), heldMs: 400, waiter, strangers });
    expect(answers.strangers.filter(({ status }) => status >= 300)).toEqual([]);
    expect(answers.waiters.map(({ status }) => status).sort()).toEqual(statuses);
  });
});

test('20 edits with keys that wait for a locked user hold up no other request, and each is made once when it is repeated', async () => {
  const headers = Array.from({ length: 20 }, newKey);
  const edit = (index: number) =>
    api.patch(`/users/${locked.id}`, { last_name: `Keyed ${index}` }, headers[index] as Record<string, string>);
  const countChanges = async () =>
    (await service.events()).filter(({ name, subject }) => name === 'user.updated' && subject === String(locked.id))
      .length;
  const before = await countChanges();
  const lock = `select from users.users where id = ${locked.id} for update`;
  const answers = await requestWhileLocked(service, { lock, heldMs: 400, waiter: edit, strangers });
  expect(answers.strangers.filter(({ status }) => status >= 300)).toEqual([]);
  const repeated = await Promise.all(headers.map((_, index) => retryOn503(() => edit(index))));
  expect(repeated.map(({ status }) => status)).toEqual(Array(20).fill(200));
  expect(await countChanges()).toBe(before + 20);
});
