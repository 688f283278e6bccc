// Every write whose answer is lost between a service and its database, as a caller of the gateway sees it.
import { afterAll, afterEach, beforeAll, expect, test } from '@jest/globals';
import { type Client, client, type Wire } from '@promopulse/testing/client';
import { eventually } from '@promopulse/testing/eventually';
import { startTcpProxy, type TcpProxy } from '@promopulse/testing/tcp-proxy';
import { type RunningStack, startFreshStack } from './support/stack.ts';

let stack: RunningStack;
let proxy: TcpProxy;
let api: Client;
let count = 0;

beforeAll(async () => {
  stack = await startFreshStack('memory', {}, async (databaseUrl) => {
    proxy = await startTcpProxy(databaseUrl);
    return proxy.through(databaseUrl);
  });
  api = client(stack.url);
}, 60_000);
afterEach(() => {
  proxy.refuse(false);
  proxy.swallow(undefined);
  proxy.cut();
});
afterAll(async () => {
  await stack?.close();
  await proxy?.close();
});

const userFields = () => {
  count += 1;
  return { first_name: `U${count}`, last_name: 'L', email: `unknown.${count}@example.com` };
};
const promotionFields = () => {
  count += 1;
  return { name: `P${count}`, start_at: '2026-06-01T00:00:00Z', end_at: '2026-07-01T00:00:00Z' };
};

/** Repeats a request until it is answered with success. @returns the id in the answer */
const succeed = (send: () => Promise<{ status: number; body: Wire }>): Promise<number> =>
  eventually(
    async () => {
      const { status, body } = await send();
      if (status >= 300) throw new Error(`${status} ${JSON.stringify(body)}`);
      return body.id;
    },
    { timeoutMs: 15_000 },
  );
const createUser = () => succeed(() => api.post('/users', userFields()));
const createPromotion = () => succeed(() => api.post('/promotions', promotionFields()));
const activePromotion = async () => {
  const id = await createPromotion();
  await succeed(() => api.post(`/promotions/${id}/status`, { status: 'active' }));
  return id;
};
/** A user and an active promotion of which subscriptions knows that it may decide without asking an owner. */
const knownPair = async () => {
  const [user_id, promotion_id, other] = [await createUser(), await activePromotion(), await activePromotion()];
  await succeed(() => api.post('/subscriptions', { user_id, promotion_id: other }));
  const user = await createUser();
  await succeed(() => api.post('/subscriptions', { user_id: user, promotion_id }));
  return { user_id, promotion_id };
};

/** Every service has connections to its database again, for reads and for writes. */
const connected = async () => {
  for (let round = 0; round < 3; round += 1) {
    await knownPair();
    await succeed(() => api.get('/users?email=nobody@example.com'));
    await succeed(() => api.get('/promotions?limit=1'));
    await succeed(() => api.get('/subscriptions?user_id=1'));
  }
};

interface Write {
  /** From these bytes on the proxy discards what the database answers. '' is the next statement. */
  lostFrom: string;
  send(): ReturnType<Client['post']>;
  /** Counts the rows that show the change. */
  made: [sql: string, values: readonly unknown[]];
}

const writes: [string, () => Promise<Write>][] = [
  [
    'POST /users',
    async () => {
      const fields = userFields();
      const made: Write['made'] = ['select from users.users where first_name = $1', [fields.first_name]];
      return { lostFrom: '', send: () => api.post('/users', fields), made };
    },
  ],
  [
    'PATCH /users/{id}',
    async () => {
      const id = await createUser();
      const made: Write['made'] = [`select from users.users where id = $1 and last_name = 'Changed'`, [id]];
      return { lostFrom: 'commit', send: () => api.patch(`/users/${id}`, { last_name: 'Changed' }), made };
    },
  ],
  [
    'POST /promotions',
    async () => {
      const fields = promotionFields();
      const made: Write['made'] = ['select from promotions.promotions where name = $1', [fields.name]];
      return { lostFrom: '', send: () => api.post('/promotions', fields), made };
    },
  ],
  [
    'PATCH /promotions/{id}',
    async () => {
      const id = await createPromotion();
      const made: Write['made'] = [`select from promotions.promotions where id = $1 and name = 'Changed'`, [id]];
      return { lostFrom: 'commit', send: () => api.patch(`/promotions/${id}`, { name: 'Changed' }), made };
    },
  ],
  [
    'POST /promotions/{id}/status',
    async () => {
      const id = await createPromotion();
      const made: Write['made'] = [`select from promotions.promotions where id = $1 and status = 'active'`, [id]];
      return { lostFrom: '', send: () => api.post(`/promotions/${id}/status`, { status: 'active' }), made };
    },
  ],
  [
    'POST /subscriptions',
    async () => {
      const pair = await knownPair();
      const made: Write['made'] = [
        'select from subscriptions.subscriptions where user_id = $1 and promotion_id = $2',
        [pair.user_id, pair.promotion_id],
      ];
      return { lostFrom: '', send: () => api.post('/subscriptions', pair), made };
    },
  ],
  [
    'PATCH /subscriptions/{id}/deactivate',
    async () => {
      const pair = { user_id: await createUser(), promotion_id: await activePromotion() };
      const id = await succeed(() => api.post('/subscriptions', pair));
      const made: Write['made'] = ['select from subscriptions.subscriptions where id = $1 and not is_active', [id]];
      return { lostFrom: '', send: () => api.patch(`/subscriptions/${id}/deactivate`), made };
    },
  ],
  [
    'PATCH /subscriptions/{id}/reactivate',
    async () => {
      const pair = { user_id: await createUser(), promotion_id: await activePromotion() };
      const id = await succeed(() => api.post('/subscriptions', pair));
      await succeed(() => api.patch(`/subscriptions/${id}/deactivate`));
      const made: Write['made'] = ['select from subscriptions.subscriptions where id = $1 and is_active', [id]];
      return { lostFrom: '', send: () => api.patch(`/subscriptions/${id}/reactivate`), made };
    },
  ],
];

test.each(writes)(
  '%s that was made, and whose answer was lost, is outcome_unknown without Retry-After',
  async (_title, prepare) => {
    const { lostFrom, send, made } = await prepare();
    await connected();
    proxy.swallow(lostFrom);
    const answer = send();
    await eventually(async () => expect(await stack.sql(...made)).toHaveLength(1));
    proxy.cut();
    const { status, headers, body } = await answer;
    expect({ status, retryAfter: headers.get('retry-after'), body }).toMatchObject({
      status: 503,
      retryAfter: null,
      body: { code: 'outcome_unknown', detail: expect.stringContaining('Look before you repeat it.') },
    });
    expect(await stack.sql(...made)).toHaveLength(1);
  },
  60_000,
);

test.each(writes)(
  '%s that never reached the database is not made, and has Retry-After',
  async (_title, prepare) => {
    const { send, made } = await prepare();
    proxy.refuse(true);
    await new Promise((resolve) => setTimeout(resolve, 100));
    const { status, headers, body } = await send();
    expect({ status, retryAfter: headers.get('retry-after'), body }).toMatchObject({
      status: 503,
      retryAfter: '1',
      body: { code: 'unavailable' },
    });
    expect(await stack.sql(...made)).toEqual([]);
  },
  60_000,
);
