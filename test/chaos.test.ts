// The judge of `npm run chaos` must find a mesh guilty: each promise broken by hand, in a history that is otherwise fine.
import { expect, test } from '@jest/globals';
import { checkHistory } from '../chaos/checks.ts';
import { checkEnds } from '../chaos/ends.ts';
import type { Facts } from '../chaos/facts.ts';
import type { Attempt } from '../chaos/history.ts';

const epoch = Date.parse('2026-06-01T00:00:00Z');

/** One user, one promotion that was activated and ended, one subscription made in between, all acknowledged. */
function story() {
  const at = (second: number, { kind, path, ...rest }: Pick<Attempt, 'kind' | 'path'> & Partial<Attempt>): Attempt => ({
    ...{ requestId: `r${second}`, kind, path, method: 'POST', body: {}, status: 200, id: 1 },
    ...{ began: epoch + second * 1_000, ended: epoch + second * 1_000 + 100 },
    ...{ code: undefined, projection: null, retryAfter: null, failure: undefined },
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
    distrusts: 0,
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
  return { history, facts, at };
}

type Story = ReturnType<typeof story>;
const judge = ({ history, facts }: Pick<Story, 'history' | 'facts'>): string[] =>
  [...checkHistory(history, facts), checkEnds(history, facts)]
    .filter(({ breaches }) => breaches.length > 0)
    .map(({ promise }) => promise);

test('a history that agrees with what the mesh holds is without breach', () => {
  expect(judge(story())).toEqual([]);
});

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
      history.push(at(6, { kind: 'create user', path: '/users', status: 201, body: { email: 'A@example.com' } })),
  ],
  [
    'a conflict with nobody',
    /one user per address/,
    ({ history, at }) =>
      history.push(at(6, { kind: 'create user', path: '/users', status: 409, body: { email: 'b@example.com' } })),
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
