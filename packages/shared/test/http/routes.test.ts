// The promise of the routes table: the HTTP behaviour of every service, tested with sample routes on a real server.
import { connect } from 'node:net';
import { Writable } from 'node:stream';
import { brotliCompressSync, deflateSync, gzipSync, zstdCompressSync } from 'node:zlib';
import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';
import { type Client, type ClientResponse, client } from '@promopulse/testing/client';
import { eventually } from '@promopulse/testing/eventually';
import { z } from 'zod';
import { conflict, unavailable } from '../../src/errors.ts';
import { createApp, errorHandler, notFoundRoute } from '../../src/http/app.ts';
import { healthRoutes } from '../../src/http/health.ts';
import { describeApi } from '../../src/http/openapi/document.ts';
import { createCursor, pageQuery } from '../../src/http/pagination.ts';
import { accessLog, assignRequestId } from '../../src/http/request-log.ts';
import { addRoutes, type Route, route } from '../../src/http/routes.ts';
import { bodyId, filledText, moment, textId } from '../../src/http/schemas.ts';
import { type RunningServer, serve } from '../../src/http/server.ts';
import { createLogger } from '../../src/telemetry/logger.ts';

const thing = z.object({ id: z.int(), label: z.string() }).meta({ id: 'Thing' });
const newThing = z.strictObject({
  label: filledText(20),
  at: moment.optional(),
  inner: z.strictObject({ depth: z.int({ error: 'must be an integer' }) }).optional(),
});

const cursor = createCursor({
  list: 't2',
  listBefore: 't1',
  filters: { kind: z.enum(['big', 'small'], 'must be big or small').optional() },
  position: z.tuple([bodyId]),
});
/** The position of a page of all things. */
const after = cursor.write([7], {});
const routes: Route[] = [
  route({
    method: 'post',
    access: 'anyone',
    path: '/things',
    operationId: 'createThing',
    summary: 'Create a thing',
    body: newThing,
    example: { label: 'first' },
    success: { status: 201, description: 'The thing', schema: thing, headers: { Location: 'Path of the thing' } },
    errors: { 409: 'it exists already', 415: 'the body is not JSON', 422: 'a rule is broken' },
    handle: async ({ body, cause }) => ({
      status: 201,
      body: { id: 7, ...body, requestId: cause.requestId, isAdmin: (body as { isAdmin?: unknown }).isAdmin },
      headers: { Location: '/things/7' },
    }),
  }),
  route({
    method: 'get',
    access: 'anyone',
    path: '/things',
    operationId: 'listThings',
    summary: 'List things',
    query: pageQuery(cursor),
    success: { status: 200, description: 'A page', schema: z.object({ items: z.array(thing) }) },
    errors: { 422: 'a parameter breaks its rule' },
    handle: async ({ query }) => ({ status: 200, body: { items: [], query } }),
  }),
  route({
    method: 'get',
    access: 'anyone',
    path: '/things/{id}',
    operationId: 'getThing',
    summary: 'Get a thing',
    params: z.strictObject({ id: textId }),
    success: { status: 200, description: 'The thing', schema: thing },
    errors: { 404: 'there is no such thing', 422: 'the id is malformed' },
    handle: async ({ params }) => ({ status: 200, body: { id: params.id, label: 'x' } }),
  }),
  route({
    method: 'patch',
    access: 'anyone',
    path: '/things/{id}',
    operationId: 'editThing',
    summary: 'Edit a thing',
    params: z.strictObject({ id: textId }),
    body: newThing.partial(),
    success: { status: 200, description: 'The thing', schema: thing },
    errors: { 415: 'the body is not JSON', 422: 'a rule is broken' },
    handle: async ({ params }) => ({ status: 200, body: { id: params.id, label: 'x' } }),
  }),
  route({
    method: 'patch',
    access: 'anyone',
    path: '/things/{id}/failure',
    operationId: 'failThing',
    summary: 'Fail',
    params: z.strictObject({ id: textId }),
    success: { status: 200, description: 'Never', schema: thing },
    errors: { 409: 'by id 1', 503: 'by id 2' },
    handle: async ({ params }) => {
      if (params.id === 1) throw conflict('thing_taken', 'The thing is taken');
      if (params.id === 2) throw unavailable('The answer is unknown', 3);
      if (params.id === 3) throw { status: 'text', type: 9 };
      throw new Error('select secret from things');
    },
  }),
];

let server: RunningServer;
let api: Client;
const lines: string[] = [];
beforeAll(async () => {
  const destination = new Writable({
    write: (chunk, _encoding, done) => {
      lines.push(String(chunk));
      done();
    },
  });
  const log = createLogger({ service: 'test', level: 'info', destination });
  const app = createApp();
  app.use(assignRequestId, accessLog(log));
  addRoutes(app, routes);
  app.use(healthRoutes({ info: { app: 'a', version: '1', environment: 'test' }, isReady: () => true }));
  app.use(
    notFoundRoute,
    errorHandler(log, () => undefined),
  );
  server = await serve(app, {
    host: '127.0.0.1',
    port: 0,
    keepAliveTimeoutMs: 5_000,
    headersTimeoutMs: 10_000,
    requestTimeoutMs: 15_000,
  });
  api = client(server.url);
});
afterAll(() => server.close(1_000));

