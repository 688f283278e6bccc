// Every service fails at every crash point, once by dying and once by an error, during every kind of request that
// reaches the point. Then the clients retry what has an unknown outcome, and the checks of `npm run chaos` run. All of that
// happens twice: without an idempotency key, and with one, with which every retry succeeds and nothing is made twice.
import { readFileSync } from 'node:fs';
import { setTimeout as sleep } from 'node:timers/promises';
import { afterAll, beforeAll, expect, test } from '@jest/globals';
import type { ServiceName } from '@promopulse/shared/contracts/services';
import { eventually } from '@promopulse/testing/eventually';
import { fullScale } from '@promopulse/testing/scale';
import { checkHistory } from '../tools/chaos/checks.ts';
import { type CrashPoint, crashPoints, type Failure } from '../tools/chaos/crash-points.ts';
import { type Attempt, describeAttempt, isSuccess, type WriteKind } from '../tools/chaos/history.ts';
import { type ClientRequest, send } from '../tools/chaos/send.ts';
import { type CrashStack, startCrashStack } from './support/crash-stack.ts';

type Request = Pick<Attempt, 'kind' | 'method' | 'path' | 'body'>;

/** Everything that records an event. */
type Operation = WriteKind | 'subscribe an unknown user' | 'subscribe to an unknown promotion';

const history: Attempt[] = [];
let stack: CrashStack;
let count = 0;

beforeAll(async () => {
  stack = await startCrashStack();
}, 120_000);
afterAll(() => stack?.close(), 60_000);

async function sendRequest(request: Request): Promise<Attempt> {
  count += 1;
  return await send(stack.url, { ...request, requestId: `crash-${count}` });
}

/** Makes something that must exist before the failure. @returns its id */
async function create(request: Request): Promise<number> {
  const attempt = await sendRequest(request);
  history.push(attempt);
  if (!isSuccess(attempt)) throw new Error(describeAttempt(attempt));
  return attempt.id as number;
}

const request = (kind: WriteKind, path: string, body?: Attempt['body'], method = 'POST'): Request => ({
  ...{ kind, method, path, body },
});
const createUser = (): Request => {
  count += 1;
  const body = { first_name: `U${count}`, last_name: 'Crash', email: `crash.${count}@example.com` };
  return request('create user', '/users', body);
};
const createPromotion = (): Request => {
  count += 1;
  const period = { start_at: '2026-06-01T00:00:00Z', end_at: '2026-07-01T00:00:00Z' };
  return request('create promotion', '/promotions', { name: `P${count}`, ...period });
};
const activate = (id: number): Request => request('activate', `/promotions/${id}/status`, { status: 'active' });
const end = (id: number): Request => request('end', `/promotions/${id}/status`, { status: 'ended' });
const edit = (id: number): Request => request('edit', `/promotions/${id}`, { description: `D${count}` }, 'PATCH');
const activePromotion = async (): Promise<number> => await create(activate(await create(createPromotion())));
const subscribe = async (): Promise<Request> => {
  const body = { user_id: await create(createUser()), promotion_id: await activePromotion() };
  return request('subscribe', '/subscriptions', body);
};

/** Creates what the operation needs, and returns its request. */
const prepare: Record<Operation, () => Promise<Request>> = {
  'create user': async () => createUser(),
  'change user': async () => {
    const id = await create(createUser());
    return request('change user', `/users/${id}`, { last_name: `Crash ${count}` }, 'PATCH');
  },
  'create promotion': async () => createPromotion(),
  edit: async () => edit(await create(createPromotion())),
  activate: async () => activate(await create(createPromotion())),
  end: async () => end(await activePromotion()),
  subscribe,
  deactivate: async () =>
    request('deactivate', `/subscriptions/${await create(await subscribe())}/deactivate`, undefined, 'PATCH'),
  reactivate: async () => {
    const id = await create(await subscribe());
    await create(request('deactivate', `/subscriptions/${id}/deactivate`, undefined, 'PATCH'));
    return request('reactivate', `/subscriptions/${id}/reactivate`, undefined, 'PATCH');
  },
  'subscribe an unknown user': subscribe,
  'subscribe to an unknown promotion': subscribe,
};

/** Deletes rows of the projections, once no event is in flight that would restore them. */
async function deleteProjections(operations: readonly Operation[], requests: readonly Request[]): Promise<void> {
  if (operations.some((operation) => operation.includes('unknown'))) await stack.waitForQuiet();
  for (const [index, operation] of operations.entries()) {
    const { user_id, promotion_id } = requests[index]?.body ?? {};
    if (operation === 'subscribe an unknown user') {
      await stack.sql('delete from subscriptions.known_users where user_id = $1', [user_id]);
    }
    if (operation === 'subscribe to an unknown promotion') {
      await stack.sql('delete from subscriptions.cached_promotions where promotion_id = $1', [promotion_id]);
    }
  }
}

