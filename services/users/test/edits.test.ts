// The promise: the entity tag of a user moves with what callers see, and with nothing else; a change under a tag is made
// only while the tag is the current one.
import { execFile } from 'node:child_process';
import { promisify } from 'node:util';
import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';
import { startService } from '@promopulse/shared/service';
import { type Client, client } from '@promopulse/testing/client';
import { startTestService, type TestService, testKeys } from '@promopulse/testing/service';
import { users } from '../src/service.ts';
import { ada, createUser, keys, retryOn503 } from './wire.ts';

let service: TestService;
let api: Client;
beforeAll(async () => {
  service = await startTestService(users, keys);
  api = service.api;
});
afterAll(() => service?.close());

const tagOf = async ({ id }: { id: number }, on = api) => (await on.get(`/users/${id}`)).headers.get('etag');
const edit = ({ id }: { id: number }, tag: string, changes: object, on = api) =>
  on.patch(`/users/${id}`, changes, { 'If-Match': tag });

describe('the tag of a user', () => {
  test('is its version: on its creation, on GET and HEAD and on a change, with Content-Location', async () => {
    const made = await api.post('/users', { ...ada, email: 'tagged@example.com' });
    const path = `/users/${made.body.id}`;
    const tags = (headers: Headers) => [headers.get('etag'), headers.get('content-location')];
    expect(tags(made.headers)).toEqual(['"1"', path]);
    expect(tags((await api.get(path)).headers)).toEqual(['"1"', null]);
    expect(tags((await api.request('HEAD', path)).headers)).toEqual(['"1"', null]);
    expect(tags((await api.patch(path, { first_name: 'Augusta' })).headers)).toEqual(['"2"', path]);
    expect((await api.get('/users?email=tagged@example.com')).headers.has('etag')).toBe(false);
  });

  test.each([
    ['a first name', { first_name: 'Augusta' }],
    ['a last name', { last_name: 'King' }],
    ['an email', { email: 'other@moved.example.com' }],
    ['the letter case of an email', { email: 'ADA@moved.example.com' }],
    ['a phone', { phone: '+14155550124' }],
    ['a removed phone', { phone: null }],
  ])('moves with %s, and the representation is another one', async (_case, changes) => {
    const user = await createUser(api, { email: 'ada@moved.example.com', phone: '+14155550123' });
    const answer = await edit(user, '"1"', changes);
    expect([answer.status, answer.headers.get('etag'), await tagOf(user)]).toEqual([200, '"2"', '"2"']);
    expect(answer.body).not.toEqual(user);
    await api.patch(`/users/${user.id}`, { email: `left.${user.id}@example.com` });
  });

  test('stays with the same values, although they are encrypted again', async () => {
    const user = await createUser(api, { phone: '+14155550123' });
    const stored = () => service.sql('select email_encrypted from users.users where id = $1', [user.id]);
    const before = await stored();
    const { first_name, last_name, email, phone } = user;
    const answer = await edit(user, '"1"', { first_name, last_name, email, phone });
    expect([answer.status, answer.headers.get('etag'), answer.body]).toEqual([200, '"1"', user]);
    expect(await stored()).not.toEqual(before);
  });

  test('stays under another encryption key and after the emails are indexed again', async () => {
    const user = await createUser(api, { email: 'tag.ı@example.com', phone: '+14155550123' });
    const other = await startService(users, {
      ...service.env,
      PII_ENCRYPTION_KEYS: `${testKeys[1]},${testKeys[0]}`,
    });
    try {
      const rotated = client(other.url);
      expect([await tagOf(user, rotated), (await rotated.get(`/users/${user.id}`)).body]).toEqual(['"1"', user]);
      const same = await edit(user, '"1"', { email: user.email, phone: user.phone }, rotated);
      expect([same.status, same.headers.get('etag'), same.body]).toEqual([200, '"1"', user]);
    } finally {
      await other.close();
    }
    const indexOf = async () => (await service.sql('select email_index from users.users where id = $1', [user.id]))[0];
    const before = await indexOf();
    const env = { PATH: process.env.PATH, ...service.env };
    const command = new URL('../src/personal-data/reindex-emails.ts', import.meta.url).pathname;
    await service.sql("update users.users set email_index = repeat('0', 64) where id = $1", [user.id]);
    await promisify(execFile)(process.execPath, [command], { env });
    expect([await indexOf(), await tagOf(user)]).toEqual([before, '"1"']);
    expect((await api.get(`/users/${user.id}`)).body).toEqual(user);
  }, 60_000);
});

