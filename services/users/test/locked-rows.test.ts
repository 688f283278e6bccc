// Requests for one locked user, or for an email that another transaction is about to take, wait. Others do not.
import { randomUUID } from 'node:crypto';
import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';
import type { Client } from '@promopulse/testing/client';
import { requestWhileLocked } from '@promopulse/testing/locked-row';
import { startTestService, type TestService } from '@promopulse/testing/service';
import { users } from '../src/service.ts';
import { ada, createUser, keys } from './wire.ts';

let service: TestService;
let api: Client;
let locked: { id: number; email: string };
let others: { id: number; email: string }[];
beforeAll(async () => {
  service = await startTestService(users, keys);
  api = service.api;
  locked = await createUser(api);
  others = await Promise.all(Array.from({ length: 40 }, () => createUser(api)));
});
afterAll(() => service?.close());

const other = (index: number) => others[index] as { id: number; email: string };
const strangers = [
  (index: number) => api.get(`/users/${other(index).id}`),
  (index: number) => api.get(`/users?email=${other(index).email}`),
  () => api.post('/users', { ...ada, email: `${randomUUID()}@example.com` }),
  (index: number) => api.patch(`/users/${other(index).id}`, { first_name: 'Augusta' }),
];

describe.each([
  [
    'edits that wait for a locked user',
    200,
    (index: number) => api.patch(`/users/${locked.id}`, { last_name: `King ${index}` }),
  ],
  ['users with an email that another one may keep', 409, () => api.post('/users', { ...ada, email: locked.email })],
])('20 %s', (_name, finalStatus, waiter) => {
  // A deleted row keeps its email until the deletion is committed.
  const lock = () =>
    finalStatus === 409
      ? `delete from users.users where id = ${locked.id}`
      : `select from users.users where id = ${locked.id} for update`;

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
    expect(answers.waiters.filter(({ status }) => status !== finalStatus)).toEqual([]);
  });
});
