// A deprecated route says so in every answer and in the document, and lives long enough.
import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';
import { type Client, client } from '@promopulse/testing/client';
import { z } from 'zod';
import { notFound } from '../../src/errors.ts';
import { createApp, errorHandler } from '../../src/http/app.ts';
import { describeApi } from '../../src/http/openapi/document.ts';
import { assignRequestId } from '../../src/http/request-log.ts';
import { addRoutes, type Route, route } from '../../src/http/routes.ts';
import { type RunningServer, serve } from '../../src/http/server.ts';
import { createLogger } from '../../src/telemetry/logger.ts';

const common = { operationId: 'x', summary: 'x', description: 'Things.', access: 'anyone' as const, errors: {} };
const things = z.object({}).meta({ id: 'Things', examples: [{}] });
const params = z.strictObject({ id: z.string() });
const deprecated = { since: '2027-01-15', sunset: '2027-09-01', link: 'https://example.com/upgrading' };
const ok = async () => ({ status: 200, body: {} });

const routes: Route[] = [
  route({
    ...common,
    method: 'get',
    path: '/old/{id}',
    deprecated,
    params,
    success: { status: 200, description: 'x', schema: things },
    handle: async ({ params: { id } }) => {
      if (id === '0') throw notFound('Thing');
      return ok();
    },
  }),
  route({
    ...common,
    method: 'patch',
    path: '/old/{id}',
    deprecated,
    params,
    success: { status: 204, description: 'x' },
    handle: async () => ({ status: 204 }),
  }),
  route({
    ...common,
    method: 'get',
    path: '/new',
    success: { status: 200, description: 'x', schema: things },
    handle: ok,
  }),
];

let server: RunningServer;
let api: Client;
beforeAll(async () => {
  const app = createApp();
  app.use(assignRequestId);
  addRoutes(app, routes);
  app.use(errorHandler(createLogger({ service: 'test', level: 'silent' })));
  const timeouts = { keepAliveTimeoutMs: 5_000, headersTimeoutMs: 5_000, requestTimeoutMs: 5_000 };
  server = await serve(app, { host: '127.0.0.1', port: 0, ...timeouts });
  api = client(server.url);
});
afterAll(() => server?.close(0));

const expected = {
  deprecation: '@1799971200', // 2027-01-15
  sunset: 'Wed, 01 Sep 2027 00:00:00 GMT',
  link: '<https://example.com/upgrading>; rel="deprecation"; type="text/html"',
};
const announced = (headers: Headers) =>
  Object.fromEntries(Object.keys(expected).map((name) => [name, headers.get(name)]));

describe('a deprecated route', () => {
  test.each([
    ['a success', () => api.get('/old/1'), 200],
    ['an answer without a body', () => api.patch('/old/1'), 204],
    ['an error', () => api.get('/old/0'), 404],
    ['malformed input', () => api.get('/old/1?x=1'), 422],
  ])('says since when, until when, and what to use instead: in %s', async (_what, send, status) => {
    const response = await send();
    expect([response.status, announced(response.headers)]).toEqual([status, expected]);
  });

  test('is marked in the document, with its headers', () => {
    const document = describeApi(routes, { title: 'Things', version: '1' }) as {
      // biome-ignore lint/suspicious/noExplicitAny: the shape of the document is what is checked
      paths: Record<string, any>;
    };
    const { get, patch } = document.paths['/old/{id}'];
    for (const operation of [get, patch]) {
      expect(operation.deprecated).toBe(true);
      expect(operation.description).toBe(
        'Things. Deprecated since 2027-01-15, and gone from 2027-09-01 on at the earliest: https://example.com/upgrading',
      );
    }
    for (const response of [get.responses[200], patch.responses[204]]) {
      expect(Object.keys(response.headers)).toEqual(expect.arrayContaining(['Deprecation', 'Sunset', 'Link']));
      expect(response.headers.Deprecation.example).toBe(expected.deprecation);
    }
    expect(document.paths['/new'].get.deprecated).toBeUndefined();
  });

  test.each([
    ['2027-06-01', 'less than 180 days later'],
    ['2026-01-01', 'before it is deprecated'],
    ['soon', 'no day'],
  ])('cannot be gone on %s, which is %s', (sunset) => {
    const [old] = routes;
    const early = { ...(old as Route), deprecated: { ...deprecated, sunset } };
    expect(() => addRoutes(createApp(), [early])).toThrow(`deprecated since 2027-01-15, and gone on ${sunset}`);
  });
});

test('any other route says nothing of it', async () => {
  expect(announced((await api.get('/new')).headers)).toEqual({ deprecation: null, sunset: null, link: null });
});
