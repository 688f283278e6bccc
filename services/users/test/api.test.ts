import { gzipSync } from 'node:zlib';
import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';
import { bodyOf, type Client, invalid, problem } from '@promopulse/testing/client';
import { startTestService, type TestService } from '@promopulse/testing/service';
import { users } from '../src/service.ts';
import { ada, createUser, keys, notFound, taken } from './wire.ts';

let service: TestService;
let api: Client;
let internal: Client;
beforeAll(async () => {
  service = await startTestService(users, keys);
  ({ api, internal } = service);
});
afterAll(() => service?.close());

describe('creating a user', () => {
  test('answers 201 with the user and where it is', async () => {
    const answer = await api.post('/users', ada);
    expect(answer).toMatchObject({
      status: 201,
      body: { id: 1, full_name: 'Ada Lovelace', first_name: 'Ada', last_name: 'Lovelace', email: 'Ada@example.com' },
    });
    expect(Object.keys(answer.body)).toEqual(['id', 'full_name', 'first_name', 'last_name', 'email']);
    expect(answer.headers.get('location')).toBe('/users/1');
    expect(await api.get('/users/1')).toMatchObject({ status: 200, body: answer.body });
  });

  test('keeps a phone when there is one', async () => {
    const user = await createUser(api, { phone: '+14155550123' });
    expect(user).toMatchObject({ phone: '+14155550123' });
    expect((await api.get(`/users/${user.id}`)).body).toEqual(user);
  });

  test('takes null for no phone', async () => {
    expect(await createUser(api, { phone: null })).not.toHaveProperty('phone');
  });

  test.each([
    ['with the same email again', 'Grace@example.com'],
    ['with only the letter case changed', 'gRACE@EXAMPLE.COM'],
  ])('%s is rejected with 409', async (_case, email) => {
    await api.post('/users', { ...ada, email: 'Grace@example.com' });
    const answer = await api.post('/users', { ...ada, email });
    expect(answer.status).toBe(409);
    expect(bodyOf(answer)).toEqual(taken);
  });

  test('with the other spelling of an international email is rejected with 409', async () => {
    expect((await createUser(api, { email: 'a@BÜCHER.example' })).email).toBe('a@bücher.example');
    expect((await api.post('/users', { ...ada, email: 'A@xn--bcher-kva.example' })).status).toBe(409);
  });

  test('with another tag is another user', async () => {
    await createUser(api, { email: 'tag+one@example.com' });
    expect(await createUser(api, { email: 'tag+two@example.com' })).toMatchObject({ email: 'tag+two@example.com' });
  });

  test('keeps names in any script, composed, up to 255 characters', async () => {
    const user = await createUser(api, { first_name: '😀'.repeat(255), last_name: 'Noe\u0308l' });
    expect(user.full_name).toBe(`${'😀'.repeat(255)} Noël`);
    expect((await api.get(`/users/${user.id}`)).body).toEqual(user);
  });

  test('bears every text that means something to SQL', async () => {
    const first_name = `Robert'); drop table users; --`;
    const last_name = String.raw`\' $1 ? :x ${'`'} \0 %s "`;
    const user = await createUser(api, { first_name, last_name });
    expect((await api.get(`/users/${user.id}`)).body.full_name).toBe(`${first_name} ${last_name}`);
  });
});

const unseenRule = 'must not contain spaces, control characters or invisible ones (in a URL, write a + as %2B)';
const longName = 'must be at most 255 characters';
const unstorable = 'must be well-formed Unicode without NUL characters';
const phoneRule = 'must be an international number such as +14155550123';
const controlRule = 'must not contain control characters or line breaks';
/** The text of a valid user, and before it the same field so many times. */
const twice = (field: string, times = 1) => `{${`"${field}":"Ada",`.repeat(times)}${JSON.stringify(ada).slice(1)}`;
/** JSON text, because `JSON.stringify` would escape half a surrogate pair. */
const written = (field: string, value: string) => JSON.stringify({ ...ada, [field]: '?' }).replace('"?"', value);