// biome-ignore lint/suspicious/noExplicitAny: the shape of a response is what is checked
function expectProblem(answer: ClientResponse<any>, status: number, code: string): void {
  expect({ status: answer.status, code: answer.body.code }).toEqual({ status, code });
  expect(answer.headers.get('content-type')).toMatch(/^application\/problem\+json\b/);
  expect(answer.body).toMatchObject({
    type: 'about:blank',
    title: expect.any(String),
    status,
    detail: expect.any(String),
    request_id: answer.headers.get('x-request-id'),
  });
}

/** Sends bytes that no HTTP client would send. @returns all bytes received until the connection ends */
function sendRaw(request: string | Buffer): Promise<string> {
  return new Promise((resolve, reject) => {
    const socket = connect({ host: '127.0.0.1', port: server.port });
    const chunks: Buffer[] = [];
    socket.on('data', (chunk) => chunks.push(chunk));
    socket.on('error', reject);
    socket.on('close', () => resolve(Buffer.concat(chunks).toString()));
    socket.write(request);
  });
}

const postRaw = (body: Buffer | string, headers: Record<string, string> = {}) =>
  fetch(`${server.url}/things`, {
    method: 'POST',
    headers: { 'content-type': 'application/json', ...headers },
    body,
  }).then(async (response) => ({
    status: response.status,
    headers: response.headers,
    body: await response.json(),
    // biome-ignore lint/suspicious/noExplicitAny: the shape of a response is what is checked
  })) as Promise<ClientResponse<any>>;

