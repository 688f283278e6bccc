// The promise: a condition is read as RFC 9110 13 says, and evaluated after 404 and before anything that is wrong in the
// content. The routes here keep one thing in memory; what a real change does: the tests named `edits` of the services.
import { request as httpRequest } from 'node:http';
import { Writable } from 'node:stream';
import { afterAll, beforeAll, beforeEach, describe, expect, test } from '@jest/globals';
import { bodyOf, type Client, client } from '@promopulse/testing/client';
import { z } from 'zod';
import { versionIsAllowed } from '../../src/database/prepared.ts';
import { notFound, ruleViolation } from '../../src/errors.ts';
import { createApp, errorHandler, notFoundRoute } from '../../src/http/app.ts';
import {
  checkVersion,
  findFalseCondition,
  type Preconditions,
  readPreconditions,
  versionHeaders,
  versionsOf,
} from '../../src/http/preconditions.ts';
import { assignRequestId } from '../../src/http/request-log.ts';
import { addRoutes, type Route, route } from '../../src/http/routes.ts';
import { textId } from '../../src/http/schemas.ts';
import { type RunningServer, serve } from '../../src/http/server.ts';
import { createLogger } from '../../src/telemetry/logger.ts';

const ifMatch = (value: string): Preconditions => readPreconditions({ 'if-match': value });
const ifNoneMatch = (value: string): Preconditions => readPreconditions({ 'if-none-match': value });

describe('the entity tags of a header', () => {
  test.each([
    ['"7"', true],
    ['"6", "7"', true],
    ['"6","7","8"', true],
    ['"6" ,\t"7"', true],
    [', "7",,', true],
    ['"a,b", "7"', true],
    ['"\u00fc", "7"', true],
    ['*', true],
    ['"8"', false],
    ['W/"7"', false],
    ['"6", W/"7"', false],
    ['"07"', false],
    ['"7 "', 'malformed'],
    ['"*"', false],
    ['""', false],
    ['', false],
    [',', false],
    ['7', 'malformed'],
    ['w/"7"', 'malformed'],
    ['W/7', 'malformed'],
    ['W/ "7"', 'malformed'],
    ['"7', 'malformed'],
    ['7"', 'malformed'],
    ['"6" "7"', 'malformed'],
    ['"7"; x', 'malformed'],
    ['*, "7"', 'malformed'],
    ['*, *', 'malformed'],
    ["'7'", 'malformed'],
  ])('If-Match: %s is, for the tag "7", %s', (value, expected) => {
    if (expected === 'malformed') {
      expect(() => ifMatch(value)).toThrow('If-Match must be * alone, or entity tags in double quotes');
      expect(() => ifNoneMatch(value)).toThrow('If-None-Match must be * alone');
    } else expect(findFalseCondition(ifMatch(value), '"7"') === undefined).toBe(expected);
  });

  test.each([
    ['"7"', false],
    ['W/"7"', false],
    ['"6", W/"7"', false],
    ['*', false],
    ['"8", W/"6"', true],
    ['', true],
    ['"*"', true],
  ])('If-None-Match: %s is, for the tag "7", %s: a weak tag is compared like a strong one', (value, expected) => {
    expect(findFalseCondition(ifNoneMatch(value), '"7"') === undefined).toBe(expected);
  });

  test('of 16 KiB are read in a moment, whatever they are', () => {
    const start = performance.now();
    for (const part of ['"1",', ' ', ',', ', ', '" ', 'W/"1" ', '"1" ,\t', 'W/']) {
      const value = part.repeat(16_384 / part.length);
      for (const text of [value, `${value}x`, `"1"${value}x`]) {
        try {
          versionsOf(ifMatch(text));
        } catch (error) {
          expect(error).toMatchObject({ kind: 'bad_request' });
        }
      }
    }
    expect(performance.now() - start).toBeLessThan(1_000);
  });

  test('that is no version of ours is compared with no row', () => {
    const strange = '"7", W/"8", "07", "-1", "1e3", "0", "", "2147483648", "99999999999", "7.0", " 9", "2147483647"';
    expect(versionsOf(ifMatch(strange.replace(' 9', 'x')))).toEqual([[7, 2_147_483_647], null]);
    expect(versionsOf(ifNoneMatch('W/"8", "7"'))).toEqual([null, [8, 7]]);
    expect(versionsOf(ifNoneMatch('*'))).toEqual([[], null]);
    expect(versionsOf(ifMatch('*'))).toEqual([null, null]);
    expect(versionsOf({})).toEqual([null, null]);
  });

  test('are the same condition in SQL as in the code', () => {
    expect(versionIsAllowed('$1', '$2', 's.version')).toBe(
      '(s.version = any($1::int[])) is not false and (s.version = any($2::int[])) is not true',
    );
    const headers = ['*', '"1"', '"1", "2"', 'W/"1"', 'W/"1", "2"', ''];
    for (const match of [undefined, ...headers]) {
      for (const noneMatch of [undefined, ...headers]) {
        const conditions = {
          ...(match !== undefined && ifMatch(match)),
          ...(noneMatch !== undefined && { noneMatch: ifNoneMatch(noneMatch).noneMatch }),
        };
        const [only, except] = versionsOf(conditions);
        for (const version of [1, 2, 3]) {
          const inSql = (only?.includes(version) ?? true) && !(except?.includes(version) ?? false);
          expect([match, noneMatch, version, inSql]).toEqual([
            match,
            noneMatch,
            version,
            checkVersion(conditions, version) === undefined,
          ]);
        }
      }
    }
  });
});

