// What a client of /events gets for each item.
import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';
import { type Database, openDatabase } from '@promopulse/shared/database/database';
import { databaseOptionsOf } from '@promopulse/shared/service/schema-definition';
import { eventually } from '@promopulse/testing/eventually';
import { type BatchOptions, countEvents } from '../src/batches.ts';
import { rejections } from '../src/rules.ts';
import { engagement } from '../src/service.ts';
import { at, daysFromNow, event, promotionState, type Scene, startScene } from './scene.ts';

let scene: Scene;
beforeAll(async () => {
  scene = await startScene();
});
afterAll(() => scene.close());

const rejected = (id: string | null, code: keyof typeof rejections) => ({
  ...{ id, status: 'rejected', code },
  ...rejections[code],
});
const invalid = (field: string, rule: string | RegExp, id: unknown = expect.any(String)) => ({
  ...{ id, status: 'rejected', code: 'validation_failed', field },
  rule: typeof rule === 'string' ? rule : expect.stringMatching(rule),
});

describe('a batch', () => {
  test('has a receipt for each event, in order, also when it is sent again', async () => {
    const batch = ['view', 'click', 'redeem'].map((type) => event({ type }));
    expect(await scene.send(batch)).toEqual(batch.map(({ id }) => ({ id, status: 'accepted' })));
    expect(await scene.send(batch.toReversed())).toEqual(
      batch.toReversed().map(({ id }) => ({ id, status: 'duplicate' })),
    );
  });

  test('may be one event without an array', async () => {
    const single = event({ source: 'newsletter', visitor: 'v-1' });
    expect(await scene.send(single)).toEqual([{ id: single.id, status: 'accepted' }]);
    expect(await scene.send([single])).toEqual([{ id: single.id, status: 'duplicate' }]);
  });

  test('takes 100 events', async () => {
    expect(await scene.statuses(Array.from({ length: 100 }, () => event()))).toEqual(Array(100).fill('accepted'));
  });

  test.each([
    ['no event', []],
    ['101 events', Array.from({ length: 101 }, () => event())],
    ['a number', 7],
    ['null', null],
  ])('with %s is 422, and counts nothing', async (_, body) => {
    const before = await scene.balance();
    const { status, body: answer } = await scene.api.post('/events', body);
    expect([status, answer.code, answer.errors]).toEqual([
      422,
      'validation_failed',
      [{ field: 'body', rule: 'must be an event, or an array of 1 to 100 events' }],
    ]);
    expect(await scene.balance()).toEqual(before);
  });

  test('without a body is 422', async () => {
    expect(await scene.api.post('/events', undefined)).toMatchObject({ status: 422 });
  });

  test('with the same id twice accepts the first, whatever the others say', async () => {
    const first = event();
    const receipts = await scene.statuses([first, { ...first, type: 'click' }, { ...first, promotion_id: 3 }]);
    expect(receipts).toEqual(['accepted', 'duplicate', 'duplicate']);
  });

  test('may have letters of any script and emoji in its texts, 64 characters each', async () => {
    const fields = { id: '🎉'.repeat(64), visitor: 'ज़ायर', source: 'Zürich 👋' };
    expect(await scene.send(event(fields))).toEqual([{ id: fields.id, status: 'accepted' }]);
    expect(await scene.statuses(event(fields))).toEqual(['duplicate']);
  });

  test('one bad event fails no other', async () => {
    const good = [event(), event()];
    const receipts = await scene.send([good[0], { id: 'x' }, 5, null, [], 'text', good[1]]);
    expect(receipts.map(({ status }) => status)).toEqual(['accepted', ...Array(5).fill('rejected'), 'accepted']);
    expect(receipts[2]).toEqual(invalid('event', 'must be a JSON object', null));
  });
});