describe('a body', () => {
  test('that is valid is parsed, and the response has the status, headers and body of the route', async () => {
    const answer = await api.post('/things', { label: 'Ada' });
    expect(answer.status).toBe(201);
    expect(answer.headers.get('location')).toBe('/things/7');
    expect(answer.headers.get('content-type')).toMatch(/^application\/json\b/);
    expect(answer.body).toMatchObject({ id: 7, label: 'Ada' });
  });

  test.each<[string, unknown, { field: string; rule: string }[]]>([
    ['without a required field', {}, [{ field: 'label', rule: 'is required' }]],
    ['with a null field', { label: null }, [{ field: 'label', rule: 'must be a string' }]],
    ['with an empty field', { label: ' \t' }, [{ field: 'label', rule: 'must not be empty' }]],
    [
      'with a field that is too long',
      { label: 'x'.repeat(21) },
      [{ field: 'label', rule: 'must be at most 20 characters' }],
    ],
    [
      'with a NUL character',
      { label: 'a\0b' },
      [{ field: 'label', rule: 'must be well-formed Unicode without NUL characters' }],
    ],
    [
      'with half a surrogate pair',
      '{"label":"\\ud800"}',
      [{ field: 'label', rule: 'must be well-formed Unicode without NUL characters' }],
    ],
    [
      'that breaks several rules',
      { inner: { depth: 'x', more: 1 }, size: 1 },
      [
        { field: 'label', rule: 'is required' },
        { field: 'inner.depth', rule: 'must be an integer' },
        { field: 'inner.more', rule: 'is not a known field' },
        { field: 'size', rule: 'is not a known field' },
      ],
    ],
    [
      'with an email or a phone number as a field name',
      { label: 'x', 'ada@example.com': 1, inner: { depth: 1, '+14155550123': 1 } },
      [
        { field: 'inner.(not shown)', rule: 'is not a known field' },
        { field: '(not shown)', rule: 'is not a known field' },
      ],
    ],
    ['that is a list', [], [{ field: 'body', rule: 'must be a JSON object' }]],
    ['that is a list of one', [{ label: 'x' }], [{ field: 'body', rule: 'must be a JSON object' }]],
    ['that is absent', undefined, [{ field: 'body', rule: 'is required' }]],
  ])('%s is rejected, and each field and rule is named', async (_what, body, errors) => {
    const answer = await api.post('/things', body);
    expectProblem(answer, 422, 'validation_failed');
    expect(answer.body.errors).toEqual(errors);
    expect(answer.body.detail).toBe(errors.map(({ field, rule }) => `${field} ${rule}`).join('; '));
  });

  test.each(['{', '{"label":"x"', "{'label':'x'}", 'NaN', '{"label":"x"}}'])(
    'that is not JSON (%j) is a 422',
    async (body) => {
      expectProblem(await postRaw(body), 422, 'malformed_json');
    },
  );

  test.each([
    ['', 'is required'],
    ['"x"', 'must be a JSON object'],
    ['null', 'must be a JSON object'],
    ['7', 'must be a JSON object'],
  ])('that is JSON but not an object (%j) is a 422 with that rule', async (body, rule) => {
    const answer = await postRaw(body);
    expectProblem(answer, 422, 'validation_failed');
    expect(answer.body.errors).toEqual([{ field: 'body', rule }]);
  });

  test('that is not UTF-8 is rejected, and not stored with replacement characters', async () => {
    const body = Buffer.concat([Buffer.from('{"label":"'), Buffer.of(0xff, 0xc3), Buffer.from('"}')]);
    const answer = await postRaw(body);
    expectProblem(answer, 422, 'malformed_json');
    expect(answer.body).toMatchObject({ errors: [{ field: 'body', rule: 'must be valid JSON in UTF-8' }] });
    const latin = await postRaw(Buffer.from('{"label":"\xe9"}', 'latin1'), {
      'content-type': 'application/json; charset=iso-8859-1',
    });
    expectProblem(latin, 422, 'malformed_json');
  });

  test.each([
    ...[
      'us-ascii',
      'ISO-8859-1',
      'iso-8859-15',
      'utf-16',
      'utf-16le',
      'utf-32',
      'UTF8',
      'utf-8',
      '"utf-8"',
      'windows-1252',
    ],
    ...['no-such-charset', '', '"', 'utf-8; charset=latin1', '\xff'],
  ])('in UTF-8 is read whatever its charset says (%j)', async (charset) => {
    const type = `application/json; charset=${charset}`;
    expect(await postRaw('{"label":"Zoë"}', { 'content-type': type })).toMatchObject({
      status: 201,
      body: { label: 'Zoë' },
    });
  });

  test.each(['utf-16', 'utf-16le', 'utf-8'])('in UTF-16 is not read, although its charset is %s', async (charset) => {
    const text = '{"label":"Zoë"}';
    for (const body of [Buffer.from(text, 'utf16le'), Buffer.from(`\ufeff${text}`, 'utf16le')]) {
      const answer = await postRaw(body, { 'content-type': `application/json; charset=${charset}` });
      expectProblem(answer, 422, 'malformed_json');
    }
  });

  test('may begin with one byte order mark, which is ignored', async () => {
    expect(await postRaw('\ufeff{"label":"x"}')).toMatchObject({ status: 201, body: { label: 'x' } });
    expectProblem(await postRaw('\ufeff\ufeff{"label":"x"}'), 422, 'malformed_json');
    expect((await postRaw('\ufeff')).body).toMatchObject({ code: 'malformed_json' });
  });

  test.each([
    ['{"label":"a","label":"b"}', 'label'],
    ['{"label":"a","inner":{"depth":1,"depth":2}}', 'inner.depth'],
    ['{"label":"a","inner":{"depth":1,"d\\u0065pth":1}}', 'inner.depth'],
  ])('that has a name twice is rejected: %s', async (body, field) => {
    const answer = await postRaw(body);
    expectProblem(answer, 422, 'validation_failed');
    expect(answer.body.errors).toEqual([{ field, rule: 'must be given once' }]);
  });

  test.each([
    'text/plain',
    'application/x-www-form-urlencoded',
    'multipart/form-data; boundary=x',
    'json',
    'text/json',
    'application/merge-patch+json',
    'application/json-patch+json',
    'application/problem+json',
    'application/vnd.api+json',
    'application/ld+json; charset=utf-8',
    'application/jsonx',
    'application/json+json',
  ])('of content type %s is a 415', async (type) => {
    const answer = await postRaw('{"label":"x"}', { 'content-type': type });
    expectProblem(answer, 415, 'unsupported_media_type');
    expect(answer.headers.get('accept')).toBe('application/json');
    expect(answer.headers.get('accept-post')).toBe('application/json');
    expect(answer.headers.get('accept-encoding')).toBeNull(); // RFC 9110 12.5.3: only where the coding is the reason
  });

  test('of another content type is a 415 that names the types of a PATCH, by a PATCH', async () => {
    const types = 'application/json, application/merge-patch+json';
    for (const type of ['text/plain', 'application/json-patch+json', 'application/strategic-merge-patch+json']) {
      const answer = await api.patch('/things/1', '{"label":"x"}', { 'content-type': type });
      expectProblem(answer, 415, 'unsupported_media_type');
      expect(answer.body.detail).toBe('Content-Type must be application/json or application/merge-patch+json');
      expect([answer.headers.get('accept-patch'), answer.headers.get('accept')]).toEqual([types, types]);
    }
    for (const type of [
      'application/merge-patch+json',
      'Application/Merge-Patch+JSON ; charset=utf-8',
      'application/json',
    ]) {
      expect((await api.patch('/things/1', '{"label":"x"}', { 'content-type': type })).status).toBe(200);
    }
  });

  test('without a content type is a 415', async () => {
    const answer = await sendRaw(
      'POST /things HTTP/1.1\r\nHost: x\r\nConnection: close\r\nContent-Length: 2\r\n\r\n{}',
    );
    expect(answer).toMatch(/^HTTP\/1\.1 415 /);
  });

  test.each([
    'application/json; charset=utf-8',
    'APPLICATION/JSON',
    'application/json ; q=1',
    'application/json;',
    'application/json;version="1;2"',
  ])('of content type %s is read as JSON', async (type) => {
    expect(await postRaw('{"label":"x"}', { 'content-type': type })).toMatchObject({ status: 201 });
  });

  test('of 64 KiB is read, and one byte more is a 413, also if it is chunked or compressed', async () => {
    const sized = (bytes: number) => `{"label":"x"${' '.repeat(bytes - 13)}}`;
    expect(await postRaw(sized(65_536))).toMatchObject({ status: 201 });
    expectProblem(await postRaw(sized(65_537)), 413, 'body_too_large');
    expectProblem(await postRaw(gzipSync(sized(5_000_000)), { 'content-encoding': 'gzip' }), 413, 'body_too_large');
    const chunk = ' '.repeat(0x8000);
    const chunked = `8000\r\n${chunk}\r\n`.repeat(3);
    const answer = await sendRaw(
      `POST /things HTTP/1.1\r\nHost: x\r\nConnection: close\r\nContent-Type: application/json\r\nTransfer-Encoding: chunked\r\n\r\n${chunked}0\r\n\r\n`,
    );
    expect(answer).toMatch(/^HTTP\/1\.1 413 /);
  });

  test.each([
    ['gzip', gzipSync],
    ['GZIP', gzipSync],
    ['x-gzip', gzipSync],
    ['X-GZip', gzipSync],
    ['identity, gzip', gzipSync],
    ['deflate', deflateSync],
    ['br', brotliCompressSync],
    ['zstd', zstdCompressSync],
    ['identity', Buffer.from],
    ['Identity', Buffer.from],
    ['', Buffer.from],
  ])('that is compressed with %s is decompressed', async (encoding, compress) => {
    const answer = await postRaw(compress('{"label":"x"}'), { 'content-encoding': encoding });
    expect(answer).toMatchObject({ status: 201, body: { label: 'x' } });
  });

  test.each([
    ['gzip', gzipSync],
    ['x-gzip', gzipSync],
    ['deflate', deflateSync],
    ['br', brotliCompressSync],
    ['zstd', zstdCompressSync],
  ])('whose %s is broken or cut is a 400 that names the body and its coding', async (encoding, compress) => {
    const whole = Buffer.from(compress(`{"label":"${'x'.repeat(19)}"}`));
    for (const body of [Buffer.from('{"label":"x"}'), whole.subarray(0, -3), Buffer.from([0, 1, 2, 3, 4, 5, 6, 7])]) {
      const answer = await postRaw(body, { 'content-encoding': encoding });
      expectProblem(answer, 400, 'bad_request');
      const rule = `must be valid ${encoding.replace('x-', '')}, as its Content-Encoding says`;
      expect([answer.body.detail, answer.body.errors]).toEqual([`The body ${rule}`, [{ field: 'body', rule }]]);
    }
  });

  test('that is declared as compressed but is not is a 400; with an unknown encoding it is a 415', async () => {
    expectProblem(await postRaw('{"label":"x"}', { 'content-encoding': 'gzip' }), 400, 'bad_request');
    for (const encoding of ['rot13', 'compress', 'x-compress', 'gzip, gzip', 'gzip;q=1', '*']) {
      const answer = await postRaw('{"label":"x"}', { 'content-encoding': encoding });
      expectProblem(answer, 415, 'unsupported_encoding');
      expect(answer.headers.get('accept-encoding')).toBe('gzip, deflate, br, zstd');
      expect(answer.headers.get('accept')).toBeNull();
    }
  });

  test('where none is defined is rejected like an unknown field, and accepted when it is empty or an empty object', async () => {
    const raw = (head: string, body: string, type = '') =>
      sendRaw(
        `${head} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n${type && `Content-Type: ${type}\r\n`}Content-Length: ${body.length}\r\n\r\n${body}`,
      );
    const json = 'application/json';
    for (const head of ['GET /things/1', 'GET /things']) {
      const unknown = await raw(head, '{"verbose":true,"__proto__":1}', json);
      expect(unknown).toMatch(/^HTTP\/1\.1 422 [\s\S]*"verbose is not a known field; __proto__ is not a known field"/);
      const notEmpty = /^HTTP\/1\.1 422 [\s\S]*"body must be empty, or an empty JSON object"/;
      const form = 'application/x-www-form-urlencoded';
      for (const [body, type] of [
        ['[1]', json],
        ['[1]', form],
        ['x=1', ''],
        ['x=1', form],
        ['7', 'text/plain'],
      ]) {
        expect(await raw(head, body as string, type)).toMatch(notEmpty);
      }
      for (const type of ['', form, 'text/plain', 'application/vnd.api+json']) {
        expect(await raw(head, '{}', type)).toMatch(/^HTTP\/1\.1 200 /);
        expect(await raw(head, '{"a":1}', type)).toMatch(/^HTTP\/1\.1 422 [\s\S]*"a is not a known field"/);
      }
      expect(await raw(head, '{}', json)).toMatch(/^HTTP\/1\.1 200 /);
      expect(await raw(head, '')).toMatch(/^HTTP\/1\.1 200 /);
      expect(
        await sendRaw(
          `${head} HTTP/1.1\r\nHost: x\r\nConnection: close\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n`,
        ),
      ).toMatch(/^HTTP\/1\.1 200 /);
    }
  });

  test('with thousands of nested arrays is rejected like any unknown field', async () => {
    expectProblem(await postRaw(`{"x":${'['.repeat(20_000)}${']'.repeat(20_000)}}`), 422, 'validation_failed');
  });

  test.each([
    '{"label":"x","__proto__":{"isAdmin":true}}',
    '{"label":"x","constructor":{"prototype":{"isAdmin":true}}}',
    '{"label":"x","inner":{"depth":1,"__proto__":{"isAdmin":true}}}',
    '{"label":"x","isAdmin":true}',
  ])('%s changes no prototype, and the handler does not get the property', async (body) => {
    const answer = await api.post('/things', body);
    expect(answer.status === 201 ? answer.body.isAdmin : undefined).toBeUndefined();
    expect(JSON.stringify(answer.body.inner ?? {})).not.toContain('isAdmin');
    expect(({} as { isAdmin?: unknown }).isAdmin).toBeUndefined();
  });
});

