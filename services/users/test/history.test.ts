// The history of a user: which fields each change has set, and never a value, because all of them are personal.
import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';
import { bodyOf, type Client, invalid, type Wire } from '@promopulse/testing/client';
import { startTestService, type TestService } from '@promopulse/testing/service';
import { users } from '../src/service.ts';
import { ada, createUser, keys, notFound } from './wire.ts';

const actor = 'subject:AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8';

let service: TestService;
let api: Client;
beforeAll(async () => {
  const withActor: typeof users = {
    ...users,
    parts: (context) => {
      const parts = users.parts(context);
      const routes = parts.routes.map((route) => ({
        ...route,
        handle: (input: Parameters<typeof route.handle>[0]) =>
          route.handle({ ...input, cause: { ...input.cause, actor } }),
      }));
      return { ...parts, routes };
    },
  };
  service = await startTestService(withActor, keys);
  api = service.api;
});
afterAll(() => service?.close());

async function historyOf({ id }: { id: number }): Promise<Wire[]> {
  const { status, body } = await api.get(`/users/${id}/history`);
  expect(status).toBe(200);
  return body.items;
}
const fieldsOf = (items: Wire[]) => items.map(({ version, changes }) => [version, changes]);
const named = (...fields: string[]) => fields.map((field) => ({ field }));

