// What callers of /subscriptions see.
import { afterAll, beforeAll, beforeEach, describe, expect, jest, test } from '@jest/globals';
import type { PromotionStatus } from '@promopulse/shared/contracts/promotions';
import { problem } from '@promopulse/testing/client';
import { eventually } from '@promopulse/testing/eventually';
import { entities } from '../src/entities.ts';
import { promotionState, type Scene, startScene } from './owners.ts';

let scene: Scene;
let promotion = 100;
beforeAll(async () => {
  scene = await startScene();
  for (const id of [1, 2, 3]) scene.users.states.set(id, { id, version: 1 });
});
afterAll(() => scene.close());
beforeEach(() => {
  promotion += 1;
  scene.promotions.states.set(promotion, promotionState(promotion, 'active', 2));
});

const leave = (id: number) => scene.api.patch(`/subscriptions/${id}/deactivate`);
const reactivate = (id: number) => scene.api.patch(`/subscriptions/${id}/reactivate`);

/** Makes the promotion have another status at its owner, and here. `not_found`: its owner has lost it. */
async function turn(id: number, status: PromotionStatus | 'not_found'): Promise<void> {
  if (status === 'not_found') scene.promotions.states.delete(id);
  else scene.promotions.states.set(id, promotionState(id, status, 3));
  // The next subscribe asks the owner.
  await scene.sql('update subscriptions.cached_promotions set doubted_at = now() where promotion_id = $1', [id]);
}

const detailOf = (answer: { status: number; body: { detail: string } }) => [answer.status, answer.body.detail];

