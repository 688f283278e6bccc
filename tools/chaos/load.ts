// A mixed load through the gateway, at a steady rate whatever the mesh answers, every request in the history. What is
// asked next follows from the seed and from what has been acknowledged so far.
import { setTimeout as sleep } from 'node:timers/promises';
import { type Canary, emailOf, phoneOf } from './canary.ts';
import type { Attempt, Kind } from './history.ts';
import type { Random } from './random.ts';
import { send } from './send.ts';

interface LoadOptions {
  url: string;
  random: Random;
  perSecond: number;
  /** Marks every email and phone. */
  canary: Canary;
}

export interface Load {
  history: readonly Attempt[];
  /** Requests not sent because too many were without an answer. */
  skipped(): number;
  /** From now on half of the requests are of these kinds, in equal parts. */
  hurry(kinds: readonly Kind[]): void;
  stop(): Promise<void>;
}

const mostInFlight = 200;
/** After an end is answered, somebody tries to subscribe so many milliseconds later. */
const lateMs = [0, 500, 2_000, 4_500, 7_500, 11_000];

export function startLoad({ url, random, perSecond, canary }: LoadOptions): Load {
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

  /** @param raw what is sent in place of the body's JSON */
  async function ask(kind: Kind, method: string, path: string, body?: Attempt['body'], raw?: string): Promise<Attempt> {
    count += 1;
    const attempt = await send(url, { requestId: `chaos-${count}`, kind, method, path, body }, raw);
    history.push(attempt);
    return attempt;
  }

  async function createUser(email: string): Promise<void> {
    const names = { first_name: `U${count + 1}`, last_name: 'Chaos' };
    const phone = random.next() < 0.7 ? { phone: freshPhone() } : {};
    const { status, id } = await ask('create user', 'POST', '/users', { ...names, email, ...phone });
    if (status === 201 && id) users.push({ id, email });
  }

  async function changeUser(changes: { email?: string; phone?: string | null }): Promise<void> {
    const user = random.pick(users);
    const { status } = await ask('change user', 'PATCH', `/users/${user.id}`, changes);
    if (status === 200 && changes.email) user.email = changes.email;
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

  const freshEmail = (): string => emailOf(canary, count + 1);
  const freshPhone = (): string => phoneOf(canary, count + 1);
  const taken = (list: number[]): number => list.splice(random.between(0, list.length - 1), 1)[0] as number;
  /** Weight, kind, what must be there first, and the request. */
  const mix: [number, Kind, () => boolean, () => Promise<unknown>][] = [
    [4, 'create user', () => true, () => createUser(freshEmail())],
    [1, 'create user', () => users.length > 0, () => createUser(random.pick(users).email.toUpperCase())],
    [1, 'create user', () => true, twins],
    [0.8, 'change user', () => users.length > 0, () => changeUser({ email: freshEmail() })],
    [0.8, 'change user', () => users.length > 0, () => changeUser({ phone: freshPhone() })],
    [0.3, 'change user', () => users.length > 0, () => changeUser({ phone: null })],
    [0.4, 'change user', () => users.length > 0, () => changeUser({ email: random.pick(users).email })],
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
      1,
      'find user',
      () => users.length > 0,
      () => ask('find user', 'GET', `/users?email=${encodeURIComponent(random.pick(users).email)}`),
    ],
    [1, 'bad request', () => users.length > 0, badRequest],
    [
      1.5,
      'read promotion',
      () => active.length > 0,
      () => ask('read promotion', 'GET', `/promotions/${random.pick(active)}`),
    ],
    [1, 'list promotions', () => true, () => ask('list promotions', 'GET', '/promotions?status=active&limit=20')],
    [1, 'list subscriptions', () => users.length > 0, () => ask('list subscriptions', 'GET', listPath())],
  ];

  /** What nobody accepts, with an address or a phone in it. */
  async function badRequest(): Promise<void> {
    const [email, phone] = [freshEmail(), freshPhone()];
    const user = { first_name: 'Bad', last_name: 'Request', email, phone };
    const { id } = random.pick(users);
    const bad = random.pick<readonly [method: string, path: string, body?: Attempt['body'], raw?: string]>([
      ['POST', '/users', { ...user, email: `${email}@example.com` }],
      ['POST', '/users', { ...user, phone: `${phone} or so` }],
      ['POST', '/users', { ...user, unknown: email }],
      ['POST', '/users', { ...user, [email]: phone }],
      ['POST', '/users', user, `{"phone":"${phone}","email":"${email}",`],
      ['PATCH', `/users/${id}`, { email: `${email}@`, phone }],
      ['PATCH', `/users/${id}`, { phone: phone.slice(1) }],
      ['GET', `/users?email=${encodeURIComponent(`${email}@`)}`],
      ['GET', `/users?email=${encodeURIComponent(email)}&phone=${encodeURIComponent(phone)}`],
      ['GET', `/users?${email}=1`],
      ['GET', `/users/${encodeURIComponent(email)}`],
      ['GET', `/nowhere/${email}?phone=${encodeURIComponent(phone)}`],
      ['POST', '/subscriptions', { user_id: email, promotion_id: phone }],
      ['POST', '/subscriptions', { user_id: id, promotion_id: 1, metadata: { [email]: { [phone]: 2 ** 60 } } }],
      ['GET', `/promotions?status=${email}`],
    ]);
    await ask('bad request', ...bad);
  }

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
      // What a busy machine has missed is not made up for by a burst.
      at = Math.max(at, performance.now() - 1_000);
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