const thing = z.object({ id: z.int(), label: z.string() }).meta({ id: 'Thing' });
const params = z.strictObject({ id: textId });
const base = {
  summary: 'Try',
  access: 'anyone' as const,
  errors: {},
  success: { status: 200, description: 'A thing', schema: thing, headers: { ETag: 'Tag' } },
};
let stored = { label: 'x', version: 7 };
const reads: number[] = [];
const find = (id: number) => {
  if (id === 404) throw notFound('Thing not found');
  return stored;
};
const routes: Route[] = [
  route({
    ...base,
    method: 'get',
    path: '/things/{id}',
    operationId: 'getThing',
    params,
    handle: async ({ params: { id } }) => {
      const { label, version } = find(id);
      return { status: 200, body: { id, label }, headers: versionHeaders(version) };
    },
  }),
  route({
    ...base,
    method: 'patch',
    path: '/things/{id}',
    operationId: 'editThing',
    params,
    body: z.strictObject({ label: z.string() }),
    currentVersion: async ({ id }) => {
      reads.push(id);
      return find(id).version;
    },
    handle: async ({ params: { id }, body: { label }, conditions }) => {
      const rejection = checkVersion(conditions, find(id).version);
      if (rejection) throw rejection;
      if (label === 'taken') throw ruleViolation('thing_taken', 'The label is taken');
      stored = { label, version: stored.version + 1 };
      return { status: 200, body: { id, label }, headers: versionHeaders(stored.version, `/things/${id}`) };
    },
  }),
  route({
    ...base,
    success: { ...base.success, status: 201 },
    method: 'post',
    path: '/things',
    operationId: 'createThing',
    handle: async () => {
      created += 1;
      return { status: 201, body: { id: 9, label: 'x' }, headers: versionHeaders(1, '/things/9') };
    },
  }),
  route({
    ...base,
    success: { status: 200, description: 'A list', schema: thing },
    method: 'get',
    path: '/things',
    operationId: 'listThings',
    handle: async () => ({ status: 200, body: { items: [] } }),
  }),
];

let created = 0;
let server: RunningServer;
let strict: RunningServer;
let api: Client;
async function start(requireIfMatch: boolean): Promise<RunningServer> {
  const log = createLogger({ service: 'test', level: 'error', destination: new Writable({ write: () => true }) });
  const app = createApp();
  app.use(assignRequestId);
  addRoutes(app, routes, { requireIfMatch });
  app.use(notFoundRoute, errorHandler(log));
  const timeouts = { keepAliveTimeoutMs: 5_000, headersTimeoutMs: 5_000, requestTimeoutMs: 5_000 };
  return await serve(app, { host: '127.0.0.1', port: 0, ...timeouts });
}
beforeAll(async () => {
  [server, strict] = [await start(false), await start(true)];
  api = client(server.url);
});
afterAll(async () => {
  await server?.close(0);
  await strict?.close(0);
});
beforeEach(() => {
  stored = { label: 'x', version: 7 };
  created = 0;
  reads.length = 0;
});

const edit = (headers: Record<string, string>, body: unknown = { label: 'y' }, id: number | string = 1) =>
  api.patch(`/things/${id}`, body, headers);

