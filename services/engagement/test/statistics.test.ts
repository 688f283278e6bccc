// What /statistics answers: exact counts by time, in any time zone.
import { afterAll, beforeAll, beforeEach, describe, expect, test } from '@jest/globals';
import { eventually } from '@promopulse/testing/eventually';
import { at, daysFromNow, event, promotionState, type Scene, startScene } from './scene.ts';

let scene: Scene;
let promotion = 100;
beforeAll(async () => {
  scene = await startScene();
});
afterAll(() => scene.close());
beforeEach(() => {
  promotion += 1;
  scene.promotions.states.set(promotion, promotionState(promotion, 'active'));
});

/** Counts as if events had occurred at any time: they are what a series is made of. */
async function count(bucket: string, accepted: number, type = 'view'): Promise<void> {
  await scene.sql(
    `insert into engagement.event_counts (promotion_id, type, bucket, accepted, first_ever, first_of_day) values ($1, $2, $3, $4, 0, 0)`,
    [promotion, type, bucket, accepted],
  );
}

const raws = (body: { series: { at: string; raw: number }[] }) => body.series.map(({ at, raw }) => [at, raw]);

describe('a series', () => {
  test('has what was accepted before the request, by the time at which it occurred', async () => {
    const day = daysFromNow(-2).slice(0, 10);
    const occurred = (time: string, fields = {}) =>
      event({ promotion_id: promotion, occurred_at: `${day}T${time}Z`, ...fields });
    const events = [
      occurred('00:00:00'),
      occurred('00:14:59.999'),
      occurred('00:15:00', { user_id: 2 }),
      occurred('23:59:59.999', { visitor: 'v' }),
      occurred('12:00:00', { type: 'click' }),
    ];
    expect(await scene.statuses(events)).toEqual(Array(5).fill('accepted'));
    const query = {
      promotion_id: promotion,
      type: 'view',
      from: `${day}T00:00:00Z`,
      to: `${day}T00:30:00Z`,
      granularity: '15m',
    };
    const { status, body } = await scene.statistics(query);
    expect(status).toBe(200);
    expect(raws(body)).toEqual([
      [`${day}T00:00:00Z`, 2],
      [`${day}T00:15:00Z`, 1],
    ]);
    expect(body).toMatchObject({ from: `${day}T00:00:00Z`, to: `${day}T00:30:00Z`, totals: { raw: 3, unique: null } });
  });

  test('of one type and days of UTC has exact uniques, and sums of them are null', async () => {
    const days = [-2, -1].map((days) => daysFromNow(days));
    const view = (user_id: number, occurred_at: string) => event({ promotion_id: promotion, user_id, occurred_at });
    await scene.send([
      view(1, String(days[0])),
      view(1, String(days[0])),
      view(2, String(days[0])),
      view(1, String(days[1])),
    ]);
    const { body } = await scene.statistics({ promotion_id: promotion, type: 'view' });
    expect(body.series.filter(({ raw }: { raw: number }) => raw > 0)).toMatchObject([
      { raw: 3, unique: 2 },
      { raw: 1, unique: 1 },
    ]);
    expect(body.totals).toMatchObject({ raw: 4, unique: 2 });
    const others = await scene.statistics({ promotion_id: promotion });
    expect(others.body.totals).toMatchObject({ raw: 4, unique: null });
    const inParis = await scene.statistics({ promotion_id: promotion, type: 'view', time_zone: 'Europe/Paris' });
    expect(new Set(inParis.body.series.map(({ unique }: { unique: unknown }) => unique))).toEqual(new Set([null]));
  });

  test('has a point for each quarter, hour and day of the range, also without an event', async () => {
    const range = { promotion_id: promotion, from: '2026-06-01T00:00:00Z', to: '2026-06-03T00:00:00Z' };
    for (const [granularity, length] of [
      ['15m', 192],
      ['hour', 48],
      ['day', 2],
    ] as const) {
      const { body } = await scene.statistics({ ...range, granularity });
      expect([body.series.length, body.series[0].at, body.from, body.to]).toEqual([
        length,
        range.from,
        range.from,
        range.to,
      ]);
    }
  });

  test.each(['15m', 'hour', 'day'])(
    'by %s has the receipts that are not accepted where they were given',
    async (step) => {
      const [yesterday, seen] = [daysFromNow(-1), event({ promotion_id: promotion, occurred_at: daysFromNow(-2) })];
      const late = event({ promotion_id: promotion, occurred_at: daysFromNow(-200) });
      const ahead = event({ promotion_id: promotion, occurred_at: daysFromNow(1) });
      expect(await scene.statuses([seen, seen, seen, late, ahead])).toEqual([
        ...['accepted', 'duplicate', 'duplicate', 'late', 'rejected'],
      ]);
      const given = [promotion, yesterday];
      await scene.sql(
        `insert into engagement.receipt_counts (promotion_id, type, bucket, received, accepted, duplicate, late, rejected)
       values ($1, 'view', date_bin('15 minutes', $2::timestamptz, '2000-01-01T00:00:00Z'), 12, 0, 3, 4, 5)`,
        given,
      );
      const { body } = await scene.statistics({ promotion_id: promotion, granularity: step, from: daysFromNow(-3) });
      const none = { duplicate: 0, late: 0, rejected: 0 };
      for (const point of body.series) expect(point).toMatchObject({ duplicate: expect.any(Number) });
      const points = (body.series as (typeof none & { at: string })[]).map(({ at, duplicate, late, rejected }) => ({
        ...{ at, duplicate, late, rejected },
      }));
      const others = points.filter(({ duplicate, late, rejected }) => duplicate + late + rejected > 0);
      expect(others).toMatchObject([
        { duplicate: 3, late: 4, rejected: 5 },
        { duplicate: 2, late: 1, rejected: 1 },
      ]);
      expect([others[0], others[1]].map((point) => String(point?.at).slice(0, 10))).toEqual([
        yesterday.slice(0, 10),
        new Date().toISOString().slice(0, 10),
      ]);
      expect(body.totals).toMatchObject({ duplicate: 5, late: 5, rejected: 6 });
    },
  );

  test('is extended to whole points', async () => {
    await count('2026-06-01T00:00:00Z', 1);
    await count('2026-06-02T23:45:00Z', 2);
    const { body } = await scene.statistics({
      promotion_id: promotion,
      from: '2026-06-01T12:00:00Z',
      to: '2026-06-02T12:00:00Z',
    });
    expect([body.from, body.to, body.totals.raw]).toEqual(['2026-06-01T00:00:00Z', '2026-06-03T00:00:00Z', 3]);
  });
});

