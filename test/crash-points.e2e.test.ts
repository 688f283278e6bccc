// Every service fails at every crash point, once by dying and once by an error, under every kind of request that passes
// there; then its clients try again what was left open, and the judge of `npm run chaos` looks for a breach.
import { readFileSync } from 'node:fs';
import { setTimeout as sleep } from 'node:timers/promises';
import { afterAll, beforeAll, expect, test } from '@jest/globals';
import type { ServiceName } from '@promopulse/shared/contracts/services';
import { eventually } from '@promopulse/testing/eventually';
import { checkHistory } from '../tools/chaos/checks.ts';
import { type CrashPoint, crashPoints, type Failure } from '../tools/chaos/crash-points.ts';
import { type Attempt, describe, isSuccess, type WriteKind } from '../tools/chaos/history.ts';
import { send } from '../tools/chaos/send.ts';
import { type CrashStack, startCrashStack } from './support/crash-stack.ts';

type Request = Pick<Attempt, 'kind' | 'method' | 'path' | 'body'>;

/** All that leave an event. */
type Wish = Exclude<WriteKind, 'change user'> | 'subscribe an unknown user' | 'subscribe to an unknown promotion';

const history: Attempt[] = [];
let stack: CrashStack;
let count = 0;

beforeAll(async () => {
  stack = await startCrashStack();
}, 120_000);
afterAll(() => stack?.close(), 60_000);

async function ask(request: Request): Promise<Attempt> {
  count += 1;
  return await send(stack.url, { ...request, requestId: `crash-${count}` });
}