describe('a user is rejected with 422', () => {
  test.each<[string, unknown, readonly (readonly [string, string])[]]>([
    [
      'without any field',
      {},
      [
        ['first_name', 'is required'],
        ['last_name', 'is required'],
        ['email', 'is required'],
      ],
    ],
    ['without a last name', { ...ada, last_name: undefined }, [['last_name', 'is required']]],
    ['whose first name is null', { ...ada, first_name: null }, [['first_name', 'must be a string']]],
    ['whose first name is a number', { ...ada, first_name: 7 }, [['first_name', 'must be a string']]],
    ['whose first name is empty', { ...ada, first_name: '' }, [['first_name', 'must not be empty']]],
    ['whose last name is blank', { ...ada, last_name: ' \t\n' }, [['last_name', 'must not be empty']]],
    ['whose first name is invisible', { ...ada, first_name: '\u200b\u3164' }, [['first_name', 'must not be empty']]],
    ['whose last name has a line break', { ...ada, last_name: 'Love\nlace' }, [['last_name', controlRule]]],
    ['whose last name has an escape code', { ...ada, last_name: '\x1b[31mLovelace' }, [['last_name', controlRule]]],
    ['whose first name is given twice', twice('first_name'), [['first_name', 'must be given once']]],
    ['whose email is given twice, once escaped', twice('\\u0065mail'), [['email', 'must be given once']]],
    ['whose unknown field is given twice', twice('x', 2), [['x', 'is not a known field']]],
    [
      'with names of fields as in a spreadsheet',
      { ...ada, 'Email Address': 1, '\ufeffFirst Name': 2, prénom: 3, 'ada@example.com': 4 },
      [
        ['Email Address', 'is not a known field'],
        ['\\uFEFFFirst Name', 'is not a known field'],
        ['prénom', 'is not a known field'],
        ['(not shown)', 'is not a known field'],
      ],
    ],
    ['whose email is a list', { ...ada, email: ['a@example.com'] }, [['email', 'must be a string']]],
    ['whose last name is a list', { ...ada, last_name: ['x'] }, [['last_name', 'must be a string']]],
    ['whose phone is a list', { ...ada, phone: ['+14155550123'] }, [['phone', 'must be a string or null']]],
    [
      'whose first name is a private character',
      { ...ada, first_name: '\ue000' },
      [['first_name', 'must not be empty']],
    ],
    ['whose email has a blank letter', { ...ada, email: 'a\u3164b@example.com' }, [['email', unseenRule]]],
    [
      'whose first name has 16,000 marks of two kinds',
      { ...ada, first_name: `a${'\u0301'.repeat(16_000)}${'\u0323'.repeat(16_000)}` },
      [['first_name', longName]],
    ],
    [
      'whose first name has 31 marks in a row',
      { ...ada, first_name: `a${'\u0301'.repeat(31)}` },
      [['first_name', 'must not have more than 30 combining marks in a row']],
    ],
    [
      'whose first name is too long in NFC only',
      { ...ada, first_name: '\u0958'.repeat(200) },
      [['first_name', `${longName} in the Unicode form NFC`]],
    ],
    ['whose first name has 256 letters', { ...ada, first_name: 'x'.repeat(256) }, [['first_name', longName]]],
    ['whose first name has 5,000 letters', { ...ada, first_name: 'x'.repeat(5000) }, [['first_name', longName]]],
    ['whose last name has 5,000 letters', { ...ada, last_name: 'é'.repeat(5000) }, [['last_name', longName]]],
    ['with a NUL in the first name', { ...ada, first_name: 'A\0da' }, [['first_name', unstorable]]],
    ['with a NUL in the last name', { ...ada, last_name: '\0' }, [['last_name', unstorable]]],
    ['with a NUL in the email', { ...ada, email: 'a\0@example.com' }, [['email', unstorable]]],
    ['with half a surrogate pair in the first name', written('first_name', '"A\\ud800"'), [['first_name', unstorable]]],
    ['with half a surrogate pair in the email', written('email', '"\\udc00@example.com"'), [['email', unstorable]]],
    [
      'whose email is none',
      { ...ada, email: 'ada.example.com' },
      [['email', 'must have an @ between a name and a domain']],
    ],
    ['whose email is null', { ...ada, email: null }, [['email', 'must be a string']]],
    [
      'whose email is of 5,000 letters',
      { ...ada, email: `a@${'x.'.repeat(2500)}com` },
      [['email', 'must be at most 254 bytes in UTF-8, with an international domain as xn--']],
    ],
    [
      'whose email cannot exist',
      { ...ada, email: 'ada@localhost.test' },
      [['email', 'must not have a special-use domain']],
    ],
    ['whose phone is a number', { ...ada, phone: 14155550123 }, [['phone', 'must be a string or null']]],
    ['whose phone is empty', { ...ada, phone: '' }, [['phone', phoneRule]]],
    ['whose phone has no plus', { ...ada, phone: '4155550123' }, [['phone', phoneRule]]],
    ['whose phone has spaces', { ...ada, phone: '+1 415 555 0123' }, [['phone', phoneRule]]],
    ['whose phone begins with a zero', { ...ada, phone: '+0415555012' }, [['phone', phoneRule]]],
    ['whose phone has six digits', { ...ada, phone: '+141555' }, [['phone', phoneRule]]],
    ['whose phone has sixteen digits', { ...ada, phone: '+1415555012345678' }, [['phone', phoneRule]]],
    ['whose phone ends in a line break', { ...ada, phone: '+14155550123\n' }, [['phone', phoneRule]]],
    ['with an unknown field', { ...ada, nickname: 'x' }, [['nickname', 'is not a known field']]],
    ['that brings its own id', { ...ada, id: 7 }, [['id', 'is not a known field']]],
    [
      'with two unknown fields',
      { ...ada, a: 1, b: 2 },
      [
        ['a', 'is not a known field'],
        ['b', 'is not a known field'],
      ],
    ],
    ['that would be a prototype', written('__proto__', '{}'), [['__proto__', 'is not a known field']]],
    ['that is a list', '[]', [['body', 'must be a JSON object']]],
    ['without a body', undefined, [['body', 'is required']]],
  ])('%s', async (_case, body, broken) => {
    const answer = await api.post('/users', body);
    expect(answer.status).toBe(422);
    expect(bodyOf(answer)).toEqual(invalid(...broken));
  });

  test.each([
    ['cut off', '{"first_name":"Ada"'],
    ['empty but for spaces', '   '],
    ['with a key twice quoted', '{""a"":1}'],
  ])('whose JSON is malformed: %s', async (_case, body) => {
    const answer = await api.post('/users', body);
    expect(answer.status).toBe(422);
    expect(bodyOf(answer)).toMatchObject({ code: 'malformed_json', detail: 'The body is not valid JSON in UTF-8' });
  });

  test.each(['null', '"Ada"', '7', 'true'])('that is %s', async (body) => {
    const answer = await api.post('/users', body);
    expect([answer.status, answer.body.errors]).toMatchObject([422, [{ field: 'body' }]]);
  });

  test('whose body is not UTF-8', async () => {
    const response = await fetch(`${service.url}/users`, {
      method: 'POST',
      headers: { 'content-type': 'application/json' },
      body: Buffer.concat([Buffer.from('{"first_name":"'), Buffer.from([0xff]), Buffer.from('"}')]),
    });
    expect([response.status, (await response.json()) as object]).toMatchObject([422, { code: 'malformed_json' }]);
  });
});