describe('a query', () => {
  test('is converted by type, and a missing parameter has its default', async () => {
    expect((await api.get('/things')).body.query).toEqual({ limit: 100 });
    expect((await api.get('/things?limit=5&kind=big')).body.query).toEqual({ limit: 5, kind: 'big' });
    expect((await api.get(`/things?cursor=${after}`)).body.query).toMatchObject({
      limit: 100,
      cursor: { position: [7] },
    });
  });

  test.each([
    ['limit=0', 'limit', 'must be an integer from 1 to 1000'],
    ['limit=1001', 'limit', 'must be an integer from 1 to 1000'],
    ['limit=', 'limit', 'must be an integer from 1 to 1000'],
    ['limit=1e2', 'limit', 'must be an integer from 1 to 1000'],
    ['limit=%2B5', 'limit', 'must be an integer from 1 to 1000'],
    ['limit=5&limit=5', 'limit', 'must be given once'],
    ['limit[]=5', 'limit[]', 'is not a known field'],
    ['offset=2147483648', 'offset', 'must be an integer from 0 to 2147483647'],
    ['cursor=', 'cursor', 'must be the next_cursor of a page of this list'],
    ['cursor=x', 'cursor', 'must be the next_cursor of a page of this list'],
    [`cursor=${after}&cursor=${after}`, 'cursor', 'must be given once'],
    [`cursor=${after}&offset=0`, 'cursor', 'cannot be combined with offset'],
    [`cursor=${after}&kind=big`, 'kind', 'must be the same as in the request that gave the cursor'],
    ['kind=BIG', 'kind', 'must be big or small'],
    ['kind=%ZZ', 'kind', 'must be big or small'],
    ['kind=big&kind=big', 'kind', 'must be given once'],
    [`limit=5${'&'.repeat(5_000)}page=2`, 'page', 'is not a known field'],
    [`${'limit=5&'.repeat(1_500)}kind=big`, 'limit', 'must be given once'],
    ['page=2', 'page', 'is not a known field'],
    ['__proto__=1', '__proto__', 'is not a known field'],
    ['constructor=1', 'constructor', 'is not a known field'],
    ['toString=1', 'toString', 'is not a known field'],
    ['ada@example.com=1', '(not shown)', 'is not a known field'],
    ['%2B14155550123=1', '(not shown)', 'is not a known field'],
  ])('?%s is rejected', async (query, field, rule) => {
    const answer = await api.get(`/things?${query}`);
    expectProblem(answer, 422, 'validation_failed');
    expect(answer.body.errors).toEqual([{ field, rule }]);
  });

  test.each([999, 1_000, 1_001, 5_000])('is read to its end after %i empty parts', async (count) => {
    const read = async (query: string) => (await api.get(`/things?${query}`)).body.query;
    expect(await read(`limit=5${'&'.repeat(count)}kind=big`)).toEqual({ limit: 5, kind: 'big' });
    expect(await read(`${'&'.repeat(count)}kind=big&limit=5`)).toEqual({ limit: 5, kind: 'big' });
  });

  test('of thousands of unknown parameters is rejected', async () => {
    const answer = await api.get(`/things?${Array.from({ length: 1_500 }, (_, index) => `p${index}`).join('&')}`);
    expectProblem(answer, 422, 'validation_failed');
    expect(answer.body.errors.at(-1)).toEqual({ field: 'request', rule: 'has more errors (1400)' });
  });

  test('is rejected by a route that accepts none', async () => {
    const answer = await api.get('/things/1?verbose=yes');
    expectProblem(answer, 422, 'validation_failed');
    expect(answer.body.errors).toEqual([{ field: 'verbose', rule: 'is not a known field' }]);
  });
});