/** What has to be there before the failure. @returns its id */
async function given(request: Request): Promise<number> {
  const attempt = await ask(request);
  history.push(attempt);
  if (!isSuccess(attempt)) throw new Error(describe(attempt));
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
const activePromotion = async (): Promise<number> => await given(activate(await given(createPromotion())));
const subscribe = async (): Promise<Request> => {
  const body = { user_id: await given(createUser()), promotion_id: await activePromotion() };
  return request('subscribe', '/subscriptions', body);
};

const prepare: Record<Wish, () => Promise<Request>> = {
  'create user': async () => createUser(),
  'create promotion': async () => createPromotion(),
  edit: async () => edit(await given(createPromotion())),
  activate: async () => activate(await given(createPromotion())),
  end: async () => end(await activePromotion()),
  subscribe,
  deactivate: async () =>
    request('deactivate', `/subscriptions/${await given(await subscribe())}/deactivate`, undefined, 'PATCH'),
  'subscribe an unknown user': subscribe,
  'subscribe to an unknown promotion': subscribe,
};

/** Takes away what subscriptions knows, once no event is under way that would bring it back. */
async function forget(wishes: readonly Wish[], requests: readonly Request[]): Promise<void> {
  if (wishes.some((wish) => wish.includes('unknown'))) await stack.quiet();
  for (const [index, wish] of wishes.entries()) {
    const { user_id, promotion_id } = requests[index]?.body ?? {};
    if (wish === 'subscribe an unknown user') {
      await stack.sql('delete from subscriptions.known_users where user_id = $1', [user_id]);
    }
    if (wish === 'subscribe to an unknown promotion') {
      await stack.sql('delete from subscriptions.cached_promotions where promotion_id = $1', [promotion_id]);
    }
  }
}

/** What a client may be told of its first attempt, and whether that attempt took effect. */
interface Outcome {
  answers: Record<Failure, readonly number[]>;
  tookEffect: boolean | 'perhaps';
}

interface Scene {
  /** Who fails. */
  service: ServiceName;
  wishes: readonly Wish[];
}

const promotionWishes: readonly Wish[] = ['create promotion', 'edit', 'activate', 'end'];
const writers: readonly Scene[] = [
  { service: 'users', wishes: ['create user'] },
  { service: 'promotions', wishes: promotionWishes },
  { service: 'subscriptions', wishes: ['subscribe', 'deactivate'] },
];
/** Those that are more than one statement. */
const transactions: readonly Scene[] = [
  { service: 'users', wishes: ['create user'] },
  { service: 'promotions', wishes: ['create promotion', 'edit'] },
];
const consumers: readonly Scene[] = [{ service: 'subscriptions', wishes: ['create user', ...promotionWishes] }];
const success = [200, 201];
const refused = { die: [503], throw: [500] };
const unharmed = { die: success, throw: success };
const relaying = { die: [...success, 503], throw: success };

const undone: Outcome = { answers: refused, tookEffect: false };
const done: Outcome = { answers: refused, tookEffect: true };
const relayed = { outcome: { answers: relaying, tookEffect: true }, scenes: writers };
const consumed = { outcome: { answers: unharmed, tookEffect: true }, scenes: consumers };

const trials: Record<CrashPoint, { outcome: Outcome; scenes: readonly Scene[] }> = {
  'request-read': { outcome: undone, scenes: writers },
  'before-write': { outcome: undone, scenes: writers },
  'row-written': { outcome: undone, scenes: transactions },
  'before-commit': { outcome: undone, scenes: transactions },
  'commit-sent': { outcome: { answers: { die: [503], throw: [503] }, tookEffect: 'perhaps' }, scenes: writers },
  committed: { outcome: done, scenes: writers },
  'before-response': { outcome: done, scenes: writers },
  'owner-answering': {
    outcome: { answers: { die: [503], throw: [503] }, tookEffect: false },
    scenes: [
      { service: 'users', wishes: ['subscribe an unknown user'] },
      { service: 'promotions', wishes: ['subscribe to an unknown promotion'] },
    ],
  },
  'owner-answered': {
    outcome: undone,
    scenes: [{ service: 'subscriptions', wishes: ['subscribe an unknown user', 'subscribe to an unknown promotion'] }],
  },
  'relay-woken': relayed,
  'outbox-read': relayed,
  'publish-sent': relayed,
  'publish-confirmed': relayed,
  marked: relayed,
  delivered: consumed,
  'before-apply': consumed,
  'apply-sent': consumed,
  applied: consumed,
  'reply-received': {
    outcome: { answers: { die: [503], throw: success }, tookEffect: true },
    scenes: [
      { service: 'promotions', wishes: ['activate'] },
      { service: 'promotions', wishes: ['end'] },
    ],
  },
};

/** As a client does that was left without an answer, or was told to come again. */
async function tryAgain(wanted: Request): Promise<Attempt> {
  const deadline = Date.now() + 15_000;
  for (;;) {
    const attempt = await ask(wanted);
    history.push(attempt);
    if (attempt.status !== 0 && attempt.status < 500) return attempt;
    if (Date.now() > deadline) return attempt;
    await sleep(50);
  }
}

const cases = crashPoints.flatMap(({ name: point }, index) =>
  trials[point].scenes.flatMap((scene) =>
    (['die', 'throw'] as const).map((failure) => {
      const does = failure === 'die' ? 'dies' : 'throws';
      const title = `${index + 1} ${point}: ${scene.service} ${does} there under ${scene.wishes.join(', ')}`;
      return { title, point, failure, ...scene, ...trials[point].outcome };
    }),
  ),
);

test.each(cases)(
  '$title; nothing is lost, doubled or half done',
  async (trial) => {
    const { point, failure, service, wishes, answers, tookEffect } = trial;
    const requests: Request[] = [];
    for (const wish of wishes) requests.push(await prepare[wish]());
    await forget(wishes, requests);
    const named = requests.map((each) => {
      count += 1;
      return { ...each, requestId: `crash-${count}` };
    });
    const ids = named.map(({ requestId }) => requestId);

    const reached = await stack.arm(service, { point, failure, requests: ids });
    const asked = Promise.all(named.map((each) => send(stack.url, each)));
    if (failure === 'die') {
      expect(await stack.death(service)).toBe('SIGKILL');
      await stack.restart(service);
    }
    const attempts = await asked;
    await eventually(() => expect([...reached].sort()).toEqual([...ids].sort()));

    for (const attempt of attempts) {
      expect(answers[failure]).toContain(attempt.status);
      if (attempt.status === 500) expect(attempt.code).toBe('internal_error');
      // A 500 at a crash point promises nothing; anywhere else the judge takes it for a breach.
      history.push(attempt.status === 500 ? { ...attempt, status: 0 } : attempt);
    }
    for (const [index, attempt] of attempts.entries()) {
      if (!isSuccess(attempt)) {
        const again = await tryAgain(requests[index] as Request);
        const isDone = ['email_taken', 'already_subscribed', 'already_inactive'].includes(again.code ?? '');
        expect([again.status, isSuccess(again) || (isDone && tookEffect !== false)]).toEqual([again.status, true]);
      }
    }
    const facts = await stack.quiet();
    const effects = new Set(facts.events.map(({ request_id }) => request_id));
    if (tookEffect !== 'perhaps') expect(ids.map((id) => effects.has(id))).toEqual(ids.map(() => tookEffect));
    expect(checkHistory(history, facts).flatMap(({ breaches }) => breaches)).toEqual([]);
  },
  120_000,
);

test('the page on reliability shows the table of crash points', () => {
  const page = readFileSync(new URL('../docs/reliability.md', import.meta.url), 'utf8');
  for (const [index, { name, place }] of crashPoints.entries()) {
    expect(page).toContain(`| ${index + 1} | \`${name}\` | ${place} |`);
  }
});
