// Journeys of a caller through the gateway and all services: over RabbitMQ, with the in-memory broker, or at BASE_URL.
import { setTimeout as sleep } from 'node:timers/promises';
import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';
import { createPromoPulse, type PromoPulse, type Schemas } from '@promopulse/client';
import { type Client, client } from '@promopulse/testing/client';
import { eventually } from '@promopulse/testing/eventually';
import { fillIn, readHttpFile } from './support/examples.ts';
import { type RunningStack, testStacks } from './support/stack.ts';

/** Requests at once. On a slow machine the gateway's limit for a service falls to 10, and rejects what is beyond it. */
const maxCallers = 10;

/** Calls `call` for each item, `maxCallers` at a time. */
async function callForEach<Item, Result>(items: Item[], call: (item: Item) => Promise<Result>): Promise<Result[]> {
  const results: Result[] = [];
  const callers = Array.from({ length: maxCallers }, async () => {
    for (let item = items.shift(); item !== undefined; item = items.shift()) results.push(await call(item));
  });
  await Promise.all(callers);
  return results;
}

const numbers = (count: number): number[] => Array.from({ length: count }, (_, index) => index);

/** @throws with the problem document when nothing was created */
function created<Body>({ data, error }: { data?: Body; error?: unknown }): Body {
  if (data === undefined) throw new Error(JSON.stringify(error));
  return data;
}