describe('a read', () => {
  test('has the tag of its version, and so has HEAD', async () => {
    for (const method of ['GET', 'HEAD']) {
      const { status, headers } = await api.request(method, '/things/1');
      expect([status, headers.get('etag'), headers.get('content-location')]).toEqual([200, '"7"', null]);
    }
  });

  test.each(['GET', 'HEAD'])(
    '%s of a version that the client has is 304 with its tag and without a body',
    async (method) => {
      for (const value of ['"7"', 'W/"7"', '"6", "7"', '*']) {
        const answer = await raw(method, '/things/1', { 'If-None-Match': value });
        expect(answer).toMatchObject({ status: 304, body: '', headers: { etag: '"7"' } });
        expect(answer.headers).not.toHaveProperty('content-type');
        expect(answer.headers).not.toHaveProperty('content-length');
      }
      for (const value of ['"6"', '', 'W/"8", "9"'])
        expect((await raw(method, '/things/1', { 'If-None-Match': value })).status).toBe(200);
    },
  );

  test('of several header lines is read as one list', async () => {
    expect((await raw('GET', '/things/1', { 'If-None-Match': ['"6"', '"7"'] })).status).toBe(304);
    expect((await raw('GET', '/things/1', { 'If-Match': ['"6"', 'W/"7"'] })).status).toBe(412);
  });

  test('with a false If-Match is 412, and If-Match comes before If-None-Match', async () => {
    expect((await api.get('/things/1', { 'If-Match': '"6"' })).status).toBe(412);
    expect((await api.get('/things/1', { 'If-Match': '"6"', 'If-None-Match': '"7"' })).status).toBe(412);
    expect((await raw('GET', '/things/1', { 'If-Match': '"7"', 'If-None-Match': '"7"' })).status).toBe(304);
  });

  test('of what does not exist is 404, whatever the conditions', async () => {
    for (const headers of [{ 'If-None-Match': '*' }, { 'If-Match': '"7"' }, { 'If-Match': '*' }])
      expect((await api.get('/things/404', headers as Record<string, string>)).status).toBe(404);
  });

  test('of a list, which has no tag: only * is a tag of what exists', async () => {
    const statusOf = async (headers: Record<string, string>) => (await raw('GET', '/things', headers)).status;
    expect((await api.get('/things')).headers.has('etag')).toBe(false);
    expect([await statusOf({ 'If-Match': '"7"' }), await statusOf({ 'If-Match': '*' })]).toEqual([412, 200]);
    expect([await statusOf({ 'If-None-Match': '"7"' }), await statusOf({ 'If-None-Match': '*' })]).toEqual([200, 304]);
  });

  test('ignores the dates of conditions: nothing here has a modification date', async () => {
    const past = 'Sun, 06 Nov 1994 08:49:37 GMT';
    expect((await api.get('/things/1', { 'If-Unmodified-Since': past })).status).toBe(200);
  });
});

describe('a change', () => {
  test('under the current tag is made, and its answer has the new tag and says whose representation it is', async () => {
    const { status, headers } = await edit({ 'If-Match': '"7"' });
    expect([status, headers.get('etag'), headers.get('content-location')]).toEqual([200, '"8"', '/things/1']);
  });

  test('under another tag is 412 with the current one, and nothing is changed', async () => {
    const answer = await edit({ 'If-Match': '"6"' });
    expect(bodyOf(answer)).toEqual({
      type: 'about:blank',
      title: 'Precondition Failed',
      status: 412,
      detail: 'The condition of If-Match is false: the current entity tag is "7". Nothing was changed.',
      code: 'precondition_failed',
    });
    expect([answer.headers.get('etag'), stored]).toEqual(['"7"', { label: 'x', version: 7 }]);
  });

  test('under a weak tag is 412, which says why', async () => {
    const { status, body } = await edit({ 'If-Match': 'W/"7"' });
    expect([status, body.detail]).toEqual([
      412,
      'The condition of If-Match is false: the current entity tag is "7", and a weak one (W/) never matches. Nothing was changed.',
    ]);
  });

  test('with If-None-Match is 412 while a tag of it is the current one', async () => {
    for (const value of ['*', '"7"', 'W/"7"']) {
      const { status, body } = await edit({ 'If-None-Match': value });
      expect([status, body.detail]).toEqual([
        412,
        'The condition of If-None-Match is false: the current entity tag is "7". Nothing was changed.',
      ]);
    }
    expect((await edit({ 'If-None-Match': '"6"' })).status).toBe(200);
  });

  test('that is malformed in its condition is 400, which names the header and the rule', async () => {
    const rule = 'must be * alone, or entity tags in double quotes, separated by commas';
    for (const field of ['If-Match', 'If-None-Match']) {
      for (const answer of [await edit({ [field]: '7' }), await api.get('/things', { [field]: '*, "7"' })]) {
        expect(bodyOf(answer)).toEqual({
          type: 'about:blank',
          title: 'Bad Request',
          status: 400,
          detail: `${field} ${rule}`,
          code: 'malformed_request',
          errors: [{ field, rule }],
        });
      }
    }
    expect(stored.version).toBe(7);
  });

  test('is 404 before 412, 412 before 422, and 415 before 412', async () => {
    const stale = { 'If-Match': '"6"' };
    const wrong = [{ label: 1 }, {}, '{', { label: 'taken' }];
    for (const body of wrong) expect((await edit(stale, body, 404)).status).toBe(404);
    for (const body of wrong) expect((await edit(stale, body)).status).toBe(412);
    for (const body of wrong) expect((await edit({ 'If-Match': '"7"' }, body)).status).toBe(422);
    for (const body of wrong) expect((await edit({ 'If-None-Match': '*' }, body)).status).toBe(412);
    expect((await edit({ ...stale, 'content-type': 'text/plain' }, '{}')).status).toBe(415);
    expect((await edit(stale, {}, 'x')).status).toBe(422);
    expect(stored.version).toBe(7);
  });

  test('reads the version for a rejected content only when there is a condition', async () => {
    expect((await edit({}, { label: 1 })).status).toBe(422);
    expect((await edit({ 'If-Match': '"7"' })).status).toBe(200);
    expect(reads).toEqual([]);
    await edit({ 'If-Match': '"7"' }, { label: 1 });
    expect(reads).toEqual([1]);
  });
});