describe('subscribing', () => {
  test('answers 201 with the subscription and its metadata', async () => {
    const answer = await scene.api.post('/subscriptions', {
      user_id: 1,
      promotion_id: promotion,
      metadata: { source: 'web', nested: { list: [1, null, 'ü'] } },
    });
    expect(answer.status).toBe(201);
    expect(answer.headers.get('location')).toBe(`/subscriptions/${answer.body.id}`);
    expect(answer.body).toEqual({
      id: expect.any(Number),
      user_id: 1,
      promotion_id: promotion,
      is_active: true,
      metadata: { source: 'web', nested: { list: [1, null, 'ü'] } },
      created_at: expect.stringMatching(/^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d{3})?Z$/),
    });
  });

  test('without metadata shows null', async () => {
    expect((await scene.subscribe(1, promotion)).body.metadata).toBeNull();
  });

  test('an unknown user is 404, before the promotion is looked at', async () => {
    expect(detailOf(await scene.subscribe(99, 9999))).toEqual([404, 'User 99 not found']);
  });

  test('a missing promotion is 422 with status not_found', async () => {
    const answer = await scene.subscribe(1, 9999);
    expect(detailOf(answer)).toEqual([
      422,
      "Cannot subscribe to promotion 9999 with status 'not_found'. Promotion must be ACTIVE to accept subscriptions.",
    ]);
    expect(answer.body).toMatchObject({ code: 'promotion_not_active', promotion_status: 'not_found' });
  });

  test.each(['draft', 'ended'] as const)('a promotion that is %s is 422', async (status) => {
    scene.promotions.states.set(promotion, promotionState(promotion, status, 1));
    const answer = await scene.subscribe(1, promotion);
    expect(detailOf(answer)).toEqual([
      422,
      `Cannot subscribe to promotion ${promotion} with status '${status}'. Promotion must be ACTIVE to accept subscriptions.`,
    ]);
    expect(answer.body).toMatchObject({ code: 'promotion_not_active', promotion_status: status });
  });

  test('a second time is 409, which names the subscription that there is', async () => {
    const { id } = (await scene.subscribe(1, promotion)).body;
    const { status, body } = await scene.subscribe(1, promotion);
    expect([status, body]).toEqual([
      409,
      {
        ...problem(
          409,
          'already_subscribed',
          `User 1 is already subscribed to promotion ${promotion}. Duplicate subscriptions are not allowed.`,
        ),
        subscription_id: id,
        request_id: expect.any(String),
      },
    ]);
  });

  test('again after leaving is 409 with a code of its own, the subscription and the way back', async () => {
    const { id } = (await scene.subscribe(1, promotion)).body;
    await leave(id);
    const { status, body } = await scene.subscribe(1, promotion);
    expect([status, body]).toEqual([
      409,
      {
        ...problem(
          409,
          'subscription_inactive',
          `User 1 was subscribed to promotion ${promotion} and has left it. PATCH /subscriptions/${id}/reactivate makes subscription ${id} active again.`,
        ),
        subscription_id: id,
        request_id: expect.any(String),
      },
    ]);
  });

  test.each(['draft', 'ended', 'not_found'] as const)(
    'after leaving a promotion that is now %s is refused for the promotion, as without a subscription',
    async (status) => {
      await leave((await scene.subscribe(1, promotion)).body.id);
      await turn(promotion, status);
      expect((await scene.subscribe(1, promotion)).body).toMatchObject({
        code: 'promotion_not_active',
        promotion_status: status,
      });
    },
  );

  test('50 at once make one subscription and 49 conflicts', async () => {
    const answers = await Promise.all(Array.from({ length: 50 }, () => scene.subscribe(1, promotion)));
    const statuses = answers.map(({ status }) => status).sort();
    expect(statuses).toEqual([201, ...Array(49).fill(409)]);
    expect((await scene.api.get(`/subscriptions?promotion_id=${promotion}`)).body.total).toBe(1);
  });

  test('a refused subscription costs no id: not a duplicate, an ended promotion, nor an unknown user', async () => {
    const given = `select pg_sequence_last_value('subscriptions.subscriptions_id_seq')::int as subscriptions,
                          pg_sequence_last_value('subscriptions.outbox_id_seq')::int as outbox`;
    expect((await scene.subscribe(1, promotion)).status).toBe(201);
    const before = (await scene.sql(given))[0];
    for (let n = 0; n < 10; n += 1) expect((await scene.subscribe(1, promotion)).status).toBe(409);
    for (let n = 0; n < 3; n += 1) expect((await scene.subscribe(99, promotion)).status).toBe(404);
    for (let n = 0; n < 3; n += 1) expect((await scene.subscribe(1, 99)).status).toBe(422);
    expect((await scene.sql(given))[0]).toEqual(before);
  });

  test.each([
    [{ promotion_id: 1 }, 'user_id', 'is required'],
    [{ user_id: '1', promotion_id: 1 }, 'user_id', 'must be an integer from 1 to 9007199254740991'],
    [{ user_id: 0, promotion_id: 1 }, 'user_id', 'must be an integer from 1 to 9007199254740991'],
    [{ user_id: 9007199254740992, promotion_id: 1 }, 'user_id', 'must be an integer from 1 to 9007199254740991'],
    [{ user_id: 1.5, promotion_id: 1 }, 'user_id', 'must be an integer from 1 to 9007199254740991'],
    [{ user_id: 1, promotion_id: 1, extra: true }, 'extra', 'is not a known field'],
    [{ user_id: 1, promotion_id: 1, metadata: [] }, 'metadata', 'must be an object or null'],
    [{ user_id: 1, promotion_id: 1, metadata: 'x' }, 'metadata', 'must be an object or null'],
    [
      { user_id: 1, promotion_id: 1, metadata: { a: 'x\0y' } },
      'metadata.a',
      'must be well-formed Unicode without NUL characters',
    ],
    [
      { user_id: 1, promotion_id: 1, metadata: { 'x\0y': 1 } },
      'metadata',
      'must have keys of well-formed Unicode without NUL characters',
    ],
  ])('%j is 422 and names %s', async (body, field, rule) => {
    const answer = await scene.api.post('/subscriptions', body);
    expect(answer.status).toBe(422);
    expect(answer.body.errors).toEqual([{ field, rule }]);
    expect(answer.body.detail).toBe(`${field} ${rule}`);
  });

  const sizeRule = 'must be at most 8192 bytes as JSON in UTF-8, without the white space between its tokens';
  const secretRule = 'must not have an API key or an access token in it';
  const secret = `ppk_${'7HqdExample'.repeat(4)}12345`;
  const withMetadata = (metadata: string) => `{"user_id":1,"promotion_id":${promotion},"metadata":${metadata}}`;
  const doubleRule = 'must be a number that a double keeps with all its digits (it keeps any 15, up to 1.79e308)';

  test.each([
    ['a lone surrogate', '{"a":"\\ud800"}', 'metadata.a', 'must be well-formed Unicode without NUL characters'],
    ['a number beyond doubles', '{"a":1e400}', 'metadata.a', doubleRule],
    ['a number below doubles', '{"a":[0,1e-400]}', 'metadata.a.1', doubleRule],
    ['an integer that a double rounds', '{"a":{"b c":1234567890123456789}}', 'metadata.a.b c', doubleRule],
    ['the first integer that a double rounds', '{"a":9007199254740993}', 'metadata.a', doubleRule],
    ['a decimal that a double rounds', '{"big":123456789012345.678901}', 'metadata.big', doubleRule],
    ['a fraction that a double rounds', '{"d":0.1234567890123456789}', 'metadata.d', doubleRule],
    ['a name twice', '{"a":1,"b":2,"a":3}', 'metadata.a', 'must be given once'],
    ['a name twice, once escaped, below', '{"a":[{"b":1,"\\u0062":1}]}', 'metadata.a.0.b', 'must be given once'],
    ['__proto__ twice', '{"__proto__":1,"__proto__":2}', 'metadata.__proto__', 'must be given once'],
    ['17 levels', `${'{"a":'.repeat(17)}1${'}'.repeat(17)}`, 'metadata.a', 'must be nested at most 16 deep'],
    ['10,000 levels', `{"a":${'['.repeat(1e4)}${']'.repeat(1e4)}}`, 'metadata.a', 'must be nested at most 16 deep'],
    ['an API key', `{"a":["${secret}"]}`, 'metadata.a.0', secretRule],
    ['an API key in escapes', `{"a":"\\u0070${secret.slice(1)}"}`, 'metadata.a', secretRule],
    ['an API key as a name', `{"${secret}":1}`, 'metadata', secretRule],
    ['over 8 KiB', `{"a":"${'x'.repeat(8_185)}"}`, 'metadata', sizeRule],
    ['over 8 KiB of escapes', `{"a":"${'\\u0061'.repeat(1_400)}"}`, 'metadata', sizeRule],
  ])('metadata of %s is 422, and the field is named', async (_what, metadata, field, rule) => {
    const answer = await scene.api.post('/subscriptions', withMetadata(metadata));
    expect([answer.status, answer.body.errors]).toEqual([422, [{ field, rule }]]);
  });

  test.each([
    ['an id of 1e400', '{"user_id":1e400,"promotion_id":1}', 'user_id'],
    ['an id that a double would round to 1', '{"user_id":1.00000000000000000001,"promotion_id":1}', 'user_id'],
    ['an id of -0', '{"user_id":-0,"promotion_id":1}', 'user_id'],
    ['an id twice', '{"user_id":2,"promotion_id":1,"user_id":1}', 'user_id'],
    ['metadata twice', '{"user_id":1,"promotion_id":1,"metadata":{},"metadata":null}', 'metadata'],
    ['broken JSON', '{"user_id":', 'body'],
    ['a JSON string', '"x"', 'body'],
    ['a JSON array', '[]', 'body'],
    ['JSON null', 'null', 'body'],
  ])('%s is 422, and the field is named', async (_what, body, field) => {
    const answer = await scene.api.post('/subscriptions', body);
    expect([answer.status, answer.body.errors]).toMatchObject([422, [{ field }]]);
  });

  test('an id that a double would round to 2 is told the rule of an id', async () => {
    const body = `{"user_id":2.00000000000000000001,"promotion_id":${promotion}}`;
    const rule = 'must be an integer from 1 to 9007199254740991';
    expect((await scene.api.post('/subscriptions', body)).body.errors).toEqual([{ field: 'user_id', rule }]);
  });

  test.each(['1.0', '1e0', '10E-1'])('an id written as %s is 1', async (written) => {
    const body = `{"user_id":${written},"promotion_id":${promotion}}`;
    expect(await scene.api.post('/subscriptions', body)).toMatchObject({ status: 201, body: { user_id: 1 } });
  });

  test.each([
    ['numbers', '{"a":1.50,"b":1.0,"c":1e16,"d":1E2,"e":-0,"f":-0.0,"g":1e300,"h":5e-324,"i":0.10000000000000001}'],
    ['integers', '{"a":9007199254740991,"b":9007199254740992,"c":18446744073709551616}'],
    ['an order', '{"10":1,"2":2,"b":{"1":1,"0":0,"-1":2},"a":null}'],
    ['escapes', '{"\\u0061":"\\u00e9\\/\\n","é":"\\ud83c\\udf89","":"","$&":"$1"}'],
    ['white space in texts', '{"a  b":" \\t x  "}'],
    ['no member', '{}'],
    ['16 levels', `${'{"a":'.repeat(16)}1${'}'.repeat(16)}`],
    ['exactly 8 KiB', `{"a":"${'x'.repeat(8_184)}"}`],
  ])('metadata with %s comes back character by character, from every route', async (_what, metadata) => {
    const send = async (method: string, path: string, body?: string) => {
      const headers = { 'content-type': 'application/json' };
      const answer = await fetch(scene.url + path, { method, ...(body !== undefined && { body, headers }) });
      return { status: answer.status, text: await answer.text() };
    };
    const user = 60 + promotion;
    scene.users.states.set(user, { id: user, version: 1 });
    const sent = withMetadata(metadata.replaceAll('}', ' }')).replace('"user_id":1', `"user_id": ${user}`);
    const made = await send('POST', '/subscriptions', sent);
    expect([made.status, made.text]).toEqual([201, expect.stringContaining(`"metadata":${metadata},"created_at"`)]);
    const { id } = JSON.parse(made.text);
    for (const { status, text } of [
      await send('GET', `/subscriptions?user_id=${user}`),
      await send('GET', `/subscriptions?promotion_id=${promotion}&limit=1000`),
      await send('PATCH', `/subscriptions/${id}/deactivate`),
    ]) {
      expect([status, text]).toEqual([200, expect.stringContaining(`"metadata":${metadata},"created_at"`)]);
    }
  });

  test('metadata named like prototype members is kept as data and pollutes nothing', async () => {
    const body = `{"user_id":1,"promotion_id":${promotion},"metadata":{"__proto__":{"polluted":1},"constructor":2}}`;
    const answer = await scene.api.post('/subscriptions', body);
    expect(answer.status).toBe(201);
    expect(JSON.stringify(answer.body.metadata)).toBe('{"__proto__":{"polluted":1},"constructor":2}');
    expect(({} as { polluted?: number }).polluted).toBeUndefined();
  });
});

