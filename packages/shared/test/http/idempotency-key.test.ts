// Which texts are a key, which of them are the same key, and what a handler gets of the request.
import { connect } from 'node:net';
import { afterAll, beforeAll, beforeEach, describe, expect, test } from '@jest/globals';
import { bodyOf, type Client, client } from '@promopulse/testing/client';
import { z } from 'zod';
import type { Cause } from '../../src/contracts/cause.ts';
import { createApp, errorHandler } from '../../src/http/app.ts';
import { describeApi } from '../../src/http/openapi/document.ts';
import { assignRequestId } from '../../src/http/request-log.ts';
import { addRoutes, type Route, route } from '../../src/http/routes.ts';
import { type RunningServer, serve } from '../../src/http/server.ts';
import { createLogger } from '../../src/telemetry/logger.ts';

const common = {
  operationId: 'x',
  summary: 'x',
  access: 'anyone' as const,
  success: { status: 200, description: 'x', schema: z.object({}) },
  errors: {},
};
let seen: Cause[];
const handle = async ({ cause }: { cause: Cause }) => {
  seen.push(cause);
  return { status: 200, body: {} };
};
const body = z.strictObject({ label: z.string() });
const routes: Route[] = [
  route({ ...common, method: 'post', path: '/things', body, handle }),
  route({ ...common, method: 'patch', path: '/things', handle }),
  route({ ...common, method: 'get', path: '/things', handle }),
];

let server: RunningServer;
let api: Client;
beforeAll(async () => {
  const app = createApp();
  app.use(assignRequestId);
  addRoutes(app, routes);
  app.use(errorHandler(createLogger({ service: 'test', level: 'silent' })));
  server = await serve(app, {
    host: '127.0.0.1',
    port: 0,
    keepAliveTimeoutMs: 5_000,
    quietMs: 0,
    maxHeaderBytes: 16_384,
    headersTimeoutMs: 5_000,
    requestTimeoutMs: 5_000,
  });
  api = client(server.url);
});
afterAll(() => server?.close(0));
beforeEach(() => {
  seen = [];
});

const post = (key: string, sent: unknown = { label: 'a' }, headers: Record<string, string> = {}) =>
  api.post('/things', sent, { ...headers, 'idempotency-key': key });
const uuid = '8e03978e-40d5-43dd-bc93-6894a57f9324';

test.each([
  [`"${uuid}"`, uuid],
  [uuid, uuid],
  [`  ${uuid} `, uuid],
  ['"clk 1/7, @home"', 'clk 1/7, @home'],
  ['"say \\"a\\" and \\\\"', 'say "a" and \\'],
  ['urn:uuid:1~2_3.4-5', 'urn:uuid:1~2_3.4-5'],
  ['12', '12'],
  ['?1', undefined],
  ['x'.repeat(255), 'x'.repeat(255)],
  ['x'.repeat(256), undefined],
  [`"${'x'.repeat(255)}"`, 'x'.repeat(255)],
  [`"${'x'.repeat(256)}"`, undefined],
  ['', undefined],
  ['""', undefined],
  ['"a', undefined],
  ['a"', undefined],
  ['"a"b', undefined],
  ['"a";p=1', undefined],
  ['"a", "b"', undefined],
  ['a, b', undefined],
  ['a b', undefined],
  ['ada@example.com', undefined],
  [':YWJj:', ':YWJj:'],
  ['("a")', undefined],
  ['"\u00e4"', undefined],
  ['a/b', undefined],
])('%j is the key %j', async (text, key) => {
  const answer = await post(text);
  if (key !== undefined) {
    expect(answer.status).toBe(200);
    expect(seen[0]?.idempotency?.key).toBe(key);
    return;
  }
  const rule =
    'must be given once, as 1 to 255 characters in double quotes, or without quotes of A-Z a-z 0-9 . _ : ~ -';
  expect(bodyOf(answer)).toEqual({
    type: 'about:blank',
    title: 'Bad Request',
    status: 400,
    detail: `Idempotency-Key ${rule}`,
    code: 'malformed_idempotency_key',
    errors: [{ field: 'Idempotency-Key', rule }],
  });
  expect(seen).toEqual([]);
});