describe('the history of a user', () => {
  test('has every change, the newest first: who asked, by which request, why, and the names of the fields', async () => {
    const headers = { 'x-request-id': 'request-a', 'x-reason': 'Asked by phone' };
    const { body: user } = await api.post('/users', { ...ada, phone: '+14155550123' }, headers);
    await api.patch(`/users/${user.id}`, { last_name: 'King', phone: null, first_name: ada.first_name });
    const items = await historyOf(user);
    expect(items).toEqual([
      {
        version: 2,
        at: expect.stringMatching(/^\d{4}-\d\d-\d\dT[\d:.]+Z$/),
        actor,
        request_id: expect.stringMatching(/^[0-9a-f-]{36}$/),
        reason: null,
        changes: named('last_name', 'phone'),
      },
      {
        version: 1,
        at: expect.any(String),
        actor,
        request_id: 'request-a',
        reason: 'Asked by phone',
        changes: named('first_name', 'last_name', 'email', 'phone'),
      },
    ]);
    const rows = await service.sql('select updated_at from users.users where id = $1', [user.id]);
    expect(Date.parse(items[0].at)).toBe(rows[0].updated_at.getTime());
  });

  test('has the same of a user without a phone, and of one whose email has more than one index', async () => {
    expect(fieldsOf(await historyOf(await createUser(api)))).toEqual([[1, named('first_name', 'last_name', 'email')]]);
    const chosen = await createUser(api, { email: 'ıda@example.com', phone: '+14155550124' });
    expect((await api.patch(`/users/${chosen.id}`, { email: 'ıda.two@example.com' })).status).toBe(200);
    expect(fieldsOf(await historyOf(chosen))).toEqual([
      [2, named('email')],
      [1, named('first_name', 'last_name', 'email', 'phone')],
    ]);
  });

  test('has nothing of what changed nothing or was rejected', async () => {
    const user = await createUser(api, { phone: '+14155550125' });
    const other = await createUser(api);
    const rows = () => service.sql('select * from users.user_history order by id');
    const before = await rows();
    const path = `/users/${user.id}`;
    const answers = [
      await api.patch(path, {}),
      await api.patch(path, { email: user.email, phone: user.phone, first_name: user.first_name }),
      await api.patch(path, { email: other.email }),
      await api.patch(path, { phone: 'none' }),
      await api.post('/users', { ...ada, email: other.email }),
      await api.patch('/users/99999', { first_name: 'Nobody' }),
    ];
    expect(answers.map(({ status }) => status)).toEqual([200, 200, 409, 422, 409, 404]);
    expect(await rows()).toEqual(before);
  });

  test('that cannot be written leaves the change undone, and its event unrecorded', async () => {
    const user = await createUser(api);
    const rows = () => service.sql('select * from users.users order by id');
    const [before, events] = [await rows(), await service.events()];
    await service.sql(`create function users.reject_history() returns trigger language plpgsql as
      $$ begin raise exception 'no history today'; end $$`);
    await service.sql(
      'create trigger rejects before insert on users.user_history execute function users.reject_history()',
    );
    const answers = [
      await api.post('/users', { ...ada, email: 'never@example.com' }),
      await api.post('/users', { ...ada, email: 'neverı@example.com' }),
      await api.patch(`/users/${user.id}`, { last_name: 'King' }),
      await api.patch(`/users/${user.id}`, { email: 'neverıı@example.com' }),
    ];
    await service.sql('drop trigger rejects on users.user_history');
    expect(answers.map(({ status }) => status)).toEqual([500, 500, 500, 500]);
    expect(await rows()).toEqual(before);
    expect(await service.events()).toEqual(events);
  });

  test('holds no value of a field, in its table or in its page', async () => {
    const marked = { first_name: 'Markedfirst', last_name: 'Markedlast', email: 'marked.7f3a@example.com' };
    const { body: user } = await api.post('/users', { ...marked, phone: '+15550199377' });
    await api.patch(`/users/${user.id}`, { first_name: 'Markedagain', email: 'marked.8@example.com', phone: null });
    const rows = await service.sql('select to_jsonb(row)::text as text from users.user_history as row');
    const text = JSON.stringify([rows, await historyOf(user)]);
    expect(text).toContain('"first_name');
    expect(text).not.toMatch(/marked|5550199377/i);
  });

  test('is what the outbox says too: the same versions, and the same actor', async () => {
    const user = await createUser(api);
    await api.patch(`/users/${user.id}`, { first_name: 'Augusta' });
    const events = await service.sql('select actor, data from users.outbox where subject = $1 order by id desc', [
      String(user.id),
    ]);
    const items = await historyOf(user);
    expect(items.map((item) => [item.version, item.actor])).toEqual(
      events.map((event) => [event.data.version, event.actor]),
    );
  });

  test('is read page by page, and only with a cursor of its own', async () => {
    const [user, other] = [await createUser(api), await createUser(api)];
    await api.patch(`/users/${user.id}`, { first_name: 'Augusta' });
    const { body: first } = await api.get(`/users/${user.id}/history?limit=1`);
    const { body: second } = await api.get(`/users/${user.id}/history?limit=1&cursor=${first.next_cursor}`);
    expect([...first.items, ...second.items]).toEqual(await historyOf(user));
    expect(second.next_cursor).toBeNull();
    const answer = await api.get(`/users/${other.id}/history?cursor=${first.next_cursor}`);
    expect([answer.status, bodyOf(answer)]).toEqual([
      422,
      invalid(['cursor', 'must be the next_cursor of a page of this list']),
    ]);
  });

  test('of a user that is not there is 404', async () => {
    const answer = await api.get('/users/99999/history');
    expect([answer.status, bodyOf(answer)]).toEqual([404, notFound]);
  });
});

test('a reason with an address is rejected with 422, for a creation and for a change, and nothing is changed', async () => {
  const user = await createUser(api);
  const rows = () => service.sql('select * from users.users order by id');
  const before = await rows();
  const headers = { 'x-reason': `Asked by ${user.email}` };
  const rule = 'must not have an @ or 7 or more digits in a row, also with separators between them (a date may stand)';
  for (const answer of [
    await api.post('/users', { ...ada, email: 'reasoned@example.com' }, headers),
    await api.patch(`/users/${user.id}`, { last_name: 'King' }, headers),
  ]) {
    expect([answer.status, bodyOf(answer)]).toEqual([422, invalid(['X-Reason', rule])]);
  }
  expect(await rows()).toEqual(before);
});