describe('an event is rejected by name when', () => {
  test.each([
    ['has no id', { id: undefined }, invalid('id', 'is required', null)],
    ['has an empty id', { id: '' }, invalid('id', 'must not be empty', null)],
    ['has an id of 65 characters', { id: 'x'.repeat(65) }, invalid('id', 'must be at most 64 characters', null)],
    ['has an id with NUL', { id: 'a\0b' }, invalid('id', /NUL/, null)],
    ['has an id with half a surrogate pair', { id: 'a\ud800b' }, invalid('id', /well-formed/, null)],
    ['has an id that is a number', { id: 7 }, invalid('id', 'must be a string', null)],
    ['has an email as its id', { id: 'ada@example.com' }, invalid('id', /email/, null)],
    ['has an unknown type', { type: 'like' }, invalid('type', /must be view, click,? or redeem/)],
    ['has no promotion', { promotion_id: undefined }, invalid('promotion_id', 'is required')],
    ['has promotion 0', { promotion_id: 0 }, invalid('promotion_id', /integer from 1/)],
    ['has promotion 1e300', { promotion_id: 1e300 }, invalid('promotion_id', /integer from 1/)],
    ['has a user of 9007199254740993', { user_id: 9007199254740992 }, invalid('user_id', /integer from 1/)],
    ['has neither user nor visitor', { user_id: undefined }, invalid('visitor', 'is required unless user_id is given')],
    ['has both', { user_id: 1, visitor: 'v' }, invalid('visitor', 'cannot be combined with user_id')],
    ['has an email as its visitor', { visitor: 'ada%40example.com' }, invalid('visitor', /email/)],
    ['has no time', { occurred_at: undefined }, invalid('occurred_at', 'is required')],
    ['has a time without an offset', { occurred_at: '2026-11-30T10:00:00' }, invalid('occurred_at', /offset/)],
    ['has a time that is a number', { occurred_at: 1 }, invalid('occurred_at', /./)],
    ['has a day that does not exist', { occurred_at: '2026-02-30T10:00:00Z' }, invalid('occurred_at', /./)],
    ['has an unknown field', { colour: 'red' }, invalid('colour', 'is not a known field')],
    ['has an empty source', { source: '' }, invalid('source', 'must not be empty')],
  ])('it %s', async (_, fields, receipt) => {
    expect(await scene.send([event(fields)])).toEqual([receipt]);
  });

  test('its number has more digits than a double keeps, or a member is repeated', async () => {
    const body = `[{"id":"a1","type":"view","promotion_id":1.00000000000000000001,"user_id":1,"occurred_at":"${at(0)}"},
      {"id":"a2","id":"a3","type":"view","promotion_id":1,"user_id":1,"occurred_at":"${at(0)}"},
      {"id":"a4","type":"view","promotion_id":1,"user_id":1,"occurred_at":"${at(0)}"}]`;
    const answer = await fetch(`${scene.url}/events`, {
      method: 'POST',
      headers: { 'content-type': 'application/json' },
      body,
    });
    const { receipts } = (await answer.json()) as { receipts: object[] };
    expect(receipts).toMatchObject([
      { status: 'rejected', field: 'promotion_id' },
      { status: 'rejected', field: 'id', rule: 'must be given once' },
      { id: 'a4', status: 'accepted' },
    ]);
  });

  test('it occurs more than 5 minutes from now', async () => {
    const ahead = event({ occurred_at: at(330_000) });
    expect(await scene.send([ahead])).toEqual([rejected(ahead.id, 'occurred_in_future')]);
    expect(await scene.statuses([event({ occurred_at: at(270_000) })])).toEqual(['accepted']);
    expect(await scene.statuses([event({ occurred_at: '9999-12-31T23:59:59Z' })])).toEqual(['rejected']);
  });

  test('its user is unknown', async () => {
    const unknown = event({ user_id: 4 });
    expect(await scene.send([unknown])).toEqual([rejected(unknown.id, 'user_not_found')]);
  });

  test('its promotion is unknown, or a draft', async () => {
    const [unknown, draft] = [event({ promotion_id: 99 }), event({ promotion_id: 3 })];
    expect(await scene.send([unknown, draft])).toEqual([
      rejected(unknown.id, 'promotion_not_found'),
      rejected(draft.id, 'promotion_not_active'),
    ]);
  });

  test('it is outside of the dates of its promotion, or after its end', async () => {
    const dates = { start_at: at(-7_200_000), end_at: at(-3_600_000) };
    scene.promotions.states.set(5, promotionState(5, 'active', dates));
    const event5 = (occurred_at: string) => event({ promotion_id: 5, occurred_at });
    const outside = [
      event5(at(-7_300_000)),
      event5(dates.end_at),
      event({ promotion_id: 4 }),
      event({ promotion_id: 2 }),
    ];
    expect(await scene.send(outside)).toEqual(outside.map(({ id }) => rejected(id, 'outside_promotion_dates')));
    const inside = [
      event5(dates.start_at),
      event5(at(-3_700_000)),
      event({ promotion_id: 2, occurred_at: at(-3_700_000) }),
    ];
    expect(await scene.statuses(inside)).toEqual(['accepted', 'accepted', 'accepted']);
  });
});

