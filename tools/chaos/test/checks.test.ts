// The checks of `npm run chaos` must find every breach: each promise is broken by hand, in a history that is otherwise
// correct.
import { expect, test } from '@jest/globals';
import type { ApiState } from '../api-state.ts';
import { checkHistory, checkTotals } from '../checks.ts';
import { checkContactData } from '../contact-data.ts';
import type { DatabaseState } from '../database-state.ts';
import { checkActivatedPromotions, checkEndedPromotions } from '../ended-promotions.ts';
import type { Attempt } from '../history.ts';

const epoch = Date.parse('2026-06-01T00:00:00Z');

/** One user, one promotion that was activated and ended, one subscription in between; all acknowledged. */
function correctRun() {
  const at = (second: number, { kind, path, ...rest }: Pick<Attempt, 'kind' | 'path'> & Partial<Attempt>): Attempt => ({
    ...{ requestId: `r${second}`, kind, path, method: 'POST', body: {}, status: 200, id: 1 },
    ...{ startedAt: epoch + second * 1_000, endedAt: epoch + second * 1_000 + 100 },
    ...{
      code: undefined,
      projection: null,
      retryAfter: null,
      key: undefined,
      isReplayed: false,
      noResponseReason: undefined,
    },
    ...{ total: undefined, errorText: undefined },
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
  const event = (second: number, service: DatabaseState['events'][number]['service'], name: string, data: object) => ({
    ...{ service, name, subject: '1', request_id: `r${second}`, published: true },
    ...{ created_at: new Date(epoch + second * 1_000), data: data as DatabaseState['events'][number]['data'] },
  });
  const databaseState: DatabaseState = {
    users: [{ id: 1, first_name: 'U1', version: 1 }],
    promotions: [{ ...promotion, version: 3, status: 'ended' }],
    subscriptions: [{ ...subscription, created_at: new Date(epoch + 4_050) }],
    knownUsers: [{ id: 1, version: 1, deleted: false, lost: false, doubted: false }],
    cachedPromotions: [{ id: 1, version: 3, status: 'ended', lost: false, doubted: false }],
    heldByEngagement: [],
    rollups: [{ id: 1, version: 1 }],
    unreconciled: [],
    events: [
      event(1, 'users', 'user.created', { id: 1, version: 1 }),
      event(2, 'promotions', 'promotion.created', { ...promotion, version: 1, status: 'draft' }),
      event(3, 'promotions', 'promotion.status_changed', { ...promotion, version: 2, status: 'active' }),
      event(4, 'subscriptions', 'subscription.created', subscription),
      event(5, 'promotions', 'promotion.status_changed', { ...promotion, version: 3, status: 'ended' }),
      { ...event(6, 'engagement', 'engagement.counted', { id: 1, version: 1 }), request_id: 'rollup' },
    ],
    /** A row for each event, unless a test says otherwise. */
    get histories() {
      return this.events.filter(({ service }) => service === 'users' || service === 'promotions');
    },
    migrations: [{ service: 'users', names: ['first'] }],
    deadLetters: [],
  };
  const apiState: ApiState = {
    users: [{ id: 1, email: 'a@example.com' }],
    totals: [{ promotion_id: 1, all: 1, active: 1 }],
  };
  /** The event of a change of the user by the request of this second. */
  const recordChange = (second: number, changed: string[]): void => {
    const version = databaseState.events.filter(({ service }) => service === 'users').length + 1;
    databaseState.events.push(event(second, 'users', 'user.updated', { id: 1, version, changed }));
    for (const row of [databaseState.users[0], databaseState.knownUsers[0]]) Object.assign(row ?? {}, { version });
  };
  return { history, databaseState, apiState, at, recordChange };
}

type Run = ReturnType<typeof correctRun>;
/** @returns the promises that were broken */
const brokenPromises = ({ history, databaseState, apiState }: Omit<Run, 'at' | 'recordChange'>): string[] =>
  [
    ...checkHistory(history, databaseState),
    checkEndedPromotions(history, databaseState),
    checkActivatedPromotions(history, databaseState),
    ...checkContactData(history, apiState.users),
    checkTotals(databaseState, apiState),
  ]
    .filter(({ breaches }) => breaches.length > 0)
    .map(({ promise }) => promise);

test('a history that agrees with the final state has no breach', () => {
  expect(brokenPromises(correctRun())).toEqual([]);
});

test('another user may take an email after a change, and a request without a response may have taken effect or not', () => {
  const run = correctRun();
  const { history, apiState, at, recordChange } = run;
  history.push(at(6, { ...changing, body: { email: 'b@example.com' } }));
  recordChange(6, ['email']);
  history.push(
    at(6.5, { kind: 'change user', path: '/users/1', id: 1, body: { email: 'a@example.com' }, status: 409 }),
  );
  apiState.users[0] = { id: 1, email: 'b@example.com' };
  history.push(at(6.2, { kind: 'create user', path: '/users', status: 0, body: { email: 'a@example.com' } }));
  expect(brokenPromises(run)).toEqual([]);
  history.push(at(7, { ...changing, status: 503, code: 'outcome_unknown', body: { phone: '+14155550001' } }));
  expect(brokenPromises(run)).toEqual([]);
  apiState.users[0] = { id: 1, email: 'b@example.com', phone: '+14155550001' };
  expect(brokenPromises(run)).toEqual([]);
});

/** The user leaves the promotion, and returns to it while it is active. */
function leaveAndReturn({ history, databaseState, at }: Run): void {
  history.push(at(4.2, { ...leaving, path: '/subscriptions/1/deactivate' }));
  history.push(at(4.4, { ...leaving, kind: 'reactivate', path: '/subscriptions/1/reactivate' }));
  const [row] = databaseState.subscriptions;
  if (row) row.version = 3;
  for (const [second, name, version] of [
    [4.2, 'subscription.deactivated', 2],
    [4.4, 'subscription.reactivated', 3],
  ] as const) {
    databaseState.events.push({
      ...{ service: 'subscriptions', name, subject: '1', request_id: `r${second}`, published: true },
      ...{ created_at: new Date(epoch + second * 1_000 + 50) },
      data: { id: 1, version, user_id: 1, promotion_id: 1, is_active: version === 3 },
    });
  }
}

test('a user may leave, return, and be told at each time what the subscription is', () => {
  const run = correctRun();
  leaveAndReturn(run);
  const again = { ...subscribing, status: 409, body: { user_id: 1, promotion_id: 1 } } as const;
  run.history.push(run.at(4.15, { ...again, code: 'already_subscribed' }));
  run.history.push(run.at(4.25, { ...again, code: 'subscription_inactive' })); // during the leaving
  run.history.push(run.at(4.35, { ...again, code: 'subscription_inactive' }));
  run.history.push(run.at(4.55, { ...again, code: 'already_subscribed' }));
  run.history.push(run.at(4.56, { ...leaving, ...returning, status: 422, code: 'already_active' }));
  expect(brokenPromises(run)).toEqual([]);
});

const leaving = { kind: 'deactivate', path: '/subscriptions/1/deactivate', method: 'PATCH' } as const;
const returning = { kind: 'reactivate', path: '/subscriptions/1/reactivate' } as const;
test('a change of a user to what it has already has no event', () => {
  const run = correctRun();
  run.history.push(run.at(6, { ...changing, body: { phone: null } }));
  run.history.push(run.at(7, { ...changing, body: { email: 'a@example.com' } }));
  expect(brokenPromises(run)).toEqual([]);
});

const changing = { kind: 'change user', path: '/users/1', method: 'PATCH' } as const;
const subscribing = { kind: 'subscribe', path: '/subscriptions' } as const;
function setHistories(state: DatabaseState, value: DatabaseState['histories']): void {
  Object.defineProperty(state, 'histories', { value });
}
const breaches: [string, RegExp, (run: Run) => void][] = [
  ['a 500', /only declared responses/, ({ history }) => Object.assign(history[0], { status: 500 })],
  ['a 503 without Retry-After', /only declared responses/, ({ history }) => Object.assign(history[0], { status: 503 })],
  [
    'a read that has an unknown outcome',
    /only declared responses/,
    ({ history, at }) =>
      history.push(at(6, { kind: 'read user', path: '/users/1', status: 503, code: 'outcome_unknown' })),
  ],
  [
    'an unknown outcome with Retry-After',
    /only declared responses/,
    ({ history }) => Object.assign(history[3], { status: 503, code: 'outcome_unknown', retryAfter: '1' }),
  ],
  [
    'a write answered with Retry-After that took effect',
    /no rejected write/,
    ({ history }) => Object.assign(history[3], { status: 503, code: 'unavailable', retryAfter: '1' }),
  ],
  [
    'an acknowledged user whose row is gone',
    /acknowledged write/,
    ({ databaseState }) => databaseState.users.splice(0),
  ],
  [
    'an acknowledged change without its event',
    /acknowledged write/,
    ({ databaseState }) => databaseState.events.splice(2, 1),
  ],
  [
    'a change without its row in the history',
    /its row in the history/,
    ({ databaseState }) => setHistories(databaseState, databaseState.histories.slice(1)),
  ],
  [
    'a change with two rows in the history',
    /its row in the history/,
    ({ databaseState: state }) => setHistories(state, [...state.histories, ...state.histories.slice(0, 1)]),
  ],
  [
    'a row in the history of another request',
    /its row in the history/,
    ({ databaseState: state }) =>
      setHistories(
        state,
        state.histories.map((row, index) => ({ ...row, request_id: index === 0 ? 'other' : row.request_id })),
      ),
  ],
  [
    'a changed user without its event',
    /acknowledged write/,
    ({ history, at }) => history.push(at(6, { ...changing, body: { phone: '+14155550001' } })),
  ],
  [
    'a changed user whose event names another field',
    /acknowledged write/,
    ({ history, at, recordChange }) => {
      history.push(at(6, { ...changing, body: { phone: '+14155550001' } }));
      recordChange(6, ['email']);
    },
  ],
  [
    'a rejected request that took effect',
    /no rejected write/,
    ({ history }) => Object.assign(history[3], { status: 409 }),
  ],
  [
    'a request without a response that took effect twice',
    /no rejected write/,
    ({ history, databaseState }) => {
      Object.assign(history[3], { status: 0 });
      databaseState.events.push(databaseState.events[3] as DatabaseState['events'][number]);
    },
  ],
  [
    'a missing version',
    /both or neither/,
    ({ databaseState }) => Object.assign(databaseState.events[2]?.data ?? {}, { version: 7 }),
  ],
  [
    'a row that differs from its last event',
    /both or neither/,
    ({ databaseState }) => Object.assign(databaseState.promotions[0] ?? {}, { name: 'Q' }),
  ],
  [
    'an event without a request',
    /both or neither/,
    ({ databaseState }) => Object.assign(databaseState.events[0] ?? {}, { request_id: 'x' }),
  ],
  [
    'a rollup without its event',
    /both or neither/,
    ({ databaseState }) => Object.assign(databaseState.rollups[0] ?? {}, { version: 2 }),
  ],
  [
    'one email acknowledged for two users',
    /one user per address/,
    ({ history, at }) =>
      history.push(
        at(6, { kind: 'create user', path: '/users', status: 201, id: 2, body: { email: 'A@example.com' } }),
      ),
  ],
  [
    'a conflict over an email that no user has',
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
    'a conflict over a subscription that does not exist',
    /one subscription per user/,
    ({ history, at }) => history.push(at(4.5, { ...subscribing, status: 409, body: { user_id: 2, promotion_id: 1 } })),
  ],
  [
    'a subscription called inactive that nobody has left',
    /whether a subscription is active/,
    ({ history, at }) => history.push(at(4.5, { ...leaving, status: 422, code: 'already_inactive' })),
  ],
  [
    'a subscription called active after its user has left',
    /whether a subscription is active/,
    (run) => {
      leaveAndReturn(run);
      const again = { ...subscribing, status: 409, body: { user_id: 1, promotion_id: 1 } };
      run.history.push(run.at(4.32, { ...again, code: 'already_subscribed', endedAt: epoch + 4_350 }));
    },
  ],
  [
    'a subscription called inactive after its user has returned',
    /whether a subscription is active/,
    (run) => {
      leaveAndReturn(run);
      const again = { ...subscribing, status: 409, body: { user_id: 1, promotion_id: 1 } };
      run.history.push(run.at(4.6, { ...again, code: 'subscription_inactive' }));
    },
  ],
  [
    'an acknowledged return whose event says inactive',
    /acknowledged write/,
    (run) => {
      leaveAndReturn(run);
      Object.assign(run.databaseState.events.at(-1)?.data ?? {}, { is_active: false });
    },
  ],
  [
    'an acknowledged return without its event',
    /acknowledged write/,
    (run) => {
      leaveAndReturn(run);
      run.databaseState.events.pop();
    },
  ],
  [
    'a return called impossible while the promotion is active',
    /a rejection is true/,
    ({ history, at }) => history.push(at(4.6, { ...leaving, ...returning, status: 422, code: 'promotion_not_active' })),
  ],
  [
    'a return to a promotion 8 s after its end',
    /beyond the lease/,
    (run) => {
      leaveAndReturn(run);
      const [returned] = run.history.splice(-1);
      const event = run.databaseState.events.at(-1);
      run.history.push({ ...(returned as Attempt), startedAt: epoch + 13_000, endedAt: epoch + 13_100 });
      Object.assign(event ?? {}, { created_at: new Date(epoch + 13_050) });
    },
  ],
  [
    'an acknowledged email that the user does not have',
    /email and phone that were acknowledged last/,
    ({ history, at }) => history.push(at(6, { ...changing, body: { email: 'b@example.com' } })),
  ],
  [
    'an acknowledged phone that an earlier phone has overwritten',
    /email and phone that were acknowledged last/,
    ({ history, apiState, at }) => {
      history.push(at(6, { ...changing, body: { phone: '+14155550001' } }));
      history.push(at(7, { ...changing, body: { phone: '+14155550002' } }));
      apiState.users[0] = { id: 1, email: 'a@example.com', phone: '+14155550001' };
    },
  ],
  [
    'a rejected change of email that took effect',
    /email and phone that were acknowledged last/,
    ({ history, apiState, at }) => {
      history.push(at(6, { ...changing, status: 409, body: { email: 'b@example.com' } }));
      apiState.users[0] = { id: 1, email: 'b@example.com' };
    },
  ],
  [
    'a conflict over an email that its user had changed',
    /one user per address/,
    ({ history, apiState, at }) => {
      history.push(at(6, { ...changing, body: { email: 'b@example.com' } }));
      history.push(at(7, { kind: 'create user', path: '/users', status: 409, body: { email: 'a@example.com' } }));
      apiState.users[0] = { id: 1, email: 'b@example.com' };
    },
  ],
  [
    'a change to an email that another user has',
    /one user per address/,
    ({ history, at }) =>
      history.push(at(6, { kind: 'change user', path: '/users/2', id: 2, body: { email: 'a@example.com' } })),
  ],
  [
    'a user whom the search does not find',
    /found by the acknowledged email/,
    ({ history, at }) => history.push(at(6, { kind: 'find user', path: '/users?email=a%40example.com', total: 0 })),
  ],
  [
    'an accepted bad request',
    /only declared responses/,
    ({ history, at }) => history.push(at(6, { kind: 'bad request', path: '/nowhere', method: 'GET' })),
  ],
  [
    'a total that differs from the rows',
    /every total/,
    ({ apiState }) => Object.assign(apiState.totals[0] ?? {}, { all: 2 }),
  ],
  [
    'a total of active subscriptions that differs from the rows',
    /every total/,
    ({ apiState }) => Object.assign(apiState.totals[0] ?? {}, { active: 0 }),
  ],
  [
    'an active promotion called not active',
    /a rejection is true/,
    ({ history, at }) =>
      history.push(
        at(4.5, { kind: 'subscribe', path: '/subscriptions', status: 422, body: { user_id: 2, promotion_id: 1 } }),
      ),
  ],
  [
    'a projection that differs from its owner',
    /projections equal/,
    ({ databaseState }) => Object.assign(databaseState.cachedPromotions[0] ?? {}, { version: 2 }),
  ],
  [
    'an event that was never published',
    /outboxes empty/,
    ({ databaseState }) => Object.assign(databaseState.events[0] ?? {}, { published: false }),
  ],
  ['a dead letter', /outboxes empty/, ({ databaseState }) => databaseState.deadLetters.push('user.created: Error')],
  [
    'a migration applied twice',
    /migrate it once/,
    ({ databaseState }) => databaseState.migrations[0]?.names.push('first'),
  ],
  [
    'a subscription requested after an end that was answered with applied',
    /beyond the lease/,
    ({ history, databaseState }) => {
      Object.assign(history[4], { projection: 'applied', startedAt: epoch + 3_500, endedAt: epoch + 3_600 });
      Object.assign(history[3], { startedAt: epoch + 4_000 });
      Object.assign(databaseState.subscriptions[0] ?? {}, { created_at: new Date(epoch + 4_050) });
    },
  ],
  [
    'a subscription without a response 8 s after an end that was answered with pending',
    /beyond the lease/,
    ({ history, databaseState }) => {
      Object.assign(history[3], { status: 0, startedAt: epoch + 13_000 });
      Object.assign(databaseState.subscriptions[0] ?? {}, { created_at: new Date(epoch + 13_100) });
    },
  ],
];

test.each(breaches)('%s is a breach', (_title, promise, breakPromise) => {
  const run = correctRun();
  breakPromise(run);
  expect(brokenPromises(run)).toContainEqual(expect.stringMatching(promise));
});

test('the outcome of a bad request may be unknown, unless it only reads', () => {
  const run = correctRun();
  const unknown = { kind: 'bad request', path: '/subscriptions', status: 503, code: 'outcome_unknown' } as const;
  run.history.push(run.at(6, unknown));
  expect(brokenPromises(run)).toEqual([]);
  run.history.push(run.at(7, { ...unknown, method: 'GET' }));
  expect(brokenPromises(run)).toEqual([expect.stringMatching(/only declared responses/)]);
});

/** The user subscribes again, to a promotion that was ended 34 s before. */
function subscribeLate({ history, databaseState, at }: Run, status: number): void {
  history.push(at(39, { ...subscribing, status, id: 2, body: { user_id: 2, promotion_id: 1 } }));
  const row = { id: 2, version: 1, user_id: 2, promotion_id: 1, is_active: true };
  databaseState.subscriptions.push({ ...row, created_at: new Date(epoch + 39_050) });
  databaseState.events.push({
    ...{ service: 'subscriptions', name: 'subscription.created', subject: '2', data: row, request_id: 'r39' },
    ...{ created_at: new Date(epoch + 39_050), published: true },
  });
}

/** What was seen when data was lost, set back or forged, before the projections noticed it (issue 10). */
const losses: [row: string, RegExp, (run: Run) => void][] = [
  [
    'a subscription 34 s after an end whose event was lost with its queue (row 1)',
    /beyond the lease/,
    (run) => subscribeLate(run, 201),
  ],
  ['the same when the response was lost too', /beyond the lease/, (run) => subscribeLate(run, 0)],
  [
    'a subscription after an end that was answered with applied by an owner that was set back (row 2)',
    /beyond the lease/,
    (run) => {
      Object.assign(run.history[4], { projection: 'applied' });
      run.history.push(run.at(5.5, { ...subscribing, status: 201, id: 2, body: { user_id: 2, promotion_id: 1 } }));
      const row = { id: 2, version: 1, user_id: 2, promotion_id: 1, is_active: true };
      run.databaseState.subscriptions.push({ ...row, created_at: new Date(epoch + 5_550) });
      run.databaseState.events.push({
        ...{ service: 'subscriptions', name: 'subscription.created', subject: '2', data: row, request_id: 'r5.5' },
        ...{ created_at: new Date(epoch + 5_550), published: true },
      });
    },
  ],
  [
    'a promotion that the projection has at a higher version than its owner (row 2)',
    /projections equal/,
    ({ databaseState }) => Object.assign(databaseState.cachedPromotions[0] ?? {}, { version: 13 }),
  ],
  [
    'a projection that was set back and has not caught up (row 3)',
    /projections equal/,
    ({ databaseState }) => Object.assign(databaseState.cachedPromotions[0] ?? {}, { version: 2, status: 'active' }),
  ],
  [
    'a user that the projection calls lost although it exists (row 4)',
    /projections equal/,
    ({ databaseState }) => Object.assign(databaseState.knownUsers[0] ?? {}, { lost: true }),
  ],
  [
    'a promotion that stays in doubt (row 8)',
    /projections equal/,
    ({ databaseState }) => Object.assign(databaseState.cachedPromotions[0] ?? {}, { doubted: true }),
  ],
  [
    'an owner that is not read again after an invalidation',
    /projections equal/,
    ({ databaseState }) => databaseState.unreconciled.push('promotions'),
  ],
  [
    'a forged deletion that is believed: the projection says deleted (row 8)',
    /projections equal/,
    ({ databaseState }) => Object.assign(databaseState.knownUsers[0] ?? {}, { deleted: true }),
  ],
  [
    'a forged deletion that is believed: an existing user is not found (row 8)',
    /only declared responses/,
    ({ history }) => Object.assign(history[3], { status: 404 }),
  ],
  [
    'a subscription to a draft that a forged event calls active (row 8)',
    /never activated/,
    ({ history, databaseState }) => {
      history.splice(2, 1);
      databaseState.events.splice(2, 1);
    },
  ],
  [
    'an active promotion that is called unknown by a stranger (row 10)',
    /a rejection is true/,
    ({ history, at }) => history.push(at(4.5, { ...subscribing, status: 422, body: { user_id: 2, promotion_id: 1 } })),
  ],
];

test.each(losses)('%s is a breach', (_title, promise, breakPromise) => {
  const run = correctRun();
  breakPromise(run);
  expect(brokenPromises(run)).toContainEqual(expect.stringMatching(promise));
});

test('what a fault has undone in the running consumer is judged by the lease, and nothing else is', () => {
  const run = correctRun();
  const [{ startedAt: from }, { endedAt: to }] = [run.history[2], run.history[4]];
  const promises = (undone: { from: number; to: number }): string[] =>
    checkEndedPromotions(run.history, run.databaseState, [undone]).breaches;
  Object.assign(run.history[4], { projection: 'applied' });
  const subscribeAt = (second: number): void => {
    Object.assign(run.history[3], { startedAt: epoch + second * 1_000, endedAt: epoch + second * 1_000 + 100 });
    Object.assign(run.databaseState.subscriptions[0] ?? {}, { created_at: new Date(epoch + second * 1_000 + 50) });
  };
  subscribeAt(9);
  expect(promises({ from, to })).toEqual([]);
  expect(promises({ from, to: to - 1 })).toEqual([expect.stringContaining('after "applied"')]);
  subscribeAt(13);
  expect(promises({ from, to })).toEqual([expect.stringContaining('beyond the lease')]);
});
