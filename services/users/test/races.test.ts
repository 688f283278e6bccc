import { afterAll, beforeAll, expect, test } from '@jest/globals';
import { startTestService, type TestService } from '@promopulse/testing/service';
import { users } from '../src/service.ts';
import { ada, createUser, keys, retryOn503 } from './wire.ts';

let service: TestService;
beforeAll(async () => {
  service = await startTestService(users, keys);
});
afterAll(() => service?.close());

const countsOf = (statuses: number[]) =>
  Object.fromEntries([...new Set(statuses)].sort().map((one) => [one, statuses.filter((each) => each === one).length]));

test('of 100 creations of one email at once, in all letter cases, one wins and 99 get 409', async () => {
  const email = 'race.winner@example.com';
  const variants = Array.from({ length: 100 }, (_, bits) =>
    [...email].map((letter, index) => ((bits >> (index % 7)) & 1 ? letter.toUpperCase() : letter)).join(''),
  );
  const answers = await Promise.all(
    variants.map((variant) => retryOn503(() => service.api.post('/users', { ...ada, email: variant }))),
  );
  expect(countsOf(answers.map(({ status }) => status))).toEqual({ 201: 1, 409: 99 });
  expect(await service.sql('select count(*)::int as rows from users.users')).toEqual([{ rows: 1 }]);
  expect(await service.events()).toHaveLength(1);
  const winner = answers.find(({ status }) => status === 201)?.body;
  expect((await service.api.get(`/users?email=${email}`)).body).toEqual({ items: [winner], total: 1 });
});

test('a refused creation costs no id: after 10 of a taken email, the next user has the next id', async () => {
  const { id, email } = await createUser(service.api);
  for (let n = 0; n < 10; n += 1) expect((await service.api.post('/users', { ...ada, email })).status).toBe(409);
  const outbox = `select pg_sequence_last_value('users.outbox_id_seq')::int as last`;
  const [before] = await service.sql(outbox);
  expect((await createUser(service.api)).id).toBe(id + 1);
  expect((await service.sql(outbox))[0]).toEqual({ last: before.last + 1 });
});

test('of 30 creations of one email at once, each connection to the database burns one id at most', async () => {
  const { id } = await createUser(service.api);
  const wanted = { ...ada, email: 'burnt@example.com' };
  await Promise.all(Array.from({ length: 30 }, () => retryOn503(() => service.api.post('/users', wanted))));
  const connections = 9; // DATABASE_POOL_MAX and DATABASE_PIPELINED_CONNECTIONS
  expect((await createUser(service.api)).id).toBeLessThanOrEqual(id + 1 + connections);
});

test('of 20 users that change to one email at once, one wins and 19 get 409', async () => {
  const made = await Promise.all(Array.from({ length: 20 }, () => createUser(service.api)));
  const answers = await Promise.all(
    made.map(({ id }) => retryOn503(() => service.api.patch(`/users/${id}`, { email: 'wanted@example.com' }))),
  );
  expect(countsOf(answers.map(({ status }) => status))).toEqual({ 200: 1, 409: 19 });
  expect((await service.api.get('/users?email=wanted@example.com')).body.total).toBe(1);
});

test('a creation and a change to the same email at once never both win', async () => {
  for (let round = 0; round < 10; round += 1) {
    const { id } = await createUser(service.api);
    const email = `round.${round}@example.com`;
    const answers = await Promise.all([
      service.api.post('/users', { ...ada, email }),
      service.api.patch(`/users/${id}`, { email: email.toUpperCase() }),
    ]);
    expect(answers.filter(({ status }) => status === 409)).toHaveLength(1);
  }
});

test('two changes of different fields at once are both kept', async () => {
  for (let round = 0; round < 10; round += 1) {
    const { id } = await createUser(service.api);
    await Promise.all([
      service.api.patch(`/users/${id}`, { first_name: 'Augusta' }),
      service.api.patch(`/users/${id}`, { last_name: 'King' }),
    ]);
    expect((await service.api.get(`/users/${id}`)).body.full_name).toBe('Augusta King');
  }
});