/** The statuses that the first attempt may have, and whether it took effect. */
interface Expected {
  statuses: Record<Failure, readonly number[]>;
  tookEffect: boolean | 'unknown';
}

interface Scenario {
  /** The service that fails. */
  service: ServiceName;
  operations: readonly Operation[];
}

const promotionWrites: readonly Operation[] = ['create promotion', 'edit', 'activate', 'end'];
const writers: readonly Scenario[] = [
  { service: 'users', operations: ['create user', 'change user'] },
  { service: 'promotions', operations: promotionWrites },
  { service: 'subscriptions', operations: ['subscribe', 'deactivate', 'reactivate'] },
];
/** The writes that consist of more than one statement. */
const transactions: readonly Scenario[] = [
  { service: 'users', operations: ['change user'] },
  { service: 'promotions', operations: ['edit'] },
];
const consumers: readonly Scenario[] = [{ service: 'subscriptions', operations: ['create user', ...promotionWrites] }];
const success = [200, 201];
const failed = { die: [503], throw: [500] };
const unavailable = { die: [503], throw: [503] };

const undone: Expected = { statuses: failed, tookEffect: false };
const done: Expected = { statuses: failed, tookEffect: true };
const relayed = {
  expected: { statuses: { die: [...success, 503], throw: success }, tookEffect: true },
  scenarios: writers,
};
const consumed = { expected: { statuses: { die: success, throw: success }, tookEffect: true }, scenarios: consumers };

interface ScenariosOfPoint {
  expected: Expected;
  scenarios: readonly Scenario[];
  /** With an idempotency key every write is a transaction. Default: as without. */
  scenariosWithKey?: readonly Scenario[];
}

const scenariosOf: Record<CrashPoint, ScenariosOfPoint> = {
  'request-read': { expected: undone, scenarios: writers },
  'before-write': { expected: undone, scenarios: writers },
  'row-written': { expected: undone, scenarios: transactions },
  'before-commit': { expected: undone, scenarios: transactions, scenariosWithKey: writers },
  'commit-sent': { expected: { statuses: unavailable, tookEffect: 'unknown' }, scenarios: writers },
  committed: { expected: done, scenarios: writers },
  'before-response': { expected: done, scenarios: writers },
  'owner-answering': {
    expected: { statuses: unavailable, tookEffect: false },
    scenarios: [
      { service: 'users', operations: ['subscribe an unknown user'] },
      { service: 'promotions', operations: ['subscribe to an unknown promotion'] },
    ],
  },
  'owner-answered': {
    expected: undone,
    scenarios: [
      { service: 'subscriptions', operations: ['subscribe an unknown user', 'subscribe to an unknown promotion'] },
    ],
  },
  'relay-woken': relayed,
  'outbox-read': relayed,
  'publish-sent': relayed,
  'publish-confirmed': relayed,
  marked: relayed,
  delivered: consumed,
  'before-apply': consumed,
  'apply-sent': consumed,
  divided: consumed,
  applied: consumed,
  'reply-received': {
    expected: { statuses: { die: [503], throw: success }, tookEffect: true },
    scenarios: [
      { service: 'promotions', operations: ['activate'] },
      { service: 'promotions', operations: ['end'] },
    ],
  },
};

/** Retries like a client without a response, or with a 5xx response. */
async function retry(request: Request): Promise<Attempt> {
  const deadline = Date.now() + 15_000;
  for (;;) {
    const attempt = await sendRequest(request);
    history.push(attempt);
    if (attempt.status !== 0 && attempt.status < 500) return attempt;
    if (Date.now() > deadline) return attempt;
    await sleep(50);
  }
}

/** Retries with the same key, also what has answered with an error of its own. */
async function retryWithKey(request: ClientRequest): Promise<Attempt> {
  const deadline = Date.now() + 15_000;
  for (;;) {
    const attempt = await send(stack.url, request);
    const isOver = attempt.status !== 0 && attempt.status < 500 && attempt.code !== 'idempotency_in_progress';
    if (isOver || Date.now() > deadline) return attempt;
    await sleep(50);
  }
}

/** Sends the requests, and lets the service fail while all of them are at the point. */
async function failDuring(
  requests: readonly ClientRequest[],
  { service, point, failure, statuses }: Pick<Case, 'service' | 'point' | 'failure' | 'statuses'>,
): Promise<Attempt[]> {
  const ids = requests.map(({ requestId }) => requestId);
  const reached = await stack.arm(service, { point, failure, requests: ids });
  const responses = Promise.all(requests.map((each) => send(stack.url, each)));
  if (failure === 'die') {
    expect(await stack.exitOf(service)).toBe('SIGKILL');
    await stack.restart(service);
  }
  const attempts = await responses;
  await eventually(() => expect([...reached].sort()).toEqual([...ids].sort()));
  for (const { status, code } of attempts) {
    expect(statuses[failure]).toContain(status);
    if (status === 500) expect(code).toBe('internal_error');
  }
  return attempts;
}