describe.each(testStacks)('$name', ({ start }) => {
  let stack: RunningStack;
  /** The typed client, as another program uses it. It repeats what the gateway asks to repeat. */
  let promopulse: PromoPulse;
  /** Sends anything, once. */
  let api: Client;
  let count = 0;
  beforeAll(async () => {
    stack = await start();
    promopulse = createPromoPulse(stack.url);
    api = client(stack.url);
  }, 60_000);
  afterAll(() => stack?.close());

  const unique = (): string => {
    count += 1;
    return `${Date.now()}.${process.pid}.${count}`;
  };
  const newUser = (email = `ada.${unique()}@example.com`): Schemas['CreateUser'] => ({
    first_name: 'Ada',
    last_name: 'Lovelace',
    email,
  });
  const createUser = async (): Promise<number> => created(await promopulse.POST('/users', { body: newUser() })).id;
  const createPromotion = async (): Promise<number> =>
    created(
      await promopulse.POST('/promotions', {
        body: { name: 'Summer Sale', start_at: '2026-06-01T00:00:00Z', end_at: '2026-06-30T23:59:59Z' },
      }),
    ).id;
  const setStatus = async (id: number, status: Schemas['PromotionStatus']) =>
    (await promopulse.POST('/promotions/{id}/status', { params: { path: { id } }, body: { status } })).response;
  const subscribe = async (user_id: number, promotion_id: number) =>
    (await promopulse.POST('/subscriptions', { body: { user_id, promotion_id } })).response;
  const activePromotion = async (): Promise<number> => {
    const id = await createPromotion();
    expect((await setStatus(id, 'active')).status).toBe(200);
    return id;
  };

  test('every request of requests.http gets the answer that the file expects', async () => {
    const answers = new Map<string, Record<string, unknown>>();
    for (const step of readHttpFile('requests.http')) {
      const fill = (text: string): string => fillIn(text, stack.url, answers);
      const url = new URL(fill(step.url));
      const answer = await api.request(step.method, `${url.pathname}${url.search}`, {
        headers: step.headers,
        ...(step.body && { body: fill(step.body) }),
      });
      expect([step.title, answer.status, answer.body]).toEqual([
        step.title,
        step.expect.status,
        expect.objectContaining(step.expect.body),
      ]);
      if (step.name) answers.set(step.name, answer.body);
    }
  });

  test('a promotion accepts subscriptions as soon as its activation is answered, 20 times of 20', async () => {
    const user = await createUser();
    for (let round = 0; round < 20; round += 1) {
      const promotion = await createPromotion();
      expect((await subscribe(user, promotion)).status).toBe(422); // now cached as a draft
      const activated = await setStatus(promotion, 'active');
      expect([activated.status, activated.headers.get('promopulse-projection')]).toEqual([200, 'applied']);
      expect((await subscribe(user, promotion)).status).toBe(201);
    }
  });

  test('a change that is sent again and again with one key is made once, whether the key has quotes or not', async () => {
    const body = { user_id: await createUser(), promotion_id: await activePromotion() };
    const key = `journey:${unique()}`;
    const send = (index: number) =>
      api.post('/subscriptions', body, { 'idempotency-key': index % 2 === 0 ? key : `"${key}"` });
    const answers = await callForEach(numbers(20), (index) =>
      eventually(async () => {
        const answer = await send(index);
        if (answer.status === 503 || answer.body.code === 'idempotency_in_progress') throw new Error(answer.body.code);
        return answer;
      }),
    );
    expect(answers.map(({ status }) => status)).toEqual(Array(20).fill(201));
    expect(new Set(answers.map((answer) => JSON.stringify(answer.body))).size).toBe(1);
    expect(answers.filter(({ headers }) => headers.get('idempotent-replayed') === 'true')).toHaveLength(19);
    const reused = await api.post('/subscriptions', { ...body, promotion_id: 1 }, { 'idempotency-key': key });
    expect([reused.status, reused.body.code]).toEqual([422, 'idempotency_key_reused']);
    const malformed = await api.post('/subscriptions', body, { 'idempotency-key': 'a b' });
    expect([malformed.status, malformed.body.code]).toEqual([400, 'malformed_idempotency_key']);
  });

  test('a promotion rejects subscriptions as soon as its end is answered, 20 times of 20', async () => {
    const first = await createUser();
    const second = await createUser();
    for (let round = 0; round < 20; round += 1) {
      const promotion = await activePromotion();
      expect((await subscribe(first, promotion)).status).toBe(201);
      const ended = await setStatus(promotion, 'ended');
      expect([ended.status, ended.headers.get('promopulse-projection')]).toEqual([200, 'applied']);
      expect((await subscribe(second, promotion)).status).toBe(422);
    }
  });

  test('a new user can subscribe at once', async () => {
    const promotion = await activePromotion();
    for (let round = 0; round < 20; round += 1)
      expect((await subscribe(await createUser(), promotion)).status).toBe(201);
  });

  test('of 50 identical subscribe requests one is accepted and 49 get 409', async () => {
    const [user, promotion] = [await createUser(), await activePromotion()];
    const answers = await callForEach(numbers(50), () => subscribe(user, promotion));
    expect(answers.map(({ status }) => status).sort()).toEqual([201, ...Array(49).fill(409)]);
    const { data } = await promopulse.GET('/subscriptions', { params: { query: { promotion_id: promotion } } });
    expect(data?.total).toBe(1);
  });

  test('of 200 subscribe requests that race an end, none that begins after the answer of the end is accepted', async () => {
    const promotion = await activePromotion();
    const users = await callForEach(numbers(200), createUser);
    let ended = false;
    let answered = 0;
    const answering = callForEach(users, async (user) => {
      const beganAfterTheEnd = ended;
      const { status } = await subscribe(user, promotion);
      answered += 1;
      return { beganAfterTheEnd, status };
    });
    while (answered < 60) await sleep(1);
    const answer = await setStatus(promotion, 'ended');
    ended = answer.headers.get('promopulse-projection') === 'applied';
    const answers = await answering;
    for (const { beganAfterTheEnd, status } of answers) {
      if (beganAfterTheEnd) expect(status).toBe(422);
      else expect([201, 422]).toContain(status);
    }
    expect(answers).toHaveLength(200);
    expect(answers.some(({ beganAfterTheEnd }) => beganAfterTheEnd)).toBe(true);
    expect(ended).toBe(true);
  }, 60_000);

  test('of 30 users created at once with one email in two letter cases, one is accepted and 29 get 409', async () => {
    const localPart = `Grace.${unique()}`;
    const answers = await callForEach(numbers(30), (index) => {
      const email = index % 2 ? `${localPart}@example.com` : `${localPart.toUpperCase()}@EXAMPLE.com`;
      return promopulse.POST('/users', { body: newUser(email) });
    });
    expect(answers.map(({ response }) => response.status).sort()).toEqual([201, ...Array(29).fill(409)]);
    const email = `${localPart.toLowerCase()}@example.com`;
    const { data } = await promopulse.GET('/users', { params: { query: { email } } });
    expect(data?.total).toBe(1);
  });

  test('a refused subscription tells programs what the promotion is, and whether the user is or was subscribed', async () => {
    const [user, promotion] = [await createUser(), await createPromotion()];
    const subscribeTo = (promotion_id: number) => api.post('/subscriptions', { user_id: user, promotion_id });
    const refused = async (id: number) => {
      const { body } = await subscribeTo(id);
      return [body.code, body.promotion_status];
    };
    expect(await refused(promotion)).toEqual(['promotion_not_active', 'draft']);
    expect(await refused(2_147_483_647)).toEqual(['promotion_not_active', 'not_found']);
    await setStatus(promotion, 'active');
    const made = await subscribeTo(promotion);
    const path = made.headers.get('location') as string;
    expect((await api.get(path)).body).toEqual(made.body);
    const again = async () => {
      const { status, body } = await subscribeTo(promotion);
      return [status, body.code, body.subscription_id];
    };
    expect(await again()).toEqual([409, 'already_subscribed', made.body.id]);
    await api.patch(`${path}/deactivate`);
    expect(await again()).toEqual([409, 'subscription_inactive', made.body.id]);
    expect((await api.patch(`${path}/reactivate`)).body).toEqual(made.body);
    await api.patch(`${path}/deactivate`);
    await setStatus(promotion, 'ended');
    expect(await refused(promotion)).toEqual(['promotion_not_active', 'ended']);
    expect((await api.patch(`${path}/reactivate`)).body).toMatchObject({
      code: 'promotion_not_active',
      promotion_status: 'ended',
    });
  });

  test('the request id of a caller is in its answer, also in an error', async () => {
    const answer = await api.get('/promotions/2147483647', { 'x-request-id': 'journey-1' });
    expect([answer.status, answer.headers.get('x-request-id'), answer.body]).toEqual([
      404,
      'journey-1',
      expect.objectContaining({ detail: 'Promotion not found', request_id: 'journey-1' }),
    ]);
  });

  test('internal routes cannot be reached through the gateway', async () => {
    for (const path of [
      '/internal/users/1',
      '/users/../internal/users',
      '/users/%2e%2e/internal/users',
      '/users/health',
    ]) {
      expect((await api.get(path)).status).toBeGreaterThanOrEqual(400);
    }
    expect((await api.get('/internal/promotions?after_id=0&limit=10')).status).toBe(404);
  });

  test('every outbox is empty soon afterwards, and /health reports ok', async () => {
    await eventually(async () => {
      const { status, body } = await api.get('/health');
      expect([status, body.status]).toEqual([200, 'ok']);
      for (const name of ['users', 'promotions', 'subscriptions']) {
        expect(body.services[name]).toMatchObject({ status: 'ok', outbox: { waiting: 0 } });
      }
      expect(body.services.subscriptions.projections.promotions.behind_seconds).toBeLessThan(5);
    });
  });
});