describe('reading one', () => {
  test('answers what the creation answered, at the path in its Location, and the present state', async () => {
    const made = await scene.api.post('/subscriptions', {
      user_id: 1,
      promotion_id: promotion,
      metadata: { source: 'web' },
    });
    const path = String(made.headers.get('location'));
    const found = await scene.api.get(path);
    expect([found.status, found.body]).toEqual([200, made.body]);
    await leave(made.body.id);
    expect((await scene.api.get(path)).body).toEqual({ ...made.body, is_active: false });
  });

  test('what is not there is 404; what is no id, and a parameter, is 422', async () => {
    expect(detailOf(await scene.api.get('/subscriptions/999999'))).toEqual([404, 'Subscription not found']);
    expect((await scene.api.get('/subscriptions/9007199254740991')).body.code).toBe('not_found');
    for (const id of ['abc', '0', '-1', '1.0', '01', '1e3', '9007199254740992', '%20']) {
      const answer = await scene.api.get(`/subscriptions/${id}`);
      expect([id, answer.status, answer.body.errors[0].field]).toEqual([id, 422, 'id']);
    }
    expect((await scene.api.get('/subscriptions/1?fields=id')).body.errors[0].field).toBe('fields');
  });

  test('by another method is 405 and says which are allowed', async () => {
    const answer = await scene.api.request('DELETE', '/subscriptions/1');
    expect([answer.status, answer.headers.get('allow')]).toEqual([405, 'GET, HEAD']);
  });
});

