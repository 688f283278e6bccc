// The judge of `npm run chaos` must find a mesh guilty: each promise broken by hand, in a history that is otherwise fine.
import { once } from 'node:events';
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { afterAll, describe, expect, test } from '@jest/globals';
import { withClient } from '@promopulse/shared/database/provision';
import { openConnection } from '@promopulse/shared/messaging/rabbitmq/connection';
import { topologyOf } from '@promopulse/shared/messaging/rabbitmq/topology';
import { amqpUrl, createTestDatabase, deleteTopology, uniquePrefix } from '@promopulse/testing/servers';
import {
  checkCanary,
  emailOf,
  inAnswers,
  inDeadLetters,
  inFiles,
  inRows,
  makeCanary,
  type Place,
  phoneOf,
} from '../canary.ts';
import { checkHistory, checkTotals } from '../checks.ts';
import { checkAddresses } from '../contact-data.ts';
import type { Facts, Shown } from '../database-state.ts';
import { checkEnds } from '../ended-promotions.ts';
import { faults } from '../faults.ts';
import type { Attempt } from '../history.ts';
import { startLoad } from '../load.ts';
import { makePlan } from '../plan.ts';
import { checkLinks, checkProcesses } from '../processes.ts';
import { seeded } from '../random.ts';
import { measureOf } from '../sampling.ts';

const epoch = Date.parse('2026-06-01T00:00:00Z');

/** One user, one promotion that was activated and ended, one subscription made in between, all acknowledged. */
function story() {
  const at = (second: number, { kind, path, ...rest }: Pick<Attempt, 'kind' | 'path'> & Partial<Attempt>): Attempt => ({
    ...{ requestId: `r${second}`, kind, path, method: 'POST', body: {}, status: 200, id: 1 },
    ...{ began: epoch + second * 1_000, ended: epoch + second * 1_000 + 100 },
    ...{ code: undefined, projection: null, retryAfter: null, failure: undefined },
    ...{ total: undefined, said: undefined },
    ...rest,
  });
  const history = [
    at(1, { kind: 'create user', path: '/users', status: 201, body: { first_name: 'U1', email: 'a@example.com' } }),
    at(2, { kind: 'create promotion', path: '/promotions', status: 201 }),
    at(3, { kind: 'activate', path: '/promotions/1/status', projection: 'applied' }),
    at(4, { kind: 'subscribe', path: '/subscriptions', status: 201, body: { user_id: 1, promotion_id: 1 } }),
    at(5, { kind: 'end', path: '/promotions/1/status', projection: 'pending' }),
  ] as [Attempt, Attempt, Attempt, Attempt, Attempt];
  const promotion = { id: 1, name: 'P', description: null };
  const subscription = { id: 1, version: 1, user_id: 1, promotion_id: 1, is_active: true };
  const event = (second: number, service: 'users' | 'promotions' | 'subscriptions', name: string, data: object) => ({
    ...{ service, name, subject: '1', request_id: `r${second}`, published: true },
    ...{ created_at: new Date(epoch + second * 1_000), data: data as Facts['events'][number]['data'] },
  });
  const facts: Facts = {
    users: [{ id: 1, first_name: 'U1', version: 1 }],
    promotions: [{ ...promotion, version: 3, status: 'ended' }],
    subscriptions: [{ ...subscription, created_at: new Date(epoch + 4_050) }],
    knownUsers: [{ id: 1, version: 1, deleted: false }],
    cachedPromotions: [{ id: 1, version: 3, status: 'ended' }],
    invalidations: 0,
    events: [
      event(1, 'users', 'user.created', { id: 1, version: 1 }),
      event(2, 'promotions', 'promotion.created', { ...promotion, version: 1, status: 'draft' }),
      event(3, 'promotions', 'promotion.status_changed', { ...promotion, version: 2, status: 'active' }),
      event(4, 'subscriptions', 'subscription.created', subscription),
      event(5, 'promotions', 'promotion.status_changed', { ...promotion, version: 3, status: 'ended' }),
    ],
    migrations: [{ service: 'users', names: ['first'] }],
    deadLetters: [],
  };
  const shown: Shown = {
    users: [{ id: 1, email: 'a@example.com' }],
    totals: [{ promotion_id: 1, all: 1, active: 1 }],
  };
  return { history, facts, shown, at };
}

type Story = ReturnType<typeof story>;
const judge = ({ history, facts, shown }: Omit<Story, 'at'>): string[] =>
  [
    ...checkHistory(history, facts),
    checkEnds(history, facts),
    ...checkAddresses(history, shown.users),
    checkTotals(facts, shown),
  ]
    .filter(({ breaches }) => breaches.length > 0)
    .map(({ promise }) => promise);