describe('a path', () => {
  test.each([
    'abc',
    '0',
    '-1',
    '1.0',
    '01',
    '9007199254740992',
    '99999999999999999999',
    '%00',
    '%2f',
    '1%20',
    '%EF%BC%91',
  ])('whose id is %s is a 422', async (id) => {
    const answer = await api.get(`/things/${id}`);
    expectProblem(answer, 422, 'validation_failed');
    expect(answer.body.errors).toEqual([{ field: 'id', rule: 'must be an integer from 1 to 9007199254740991' }]);
  });

  test.each(['%', '%ZZ', '%ff', '%C3%28'])('that cannot be decoded (%s) is a 400', async (id) => {
    const answer = await api.get(`/things/${id}`);
    expectProblem(answer, 400, 'bad_request');
    expect(answer.body.detail).toBe('The path is not valid percent-encoded UTF-8');
  });

  test.each([
    '/',
    '/nothing',
    '/things/1/2',
    '/Things',
    '/HEALTH',
    '/Health/Live',
    '/health/READY',
    '/__proto__',
    '//things',
  ])('that is unknown (%s) is a 404', async (path) => {
    const answer = await fetch(server.url + path);
    expect(answer.status).toBe(404);
    expect(await answer.json()).toMatchObject({
      code: 'no_such_path',
      detail: 'There is no such path. /openapi.json lists all paths.',
    });
  });

  test.each([
    ['DELETE', '/things', 'POST, GET, HEAD'],
    ['PUT', '/things/1', 'GET, HEAD, PATCH'],
    ['OPTIONS', '/things/1', 'GET, HEAD, PATCH'],
    ['POST', '/things/abc', 'GET, HEAD, PATCH'],
    ['GET', '/things/1/failure', 'PATCH'],
    ['HEAD', '/things/1/failure', 'PATCH'],
  ])('%s %s, with an unsupported method, is a 405 that lists the supported ones', async (method, path, allow) => {
    const answer = await fetch(server.url + path, { method });
    expect(answer.status).toBe(405);
    expect(answer.headers.get('allow')).toBe(allow);
    const body = await answer.text();
    if (method === 'HEAD') return;
    const detail = `This path supports only ${allow}`;
    expect(JSON.parse(body)).toMatchObject({ code: 'method_not_allowed', detail });
  });

  test('in absolute form, as sent to a proxy, is found as well', async () => {
    const answer = await sendRaw('GET http://x.test/things/5 HTTP/1.1\r\nHost: x.test\r\nConnection: close\r\n\r\n');
    expect(answer).toMatch(/^HTTP\/1\.1 200 [\s\S]*"id":5/);
  });

  test('answers HEAD as GET without the body', async () => {
    const get = await fetch(`${server.url}/things/1`);
    const head = await fetch(`${server.url}/things/1`, { method: 'HEAD' });
    expect(head.status).toBe(200);
    expect(await head.text()).toBe('');
    for (const name of ['content-type', 'content-length']) expect(head.headers.get(name)).toBe(get.headers.get(name));
    const missing = await fetch(`${server.url}/things/abc`, { method: 'HEAD' });
    expect([missing.status, await missing.text()]).toEqual([422, '']);
  });
});

