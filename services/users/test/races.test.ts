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
