// Requests about users that are repeated with an idempotency key. Their answers hold personal data.
import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';
import { startService } from '@promopulse/shared/service';
import { bodyOf, client, problem } from '@promopulse/testing/client';
import { startTestService, type TestService, testKeys } from '@promopulse/testing/service';
import { users } from '../src/service.ts';
import { ada, createUser, keys, retryOn503, taken } from './wire.ts';

let service: TestService;
beforeAll(async () => {
  service = await startTestService(users, keys);
});
afterAll(() => service?.close());

let made = 0;
const newKey = () => {
  made += 1;
  return { 'idempotency-key': `key-${made}` };
};
const eventNames = async (id: number) =>
  (await service.events()).filter(({ subject }) => subject === String(id)).map(({ name }) => name);

describe('a creation', () => {
  const body = { ...ada, email: 'Once@example.com', phone: '+14155550123' };

  test('that is repeated has the same answer, to the byte, and makes one user', async () => {
    const headers = newKey();
    const first = await service.api.post('/users', body, headers);
    expect([first.status, first.headers.get('idempotent-replayed')]).toEqual([201, null]);
    const again = await service.api.post('/users', body, headers);
    expect([again.status, again.headers.get('idempotent-replayed')]).toEqual([201, 'true']);
    expect(JSON.stringify(again.body)).toBe(JSON.stringify(first.body));
    expect(again.headers.get('location')).toBe(first.headers.get('location'));
    expect(await eventNames(first.body.id)).toEqual(['user.created']);
  });

  test('50 times at once makes one user; all others are told that it is in progress, or get its answer', async () => {
    const headers = newKey();
    const wanted = { ...ada, email: 'fifty@example.com' };
    const answers = await Promise.all(
      Array.from({ length: 50 }, () => retryOn503(() => service.api.post('/users', wanted, headers))),
    );
    const created = answers.filter(({ status }) => status === 201);
    expect(created.filter(({ headers: sent }) => !sent.has('idempotent-replayed'))).toHaveLength(1);
    expect(new Set(created.map((answer) => JSON.stringify(answer.body))).size).toBe(1);
    const others = answers.filter(({ status }) => status !== 201);
    for (const { status, body: refused, headers: sent } of others) {
      expect([status, refused.code, sent.get('retry-after')]).toEqual([409, 'idempotency_in_progress', '1']);
    }
    expect(await eventNames(created[0]?.body.id)).toEqual(['user.created']);
    expect((await service.api.post('/users', wanted, headers)).status).toBe(201);
  });

  test('that is refused is decided anew: when the email is free, it is created', async () => {
    const { id, email } = await createUser(service.api);
    const headers = newKey();
    expect(bodyOf(await service.api.post('/users', { ...ada, email }, headers))).toEqual(taken);
    await service.api.patch(`/users/${id}`, { email: 'moved@example.com' });
    expect((await service.api.post('/users', { ...ada, email }, headers)).status).toBe(201);
  });

  test('with the key of another body, path or method is refused, and changes nothing', async () => {
    const headers = newKey();
    const { id } = (await service.api.post('/users', { ...ada, email: 'reuse@example.com' }, headers)).body;
    const rule = 'belongs to a request with another method, path, Content-Type or body';
    const reused = problem(422, 'idempotency_key_reused', `Idempotency-Key ${rule}. Nothing was changed.`, [
      { field: 'Idempotency-Key', rule },
    ]);
    const others = [
      await service.api.post('/users', { ...ada, email: 'reuse2@example.com' }, headers),
      await service.api.post('/users', JSON.stringify({ ...ada, email: 'reuse@example.com' }, null, 1), headers),
      await service.api.patch(`/users/${id}`, { ...ada, email: 'reuse@example.com' }, headers),
    ];
    for (const answer of others) expect(bodyOf(answer)).toEqual(reused);
    expect((await service.api.get('/users?email=reuse2@example.com')).body.total).toBe(0);
    expect(await eventNames(id)).toEqual(['user.created']);
  });

  test('of an address that two releases index differently is made once too', async () => {
    const headers = newKey();
    const wanted = { ...ada, email: 'stra\u00dfe@example.com' };
    const first = await service.api.post('/users', wanted, headers);
    expect(first.status).toBe(201);
    expect((await service.api.post('/users', wanted, headers)).body).toEqual(first.body);
    expect((await service.api.post('/users', wanted, newKey())).status).toBe(409);
    expect(await eventNames(first.body.id)).toEqual(['user.created']);
  });

  test('races with one of the same email and another key: one is created, the other is 409', async () => {
    for (let round = 0; round < 10; round += 1) {
      const wanted = { ...ada, email: `keyed.${round}@example.com` };
      const answers = await Promise.all(
        [newKey(), newKey(), newKey()].map((headers) => retryOn503(() => service.api.post('/users', wanted, headers))),
      );
      expect(answers.map(({ status }) => status).sort()).toEqual([201, 409, 409]);
    }
  });
});