describe('days of a time zone', () => {
  test.each([
    // 23 hours: the clocks go forward on 29 March 2026.
    ['Europe/Berlin', '2026-03-28T23:00:00Z', '2026-03-29T22:00:00Z', 23],
    // 25 hours: back on 25 October 2026.
    ['Europe/Berlin', '2026-10-24T22:00:00Z', '2026-10-25T23:00:00Z', 25],
    // Offsets of 30 and 45 minutes, and a change of 30 minutes.
    ['Asia/Kolkata', '2026-05-31T18:30:00Z', '2026-06-01T18:30:00Z', 24],
    ['Asia/Kathmandu', '2026-05-31T18:15:00Z', '2026-06-01T18:15:00Z', 24],
    ['Australia/Lord_Howe', '2026-04-04T13:00:00Z', '2026-04-05T13:30:00Z', 24.5],
    // The clocks go forward at midnight: the day begins at 01:00.
    ['Asia/Beirut', '2026-03-28T22:00:00Z', '2026-03-29T21:00:00Z', 23],
    // The clocks go back from 01:00 to 00:00: midnight comes twice, and the first one counts.
    ['Atlantic/Azores', '2026-10-25T00:00:00Z', '2026-10-26T01:00:00Z', 25],
    ['America/Havana', '2026-11-01T04:00:00Z', '2026-11-02T05:00:00Z', 25],
    ['UTC', '2026-06-01T00:00:00Z', '2026-06-02T00:00:00Z', 24],
  ])('%s from %s to %s have %d hours, and each quarter is in one of them', async (time_zone, from, to, hours) => {
    const [start, end] = [Date.parse(from), Date.parse(to)];
    expect((end - start) / 3_600_000).toBe(hours);
    for (let time = start - 900_000; time <= end; time += 900_000) await count(new Date(time).toISOString(), 1);
    const { body } = await scene.statistics({ promotion_id: promotion, from, to, time_zone });
    expect(raws(body)).toEqual([[from, hours * 4]]);
    const wider = await scene.statistics({
      promotion_id: promotion,
      from: new Date(start - 86_400_000).toISOString(),
      to: new Date(end + 86_400_000).toISOString(),
      time_zone,
    });
    expect(wider.body.totals.raw).toBe(hours * 4 + 2);
    expect(raws(wider.body)).toContainEqual([from, hours * 4]);
  });
});

