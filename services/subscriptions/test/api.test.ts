// What callers of /subscriptions see.
import { afterAll, beforeAll, beforeEach, describe, expect, test } from '@jest/globals';
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

const detailOf = (answer: { status: number; body: { detail: string } }) => [answer.status, answer.body.detail];

describe('subscribing', () => {
  test('answers 201 with the subscription and its metadata', async () => {
    const answer = await scene.api.post('/subscriptions', {
      user_id: 1,
      promotion_id: promotion,
      metadata: { source: 'web', nested: { list: [1, null, 'ü'] } },
    });
    expect(answer.status).toBe(201);
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
    expect(detailOf(await scene.subscribe(1, 9999))).toEqual([
      422,
      "Cannot subscribe to promotion 9999 with status 'not_found'. Promotion must be ACTIVE to accept subscriptions.",
    ]);
  });

  test.each(['draft', 'ended'] as const)('a promotion that is %s is 422', async (status) => {
    scene.promotions.states.set(promotion, promotionState(promotion, status, 1));
    expect(detailOf(await scene.subscribe(1, promotion))).toEqual([
      422,
      `Cannot subscribe to promotion ${promotion} with status '${status}'. Promotion must be ACTIVE to accept subscriptions.`,
    ]);
  });

  test('a second time is 409, also after deactivation', async () => {
    const { id } = (await scene.subscribe(1, promotion)).body;
    const duplicate = [
      409,
      `User 1 is already subscribed to promotion ${promotion}. Duplicate subscriptions are not allowed.`,
    ];
    expect(detailOf(await scene.subscribe(1, promotion))).toEqual(duplicate);
    await scene.api.patch(`/subscriptions/${id}/deactivate`);
    expect(detailOf(await scene.subscribe(1, promotion))).toEqual(duplicate);
  });

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

  test.each([
    ['a lone surrogate', '{"user_id":1,"promotion_id":1,"metadata":{"a":"\\ud800"}}'],
    ['a number beyond doubles', '{"user_id":1,"promotion_id":1,"metadata":{"a":1e400}}'],
    [
      'an array nested 10,000 deep',
      `{"user_id":1,"promotion_id":1,"metadata":{"a":${'['.repeat(1e4)}${']'.repeat(1e4)}}}`,
    ],
    ['an integer that JavaScript rounds', '{"user_id":1,"promotion_id":1,"metadata":{"a":1234567890123456789}}'],
    ['an integer of 300 digits', '{"user_id":1,"promotion_id":1,"metadata":{"a":1e300}}'],
    ['metadata over 8 KiB', `{"user_id":1,"promotion_id":1,"metadata":{"a":"${'x'.repeat(8_192)}"}}`],
    ['an id of 1e400', '{"user_id":1e400,"promotion_id":1}'],
    ['broken JSON', '{"user_id":'],
    ['a JSON string', '"x"'],
    ['a JSON array', '[]'],
    ['JSON null', 'null'],
  ])('%s is 422, not 500', async (_what, body) => {
    expect((await scene.api.post('/subscriptions', body)).status).toBe(422);
  });

  test('metadata comes back as it was sent, its numbers too', async () => {
    const metadata = {
      big: 9007199254740991,
      small: 1e-300,
      half: 0.5,
      text: '1234567890123456789',
      order: { b: 1, a: 2 },
    };
    const body = { user_id: 1, promotion_id: promotion, metadata };
    const answer = await scene.api.post('/subscriptions', body);
    expect(JSON.stringify(answer.body.metadata)).toBe(JSON.stringify(metadata));
  });

  test('metadata named like prototype members is kept as data and pollutes nothing', async () => {
    const body = `{"user_id":1,"promotion_id":${promotion},"metadata":{"__proto__":{"polluted":1},"constructor":2}}`;
    const answer = await scene.api.post('/subscriptions', body);
    expect(answer.status).toBe(201);
    expect(JSON.stringify(answer.body.metadata)).toBe('{"__proto__":{"polluted":1},"constructor":2}');
    expect(({} as { polluted?: number }).polluted).toBeUndefined();
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

  test('by another method is 405 and says which is allowed', async () => {
    const answer = await scene.api.post('/subscriptions/1/deactivate', {});
    expect([answer.status, answer.headers.get('allow')]).toEqual([405, 'PATCH']);
  });
});

describe('events', () => {
  test('a subscription and its end are recorded with growing versions and without the metadata', async () => {
    const before = (await scene.events()).length;
    const made = (
      await scene.api.post('/subscriptions', { user_id: 1, promotion_id: promotion, metadata: { note: 'private' } })
    ).body;
    await scene.api.patch(`/subscriptions/${made.id}/deactivate`);
    const { metadata: _private, ...state } = made;
    const exactTime = { created_at: expect.stringMatching(/^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z$/) };
    expect((await scene.events()).slice(before)).toEqual([
      { name: 'subscription.created', subject: String(made.id), data: { ...state, ...exactTime, version: 1 } },
      {
        name: 'subscription.deactivated',
        subject: String(made.id),
        data: { ...state, ...exactTime, is_active: false, version: 2 },
      },
    ]);
  });

  test('a rejected subscription leaves none', async () => {
    const before = (await scene.events()).length;
    await scene.subscribe(99, promotion);
    await scene.subscribe(1, 9999);
    expect((await scene.events()).length).toBe(before);
  });
});