describe('listing', () => {
  test("shows a promotion's subscribers newest first, page by page, with the total", async () => {
    for (const user of [1, 2, 3]) await scene.subscribe(user, promotion);
    const list = async (query: string) => {
      const { body } = await scene.api.get(`/subscriptions?promotion_id=${promotion}${query}`);
      return [body.items.map((item: { user_id: number }) => item.user_id), body.total];
    };
    expect(await list('')).toEqual([[3, 2, 1], 3]);
    expect(await list('&limit=2')).toEqual([[3, 2], 3]);
    expect(await list('&limit=2&offset=2')).toEqual([[1], 3]);
    expect(await list('&offset=10')).toEqual([[], 3]);
  });

  test("filters a user's subscriptions by whether they are active", async () => {
    scene.users.states.set(50, { id: 50, version: 1 });
    const other = promotion + 1000;
    scene.promotions.states.set(other, promotionState(other, 'active', 2));
    const left = (await scene.subscribe(50, promotion)).body;
    const kept = (await scene.subscribe(50, other)).body;
    await scene.api.patch(`/subscriptions/${left.id}/deactivate`);
    const list = async (query: string) => (await scene.api.get(`/subscriptions?user_id=50${query}`)).body;
    expect(await list('&is_active=true')).toEqual({ items: [kept], total: 1, next_cursor: null });
    expect(await list('&is_active=False')).toEqual({
      items: [{ ...left, is_active: false }],
      total: 1,
      next_cursor: null,
    });
    expect(await list('&is_active=t')).toEqual(await list('&is_active=1'));
    expect((await list('')).total).toBe(2);
  });

  test('of an unknown user is an empty list', async () => {
    expect((await scene.api.get('/subscriptions?user_id=123456')).body).toEqual({
      items: [],
      total: 0,
      next_cursor: null,
    });
  });

  test('by neither or both of user and promotion is 422', async () => {
    expect(detailOf(await scene.api.get('/subscriptions'))).toEqual([
      422,
      'Must provide either user_id or promotion_id',
    ]);
    expect(detailOf(await scene.api.get('/subscriptions?user_id=1&promotion_id=2'))).toEqual([
      422,
      'Cannot filter by both user_id and promotion_id simultaneously',
    ]);
  });

  test.each([
    ['user_id=abc', 'user_id'],
    ['user_id=9007199254740992', 'user_id'],
    ['user_id=', 'user_id'],
    ['user_id=1&user_id=2', 'user_id'],
    ['user_id=1%00', 'user_id'],
    ['user_id=1&is_active=maybe', 'is_active'],
    ['user_id=1&is_active=enabled', 'is_active'],
    ['user_id=1&limit=0', 'limit'],
    ['user_id=1&limit=1001', 'limit'],
    ['user_id=1&limit=1e2', 'limit'],
    ['user_id=1&offset=-1', 'offset'],
    ['user_id=1&offset=1e20', 'offset'],
    ['user_id=1&page=2', 'page'],
    ['user_id[$gt]=0', 'user_id[$gt]'],
  ])('with %s is 422 and names %s', async (query, field) => {
    const answer = await scene.api.get(`/subscriptions?${query}`);
    expect(answer.status).toBe(422);
    expect(answer.body.errors.map((error: { field: string }) => error.field)).toContain(field);
  });
});