test('a body of another type is rejected with 415, and one over 64 KiB with 413', async () => {
  const form = await api.post('/users', 'first_name=Ada', { 'content-type': 'application/x-www-form-urlencoded' });
  expect(form.status).toBe(415);
  expect([form.headers.get('accept'), form.headers.get('accept-post')]).toEqual([
    'application/json',
    'application/json',
  ]);
  expect(bodyOf(form)).toMatchObject({ detail: 'Content-Type must be application/json' });
  const large = await api.post('/users', { ...ada, first_name: 'x'.repeat(70_000) });
  expect(large.status).toBe(413);
  expect(bodyOf(large)).toMatchObject({ detail: 'The body is larger than 64 KiB' });
});

test('the bytes of a body decide, and not its charset; x-gzip is gzip; other codings are a 415 that lists ours', async () => {
  const send = async (body: Buffer | string, headers: Record<string, string>) => {
    const response = await fetch(`${service.url}/users`, {
      method: 'POST',
      headers: { 'content-type': 'application/json', ...headers },
      body,
    });
    return { status: response.status, headers: response.headers, body: (await response.json()) as { code?: string } };
  };
  const text = (n: number) => JSON.stringify({ ...ada, first_name: 'Zoë', email: `bytes.${n}@example.com` });
  for (const [n, charset] of ['us-ascii', 'ISO-8859-1', 'utf-16', 'UTF-8', 'no-such', '"utf-8', ''].entries()) {
    const answer = await send(text(n), { 'content-type': `application/json; charset=${charset}` });
    expect([charset, answer.status, answer.body]).toMatchObject([charset, 201, { full_name: 'Zoë Lovelace' }]);
  }
  const utf16 = await send(Buffer.from(text(9), 'utf16le'), { 'content-type': 'application/json; charset=utf-16le' });
  expect([utf16.status, utf16.body.code]).toEqual([422, 'malformed_json']);
  expect((await send(gzipSync(text(8)), { 'content-encoding': 'x-gzip' })).status).toBe(201);
  const unknown = await send(text(9), { 'content-encoding': 'compress' });
  expect([unknown.status, unknown.body.code]).toEqual([415, 'unsupported_encoding']);
  expect(unknown.headers.get('accept-encoding')).toBe('gzip, deflate, br, zstd');
});