describe('an edit', () => {
  test('that is repeated after another edit changes nothing back, and has its first answer', async () => {
    const { id } = await createUser(service.api);
    const headers = newKey();
    const first = await service.api.patch(`/users/${id}`, { first_name: 'Augusta' }, headers);
    expect(first).toMatchObject({ status: 200, body: { first_name: 'Augusta' } });
    await service.api.patch(`/users/${id}`, { first_name: 'Grace' });
    const again = await service.api.patch(`/users/${id}`, { first_name: 'Augusta' }, headers);
    expect(again.body).toEqual(first.body);
    expect(again.headers.get('idempotent-replayed')).toBe('true');
    expect((await service.api.get(`/users/${id}`)).body.first_name).toBe('Grace');
    expect(await eventNames(id)).toEqual(['user.created', 'user.updated', 'user.updated']);
  });

  test('of the email and the phone is one change; of an email that is taken is 409, and leaves the key free', async () => {
    const { email } = await createUser(service.api);
    const { id } = await createUser(service.api);
    const headers = newKey();
    expect((await service.api.patch(`/users/${id}`, { email }, headers)).status).toBe(409);
    const changes = { email: 'free@example.com', phone: '+14155550124' };
    const first = await service.api.patch(`/users/${id}`, changes, headers);
    expect(first).toMatchObject({ status: 200, body: changes });
    expect((await service.api.patch(`/users/${id}`, changes, headers)).body).toEqual(first.body);
    expect(await eventNames(id)).toEqual(['user.created', 'user.updated']);
  });

  test('of a user that is not there is 404, with or without a key', async () => {
    expect((await service.api.patch('/users/999999', { first_name: 'A' }, newKey())).status).toBe(404);
    expect((await service.api.patch('/users/999999', { email: 'a@example.com' }, newKey())).status).toBe(404);
  });
});

test('an answer is read after a rotation of the encryption keys; without its key it is 409, and nothing is made', async () => {
  const [first, second] = testKeys;
  const headers = newKey();
  const wanted = { ...ada, email: 'rotated@example.com' };
  const made201 = await service.api.post('/users', wanted, headers);
  const withKeys = async (PII_ENCRYPTION_KEYS: string) => {
    const other = await startService(users, { ...service.env, PII_ENCRYPTION_KEYS });
    try {
      return await client(other.url).post('/users', wanted, headers);
    } finally {
      await other.close();
    }
  };
  expect((await withKeys(`${second},${first}`)).body).toEqual(made201.body);
  await service.sql('delete from users.key_fingerprints'); // as `npm run keys:accept` when no user needs the key
  await service.sql('truncate users.users');
  const lost = await withKeys(String(second));
  const { detail } = lost.body;
  expect(detail).toMatch(/^The change was made, and its answer cannot be decrypted any more\. Read/);
  expect(bodyOf(lost)).toEqual(problem(409, 'idempotent_answer_lost', detail));
  expect(lost.headers.get('location')).toBe(made201.headers.get('location'));
  expect(await service.sql('select from users.users')).toHaveLength(0);
});