describe('deactivating', () => {
  test('keeps the subscription, inactive; a second time is 422', async () => {
    const made = (await scene.subscribe(1, promotion)).body;
    const answer = await scene.api.patch(`/subscriptions/${made.id}/deactivate`);
    expect([answer.status, answer.body]).toEqual([200, { ...made, is_active: false }]);
    expect(detailOf(await scene.api.patch(`/subscriptions/${made.id}/deactivate`))).toEqual([
      422,
      `Subscription ${made.id} is already inactive`,
    ]);
  });

  test('20 at once: exactly one succeeds', async () => {
    const { id } = (await scene.subscribe(1, promotion)).body;
    const answers = await Promise.all(
      Array.from({ length: 20 }, () => scene.api.patch(`/subscriptions/${id}/deactivate`)),
    );
    expect(answers.map(({ status }) => status).sort()).toEqual([200, ...Array(19).fill(422)]);
  });

  test('what is not there is 404; what is no id is 422', async () => {
    expect(detailOf(await scene.api.patch('/subscriptions/999999/deactivate'))).toEqual([
      404,
      'Subscription not found',
    ]);
    expect((await scene.api.patch('/subscriptions/abc/deactivate')).status).toBe(422);
  });

  test.each([
    ['an unknown field', '{"reason":"moved"}', 'reason', 'is not a known field'],
    ['a field twice', '{"reason":1,"reason":2}', 'reason', 'is not a known field'],
    ['an array', '[]', 'body', 'must be empty, or an empty JSON object'],
    ['null', 'null', 'body', 'must be empty, or an empty JSON object'],
    ['broken JSON', '{', 'body', 'must be valid JSON in UTF-8'],
  ])('with a body of %s is 422 and changes nothing', async (_what, body, field, rule) => {
    const { id } = (await scene.subscribe(1, promotion)).body;
    const answer = await scene.api.patch(`/subscriptions/${id}/deactivate`, body);
    expect([answer.status, answer.body.errors]).toEqual([422, [{ field, rule }]]);
    const list = await scene.api.get(`/subscriptions?promotion_id=${promotion}`);
    expect(list.body.items).toMatchObject([{ id, is_active: true }]);
  });

  test('with a body of another type is 422, and with an empty body or object it is done', async () => {
    const { id } = (await scene.subscribe(1, promotion)).body;
    const path = `/subscriptions/${id}/deactivate`;
    const text = await scene.api.patch(path, 'reason=moved', { 'content-type': 'application/x-www-form-urlencoded' });
    expect([text.status, text.body.errors]).toEqual([
      422,
      [{ field: 'body', rule: 'must be empty, or an empty JSON object' }],
    ]);
    expect((await scene.api.patch(path, '')).status).toBe(200);
    const form = await scene.api.patch(path, '{}', { 'content-type': 'application/x-www-form-urlencoded' });
    expect(detailOf(form)).toEqual([422, `Subscription ${id} is already inactive`]);
    expect(detailOf(await scene.api.patch(path, {}))).toEqual([422, `Subscription ${id} is already inactive`]);
  });

  test('by another method is 405 and says which is allowed', async () => {
    const answer = await scene.api.post('/subscriptions/1/deactivate', {});
    expect([answer.status, answer.headers.get('allow')]).toEqual([405, 'PATCH']);
  });
});