describe('getting a user', () => {
  test.each(['99', '2147483647', '2147483648', '99999999999', '9007199254740991'])(
    'that is not there: /users/%s is 404',
    async (id) => {
      const answer = await api.get(`/users/${id}`);
      expect(answer.status).toBe(404);
      expect(bodyOf(answer)).toEqual(notFound);
    },
  );

  test.each([
    'abc',
    '0',
    '-1',
    '99999999999999999999',
    '9007199254740992',
    '1.5',
    '1e3',
    '01',
    '%31%20',
    '1%00',
    '%F0%9F%98%80',
    '١',
  ])('by what is no id: /users/%s is 422', async (id) => {
    for (const answer of [await api.get(`/users/${id}`), await api.patch(`/users/${id}`, {})]) {
      expect(answer.status).toBe(422);
      expect(bodyOf(answer)).toEqual(invalid(['id', 'must be an integer from 1 to 9007199254740991']));
    }
  });

  test('with a query is rejected with 422', async () => {
    const answer = await api.get('/users/1?verbose=1');
    expect(answer.status).toBe(422);
    expect(bodyOf(answer)).toEqual(invalid(['verbose', 'is not a known field']));
  });

  test('by an unknown method is 405 and says which are known', async () => {
    const answer = await api.request('DELETE', '/users/1');
    expect(answer.status).toBe(405);
    expect(answer.headers.get('allow')).toBe('GET, HEAD, PATCH');
    expect(bodyOf(answer)).toEqual(problem(405, 'method_not_allowed', 'This path supports only GET, HEAD, PATCH'));
  });
});

