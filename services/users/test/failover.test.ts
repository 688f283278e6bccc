// A failover to another server while the service runs: a promoted replica may lack the last users.
import { afterAll, beforeAll, expect, test } from '@jest/globals';
import { startTestService, type TestService } from '@promopulse/testing/service';
import { users } from '../src/service.ts';
import { ada, keys } from './wire.ts';

let service: TestService;
beforeAll(async () => {
  service = await startTestService(users, keys);
});
afterAll(() => service?.close());

let made = 0;
/** Again after a 503: its connection was lost. */
async function create(): Promise<number> {
  made += 1;
  const { status, body } = await service.api.post('/users', { ...ada, email: `ada${made}@example.com` });
  if (status === 503) return create();
  expect(status).toBe(201);
  return body.id;
}

test('no id of a user that the new server has lost is given again', async () => {
  const given: number[] = [];
  for (let number = 1; number <= 20; number += 1) given.push(await create());
  await service.sql(`delete from users.users where id > 10`);
  await service.sql(`select setval('users.users_id_seq', 10)`);
  await service.sql(`update users.publication set timeline = 'FFFFFFFF'`);
  await service.sql(
    `select pg_terminate_backend(pid) from pg_stat_activity
     where application_name = 'promopulse-users' and datname = current_database()`,
  );
  for (let number = 21; number <= 40; number += 1) expect(await create()).toBeGreaterThan(100_000);
  expect(Math.max(...given)).toBe(20); // else nothing was lost
});
