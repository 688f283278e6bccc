// A column is altered while requests are served: a prepared statement whose plan no longer fits is planned anew.
import { randomUUID } from 'node:crypto';
import { setTimeout as sleep } from 'node:timers/promises';
import { afterAll, beforeAll, expect, test } from '@jest/globals';
import { startTestService, type TestService } from '@promopulse/testing/service';
import { users } from '../src/service.ts';
import { ada, createUser, keys } from './wire.ts';

let service: TestService;
beforeAll(async () => {
  service = await startTestService(users, keys);
});
afterAll(() => service?.close());

test('a column of users that gets another type under load is no error to anybody', async () => {
  const { api } = service;
  const user = await createUser(api);
  const answers: number[] = [];
  let isLoaded = true;
  const load = Array.from({ length: 12 }, async () => {
    while (isLoaded) {
      const sent = await Promise.all([
        api.get(`/users/${user.id}`),
        api.get(`/users?email=${user.email}`),
        api.post('/users', { ...ada, email: `${randomUUID()}@example.com` }),
        api.patch(`/users/${user.id}`, { last_name: 'King' }),
      ]);
      answers.push(...sent.map(({ status }) => status));
    }
  });
  for (const type of ['varchar(500)', 'text']) {
    await sleep(300);
    await service.sql(`alter table users.users alter column first_name type ${type}`);
  }
  await sleep(500);
  isLoaded = false;
  await Promise.all(load);
  expect(answers.length).toBeGreaterThan(20);
  expect(answers.filter((status) => status >= 300)).toEqual([]);
});