describe('the request id', () => {
  test.each(['a', 'A-Z.a_z:09', 'x'.repeat(128)])(
    'of the caller (%s) is kept, passed to the handler and returned',
    async (id) => {
      const answer = await api.post('/things', { label: 'x' }, { 'x-request-id': id });
      expect(answer.headers.get('x-request-id')).toBe(id);
      expect(answer.body.requestId).toBe(id);
      await eventually(() => expect(lines.join()).toContain(`"request_id":"${id}","method":"POST"`));
    },
  );

  test.each(['', 'x'.repeat(129), 'two words', 'ada@example.com', 'é', 'a,b', '{"a":1}'])(
    'of the caller (%j) is replaced if it has other characters or a wrong length',
    async (id) => {
      const answer = await api.get('/things/1', { 'x-request-id': id });
      expect(answer.headers.get('x-request-id')).toMatch(/^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$/);
    },
  );

  test('is replaced if it is sent twice, and generated for each request if it is not sent', async () => {
    const twice = await sendRaw(
      'GET /things/1 HTTP/1.1\r\nHost: x\r\nConnection: close\r\nX-Request-Id: a\r\nX-Request-Id: b\r\n\r\n',
    );
    expect(twice).toMatch(/X-Request-Id: [0-9a-f-]{36}\r\n/);
    const ids = await Promise.all([1, 2, 3].map(async () => (await api.get('/')).body.request_id));
    expect(new Set(ids).size).toBe(3);
  });
});