describe('reactivating', () => {
  const left = async (user = 1) => {
    const { body } = await scene.api.post('/subscriptions', {
      user_id: user,
      promotion_id: promotion,
      metadata: { source: 'web' },
    });
    expect((await leave(body.id)).status).toBe(200);
    return body;
  };
  const totals = async () => {
    const total = async (filter: string): Promise<number> =>
      (await scene.api.get(`/subscriptions?promotion_id=${promotion}${filter}`)).body.total;
    return { all: await total(''), active: await total('&is_active=true'), inactive: await total('&is_active=false') };
  };

  test('makes a subscription active again as it was, and the totals follow', async () => {
    const made = await left();
    expect(await totals()).toEqual({ all: 1, active: 0, inactive: 1 });
    const answer = await reactivate(made.id);
    expect([answer.status, answer.body]).toEqual([200, made]);
    expect((await scene.api.get(`/subscriptions/${made.id}`)).body).toEqual(made);
    expect(await totals()).toEqual({ all: 1, active: 1, inactive: 0 });
    expect((await scene.subscribe(1, promotion)).body.code).toBe('already_subscribed');
    expect((await leave(made.id)).status).toBe(200);
    expect((await reactivate(made.id)).status).toBe(200);
  });

  test('what is active already is 422, whatever its promotion and its user are now', async () => {
    const { id } = (await scene.subscribe(1, promotion)).body;
    const already = { ...problem(422, 'already_active', `Subscription ${id} is already active`) };
    expect((await reactivate(id)).body).toEqual({ ...already, request_id: expect.any(String) });
    await turn(promotion, 'ended');
    expect((await reactivate(id)).body).toMatchObject(already);
  });

  test.each(['draft', 'ended', 'not_found'] as const)(
    'a subscription to a promotion that is now %s is refused as a new one would be, and stays inactive',
    async (status) => {
      const { id } = await left();
      const before = (await scene.events()).length;
      await turn(promotion, status);
      const [refused, again] = [await reactivate(id), await scene.subscribe(2, promotion)];
      expect([refused.status, refused.body.promotion_status]).toEqual([422, status]);
      const errors = [{ field: 'id', rule: 'must be a subscription to an active promotion' }];
      expect({ ...refused.body, request_id: '' }).toEqual({ ...again.body, errors, request_id: '' });
      expect((await scene.api.get(`/subscriptions/${id}`)).body.is_active).toBe(false);
      expect((await scene.events()).length).toBe(before);
    },
  );

  test('a subscription of a deleted user is 404 for the user', async () => {
    await scene.announce('user.created', { id: 70, version: 1 });
    const { id } = await left(70);
    await scene.announce('user.deleted', { id: 70, version: 2 });
    await eventually(async () => expect((await scene.subscribe(70, promotion)).status).toBe(404));
    const answer = await reactivate(id);
    expect([answer.status, answer.body.code, answer.body.detail]).toEqual([404, 'user_not_found', 'User 70 not found']);
  });

  test('20 at once: exactly one succeeds', async () => {
    const { id } = await left();
    const answers = await Promise.all(Array.from({ length: 20 }, () => reactivate(id)));
    expect(answers.map(({ status }) => status).sort()).toEqual([200, ...Array(19).fill(422)]);
    expect(answers.filter(({ body }) => body.code === 'already_active')).toHaveLength(19);
  });

  test('of leaving and coming back 40 times at once each success is one event, in turn, and the totals follow', async () => {
    const { id } = await left();
    const before = (await scene.events()).length;
    const answers = await Promise.all(
      Array.from({ length: 40 }, (_, index) => (index % 2 ? leave(id) : reactivate(id))),
    );
    const successes = answers.filter(({ status }) => status === 200);
    for (const { status, body } of answers) if (status !== 200) expect(body.code).toMatch(/^already_(in)?active$/);
    const events = (await scene.events()).slice(before);
    expect(events.map(({ data }) => data.version)).toEqual(successes.map((_, index) => index + 3));
    expect(events.map(({ data }) => data.is_active)).toEqual(successes.map((_, index) => index % 2 === 0));
    const { is_active } = (await scene.api.get(`/subscriptions/${id}`)).body;
    expect(is_active).toBe(events.at(-1)?.data.is_active);
    expect(await totals()).toEqual({ all: 1, active: Number(is_active), inactive: Number(!is_active) });
  });

  test('what is not there is 404; what is no id is 422; another method is 405', async () => {
    expect(detailOf(await reactivate(999999))).toEqual([404, 'Subscription not found']);
    expect((await scene.api.patch('/subscriptions/abc/reactivate')).body.errors[0].field).toBe('id');
    const answer = await scene.api.post('/subscriptions/1/reactivate', {});
    expect([answer.status, answer.headers.get('allow')]).toEqual([405, 'PATCH']);
  });
});