describe('an event that occurred long ago', () => {
  test('is late after 7 days, and not counted', async () => {
    const events = [daysFromNow(-8), at(-7 * 86_400_000 - 60_000), '0001-01-01T00:00:00Z'].map((occurred_at) =>
      event({ occurred_at }),
    );
    expect(await scene.statuses(events)).toEqual(['late', 'late', 'late']);
    expect(await scene.statuses(events)).toEqual(['late', 'late', 'late']);
    expect(await scene.statuses([event({ occurred_at: at(-7 * 86_400_000 + 60_000) })])).toEqual(['accepted']);
  });

  test('is a duplicate when it was accepted in time, whatever has changed since', async () => {
    const old = event({ user_id: 3, occurred_at: at(-7 * 86_400_000 + 60_000) });
    expect(await scene.statuses(old)).toEqual(['accepted']);
    await scene.sql(
      `update engagement.events set occurred_at = occurred_at - interval '2 minutes' where event_id = $1`,
      [old.id],
    );
    const late = { ...old, occurred_at: at(-7 * 86_400_000 - 1_000) };
    const isSameDay = late.occurred_at.slice(0, 10) === old.occurred_at.slice(0, 10);
    expect(await scene.statuses(late)).toEqual([isSameDay ? 'duplicate' : 'late']);
    scene.users.states.delete(3);
    await scene.announce('user.deleted', { id: 3, version: 2 });
    expect((await scene.send(old))[0]?.status).toBe('duplicate');
  });

  test('with the same id on another day is another event', async () => {
    const today = event();
    expect(await scene.statuses([today, { ...today, occurred_at: daysFromNow(-2) }])).toEqual(['accepted', 'accepted']);
  });
});

describe('while an owner does not answer', () => {
  test('what must be asked gets "retry" with Retry-After, and all else its receipt', async () => {
    scene.promotions.states.set(6, promotionState(6, 'active'));
    scene.promotions.mood = 'failing';
    try {
      const [unknown, known] = [event({ promotion_id: 6 }), event()];
      const before = await scene.balance();
      const answer = await scene.api.post('/events', [unknown, known, { id: 'bad' }]);
      expect(answer.body.receipts).toMatchObject([
        { id: unknown.id, status: 'retry' },
        { status: 'accepted' },
        { status: 'rejected' },
      ]);
      expect(answer.headers.get('retry-after')).toBe('1');
      expect((await scene.balance()).received).toBe(before.received + 2);
      scene.promotions.mood = 'up';
      expect(await scene.statuses([unknown, known])).toEqual(['accepted', 'duplicate']);
    } finally {
      scene.promotions.mood = 'up';
    }
  });

  test('what was accepted before is a duplicate, whether the owner answers or not', async () => {
    scene.promotions.states.set(8, promotionState(8, 'active'));
    const [known, unknown] = [event({ promotion_id: 8 }), event({ promotion_id: 8 })];
    expect(await scene.statuses(known)).toEqual(['accepted']);
    await scene.doubt(8);
    scene.promotions.mood = 'failing';
    try {
      const before = await scene.balance();
      expect(await scene.statuses([unknown, known])).toEqual(['retry', 'duplicate']);
      expect(await scene.statuses([known])).toEqual(['duplicate']);
      const after = await scene.balance();
      expect([after.received - before.received, after.duplicate - before.duplicate]).toEqual([2, 2]);
    } finally {
      scene.promotions.mood = 'up';
    }
  });

  test('a user or a promotion that it has lost is rejected only by its own answer', async () => {
    scene.promotions.states.set(7, promotionState(7, 'active'));
    expect(await scene.statuses(event({ promotion_id: 7 }))).toEqual(['accepted']);
    scene.promotions.states.delete(7);
    await scene.doubt(7);
    scene.promotions.mood = 'failing';
    expect(await scene.statuses(event({ promotion_id: 7 }))).toEqual(['retry']);
    scene.promotions.mood = 'up';
    await scene.doubt(7);
    expect(await scene.send(event({ promotion_id: 7 }))).toMatchObject([{ code: 'promotion_not_found' }]);
  });

  test('100 unknown ids are one request to each owner', async () => {
    const asked = scene.promotions.pages.length;
    const receipts = await scene.send(
      Array.from({ length: 100 }, (_, index) => event({ promotion_id: 1_000 + index })),
    );
    expect(new Set(receipts.map(({ code }) => code))).toEqual(new Set(['promotion_not_found']));
    expect(scene.promotions.pages.length - asked).toBe(1);
    expect(scene.promotions.asked).toBe(0);
  });
});