describe('an error of a handler', () => {
  test('of type DomainError is answered according to its kind and code', async () => {
    const answer = await api.patch('/things/1/failure');
    expectProblem(answer, 409, 'thing_taken');
    expect(answer.body).toMatchObject({ title: 'Conflict', detail: 'The thing is taken' });
    expect(answer.body).not.toHaveProperty('errors');
  });

  test('of kind unavailable is answered with Retry-After', async () => {
    const answer = await api.patch('/things/2/failure');
    expectProblem(answer, 503, 'unavailable');
    expect(answer.headers.get('retry-after')).toBe('3');
  });

  test.each([3, 4])(
    'of any other type (case %i) is answered with 500 without details, and logged without its message',
    async (id) => {
      const answer = await api.patch(`/things/${id}/failure`, undefined, { 'x-request-id': `accident-${id}` });
      expectProblem(answer, 500, 'internal_error');
      expect(answer.body).toEqual({
        type: 'about:blank',
        title: 'Internal Server Error',
        status: 500,
        detail: 'The server failed. Report the request_id.',
        code: 'internal_error',
        request_id: `accident-${id}`,
      });
      const logged = lines.filter((line) => line.includes(`accident-${id}`) && line.includes('unexpected error'));
      expect(logged).toHaveLength(1);
      expect(lines.join()).not.toContain('secret');
    },
  );
});

test.each([
  ['GET', '/things/ada@example.com?email=bob@example.com', '/things/{id}', 422],
  ['GET', '/things/4915112345678', '/things/{id}', 200],
  ['DELETE', '/things/4915112345678', '/things/{id}', 405],
  ['PATCH', '/things/4915112345678/failure', '/things/{id}/failure', 500],
  ['GET', '/things/%ff4915112345678', '(no route)', 400],
  ['GET', '/4915112345678', '(no route)', 404],
  ['GET', '/health/4915112345678', '(no route)', 404],
])(
  'the access log has the template of the route of %s %s, and no part of its path',
  async (method, path, route, status) => {
    const id = `access-${method}-${Buffer.from(path).toString('hex').slice(0, 80)}`;
    await api.request(method, path, { headers: { 'x-request-id': id } });
    const line = await eventually(() => {
      const found = lines.find((each) => each.includes(id) && each.includes('"msg":"request"'));
      if (!found) throw new Error('not yet');
      return found;
    });
    expect(JSON.parse(line)).toMatchObject({ method, route, status, msg: 'request' });
    expect(lines.join()).not.toMatch(/(ada|bob)@|4915112345678/);
  },
);

test('the reason phrase of a problem is its title', async () => {
  const oversized = `Content-Type: application/json\r\nContent-Length: 65537\r\n\r\n${' '.repeat(65_537)}`;
  const requests = [
    'GET /nothing',
    'GET /things/abc',
    'DELETE /things',
    `POST /things HTTP/1.1\r\nHost: x\r\nConnection: close\r\n${oversized}`,
  ];
  for (const request of requests) {
    const answer = await sendRaw(
      request.includes('HTTP') ? request : `${request} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n`,
    );
    const [, status, phrase] = /^HTTP\/1\.1 (\d+) ([^\r]+)/.exec(answer) ?? [];
    const { title } = JSON.parse(answer.slice(answer.indexOf('\r\n\r\n')));
    expect([status, phrase]).toEqual([status, title]);
  }
});

test.each([900, 1_000, 2_001])('%i short header fields are accepted, and none is lost', async (count) => {
  const fields = Array.from({ length: count }, (_, index) => `a${index}: 1\r\n`).join('');
  const answer = await sendRaw(
    `GET /things/1 HTTP/1.1\r\nHost: x\r\n${fields}X-Request-Id: last\r\nConnection: close\r\n\r\n`,
  );
  expect(answer).toMatch(/^HTTP\/1\.1 200 [\s\S]*X-Request-Id: last\r\n/);
});

test('responses reveal nothing about the software', async () => {
  const { headers } = await api.get('/things/1');
  for (const name of ['x-powered-by', 'server', 'etag']) expect(headers.has(name)).toBe(false);
});

describe('a server that closes', () => {
  const options = {
    host: '127.0.0.1',
    port: 0,
    keepAliveTimeoutMs: 5_000,
    headersTimeoutMs: 5_000,
    requestTimeoutMs: 5_000,
  };

  test('finishes the requests in flight, closes idle connections and accepts no new one', async () => {
    let finish: (() => void) | undefined;
    const closing = await serve((request, response) => {
      if (request.url === '/slow') finish = () => response.end('done');
      else response.end('quick');
    }, options);
    await (await fetch(`${closing.url}/quick`)).text(); // leaves a keep-alive connection
    const slow = fetch(`${closing.url}/slow`);
    await eventually(() => expect(finish).toBeDefined());
    const closed = closing.close(5_000);
    await expect(fetch(`${closing.url}/quick`)).rejects.toThrow();
    finish?.();
    const answer = await slow;
    expect(await answer.text()).toBe('done');
    expect(answer.headers.get('connection')).toBe('close');
    await closed;
  });

  test('closes the connections of unfinished requests at its deadline', async () => {
    const hanging = await serve(() => undefined, options);
    const never = fetch(hanging.url).then(
      () => 'answered',
      () => 'cut',
    );
    await new Promise((resolve) => setTimeout(resolve, 100));
    const start = performance.now();
    await hanging.close(300);
    expect(performance.now() - start).toBeLessThan(1_500);
    expect(await never).toBe('cut');
  });

  test('a port that is in use is reported as the listen error', async () => {
    await expect(serve(() => undefined, { ...options, port: server.port })).rejects.toMatchObject({
      code: 'EADDRINUSE',
    });
  });
});