describe('finding a user by email', () => {
  const find = (email: string) => api.get(`/users?email=${email}`);

  test('gives the one user, whatever the letter case', async () => {
    const user = await createUser(api, { email: 'Find.Me@example.com' });
    for (const email of ['Find.Me@example.com', 'find.me@EXAMPLE.com', 'FIND.ME%40EXAMPLE.COM']) {
      expect(await find(email)).toMatchObject({ status: 200, body: { items: [user], total: 1 } });
    }
  });

  test('reads %2B as the plus of a tag', async () => {
    const user = await createUser(api, { email: 'find+tag@example.com' });
    expect((await find('find%2Btag@example.com')).body).toEqual({ items: [user], total: 1 });
  });

  test('says that a bare plus is a space', async () => {
    const answer = await find('find+tag@example.com');
    expect(answer.status).toBe(422);
    expect(bodyOf(answer)).toEqual(
      invalid(['email', 'must not contain spaces, control characters or invisible ones (in a URL, write a + as %2B)']),
    );
  });

  test('gives an empty list when there is none', async () => {
    expect(await find('nobody@example.com')).toMatchObject({ status: 200, body: { items: [], total: 0 } });
  });

  test.each([
    ['without an email', '', [['email', 'is required']]],
    ['with an empty email', '?email=', [['email', 'must have an @ between a name and a domain']]],
    ['with the email twice', '?email=a@example.com&email=b@example.com', [['email', 'must be given once']]],
    ['with an unknown parameter', '?email=a@example.com&limit=1', [['limit', 'is not a known field']]],
    ['with a NUL', '?email=%00@example.com', [['email', unstorable]]],
  ] as const)('%s is rejected with 422', async (_case, query, broken) => {
    const answer = await api.get(`/users${query}`);
    expect(answer.status).toBe(422);
    expect(bodyOf(answer)).toEqual(invalid(...broken));
  });
});