test('a history that agrees with what the mesh holds is without breach', () => {
  expect(judge(story())).toEqual([]);
});

test('an address that was given up may be had by another, and what is open may have happened or not', () => {
  const told = story();
  const { history, shown, at } = told;
  history.push(at(6, { ...changing, body: { email: 'b@example.com' } }));
  history.push(
    at(6.5, { kind: 'change user', path: '/users/1', id: 1, body: { email: 'a@example.com' }, status: 409 }),
  );
  shown.users[0] = { id: 1, email: 'b@example.com' };
  history.push(at(6.2, { kind: 'create user', path: '/users', status: 0, body: { email: 'a@example.com' } }));
  expect(judge(told)).toEqual([]);
  history.push(at(7, { ...changing, status: 503, retryAfter: '1', body: { phone: '+14155550001' } }));
  expect(judge(told)).toEqual([]);
  shown.users[0] = { id: 1, email: 'b@example.com', phone: '+14155550001' };
  expect(judge(told)).toEqual([]);
});

const changing = { kind: 'change user', path: '/users/1', method: 'PATCH' } as const;
const subscribing = { kind: 'subscribe', path: '/subscriptions' } as const;
const crimes: [string, RegExp, (story: Story) => void][] = [
  ['a 500', /only declared answers/, ({ history }) => Object.assign(history[0], { status: 500 })],
  ['a 503 without Retry-After', /only declared answers/, ({ history }) => Object.assign(history[0], { status: 503 })],
  ['an acknowledged user whose row is gone', /acknowledged write/, ({ facts }) => facts.users.splice(0)],
  ['an acknowledged change without its event', /acknowledged write/, ({ facts }) => facts.events.splice(2, 1)],
  [
    'a refused request that took effect',
    /no refused write/,
    ({ history }) => Object.assign(history[3], { status: 409 }),
  ],
  [
    'an open request that took effect twice',
    /no refused write/,
    ({ history, facts }) => {
      Object.assign(history[3], { status: 0 });
      facts.events.push(facts.events[3] as Facts['events'][number]);
    },
  ],
  [
    'a version that is missing',
    /both or neither/,
    ({ facts }) => Object.assign(facts.events[2]?.data ?? {}, { version: 7 }),
  ],
  [
    'a row that differs from its last event',
    /both or neither/,
    ({ facts }) => Object.assign(facts.promotions[0] ?? {}, { name: 'Q' }),
  ],
  [
    'an event nobody asked for',
    /both or neither/,
    ({ facts }) => Object.assign(facts.events[0] ?? {}, { request_id: 'x' }),
  ],
  [
    'one address acknowledged twice',
    /one user per address/,
    ({ history, at }) =>
      history.push(
        at(6, { kind: 'create user', path: '/users', status: 201, id: 2, body: { email: 'A@example.com' } }),
      ),
  ],
  [
    'a conflict with nobody',
    /one user per address/,
    ({ history, at }) =>
      history.push(at(6, { kind: 'create user', path: '/users', status: 409, body: { email: 'b@example.com' } })),
  ],
  [
    'a subscription acknowledged twice',
    /one subscription per user/,
    ({ history, at }) =>
      history.push(at(4.5, { ...subscribing, status: 201, id: 2, body: { user_id: 1, promotion_id: 1 } })),
  ],
  [
    'a subscription in conflict with nobody',
    /one subscription per user/,
    ({ history, at }) => history.push(at(4.5, { ...subscribing, status: 409, body: { user_id: 2, promotion_id: 1 } })),
  ],
  [
    'an acknowledged email that is not there',
    /email and phone acknowledged last/,
    ({ history, at }) => history.push(at(6, { ...changing, body: { email: 'b@example.com' } })),
  ],
  [
    'an acknowledged phone that an earlier one has overwritten',
    /email and phone acknowledged last/,
    ({ history, shown, at }) => {
      history.push(at(6, { ...changing, body: { phone: '+14155550001' } }));
      history.push(at(7, { ...changing, body: { phone: '+14155550002' } }));
      shown.users[0] = { id: 1, email: 'a@example.com', phone: '+14155550001' };
    },
  ],
  [
    'a refused change of email that took effect',
    /email and phone acknowledged last/,
    ({ history, shown, at }) => {
      history.push(at(6, { ...changing, status: 409, body: { email: 'b@example.com' } }));
      shown.users[0] = { id: 1, email: 'b@example.com' };
    },
  ],
  [
    'a conflict with somebody who had given the address up',
    /one user per address/,
    ({ history, shown, at }) => {
      history.push(at(6, { ...changing, body: { email: 'b@example.com' } }));
      history.push(at(7, { kind: 'create user', path: '/users', status: 409, body: { email: 'a@example.com' } }));
      shown.users[0] = { id: 1, email: 'b@example.com' };
    },
  ],
  [
    'a change to an address that somebody else has',
    /one user per address/,
    ({ history, at }) =>
      history.push(at(6, { kind: 'change user', path: '/users/2', id: 2, body: { email: 'a@example.com' } })),
  ],
  [
    'a user who is not found',
    /found by the email/,
    ({ history, at }) => history.push(at(6, { kind: 'find user', path: '/users?email=a%40example.com', total: 0 })),
  ],
  [
    'a bad request that is accepted',
    /only declared answers/,
    ({ history, at }) => history.push(at(6, { kind: 'bad request', path: '/nowhere', method: 'GET' })),
  ],
  ['a total that is not what is there', /every total/, ({ shown }) => Object.assign(shown.totals[0] ?? {}, { all: 2 })],
  [
    'a total of active ones that is not what is there',
    /every total/,
    ({ shown }) => Object.assign(shown.totals[0] ?? {}, { active: 0 }),
  ],
  [
    'an active promotion that is called not active',
    /a refusal is true/,
    ({ history, at }) =>
      history.push(
        at(4.5, { kind: 'subscribe', path: '/subscriptions', status: 422, body: { user_id: 2, promotion_id: 1 } }),
      ),
  ],
  [
    'a projection that stayed behind',
    /projections equal/,
    ({ facts }) => Object.assign(facts.cachedPromotions[0] ?? {}, { version: 2 }),
  ],
  [
    'an event that was never published',
    /outboxes empty/,
    ({ facts }) => Object.assign(facts.events[0] ?? {}, { published: false }),
  ],
  ['a dead letter', /outboxes empty/, ({ facts }) => facts.deadLetters.push('user.created: Error')],
  ['a migration applied twice', /migrate once/, ({ facts }) => facts.migrations[0]?.names.push('first')],
  [
    'a subscription that began after an end answered as applied',
    /beyond the lease/,
    ({ history, facts }) => {
      Object.assign(history[4], { projection: 'applied', began: epoch + 3_500, ended: epoch + 3_600 });
      Object.assign(history[3], { began: epoch + 4_000 });
      Object.assign(facts.subscriptions[0] ?? {}, { created_at: new Date(epoch + 4_050) });
    },
  ],
  [
    'a subscription 8 s after an end answered as pending, though its answer was lost',
    /beyond the lease/,
    ({ history, facts }) => {
      Object.assign(history[3], { status: 0, began: epoch + 13_000 });
      Object.assign(facts.subscriptions[0] ?? {}, { created_at: new Date(epoch + 13_100) });
    },
  ],
];