test('while no owner answers, readings of them leave connections for other work, and all end in time', async () => {
  const apart = await startScene({ OWNER_TIMEOUT_MS: '200' }); // a page may take ten times as long
  const owners = [apart.users, apart.promotions, apart.subscriptions];
  const held = async (): Promise<number> => {
    const [row] = await apart.sql(
      `select count(*)::int as count from engagement.leases
       where name like 'reconciliation.%' and expires_at > clock_timestamp()`,
    );
    return row?.count;
  };
  for (const owner of owners) owner.mood = 'hanging';
  try {
    await apart.sql('update engagement.projection_sources set reconciled_at = null');
    await eventually(async () => expect(await held()).toBeGreaterThanOrEqual(2));
    for (let reading = 0; reading < 20; reading += 1) {
      expect(await held()).toBeLessThanOrEqual(2);
      await new Promise((resolve) => setTimeout(resolve, 50));
    }
  } finally {
    for (const owner of owners) owner.mood = 'up';
  }
  await eventually(
    async () => {
      const { projections } = (await apart.internal.get('/health')).body;
      for (const { reconciled } of Object.values<{ reconciled: boolean }>(projections)) expect(reconciled).toBe(true);
    },
    { timeoutMs: 30_000 },
  );
  await apart.close();
}, 60_000);

test('without the partition of its day an event gets "retry", and others their receipts', async () => {
  const day = daysFromNow(-5).slice(0, 10).replaceAll('-', '');
  await scene.sql(`alter table engagement.events detach partition engagement.events_${day}`);
  await scene.sql(`alter table engagement.events_${day} rename to hidden`);
  const [hidden, other] = [event({ occurred_at: daysFromNow(-5) }), event()];
  expect(await scene.statuses([hidden, other])).toEqual(['retry', 'accepted']);
  await scene.sql(`alter table engagement.hidden rename to events_${day}`);
  // A table that is not attached yet is found only by the insert.
  expect(await scene.statuses([hidden])).toEqual(['retry']);
  const start = `${daysFromNow(-5).slice(0, 10)}`;
  const end = `${daysFromNow(-4).slice(0, 10)}`;
  await scene.sql(
    `alter table engagement.events attach partition engagement.events_${day} for values from ('${start}') to ('${end}')`,
  );
  expect(await scene.statuses([hidden, other])).toEqual(['accepted', 'duplicate']);
  await scene.balance();
});

test('when the rejected events of a batch cannot be counted, they get "retry", and the accepted ones stay accepted', async () => {
  const database = await openDatabase(databaseOptionsOf(engagement, String(scene.env.DATABASE_URL)));
  const failing: Database = {
    ...database,
    write: async (statement, values) => {
      if (statement.name === 'events_settle') throw Object.assign(new Error('gone'), { code: '57P01' });
      return await database.write(statement, values);
    },
  };
  const before = await scene.balance();
  const items = [event(), event({ occurred_at: at(600_000) }), { id: 'bad' }];
  const batch = { items, client: '', faultsOf: () => [] };
  const owners = {} as BatchOptions['owners'];
  const send = (through: Database) =>
    countEvents({ database: through, owners, leaseSeconds: 60 }, batch, { requestId: 'test' });
  expect((await send(failing)).map(({ status }) => status)).toEqual(['accepted', 'retry', 'rejected']);
  expect((await send(database)).map(({ status }) => status)).toEqual(['duplicate', 'rejected', 'rejected']);
  const after = await scene.balance();
  expect([after.accepted - before.accepted, after.rejected - before.rejected]).toEqual([1, 2]);
  await database.close();
});
