// The promise: two people who edit the same thing through the gateway do not overwrite each other, and a client that has
// the current version is told so without a body.
import { request as httpRequest, type IncomingHttpHeaders } from 'node:http';
import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';
import { type Client, client, type Wire } from '@promopulse/testing/client';
import { type RunningStack, startFreshStack } from './support/stack.ts';

let stack: RunningStack;
let api: Client;
beforeAll(async () => {
  stack = await startFreshStack('rabbit');
  api = client(stack.url);
}, 60_000);
afterAll(() => stack?.close());

interface Answer {
  status: number;
  headers: IncomingHttpHeaders;
  body: Buffer;
}

/** Unlike `fetch`, it decompresses nothing and shows a 304 as it is. */
function send(method: string, path: string, headers: Record<string, string> = {}): Promise<Answer> {
  return new Promise((resolve, reject) => {
    httpRequest(stack.url + path, { method, headers, agent: false }, (response) => {
      const chunks: Buffer[] = [];
      response.on('data', (chunk: Buffer) => chunks.push(chunk));
      response.on('end', () =>
        resolve({ status: Number(response.statusCode), headers: response.headers, body: Buffer.concat(chunks) }),
      );
    })
      .on('error', reject)
      .end();
  });
}

const period = { start_at: '2026-06-01T00:00:00Z', end_at: '2026-07-01T00:00:00Z' };
const createPromotion = async (description?: string): Promise<string> =>
  (await api.post('/promotions', { name: 'Sale', ...period, description })).headers.get('location') as string;

describe('a resource of every service', () => {
  let paths: string[];
  beforeAll(async () => {
    const promotion = await createPromotion();
    await api.post(`${promotion}/status`, { status: 'active' });
    const user = await api.post('/users', { first_name: 'Ada', last_name: 'Lovelace', email: 'ada@example.com' });
    const ids = { user_id: user.body.id, promotion_id: Number(promotion.split('/').at(-1)) };
    const subscription = await api.post('/subscriptions', ids);
    paths = [promotion, user.headers.get('location') as string, subscription.headers.get('location') as string];
  });

  test('has a strong tag, and 304 has the same headers that matter to a cache, and no body', async () => {
    for (const path of paths) {
      for (const method of ['GET', 'HEAD']) {
        const { headers } = await send(method, path);
        expect(headers.etag).toMatch(/^"[1-9]\d*"$/);
        const same = await send(method, path, { 'If-None-Match': String(headers.etag) });
        expect([path, same.status, same.body.length]).toEqual([path, 304, 0]);
        for (const name of ['etag', 'cache-control', 'vary']) expect(same.headers[name]).toBe(headers[name]);
        for (const name of ['content-type', 'content-length', 'transfer-encoding'])
          expect(same.headers).not.toHaveProperty(name);
      }
    }
  });

  test('is not found before its condition is false', async () => {
    for (const path of ['/users/999', '/promotions/999', '/subscriptions/999']) {
      const answers = [
        await send('GET', path, { 'If-Match': '"1"' }),
        await send('GET', path, { 'If-None-Match': '*' }),
      ];
      expect(answers.map(({ status }) => status)).toEqual([404, 404]);
    }
  });

  test('that is not there is 404 for every write, whatever its condition and its content are', async () => {
    const writes: [method: string, path: string, body: object][] = [
      ['PATCH', '/users/999999', { first_name: 'Ada' }],
      ['PATCH', '/promotions/999999', { name: 'Sale' }],
      ['POST', '/promotions/999999/status', { status: 'active' }],
      ['PATCH', '/subscriptions/999999/deactivate', {}],
      ['PATCH', '/subscriptions/999999/reactivate', {}],
    ];
    const conditions = ['*', '"x"', '"1"', 'W/"1"', '"1", "2"', ''];
    for (const [method, path, body] of writes) {
      for (const value of conditions) {
        for (const field of ['If-Match', 'If-None-Match']) {
          for (const content of [body, { ...body, unknown: 1 }]) {
            const answer = await api.request(method, path, { body: content, headers: { [field]: value } });
            expect([path, field, value, answer.status, answer.body.code]).toEqual([
              path,
              field,
              value,
              404,
              'not_found',
            ]);
            expect(answer.body.detail).toMatch(/^(User|Promotion|Subscription) not found$/);
          }
        }
      }
    }
  });
});

test('an editor with a compressed version edits it once; with the old tag of any coding it is 412', async () => {
  const path = await createPromotion('Get 20% off. '.repeat(200));
  for (const [number, coding] of ['gzip', 'br'].entries()) {
    const compressed = { 'Accept-Encoding': coding };
    const read = await send('GET', path, compressed);
    const tag = `"${number + 1}-${coding}"`;
    expect(read.headers).toMatchObject({ 'content-encoding': coding, etag: tag });
    expect((await send('GET', path, { ...compressed, 'If-None-Match': tag })).status).toBe(304);
    const edit = (headers: Record<string, string>) => api.patch(path, { name: `Sale ${coding}` }, headers);
    const edited = await edit({ ...compressed, 'If-Match': tag });
    expect([edited.status, edited.headers.get('etag')]).toEqual([200, `"${number + 2}-${coding}"`]);
    expect(edited.headers.get('content-location')).toBe(path);
    const lost = await edit({ 'If-Match': tag });
    expect([lost.status, lost.headers.get('etag')]).toEqual([412, `"${number + 2}"`]);
  }
});

test('of 10 editors who repeat read and edit, each of 50 edits is made once: the last text has them all', async () => {
  const path = await createPromotion('');
  const append = async (word: string): Promise<void> => {
    const { body, headers } = await api.get<Wire>(path);
    const answer = await api.patch(
      path,
      { description: `${body.description}${word} ` },
      { 'If-Match': headers.get('etag') as string },
    );
    if (answer.status === 412) return append(word);
    if (answer.status !== 200) throw new Error(`${answer.status} ${JSON.stringify(answer.body)}`);
  };
  const words = Array.from({ length: 10 }, (_, editor) => Array.from({ length: 5 }, (__, at) => `${editor}.${at}`));
  await Promise.all(
    words.map(async (own) => {
      for (const word of own) await append(word);
    }),
  );
  const { body, headers } = await api.get<Wire>(path);
  expect(body.description.trim().split(' ').sort()).toEqual(words.flat().sort());
  expect((await api.get(path, { 'Accept-Encoding': 'identity' })).headers.get('etag')).toBe('"51"');
  expect(headers.get('etag')).toMatch(/^"51/);
}, 60_000);