describe('events', () => {
  test('a subscription, its end and its return are recorded with growing versions and without the metadata', async () => {
    const before = (await scene.events()).length;
    const made = (
      await scene.api.post('/subscriptions', { user_id: 1, promotion_id: promotion, metadata: { note: 'private' } })
    ).body;
    await leave(made.id);
    await reactivate(made.id);
    const { metadata: _private, ...state } = made;
    const exactTime = { created_at: expect.stringMatching(/^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z$/) };
    expect((await scene.events()).slice(before)).toEqual([
      { name: 'subscription.created', subject: String(made.id), data: { ...state, ...exactTime, version: 1 } },
      {
        name: 'subscription.deactivated',
        subject: String(made.id),
        data: { ...state, ...exactTime, is_active: false, version: 2 },
      },
      { name: 'subscription.reactivated', subject: String(made.id), data: { ...state, ...exactTime, version: 3 } },
    ]);
  });

  test('a rejected subscription leaves none', async () => {
    const before = (await scene.events()).length;
    await scene.subscribe(99, promotion);
    await scene.subscribe(1, 9999);
    expect((await scene.events()).length).toBe(before);
  });
});

describe("every time is of the database's clock", () => {
  /** All that jest could replace beside `Date`. */
  const notReplaced = [
    ...(['hrtime', 'nextTick', 'performance', 'queueMicrotask', 'setImmediate', 'clearImmediate'] as const),
    ...(['setInterval', 'clearInterval', 'setTimeout', 'clearTimeout'] as const),
  ];

  test.each([
    ['slow', -3_600_000],
    ['ahead', 3_600_000],
  ])('while the clock of the process is an hour %s', async (_title, shiftMs) => {
    const clock = async () => Number((await scene.sql<{ now: Date }>('select now()'))[0]?.now);
    const before = (await scene.events()).length;
    const start = await clock();
    jest.useFakeTimers({ now: Date.now() + shiftMs, advanceTimers: true, doNotFake: [...notReplaced] });
    let made: { id: number; created_at: string };
    try {
      made = (await scene.subscribe(1, promotion)).body;
      expect((await leave(made.id)).body.created_at).toBe(made.created_at);
      expect((await reactivate(made.id)).body.created_at).toBe(made.created_at);
      await scene.subscribe(2, promotion);
      const first = (await scene.api.get(`/subscriptions?promotion_id=${promotion}&limit=1`)).body;
      const rest = await scene.api.get(`/subscriptions?promotion_id=${promotion}&cursor=${first.next_cursor}`);
      expect(rest.body.items).toEqual([{ ...made, is_active: true }]);
    } finally {
      jest.useRealTimers();
    }
    const end = await clock();
    const recorded = await scene.sql<{ created_at: Date }>(
      'select created_at from subscriptions.outbox order by id offset $1',
      [before],
    );
    const [projected] = await scene.sql(
      'select changed_at, verified_at from subscriptions.cached_promotions where promotion_id = $1',
      [promotion],
    );
    const times = [
      Date.parse(made.created_at),
      ...recorded.map(({ created_at }) => created_at.getTime()),
      ...[projected.changed_at, projected.verified_at].map(Number),
    ];
    expect(times).toHaveLength(7);
    for (const time of times) expect([time - start >= -1_000, time - end <= 1_000]).toEqual([true, true]);
  });

  test('because no column is set by the process', () => {
    const set = entities.flatMap(({ meta }) =>
      Object.values(meta.properties as Record<string, { name: string; onCreate?: unknown; onUpdate?: unknown }>)
        .filter(({ onCreate, onUpdate }) => onCreate ?? onUpdate)
        .map(({ name }) => `${meta.className}.${name}`),
    );
    expect(set).toEqual([]);
  });
});