describe('two editors of one user', () => {
  test('one wins; the other gets 412 with the current tag, and changes nothing', async () => {
    const user = await createUser(api);
    expect((await edit(user, '"1"', { first_name: 'Augusta' })).status).toBe(200);
    const lost = await edit(user, '"1"', { last_name: 'King' });
    expect(lost).toMatchObject({ status: 412, body: { code: 'precondition_failed' } });
    expect(lost.headers.get('etag')).toBe('"2"');
    expect((await api.get(`/users/${user.id}`)).body.full_name).toBe('Augusta Lovelace');
  });

  test('20 at once with one tag: one wins, 19 get 412, and one event is recorded; also when they change the email', async () => {
    for (const changesOf of [
      (index: number) => ({ first_name: `Ada ${index}` }),
      (index: number) => ({ email: `editor.${index}@example.com` }),
    ]) {
      const user = await createUser(api);
      const answers = await Promise.all(
        Array.from({ length: 20 }, (_, index) => retryOn503(() => edit(user, '"1"', changesOf(index)))),
      );
      expect(answers.map(({ status }) => status).sort()).toEqual([200, ...Array(19).fill(412)]);
      const winner = answers.find(({ status }) => status === 200)?.body;
      expect((await api.get(`/users/${user.id}`)).body).toEqual(winner);
      const events = (await service.events()).filter(({ subject }) => subject === String(user.id));
      expect(events).toHaveLength(2);
    }
  });
});

test('the order is 404, then 412, then 409 and 422', async () => {
  const [user, other] = [await createUser(api), await createUser(api, { email: 'holder.ı@example.com' })];
  for (const email of [(await createUser(api)).email, other.email]) {
    const statuses = [
      await edit({ id: 999_999 }, '"9"', { email }),
      await edit(user, '"9"', { email }),
      await edit(user, '"1"', { email }),
    ].map(({ status }) => status);
    expect(statuses).toEqual([404, 412, 409]);
  }
  const invalid = [
    await edit({ id: 999_999 }, '"9"', { email: 'none' }),
    await edit(user, '"9"', { email: 'none' }),
    await edit(user, '"1"', { email: 'none' }),
  ].map(({ status }) => status);
  expect(invalid).toEqual([404, 412, 422]);
  expect(await tagOf(user)).toBe('"1"');
});

test('with If-None-Match: * a change is 412, and a creation with If-Match creates nothing', async () => {
  const user = await createUser(api);
  expect((await api.patch(`/users/${user.id}`, { first_name: 'X' }, { 'If-None-Match': '*' })).status).toBe(412);
  const wanted = { ...ada, email: 'conditional@example.com' };
  expect((await api.post('/users', wanted, { 'If-Match': '"1"' })).status).toBe(412);
  expect((await api.get('/users?email=conditional@example.com')).body.total).toBe(0);
});

test('with REQUIRE_IF_MATCH=true a change of a user needs If-Match', async () => {
  const strict = await startService(users, { ...service.env, REQUIRE_IF_MATCH: 'true' });
  try {
    const strictApi = client(strict.url);
    const user = await createUser(strictApi);
    const refused = await strictApi.patch(`/users/${user.id}`, { first_name: 'X' });
    expect(refused).toMatchObject({ status: 428, body: { code: 'precondition_required' } });
    expect((await edit(user, '"1"', { first_name: 'X' }, strictApi)).status).toBe(200);
  } finally {
    await strict.close();
  }
});