test.each(crimes)('%s is a breach', (_crime, promise, commit) => {
  const told = story();
  commit(told);
  expect(judge(told)).toContainEqual(expect.stringMatching(promise));
});

describe('the search for personal data', () => {
  const canary = makeCanary(seeded(7));
  const folder = mkdtempSync(join(tmpdir(), 'promopulse-canary-'));
  afterAll(() => rmSync(folder, { recursive: true }));
  const secrets = [emailOf(canary, 1).toUpperCase(), phoneOf(canary, 12)];
  const find = async (places: Iterable<Place>): Promise<number> =>
    (await checkCanary(canary, places, [])).breaches.length;

  test('finds it in a log, and in the middle of what a server has written', async () => {
    mkdirSync(join(folder, 'rabbitmq', 'data'), { recursive: true });
    writeFileSync(join(folder, 'users-1.log'), '{"msg":"nothing"}\n');
    expect(await find(inFiles([folder]))).toBe(0);
    writeFileSync(join(folder, 'users-1.log'), `{"msg":"${secrets[0]}"}\n`);
    expect(await find(inFiles([folder]))).toBe(1);
    // Across the border between two pieces of a large file.
    const data = Buffer.alloc(33 * 2 ** 20, 0xff);
    data.write(String(secrets[1]), 16 * 2 ** 20 - 6);
    writeFileSync(join(folder, 'rabbitmq', 'data', '0001.wal'), data);
    expect(await find(inFiles([folder]))).toBe(2);
  });

  test('finds it in any table of any schema', async () => {
    const database = await createTestDatabase();
    try {
      await withClient(database.adminUrl, async (client) => {
        await client.query(
          'create table users.letters (body jsonb); create schema other; create table other.t (x text)',
        );
        expect(await find(await inRows(database.adminUrl))).toBe(0);
        await client.query('insert into users.letters values ($1)', [JSON.stringify({ deep: [secrets[0]] })]);
        await client.query('insert into other.t values ($1)', [secrets[1]]);
      });
      expect(await find(await inRows(database.adminUrl))).toBe(2);
    } finally {
      await database.drop();
    }
  });

  test('finds it in a dead letter', async () => {
    const prefix = uniquePrefix();
    expect(await find(await inDeadLetters(amqpUrl(), prefix))).toBe(0);
    const connection = await openConnection(amqpUrl(), 'canary', new AbortController());
    try {
      const channel = await connection.createConfirmChannel();
      const content = Buffer.from(JSON.stringify({ email: secrets[0] }));
      channel.sendToQueue(topologyOf(prefix).deadQueue('subscriptions.projections'), content);
      await channel.waitForConfirms();
      expect(await find(await inDeadLetters(amqpUrl(), prefix))).toBe(1);
    } finally {
      await connection.close();
      await deleteTopology(prefix);
    }
  });

  test("finds it in an error answer's headers and body, as the load has written them down", async () => {
    const server = createServer((request, response) => {
      response.writeHead(422, { 'x-detail': request.headers['x-request-id'] === 'chaos-1' ? canary.mark : 'fine' });
      response.end(JSON.stringify({ detail: `no ${secrets[1]}` }));
    }).listen(0, '127.0.0.1');
    await once(server, 'listening');
    const url = `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
    const load = startLoad({ url, random: seeded(1), perSecond: 50, canary });
    while (load.history.length < 2) await sleep(20);
    await load.stop();
    server.close();
    expect(await find(inAnswers(load.history))).toBe(load.history.length + 1);
  });

  test('is broken when there was nothing to search', async () => {
    expect((await checkCanary(canary, [])).breaches).toHaveLength(3);
  });
});

test('a log that tells of a connection lost, an error, or what Node wrote itself on the way down is a breach', () => {
  const folder = mkdtempSync(join(tmpdir(), 'promopulse-logs-'));
  try {
    const logFile = join(folder, 'users-1.log');
    const judged = (line: string): number[] => {
      writeFileSync(logFile, `${line}\n`);
      return [checkLinks({ logFiles: [logFile] }), checkProcesses({ exits: [], logFiles: [logFile] })].map(
        ({ breaches }) => breaches.length,
      );
    };
    expect(judged('{"level":"info","msg":"connected to the broker"}')).toEqual([0, 0]);
    expect(judged('{"level":"warn","msg":"no connection to the broker"}')).toEqual([1, 0]);
    expect(judged('{"level":"error","msg":"relay cannot compete for the lead"}')).toEqual([0, 1]);
    expect(judged('Error: out of memory')).toEqual([0, 1]);
  } finally {
    rmSync(folder, { recursive: true });
  }
});

test('a short plan has every fault once, and two at once that are not of one kind, whatever the seed', () => {
  const names = faults.map(({ name }) => name).sort();
  for (let seed = 1; seed <= 50; seed += 1) {
    const { required } = makePlan(seeded(seed), { short: true });
    expect(required.map(({ fault }) => fault).sort()).toEqual(names);
    const [first, second] = required.find(({ fault }) => fault === 'pair')?.parts ?? [];
    expect([first?.target === undefined, first?.target === second?.target]).toEqual([false, false]);
  }
});

describe('of what is measured in a soak', () => {
  const { next } = seeded(3);
  /** Twenty minutes after a warm-up of ten, a sample every 5 s: a saw tooth, some noise and a slope. */
  const memory = (perHour: number) =>
    Array.from({ length: 360 }, (_, index) => {
      const at = index * 5;
      const warming = 60 * (1 - Math.exp(-at / 120));
      return { at, value: 100 + warming + (at % 90) / 10 + next() * 4 + (perHour * at) / 3_600 };
    });
  const verdict = (perHour: number): string =>
    measureOf({ of: 'users-1', quantity: 'memory', samples: memory(perHour) }, 600).verdict;

  test('what only warms up and swings is flat', () => {
    for (let run = 0; run < 20; run += 1) expect(verdict(0)).toBe('flat');
  });

  test('a leak shows', () => {
    for (let run = 0; run < 20; run += 1) expect(verdict(180)).toBe('GROWS');
  });

  test('what was seen for a moment only is neither', () => {
    const samples = memory(0).slice(0, 4);
    expect(measureOf({ of: 'users-1', quantity: 'memory', samples }, 0).verdict).toBe('unproven');
  });
});