describe('changing a user', () => {
  test('changes the fields given and no other', async () => {
    const user = await createUser(api, { phone: '+14155550123' });
    const path = `/users/${user.id}`;
    expect(await api.patch(path, { last_name: 'King' })).toMatchObject({
      status: 200,
      body: { ...user, full_name: 'Ada King', last_name: 'King' },
    });
    expect(await api.patch(path, { first_name: 'Augusta', email: 'Augusta@example.com' })).toMatchObject({
      status: 200,
      body: { id: user.id, full_name: 'Augusta King', email: 'Augusta@example.com', phone: '+14155550123' },
    });
    expect((await api.patch(path, { phone: '+441632960961' })).body.phone).toBe('+441632960961');
    const names = { full_name: 'Augusta King', first_name: 'Augusta', last_name: 'King' };
    const last = { id: user.id, ...names, email: 'Augusta@example.com' };
    expect((await api.patch(path, { phone: null })).body).toEqual(last);
    expect((await api.get(path)).body).toEqual(last);
  });

  test('with nothing changes nothing', async () => {
    const user = await createUser(api, { phone: '+14155550123' });
    const row = () => service.sql('select * from users.users where id = $1', [user.id]);
    const before = await row();
    expect(await api.patch(`/users/${user.id}`, {})).toMatchObject({ status: 200, body: user });
    expect(await row()).toEqual(before);
  });

  test('to a new email frees the old one and is found by the new one only', async () => {
    const user = await createUser(api, { email: 'old@example.com' });
    await api.patch(`/users/${user.id}`, { email: 'new@example.com' });
    expect((await api.get('/users?email=new@example.com')).body.total).toBe(1);
    expect((await api.get('/users?email=old@example.com')).body.total).toBe(0);
    expect(await createUser(api, { email: 'old@example.com' })).toMatchObject({ email: 'old@example.com' });
  });

  test('has both names apart, also when one of them has spaces, and in the answer of a search', async () => {
    const user = await createUser(api, { first_name: 'Augusta Ada', last_name: 'King of Lovelace' });
    const names = {
      full_name: 'Augusta Ada King of Lovelace',
      first_name: 'Augusta Ada',
      last_name: 'King of Lovelace',
    };
    const changed = await api.patch(`/users/${user.id}`, { phone: '+14155550123' });
    const found = await api.get(`/users?email=${user.email}`);
    for (const shown of [user, changed.body, found.body.items[0], (await api.get(`/users/${user.id}`)).body]) {
      expect(shown).toMatchObject(names);
    }
    const { first_name, last_name } = changed.body;
    expect((await api.patch(`/users/${user.id}`, { first_name, last_name })).body).toEqual(changed.body);
  });

  test("to one's own email in another letter case is no conflict", async () => {
    const user = await createUser(api, { email: 'own@example.com' });
    expect(await api.patch(`/users/${user.id}`, { email: 'OWN@example.com' })).toMatchObject({
      status: 200,
      body: { email: 'OWN@example.com' },
    });
  });

  test('to a taken email is rejected with 409 and changes nothing', async () => {
    await createUser(api, { email: 'taken@example.com' });
    const user = await createUser(api);
    const answer = await api.patch(`/users/${user.id}`, { first_name: 'Eve', email: 'TAKEN@example.com' });
    expect(answer.status).toBe(409);
    expect(bodyOf(answer)).toEqual(taken);
    expect((await api.get(`/users/${user.id}`)).body).toEqual(user);
  });

  test.each<[string, object, readonly [string, string]]>([
    ['a null first name', { first_name: null }, ['first_name', 'must be a string']],
    ['an empty last name', { last_name: '' }, ['last_name', 'must not be empty']],
    ['a null email', { email: null }, ['email', 'must be a string']],
    ['a NUL', { first_name: '\0' }, ['first_name', unstorable]],
    ['5,000 letters', { last_name: 'x'.repeat(5000) }, ['last_name', longName]],
    ['a phone that is none', { phone: 'none' }, ['phone', phoneRule]],
    ['an unknown field', { full_name: 'Ada' }, ['full_name', 'is not a known field']],
  ])('to %s is rejected with 422 and changes nothing', async (_case, change, broken) => {
    const user = await createUser(api);
    const answer = await api.patch(`/users/${user.id}`, { email: 'not.kept@example.com', ...change });
    expect(answer.status).toBe(422);
    expect(bodyOf(answer)).toEqual(invalid(broken));
    expect((await api.get(`/users/${user.id}`)).body).toEqual(user);
  });

  test('that is not there is 404', async () => {
    const answer = await api.patch('/users/2147483647', { first_name: 'Eve' });
    expect(answer.status).toBe(404);
    expect(bodyOf(answer)).toEqual(notFound);
  });
});

describe('for other services', () => {
  test('a user is an id and a version, which grows with each edit that changes something', async () => {
    const { id, email } = await createUser(api);
    expect(await internal.get(`/internal/users/${id}`)).toMatchObject({ status: 200, body: { id, version: 1 } });
    for (const last_name of ['King', 'King']) await api.patch(`/users/${id}`, { last_name, email });
    expect((await internal.get(`/internal/users/${id}`)).body).toEqual({ id, version: 2 });
    expect(bodyOf(await internal.get('/internal/users/2147483647'))).toEqual(notFound);
  });

  test('these routes are not in the document that callers read', async () => {
    const { body } = await internal.get('/openapi.json');
    expect(Object.keys(body.paths)).toEqual(['/users', '/users/{id}', '/users/{id}/history']);
  });
});

test('health shows the service, the state of the broker and the backlog', async () => {
  expect((await internal.get('/health')).body).toMatchObject({
    status: 'ok',
    app: 'PromoPulse Users',
    version: users.version,
    environment: 'development',
    outbox: { waiting: expect.any(Number) },
  });
  expect((await internal.get('/health/live')).status).toBe(200);
  expect((await internal.get('/health/ready')).status).toBe(200);
});