test('a range inside of a repeated hour has its day', async () => {
  const { status, body } = await scene.statistics({
    ...{ promotion_id: promotion, time_zone: 'Atlantic/Azores' },
    ...{ from: '2026-10-25T00:10:00Z', to: '2026-10-25T00:30:00Z' },
  });
  expect([status, raws(body), body.to]).toEqual([200, [['2026-10-25T00:00:00Z', 0]], '2026-10-26T01:00:00Z']);
});

describe('subscriptions', () => {
  const subscription = (id: number, version: number, created_at: string) => ({
    ...{ id, version, user_id: 1, promotion_id: promotion, is_active: version % 2 === 1, created_at },
  });

  test('are counted by their events, whatever is repeated, out of order or missing', async () => {
    const created_at = daysFromNow(-2);
    const send = (name: string, id: number, version: number) => {
      const state = subscription(id, version, created_at);
      if (version > Number(scene.subscriptions.states.get(id)?.version ?? 0)) scene.subscriptions.states.set(id, state);
      return scene.announce(`subscription.${name}`, state);
    };
    const [one, two, three] = [promotion * 10, promotion * 10 + 1, promotion * 10 + 2];
    await send('created', one, 1);
    await send('created', one, 1);
    await send('deactivated', two, 2);
    await send('created', two, 1); // late
    await send('reactivated', three, 5); // four events before it are missing
    await eventually(async () => {
      const { body } = await scene.statistics({ promotion_id: promotion });
      const sum = (field: string) =>
        body.series.reduce((total: number, point: Record<string, number>) => total + Number(point[field]), 0);
      expect([sum('joined'), sum('left'), body.series.at(-1).active]).toEqual([1 + 1 + 3, 0 + 1 + 2, 2]);
      const day = created_at.slice(0, 10);
      expect(body.series.find((point: { at: string }) => point.at.startsWith(day))).toMatchObject({
        joined: 3,
        left: 0,
        active: 3,
      });
    });
  });
});

test('a subscription that its owner has lost is no longer active, and one that was set back has not left', async () => {
  const created = daysFromNow(-2);
  const [lost, back] = [promotion * 10, promotion * 10 + 1];
  const state = (id: number, version: number) => ({
    ...{ id, version, user_id: 1, promotion_id: promotion },
    ...{ is_active: version % 2 === 1, created_at: created },
  });
  for (const id of [lost, back]) {
    scene.subscriptions.states.set(id, state(id, 3));
    await scene.announce('subscription.reactivated', state(id, 3));
  }
  const active = async () => (await scene.statistics({ promotion_id: promotion })).body.series.at(-1).active;
  await eventually(async () => expect(await active()).toBe(2));

  // An event that contradicts its row: the owner is asked, and does not have it, or an older version.
  scene.subscriptions.states.delete(lost);
  await scene.announce('subscription.deactivated', state(lost, 2));
  await eventually(async () => expect(await active()).toBe(1));
  scene.subscriptions.states.set(back, state(back, 2));
  await scene.announce('subscription.deactivated', state(back, 2));
  await eventually(async () => expect(await active()).toBe(0));
  const { body } = await scene.statistics({ promotion_id: promotion });
  const sum = (field: string) =>
    body.series.reduce((total: number, point: Record<string, number>) => total + Number(point[field]), 0);
  expect([sum('active') >= 0, sum('joined') >= 0, sum('left') >= 0]).toEqual([true, true, true]);
});