describe('a creation', () => {
  test('is asked of the list that gets it, which exists and has no tag: so no tag matches, and nothing is created', async () => {
    for (const headers of [{ 'If-Match': '"1"' }, { 'If-Match': 'W/"1"' }, { 'If-None-Match': '*' }]) {
      const answer = await api.post('/things', undefined, headers as Record<string, string>);
      expect(answer).toMatchObject({ status: 412, body: { code: 'precondition_failed' } });
      expect(answer.body.detail).toMatch(/the resource that gets the request exists and has no entity tag/);
      expect(answer.headers.has('etag')).toBe(false);
    }
    expect(created).toBe(0);
  });

  test('is made when its condition is true of the list', async () => {
    for (const [index, headers] of [{ 'If-Match': '*' }, { 'If-None-Match': '"1"' }].entries()) {
      const answer = await api.post('/things', undefined, headers as Record<string, string>);
      expect([answer.status, answer.headers.get('content-location')]).toEqual([201, '/things/9']);
      expect(created).toBe(index + 1);
    }
  });
});

describe('where If-Match is required', () => {
  test('a change without it is 428 and changes nothing, and If-None-Match does not replace it', async () => {
    for (const headers of [{}, { 'If-None-Match': '"6"' }]) {
      const answer = await client(strict.url).patch('/things/1', { label: 'y' }, headers as Record<string, string>);
      expect(bodyOf(answer)).toEqual({
        type: 'about:blank',
        title: 'Precondition Required',
        status: 428,
        detail: 'If-Match is required: send the ETag of the resource that you change. Nothing was changed.',
        code: 'precondition_required',
      });
    }
    expect(stored.version).toBe(7);
  });

  test('a change with it is made, and reads and creations need none', async () => {
    const strictApi = client(strict.url);
    expect((await strictApi.patch('/things/1', { label: 'y' }, { 'If-Match': '"7"' })).status).toBe(200);
    expect((await strictApi.patch('/things/1', { label: 'z' }, { 'If-Match': '*' })).status).toBe(200);
    expect((await strictApi.patch('/things/1', { label: 'z' }, { 'If-Match': '"7"' })).status).toBe(412);
    expect((await strictApi.get('/things/1')).status).toBe(200);
    expect((await strictApi.post('/things')).status).toBe(201);
  });
});

/** `fetch` joins header lines, and reads no 304 as it is. */
function raw(method: string, path: string, headers: Record<string, string | string[]>) {
  return new Promise<{ status: number; headers: object; body: string }>((resolve, reject) => {
    httpRequest(server.url + path, { method, headers, agent: false }, (response) => {
      let body = '';
      response.on('data', (chunk) => {
        body += chunk;
      });
      response.on('end', () => resolve({ status: Number(response.statusCode), headers: response.headers, body }));
    })
      .on('error', reject)
      .end();
  });
}