test('a key that is sent in two header fields is refused, also where both together would be one', async () => {
  for (const pair of [
    ['a', 'a'],
    ['"a', 'b"'],
  ]) {
    const socket = connect(Number(new URL(server.url).port), '127.0.0.1');
    const lines = pair.map((value) => `Idempotency-Key: ${value}\r\n`).join('');
    socket.write(`PATCH /things HTTP/1.1\r\nHost: a\r\nConnection: close\r\n${lines}\r\n`);
    let text = '';
    for await (const chunk of socket) text += chunk;
    expect(text).toMatch(/^HTTP\/1.1 400 .*"code":"malformed_idempotency_key"/s);
  }
});

test('a malformed key is refused before the body is looked at, and a read takes no notice of a key', async () => {
  expect((await api.post('/things', 'no JSON', { 'idempotency-key': '' })).body.code).toBe('malformed_idempotency_key');
  expect((await api.get('/things', { 'idempotency-key': '"' })).status).toBe(200);
  expect((await api.get('/things', { 'idempotency-key': uuid })).status).toBe(200);
  expect(seen.map(({ idempotency }) => idempotency)).toEqual([undefined, undefined]);
});

test('without a key the cause has none', async () => {
  await api.post('/things', { label: 'a' });
  expect(seen[0]).toEqual({ requestId: expect.any(String), actor: null });
});

describe('what a repetition has in common with the first request', () => {
  const contentOf = async (send: () => Promise<unknown>): Promise<string> => {
    seen = [];
    await send();
    return String(seen[0]?.idempotency?.content);
  };

  test('is method, path, type and every byte of the body', async () => {
    const contents = [
      await contentOf(() => post('k', '{"label":"a"}')),
      await contentOf(() => post('k', '{"label":"b"}')),
      await contentOf(() => post('k', '{"label": "a"}')),
      await contentOf(() => post('k', '{"label":"a"}', { 'content-type': 'application/json; charset=utf-8' })),
      await contentOf(() => api.patch('/things', undefined, { 'idempotency-key': 'k' })),
      await contentOf(() => api.patch('/things', {}, { 'idempotency-key': 'k' })),
    ];
    expect(new Set(contents).size).toBe(contents.length);
    expect(contents[0]).toBe('["POST","/things","application/json"]\n{"label":"a"}');
  });

  test('is not the key, how the body was sent, or any other header', async () => {
    const plain = await contentOf(() => post('k', '{"label":"a"}'));
    expect(await contentOf(() => post('"other"', '{"label":"a"}', { 'x-request-id': 'r', accept: 'text/plain' }))).toBe(
      plain,
    );
    const compressed = new Blob(['{"label":"a"}']).stream().pipeThrough(new CompressionStream('gzip'));
    const headers = { 'content-type': 'application/json', 'content-encoding': 'gzip', 'idempotency-key': 'k' };
    const init = { method: 'POST', headers, body: await new Response(compressed).arrayBuffer() };
    expect(await contentOf(() => fetch(`${server.url}/things`, init))).toBe(plain);
  });
});

test('the document has the header at every change, and at no read', () => {
  const document = describeApi(routes, { title: 'Things', version: '1' }) as { paths: Record<string, object> };
  const operations = Object.entries(document.paths['/things'] ?? {});
  const headersOf = ({ parameters = [] }: { parameters?: { name: string; in: string }[] }) =>
    parameters.map((parameter) => `${parameter.in} ${parameter.name}`);
  expect(operations.map(([method, operation]) => [method, headersOf(operation)])).toEqual([
    ['post', ['header Idempotency-Key']],
    ['patch', ['header Idempotency-Key']],
    ['get', []],
  ]);
  for (const [method, operation] of operations) {
    const codes = JSON.stringify(operation).match(/idempotency_in_progress|idempotency_key_reused/g) ?? [];
    expect([method, new Set(codes).size]).toEqual([method, method === 'get' ? 0 : 2]);
  }
});