describe('a request', () => {
  test.each([
    ['without a promotion', {}, 'promotion_id', 'is required'],
    ['with an unknown type', { promotion_id: 1, type: 'like' }, 'type', /./],
    ['with an unknown granularity', { promotion_id: 1, granularity: 'week' }, 'granularity', /./],
    ['with an offset as its time zone', { promotion_id: 1, time_zone: '+02:00' }, 'time_zone', /IANA/],
    ['with an abbreviation as its time zone', { promotion_id: 1, time_zone: 'IST' }, 'time_zone', /IANA/],
    ['that begins in the year 1', { promotion_id: 1, from: '0001-01-01T00:00:00Z' }, 'from', /2000 to 9998/],
    [
      'that ends in the year 9999',
      { promotion_id: 1, from: '2026-01-01T00:00:00Z', to: '9999-12-31T23:59:59Z' },
      'to',
      /2000 to 9998/,
    ],
    ['with an unknown time zone', { promotion_id: 1, time_zone: 'Europe/Atlantis' }, 'time_zone', /IANA/],
    [
      'with an empty range',
      { promotion_id: 1, from: '2026-06-02T00:00:00Z', to: '2026-06-02T00:00:00Z' },
      'to',
      'must be after from',
    ],
    ['with a time without an offset', { promotion_id: 1, from: '2026-06-02T00:00:00' }, 'from', /offset/],
    [
      'with too many points',
      { promotion_id: 1, from: '2025-01-01T00:00:00Z', granularity: '15m' },
      'granularity',
      /10000 points/,
    ],
    ['with an unknown parameter', { promotion_id: 1, colour: 'red' }, 'colour', 'is not a known field'],
  ])('%s is 422 and names it', async (_, query, field, rule) => {
    const { status, body } = await scene.statistics(query as Record<string, string>);
    expect([status, body.errors]).toEqual([
      422,
      [{ field, rule: typeof rule === 'string' ? rule : expect.stringMatching(rule) }],
    ]);
  });

  test('of a promotion without events has zeros', async () => {
    const { status, body } = await scene.statistics({ promotion_id: 9_007_199_254_740_991, type: 'view' });
    expect([status, body.totals]).toEqual([200, { raw: 0, unique: 0, duplicate: 0, late: 0, rejected: 0 }]);
    expect(body.series).toHaveLength(8);
  });

  test('for the totals counts receipts by when they were given', async () => {
    const good = event({ promotion_id: promotion });
    await scene.send([good, good, event({ promotion_id: promotion, occurred_at: daysFromNow(-9) })]);
    const { body } = await scene.statistics({ promotion_id: promotion });
    expect(body.totals).toMatchObject({ raw: 1, duplicate: 1, late: 1, rejected: 0 });
    expect(await scene.balance(promotion)).toMatchObject({
      received: 3,
      accepted: 1,
      duplicate: 1,
      late: 1,
      rejected: 0,
      rows: 1,
    });
  });
});

test('an answer that is not balanced says so', async () => {
  await scene.sql(
    `insert into engagement.event_counts (promotion_id, type, bucket, accepted, first_ever, first_of_day) values (77, 'view', $1, 1, 1, 1)`,
    [at(0)],
  );
  const { body } = await scene.api.get('/statistics/reconciliation?promotion_id=77');
  expect(body).toMatchObject({ accepted: 0, counters: 1, rows: 0, is_balanced: false });
});