const failures: Failure[] = fullScale ? ['die', 'throw'] : ['die'];
/** The short scale: the relays of all services are one code, so each point of a relay is tried in one of them, in turn. */
const inTurn = ({ expected, scenarios }: ScenariosOfPoint, index: number): readonly Scenario[] =>
  fullScale || expected !== relayed.expected ? scenarios : scenarios.slice(index % 3, (index % 3) + 1);

interface Case extends Scenario, Expected {
  title: string;
  point: CrashPoint;
  failure: Failure;
}

function casesOf(select: (ofPoint: ScenariosOfPoint, index: number) => readonly Scenario[]): Case[] {
  return crashPoints.flatMap(({ name: point }, index) =>
    select(scenariosOf[point], index).flatMap((scenario) =>
      failures.map((failure) => {
        const verb = failure === 'die' ? 'dies' : 'throws';
        const title = `${index + 1} ${point}: ${scenario.service} ${verb} there during ${scenario.operations.join(', ')}`;
        return { title, point, failure, ...scenario, ...scenariosOf[point].expected };
      }),
    ),
  );
}

const cases = casesOf(inTurn);
/** A key is at work from the beginning of the transaction to its commit: the short scale leaves out what is before and after. */
const pointsOfKeys: readonly CrashPoint[] = ['before-commit', 'commit-sent', 'committed', 'before-response'];
const casesWithKey = casesOf(({ scenarios, scenariosWithKey = scenarios }, index) =>
  fullScale || pointsOfKeys.includes(crashPoints[index]?.name as CrashPoint) ? scenariosWithKey : [],
);

/** The requests of operations whose preparation is done, each with an id of its own. */
async function prepareAll(operations: readonly Operation[]): Promise<(Request & { requestId: string })[]> {
  const requests: Request[] = [];
  for (const operation of operations) requests.push(await prepare[operation]());
  await deleteProjections(operations, requests);
  return requests.map((each) => {
    count += 1;
    return { ...each, requestId: `crash-${count}` };
  });
}

test.each(cases)(
  '$title; nothing is lost, doubled or half done',
  async ({ operations, tookEffect, ...failing }) => {
    const requests = await prepareAll(operations);
    const attempts = await failDuring(requests, failing);
    // A 500 at a crash point says nothing about the outcome. The checks take any other 500 for a breach.
    for (const attempt of attempts) history.push(attempt.status === 500 ? { ...attempt, status: 0 } : attempt);
    for (const [index, attempt] of attempts.entries()) {
      if (!isSuccess(attempt)) {
        const retried = await retry(requests[index] as Request);
        const doneCodes = ['email_taken', 'already_subscribed', 'already_inactive', 'already_active'];
        const isDone = doneCodes.includes(retried.code ?? '');
        expect([retried.status, isSuccess(retried) || (isDone && tookEffect !== false)]).toEqual([
          retried.status,
          true,
        ]);
      }
    }
    const state = await stack.waitForQuiet();
    const effects = new Set(state.events.map(({ request_id }) => request_id));
    const took = requests.map(({ requestId }) => effects.has(requestId));
    if (tookEffect !== 'unknown') expect(took).toEqual(requests.map(() => tookEffect));
    expect(checkHistory(history, state).flatMap(({ breaches }) => breaches)).toEqual([]);
  },
  120_000,
);

test.each(casesWithKey)(
  '$title, with keys; every retry succeeds, and makes nothing twice',
  async ({ operations, tookEffect, ...failing }) => {
    const requests = (await prepareAll(operations)).map((each) => ({ ...each, key: `key-of-${each.requestId}` }));
    const attempts = await failDuring(requests, failing);
    for (const [index, first] of attempts.entries()) {
      const request = requests[index] as ClientRequest;
      const last = isSuccess(first) ? first : await retryWithKey(request);
      const again = await retryWithKey(request);
      const { status, id } = last;
      expect([describeAttempt(last), isSuccess(last)]).toEqual([describeAttempt(last), true]);
      if (!isSuccess(first) && tookEffect !== 'unknown')
        expect([status, last.isReplayed]).toEqual([status, tookEffect]);
      expect(again).toMatchObject({ status, id, isReplayed: true });
      // All of them have one request id, and so the checks expect exactly one event of them.
      history.push({ ...last, startedAt: first.startedAt });
    }
    const state = await stack.waitForQuiet();
    expect(checkHistory(history, state).flatMap(({ breaches }) => breaches)).toEqual([]);
  },
  120_000,
);

test('the page on reliability shows the table of crash points', () => {
  const page = readFileSync(new URL('../docs/reliability.md', import.meta.url), 'utf8');
  for (const [index, { name, description }] of crashPoints.entries()) {
    expect(page).toContain(`| ${index + 1} | \`${name}\` | ${description} |`);
  }
});
