// A mixed load through the gateway, at a steady rate whatever the mesh answers, every request in the history. What is
// asked next follows from the seed and from what has been acknowledged so far.
import { setTimeout as sleep } from 'node:timers/promises';
import type { Attempt, Kind } from './history.ts';
import type { Random } from './random.ts';

interface LoadOptions {
  url: string;
  random: Random;
  perSecond: number;
}

export interface Load {
  history: readonly Attempt[];
  /** Requests not sent because too many were without an answer. */
  skipped(): number;
  /** From now on half of the requests are of these kinds, in equal parts. */
  hurry(kinds: readonly Kind[]): void;
  stop(): Promise<void>;
}

const patienceMs = 8_000;
const mostInFlight = 200;
/** After an end is answered, somebody tries to subscribe so many milliseconds later. */
const lateMs = [0, 500, 2_000, 4_500, 7_500, 11_000];

export function startLoad({ url, random, perSecond }: LoadOptions): Load {
  const history: Attempt[] = [];
  const inFlight = new Set<Promise<unknown>>();
  const users: { id: number; email: string }[] = [];
  const drafts: number[] = [];
  const active: number[] = [];
  const subscribed: { id: number; user_id: number; promotion_id: number }[] = [];
  let count = 0;
  let skipped = 0;
  let hurriedKinds = new Set<Kind>();
  let running = true;

  async function ask(kind: Kind, method: string, path: string, body?: Record<string, unknown>): Promise<Attempt> {
    count += 1;
    const requestId = `chaos-${count}`;
    const attempt: Attempt = {
      ...{ requestId, kind, method, path, body, began: Date.now(), ended: 0, status: 0 },
      ...{ id: undefined, code: undefined, projection: null, retryAfter: null, failure: undefined },
    };
    try {
      const headers = { 'x-request-id': requestId, ...(body && { 'content-type': 'application/json' }) };
      const signal = AbortSignal.timeout(patienceMs);
      const answer = await fetch(`${url}${path}`, {
        method,
        headers,
        signal,
        ...(body && { body: JSON.stringify(body) }),
      });
      const said = (await answer.json()) as { id?: number; code?: string };
      attempt.status = answer.status;
      attempt.id = said.id;
      attempt.code = said.code;
      attempt.projection = answer.headers.get('promopulse-projection');
      attempt.retryAfter = answer.headers.get('retry-after');
    } catch (error) {
      const { name, cause } = error as { name: string; cause?: { code?: string; message?: string } };
      attempt.failure = cause?.code ?? cause?.message ?? name;
    }
    attempt.ended = Date.now();
    history.push(attempt);
    return attempt;
  }

  async function createUser(email: string): Promise<void> {
    const { status, id } = await ask('create user', 'POST', '/users', {
      first_name: `U${count + 1}`,
      last_name: 'Chaos',
      email,
    });
    if (status === 201 && id) users.push({ id, email });
  }

  async function createPromotion(): Promise<void> {
    const period = { start_at: '2026-06-01T00:00:00Z', end_at: '2026-07-01T00:00:00Z' };
    const { status, id } = await ask('create promotion', 'POST', '/promotions', { name: `P${count + 1}`, ...period });
    if (status === 201 && id) drafts.push(id);
  }

  async function activate(id: number): Promise<void> {
    const { status } = await ask('activate', 'POST', `/promotions/${id}/status`, { status: 'active' });
    if (status !== 200) drafts.push(id);
    else {
      active.push(id);
      await subscribe(random.pick(users).id, id);
    }
  }

  async function end(id: number): Promise<void> {
    const { status } = await ask('end', 'POST', `/promotions/${id}/status`, { status: 'ended' });
    if (status !== 200) {
      active.push(id);
      return;
    }
    let waited = 0;
    for (const late of lateMs) {
      await sleep(late - waited);
      waited = late;
      if (running) hold(subscribe(random.pick(users).id, id));
    }
  }

  async function subscribe(user_id: number, promotion_id: number): Promise<void> {
    const body = { user_id, promotion_id, metadata: { source: 'chaos' } };
    const { status, id } = await ask('subscribe', 'POST', '/subscriptions', body);
    if (status === 201 && id) subscribed.push({ id, user_id, promotion_id });
  }

  const freshEmail = (): string => `chaos.${count + 1}@example.com`;
  const taken = (list: number[]): number => list.splice(random.between(0, list.length - 1), 1)[0] as number;
  /** Weight, kind, what must be there first, and the request. */
  const mix: [number, Kind, () => boolean, () => Promise<unknown>][] = [
    [4, 'create user', () => true, () => createUser(freshEmail())],
    [1, 'create user', () => users.length > 0, () => createUser(random.pick(users).email.toUpperCase())],
    [1, 'create user', () => true, twins],
    [2, 'create promotion', () => true, createPromotion],
    [2, 'activate', () => drafts.length > 0 && users.length > 0, () => activate(taken(drafts))],
    [1, 'edit', () => drafts.length > 0, () => edit(random.pick(drafts))],
    [2, 'edit', () => active.length > 0, () => edit(random.pick(active))],
    [0.6, 'end', () => active.length > 2 && users.length > 0, () => end(taken(active))],
    [
      8,
      'subscribe',
      () => users.length > 0 && active.length > 0,
      () => subscribe(random.pick(users).id, random.pick(active)),
    ],
    [
      0.5,
      'subscribe',
      () => users.length > 0 && drafts.length > 0,
      () => subscribe(random.pick(users).id, random.pick(drafts)),
    ],
    [1.5, 'subscribe', () => subscribed.length > 0, again],
    [1.5, 'deactivate', () => subscribed.length > 0, () => deactivate(random.pick(subscribed.slice(-50)).id)],
    [1.5, 'read user', () => users.length > 0, () => ask('read user', 'GET', `/users/${random.pick(users).id}`)],
    [
      1.5,
      'read promotion',
      () => active.length > 0,
      () => ask('read promotion', 'GET', `/promotions/${random.pick(active)}`),
    ],
    [1, 'list promotions', () => true, () => ask('list promotions', 'GET', '/promotions?status=active&limit=20')],
    [1, 'list subscriptions', () => users.length > 0, () => ask('list subscriptions', 'GET', listPath())],
  ];

  /** Two for the same new address at the same moment. */
  async function twins(): Promise<void> {
    const email = freshEmail();
    await Promise.all([createUser(email), createUser(email)]);
  }
  async function again(): Promise<void> {
    const { user_id, promotion_id } = random.pick(subscribed);
    await subscribe(user_id, promotion_id);
  }
  const deactivate = (id: number) => ask('deactivate', 'PATCH', `/subscriptions/${id}/deactivate`);
  const edit = (id: number) => ask('edit', 'PATCH', `/promotions/${id}`, { description: `D${count + 1}` });
  const listPath = (): string => `/subscriptions?user_id=${random.pick(users).id}&is_active=true`;

  function hold(work: Promise<unknown>): void {
    const held = work.finally(() => inFlight.delete(held));
    inFlight.add(held);
  }

  function next(): () => Promise<unknown> {
    const everything = mix.filter(([, , isPossible]) => isPossible());
    const wanted = everything.map(([, kind]) => kind).filter((kind) => hurriedKinds.has(kind));
    const hurried = wanted.length > 0 && random.next() < 0.5 ? random.pick([...new Set(wanted)]) : undefined;
    const possible = hurried ? everything.filter(([, kind]) => kind === hurried) : everything;
    let left = random.next() * possible.reduce((sum, [weight]) => sum + weight, 0);
    for (const [weight, , , request] of possible) {
      left -= weight;
      if (left < 0) return request;
    }
    return createPromotion;
  }

  const sending = (async () => {
    for (let at = performance.now(); running; at += 1_000 / perSecond) {
      await sleep(Math.max(0, at - performance.now()));
      if (inFlight.size >= mostInFlight) skipped += 1;
      else hold(next()());
    }
  })();

  return {
    history,
    skipped: () => skipped,
    hurry: (kinds) => {
      hurriedKinds = new Set(kinds);
    },
    stop: async () => {
      running = false;
      await sending;
      while (inFlight.size > 0) await Promise.all(inFlight);
    },
  };
}