describe('the OpenAPI document', () => {
  // biome-ignore lint/suspicious/noExplicitAny: the shape of the document is what is checked
  const document = JSON.parse(JSON.stringify(describeApi(routes, { title: 'Things', version: '1.2.3' }))) as any;

  function walk(node: unknown, visit: (key: string, value: unknown) => void): void {
    if (typeof node !== 'object' || node === null) return;
    for (const [key, value] of Object.entries(node)) {
      visit(key, value);
      walk(value, visit);
    }
  }

  test('has version 3.1 and the name of the service', () => {
    expect(document.openapi).toMatch(/^3\.1\.\d+$/);
    expect(document.info).toEqual({ title: 'Things', version: '1.2.3' });
  });

  test('has every path, method and status of the table, and no other', () => {
    const described = Object.entries(document.paths).flatMap(([path, item]) =>
      Object.entries(item as Record<string, { operationId: string; responses: object }>).map(([method, operation]) => [
        operation.operationId,
        method,
        path,
        ...Object.keys(operation.responses).map(Number),
      ]),
    );
    const declared = routes.map(({ operationId, method, path, success, errors }) => [
      operationId,
      method,
      path,
      ...[
        ...new Set([success.status, ...Object.keys(errors).map(Number), ...(method === 'get' ? [] : [409, 422])]),
      ].sort((a, b) => a - b),
    ]);
    expect(described.sort()).toEqual(declared.sort());
  });

  test('declares every parameter that a path has', () => {
    for (const [path, item] of Object.entries<Record<string, { parameters?: { name: string; in: string }[] }>>(
      document.paths,
    )) {
      for (const operation of Object.values(item)) {
        const named = [...path.matchAll(/\{(\w+)\}/g)].map(([, name]) => name);
        const inPath = (operation.parameters ?? []).filter((parameter) => parameter.in === 'path');
        expect(inPath.map(({ name }) => name)).toEqual(named);
        for (const parameter of inPath) expect(parameter).toMatchObject({ required: true });
      }
    }
  });

  test('refers only to components that exist, and has no unused schema', () => {
    const used = new Set<string>();
    walk(document, (key, value) => {
      if (key === '$ref') used.add(String(value));
    });
    for (const reference of used) {
      const path = reference.split('/').slice(1);
      expect([reference, path.reduce((node, key) => node?.[key], document)]).toEqual([reference, expect.any(Object)]);
    }
    const schemas = Object.keys(document.components.schemas).map((name) => `#/components/schemas/${name}`);
    expect([...used].filter((reference) => reference.includes('/schemas/')).sort()).toEqual(schemas.sort());
    expect(schemas).toEqual(['FieldError', 'Problem', 'Thing'].map((name) => `#/components/schemas/${name}`));
  });

  test('describes requests and responses, with defaults, bounds, an example and headers', () => {
    const { post, get } = document.paths['/things'];
    expect(post.requestBody).toMatchObject({
      required: true,
      content: {
        'application/json': {
          schema: {
            type: 'object',
            required: ['label'],
            additionalProperties: false,
            properties: {
              label: { type: 'string', minLength: 1, maxLength: 20 },
              at: { type: 'string', format: 'date-time' },
            },
          },
          example: { label: 'first' },
        },
      },
    });
    expect(post.responses['201']).toMatchObject({
      description: 'The thing',
      headers: { Location: { schema: { type: 'string' } } },
      content: { 'application/json': { schema: { $ref: '#/components/schemas/Thing' } } },
    });
    expect(post.responses['409']).toMatchObject({
      description: 'Conflict: it exists already; or a request with the same `Idempotency-Key` is in progress',
      content: { 'application/problem+json': { schema: { $ref: '#/components/schemas/Problem' } } },
    });
    expect(get.parameters).toEqual([
      expect.objectContaining({ in: 'query', name: 'kind', schema: { type: 'string', enum: ['big', 'small'] } }),
      expect.objectContaining({
        in: 'query',
        name: 'limit',
        schema: expect.objectContaining({ type: 'integer', minimum: 1, maximum: 1000, default: 100 }),
      }),
      expect.objectContaining({ in: 'query', name: 'offset', schema: expect.not.objectContaining({ default: 0 }) }),
      expect.objectContaining({
        in: 'query',
        name: 'cursor',
        schema: { type: 'string', minLength: 1, maxLength: 256 },
      }),
    ]);
    for (const parameter of get.parameters) expect(parameter.required ?? false).toBe(false);
  });
});
