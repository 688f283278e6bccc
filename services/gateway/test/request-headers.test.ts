// The table "Header fields of a request" of the gateway's README: each of its lines is tried on a raw socket. The services
// behind the gateway are made of the routes that all services are made of.
import { readFileSync } from 'node:fs';
import { Writable } from 'node:stream';
import { brotliCompressSync, deflateSync, gunzipSync, gzipSync, zstdCompressSync } from 'node:zlib';
import { afterAll, beforeAll, beforeEach, describe, expect, test } from '@jest/globals';
import { notFound } from '@promopulse/shared/errors';
import { createApp, errorHandler, notFoundRoute } from '@promopulse/shared/http/app';
import { checkVersion, versionHeaders } from '@promopulse/shared/http/preconditions';
import { assignRequestId } from '@promopulse/shared/http/request-log';
import { addRoutes, route } from '@promopulse/shared/http/routes';
import { createLogger } from '@promopulse/shared/telemetry/logger';
import { z } from 'zod';
import { answerWith, startTestGateway, type TestGateway } from './stubs.ts';
import { headerOf, type RawAnswer, sendRaw } from './wire.ts';

const end = '\r\n\r\n';
const thing = z.object({ id: z.int() });
const params = z.strictObject({ id: z.coerce.number().int() });
const shared = {
  summary: 'Try',
  access: 'anyone' as const,
  errors: {},
  success: { status: 200, description: 'A thing', schema: thing },
};
const version = 3;
const findVersion = async ({ id }: { id: number }) => {
  if (id === 404) throw notFound('Thing not found');
  return version;
};
const answerThing = async ({ params: { id } }: { params: { id: number } }) => {
  await findVersion({ id });
  return { status: 200, body: { id }, headers: versionHeaders(version) };
};
const routes = [
  route({ ...shared, method: 'get', path: '/users/{id}', operationId: 'get', params, handle: answerThing }),
  route({
    ...shared,
    method: 'patch',
    path: '/users/{id}',
    operationId: 'patch',
    params,
    body: z.strictObject({ name: z.string().optional() }),
    currentVersion: findVersion,
    takesReason: true,
    handle: async (input) => {
      const rejection = checkVersion(input.conditions, await findVersion(input.params));
      if (rejection) throw rejection;
      changes += 1;
      return answerThing(input);
    },
  }),
];

/** Changes that the service has made. */
let changes = 0;
let gateway: TestGateway;
beforeAll(async () => {
  gateway = await startTestGateway({ TRUSTED_PROXIES: '192.0.2.1' });
  const log = createLogger({ service: 'test', level: 'error', destination: new Writable({ write: () => true }) });
  const app = createApp();
  app.use(assignRequestId);
  addRoutes(app, routes);
  app.use(notFoundRoute, errorHandler(log));
  gateway.users.handler = app;
  gateway.promotions.handler = answerWith(
    415,
    { Accept: 'application/json', 'Accept-Encoding': 'gzip, x-gzip', 'Accept-Patch': 'application/merge-patch+json' },
    '{}',
  );
});
afterAll(() => gateway.close());
beforeEach(() => {
  gateway.users.received = [];
  changes = 0;
});

const send = (...parts: string[]) => sendRaw(gateway.port, parts, 50);
const get = (path: string, ...lines: string[]) =>
  send(`GET ${path} HTTP/1.1\r\n${['Host: gateway', ...lines].join('\r\n')}${end}`);
const json = 'Content-Type: application/json';
const patch = (path: string, ...lines: string[]) =>
  send(`PATCH ${path} HTTP/1.1\r\n${['Host: gateway', 'Content-Length: 2', json, ...lines].join('\r\n')}${end}{}`);
const received = () => gateway.users.received.at(-1);
const code = ({ body }: RawAnswer) => JSON.parse(body).code;

type Effect = 'evaluated' | 'refused' | 'without effect';

/** The values that change nothing, of a field without effect. */
const ignored: Record<string, string[]> = {
  Traceparent: ['00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01', 'ada@example.com'],
  Tracestate: ['vendor=1'],
  Baggage: ['email=ada%40example.com'],
  Accept: ['image/png', 'application/json;q=0', 'no media type', ''],
  'Accept-Charset': ['utf-16', 'utf-8;q=0'],
  'Accept-Language': ['de', '*;q=0'],
  Authorization: ['Basic YTpi', 'Bearer x', 'nonsense'],
  Pragma: ['no-cache'],
  'Content-Language': ['de'],
  'Content-Location': ['/users/2', 'http://other.example/'],
  Date: ['Sun, 06 Nov 1994 08:49:37 GMT', 'yesterday'],
  From: ['ada@example.com'],
  'If-Modified-Since': ['Sun, 06 Nov 2094 08:49:37 GMT', 'yesterday'],
  'If-Unmodified-Since': ['Sun, 06 Nov 1994 08:49:37 GMT', 'yesterday'],
  'If-Range': ['"x"'],
  Range: ['bytes=0-1', 'bytes=9999-', 'lines=1'],
  'Keep-Alive': ['timeout=1000'],
  'MIME-Version': ['1.0'],
  'Proxy-Authorization': ['Basic YTpi'],
  Referer: ['http://other.example/?email=ada@example.com'],
  TE: ['trailers', 'gzip;q=1'],
  Trailer: ['Expires', 'Content-Length'],
  Upgrade: ['h2c', 'websocket', 'HTTP/3.0'],
  'HTTP2-Settings': ['AAMAAABkAAQAAP__'],
  'User-Agent': ['curl/8', ''],
  'Accept-Ranges': ['bytes'],
  Age: ['1'],
  Allow: ['GET'],
  'Authentication-Info': ['x=1'],
  ETag: ['"x"'],
  Expires: ['0'],
  'Last-Modified': ['Sun, 06 Nov 1994 08:49:37 GMT'],
  Location: ['/users/2'],
  'Proxy-Authenticate': ['Basic'],
  'Proxy-Authentication-Info': ['x=1'],
  'Retry-After': ['60'],
  Server: ['x'],
  Vary: ['*'],
  'WWW-Authenticate': ['Basic'],
  'X-Real-IP': ['192.0.2.7'],
  'X-Internal-User': ['1'],
  'X-Internal-*': ['1'],
};
/** What the service must not see of a field without effect. */
const removed = [
  'Authorization',
  'Keep-Alive',
  'Proxy-Authorization',
  'TE',
  'Trailer',
  'Upgrade',
  'HTTP2-Settings',
  'Traceparent',
  'Tracestate',
  'Baggage',
];

const forwarded = async (field: string, value: string, name = field.toLowerCase()) => {
  await get('/users/1', `${field}: ${value}`);
  return received()?.headers[name];
};

/** What is checked of a field that is evaluated or refused. */
const checks: Record<string, () => Promise<void>> = {
  'Accept-Encoding': async () => {
    const answer = await get('/users/1', 'Accept-Encoding: gzip, br');
    expect([answer.body, headerOf(answer, 'content-encoding')]).toEqual(['{"id":1}', undefined]);
  },
  'Cache-Control': async () => {
    for (const directive of ['no-cache', 'no-store', 'only-if-cached', 'max-age=0', 'x-no-transform']) {
      const answer = await get('/users/1', `Cache-Control: ${directive}`);
      expect([answer.status, answer.body]).toEqual([200, '{"id":1}']);
    }
    const page = async (...lines: string[]) =>
      headerOf(await get('/docs/swagger-ui.0123456789ab.css', 'Accept-Encoding: gzip', ...lines), 'content-encoding');
    expect([await page(), await page('Cache-Control: max-age=0')]).toEqual(['gzip', 'gzip']);
    expect([await page('Cache-Control: no-transform'), await page('Cache-Control: max-age=0, No-Transform')]).toEqual([
      undefined,
      undefined,
    ]);
  },
  Connection: async () => {
    expect(headerOf(await get('/users/1', 'Connection: close'), 'connection')).toBe('close');
    await get('/users/1', 'Connection: X-Hop', 'X-Hop: 1');
    expect(received()?.headers).not.toHaveProperty('x-hop');
    for (const line of ['close, If-Match', 'if-match', 'IF-MATCH,close', 'keep-alive ,\tIf-Match\t']) {
      const answer = await patch('/users/1', `Connection: ${line}`, 'If-Match: "x"');
      expect([answer.status, code(answer), headerOf(answer, 'connection')]).toEqual([
        400,
        'malformed_request',
        'close',
      ]);
    }
    const lines = ['Connection: close', 'Connection: If-Match', 'If-Match: "x"'];
    expect((await patch('/users/1', ...lines)).status).toBe(400);
    expect(changes).toBe(0);
  },
  'Content-Encoding': async () => {
    const body = gzipSync('{}');
    const head = `PATCH /users/1 HTTP/1.1\r\nHost: gateway\r\n${json}\r\nContent-Length: ${body.length}`;
    const answer = await send(`${head}\r\nContent-Encoding: gzip${end}${body.toString('latin1')}`);
    expect([answer.status, changes]).toEqual([200, 1]);
    const coded = await send(`${head}\r\nContent-Encoding: X-GZip${end}${body.toString('latin1')}`);
    expect(coded.status).toBeLessThan(500);
    expect(received()?.headers['content-encoding']).toBe('X-GZip');
    expect(gunzipSync(Buffer.from(String(received()?.body), 'latin1')).toString()).toBe('{}');
    expect([await patch('/users/1', 'Content-Encoding: none')].map(({ status }) => status)).toEqual([415]);
    const bodies = {
      gzip: body,
      deflate: deflateSync('{}'),
      br: brotliCompressSync('{}'),
      zstd: zstdCompressSync('{}'),
    };
    for (const [coding, coded] of Object.entries(bodies)) {
      const head = `PATCH /users/1 HTTP/1.1\r\nHost: a\r\n${json}\r\nContent-Length: ${coded.length}`;
      const answer = await send(`${head}\r\nContent-Encoding: ${coding}${end}${coded.toString('latin1')}`);
      expect([coding, answer.status]).toEqual([coding, 200]);
      expect(reasonOf('Content-Encoding')).toContain(`\`${coding}\``);
    }
    const unknown = await patch('/users/1', 'Content-Encoding: none');
    expect(headerOf(unknown, 'accept-encoding')?.split(', ')).toEqual(Object.keys(bodies));
    const refused = await get('/promotions/1');
    expect(headerOf(refused, 'accept-encoding')).toBe('gzip, x-gzip');
  },
  'Content-Length': async () => {
    expect((await patch('/users/1')).status).toBe(200);
    expect((await patch('/users/1', 'Content-Length: 2')).status).toBe(400);
    expect((await send(`PATCH /users/1 HTTP/1.1\r\nHost: a\r\nContent-Length: 65537${end}`)).status).toBe(413);
  },
  'Content-Range': async () => {
    for (const method of ['POST', 'PUT', 'PATCH', 'DELETE']) {
      const head = `${method} /users/1 HTTP/1.1\r\nHost: gateway\r\n${json}\r\nContent-Length: 2`;
      const answer = await send(`${head}\r\nContent-Range: bytes 0-1/2${end}{}`);
      expect([answer.status, code(answer)]).toEqual([400, 'malformed_request']);
    }
    expect(changes).toBe(0);
    expect((await get('/users/1', 'Content-Range: bytes 0-1/2')).status).toBe(200);
  },
  'Content-Type': async () => {
    const head = 'PATCH /users/1 HTTP/1.1\r\nHost: gateway\r\nContent-Length: 2';
    expect((await send(`${head}\r\nContent-Type: text/plain${end}{}`)).status).toBe(415);
    const refused = await get('/promotions/1');
    expect(['accept', 'accept-patch'].map((name) => headerOf(refused, name))).toEqual([
      'application/json',
      'application/merge-patch+json',
    ]);
  },
  Expect: async () => {
    const head = (length: number, expectation: string) =>
      `PATCH /users/1 HTTP/1.1\r\nHost: gateway\r\n${json}\r\nContent-Length: ${length}\r\nExpect: ${expectation}${end}`;
    expect((await send(head(2, '100-continue'), '{}')).status).toBe(200);
    expect((await send(head(2, '100-Continue, 100-continue,'), '{}')).status).toBe(200);
    expect(changes).toBe(2);
    const refused = await send(head(65_537, '100-continue'));
    expect([refused.status, headerOf(refused, 'connection')]).toEqual([413, 'close']);
    for (const unknown of ['200-ok', '100-continue, 200-ok', 'x=1']) {
      const answer = await send(head(2, unknown), '{}');
      expect([answer.status, code(answer)]).toEqual([417, 'expectation_failed']);
    }
    expect((await send(`GET /users/1 HTTP/1.0\r\nExpect: 100-continue${end}`)).status).toBe(200);
    expect(changes).toBe(2);
  },
  Host: async () => {
    expect((await get('/users/1', 'Host: other')).status).toBe(400);
    expect((await send(`GET /users/1 HTTP/1.1${end}`)).status).toBe(400);
    expect((await send(`GET /users/1 HTTP/1.0${end}`)).status).toBe(200);
  },
  'Idempotency-Key': async () => {
    expect((await patch('/users/1', 'Idempotency-Key: "a b"')).status).toBe(200);
    expect(received()?.headers['idempotency-key']).toBe('"a b"');
    const malformed = await patch('/users/1', 'Idempotency-Key: a b');
    expect([malformed.status, code(malformed)]).toEqual([400, 'malformed_idempotency_key']);
    expect(changes).toBe(1);
    expect((await get('/users/1', 'Idempotency-Key: a b')).status).toBe(200);
  },
  'If-Match': async () => {
    const sendBoth = async (value: string) => {
      const answers = [await patch('/users/1', `If-Match: ${value}`), await get('/users/1', `If-Match: ${value}`)];
      return answers.map((each) => [each.status, code(each)]);
    };
    for (const value of ['"x"', 'W/"3"', '"x", "y"', '', '"*"', '"x-gzip"']) {
      expect(await sendBoth(value)).toEqual(Array(2).fill([412, 'precondition_failed']));
    }
    for (const value of ['3', '"3', '*, "3"']) {
      expect(await sendBoth(value)).toEqual(Array(2).fill([400, 'malformed_request']));
    }
    expect(changes).toBe(0);
    expect((await get('/users/404', 'If-Match: "x"')).status).toBe(404);
    expect((await patch('/users/404', 'If-Match: "x"')).status).toBe(404);
    expect((await patch('/users/x', 'If-Match: "x"')).status).toBe(422);
    expect((await send(`PUT /users/1 HTTP/1.1\r\nHost: a\r\nIf-Match: "x"${end}`)).status).toBe(405);
    expect([(await patch('/users/1', 'If-Match: *')).status, changes]).toEqual([200, 1]);
    const current = ['"3"', '"x", "3"', '"3-gzip"', '"3-br"'];
    for (const value of current) expect((await patch('/users/1', `If-Match: ${value}`)).status).toBe(200);
    expect((await patch('/users/1', 'If-Match: "x"', 'If-Match: "3"')).status).toBe(200);
    expect((await get('/health/live', 'If-Match: "x"')).status).toBe(412);
    expect((await get('/health/live', 'If-Match: *')).status).toBe(200);
  },
  'If-None-Match': async () => {
    const unchanged = await get('/users/1', 'If-None-Match: *');
    expect([unchanged.status, unchanged.body, headerOf(unchanged, 'cache-control')]).toEqual([304, '', 'no-store']);
    for (const value of ['"3"', 'W/"3"', '"x", "3"']) {
      const same = await get('/users/1', `If-None-Match: ${value}`);
      expect([same.status, headerOf(same, 'etag'), headerOf(same, 'vary')]).toEqual([304, '"3"', 'Accept-Encoding']);
      expect((await patch('/users/1', `If-None-Match: ${value}`)).status).toBe(412);
    }
    expect((await get('/users/1', 'If-None-Match: 3')).status).toBe(400);
    expect((await get('/health/live', 'If-None-Match: *')).status).toBe(304);
    expect((await get('/users/404', 'If-None-Match: *')).status).toBe(404);
    expect([(await patch('/users/1', 'If-None-Match: *')).status, changes]).toEqual([412, 0]);
    for (const value of ['"x"', 'W/"x", "y"', '"*"', '']) {
      expect((await get('/users/1', `If-None-Match: ${value}`)).status).toBe(200);
      expect((await patch('/users/1', `If-None-Match: ${value}`)).status).toBe(200);
    }
    expect((await get('/health/live', 'If-None-Match: x')).status).toBe(400);
  },
  'Max-Forwards': async () => {
    const options = (value: string) => send(`OPTIONS /users/1 HTTP/1.1\r\nHost: a\r\nMax-Forwards: ${value}${end}`);
    expect((await options('0')).status).toBe(204);
    expect([(await options('2')).status, received()]).toEqual([204, undefined]);
    expect((await options('few')).status).toBe(400);
    expect((await get('/users/1', 'Max-Forwards: 0')).status).toBe(200);
  },
  'Proxy-Connection': async () => {
    expect(headerOf(await get('/users/1', 'Proxy-Connection: close'), 'connection')).toBe('close');
    expect(received()?.headers).not.toHaveProperty('proxy-connection');
  },
  'Transfer-Encoding': async () => {
    const head = (coding: string, version: string) =>
      `PATCH /users/1 HTTP/${version}\r\nHost: a\r\n${json}\r\nTransfer-Encoding: ${coding}${end}2\r\n{}\r\n0${end}`;
    expect([(await send(head('chunked', '1.1'))).status, changes]).toEqual([200, 1]);
    for (const coding of ['gzip', 'gzip, chunked', 'identity', 'x']) {
      expect((await send(head(coding, '1.1'))).status).toBe(400);
    }
    expect((await send(head('chunked', '1.0'))).status).toBe(400);
    expect(changes).toBe(1);
  },
  Via: async () => {
    expect(await forwarded('Via', '1.0 fred, 1.1 p.example')).toBe('1.0 fred, 1.1 p.example, 1.1 promopulse');
    await send(`GET /users/1 HTTP/1.0${end}`);
    expect(received()?.headers.via).toBe('1.0 promopulse');
  },
  Forwarded: async () => expect(await forwarded('Forwarded', 'for=192.0.2.7')).toBeUndefined(),
  'X-Forwarded-For': async () => expect(await forwarded('X-Forwarded-For', '192.0.2.7')).toBe('127.0.0.1'),
  'X-Forwarded-Host': async () => expect(await forwarded('X-Forwarded-Host', 'other.example')).toBe('gateway'),
  'X-Forwarded-Prefix': async () => expect(await forwarded('X-Forwarded-Prefix', '/x')).toBeUndefined(),
  'X-Forwarded-Proto': async () => expect(await forwarded('X-Forwarded-Proto', 'https')).toBe('http'),
  'X-Reason': async () => {
    expect([(await patch('/users/1', 'X-Reason: Gr%C3%BC%C3%9Fe')).status, changes]).toEqual([200, 1]);
    expect(received()?.headers['x-reason']).toBe('Gr%C3%BC%C3%9Fe');
    for (const reason of ['', '50% off', 'Gr\xfc\xdfe', 'ada%40example.com']) {
      const answer = await patch('/users/1', `X-Reason: ${reason}`);
      expect([answer.status, JSON.parse(answer.body).errors[0].field]).toEqual([422, 'X-Reason']);
    }
    expect(changes).toBe(1);
    expect((await get('/users/1', 'X-Reason: 50% off')).status).toBe(200);
  },
  'X-Request-Id': async () => {
    expect(headerOf(await get('/users/1', 'X-Request-Id: mine'), 'x-request-id')).toBe('mine');
    expect(headerOf(await get('/users/1', 'X-Request-Id: not mine'), 'x-request-id')).toMatch(/^[0-9a-f-]{36}$/);
  },
};

const readme = readFileSync(new URL('../README.md', import.meta.url), 'utf8');
const section = /\n## Header fields of a request\n(.*?)\n## /s.exec(readme)?.[1] ?? '';
const documented = section.split('\n').flatMap((line): [string, Effect, string][] => {
  const [, names = '', effect = '', reason = ''] = line.split('|').map((cell) => cell.trim());
  if (!names.startsWith('`')) return [];
  return [...names.matchAll(/`([^`]+)`/g)].map(([, name]) => [String(name), effect as Effect, reason]);
});

const reasonOf = (wanted: string) => documented.find(([name]) => name === wanted)?.[2];

/** RFC 9110 18.4, without "*"; RFC 9111 and 9112 where a client sends them. */
const defined =
  `Accept Accept-Charset Accept-Encoding Accept-Language Accept-Ranges Allow Authentication-Info Authorization
  Connection Content-Encoding Content-Language Content-Length Content-Location Content-Range Content-Type Date ETag Expect
  From Host If-Match If-Modified-Since If-None-Match If-Range If-Unmodified-Since Last-Modified Location Max-Forwards
  Proxy-Authenticate Proxy-Authentication-Info Proxy-Authorization Range Referer Retry-After Server TE Trailer Upgrade
  User-Agent Vary Via WWW-Authenticate Age Cache-Control Expires Pragma MIME-Version Transfer-Encoding`.split(/\s+/);

describe('the table of header fields in the README', () => {
  const names = documented.map(([name]) => name);

  test('has each field that RFC 9110, 9111 and 9112 define, once', () => {
    expect(defined.filter((name) => !names.includes(name))).toEqual([]);
    expect(names.filter((name, at) => names.indexOf(name) !== at)).toEqual([]);
  });

  test('has a test for each line, and a line for each test', () => {
    const byEffect = (wanted: boolean) =>
      documented.flatMap(([name, effect]) => (wanted === (effect === 'without effect') ? [name] : []));
    expect(byEffect(true).sort()).toEqual(Object.keys(ignored).sort());
    expect(byEffect(false).sort()).toEqual(Object.keys(checks).sort());
  });

  test('says of each field what happens, and why', () => {
    expect(documented.filter(([, effect]) => !/^(evaluated|refused|without effect)$/.test(effect))).toEqual([]);
    expect(documented.filter(([, , reason]) => reason.length < 10)).toEqual([]);
  });
});

/** Evaluated, and yet without a meaning for whom the request is for: of one connection, of the framing, or of this gateway. */
const ofThisHop =
  /^(?:Connection|Content-Length|Expect|Forwarded|Host|Proxy-Connection|Transfer-Encoding|X-Forwarded-.*|X-Request-Id)$/;
const endToEnd = documented.flatMap(([name, effect]) =>
  effect === 'without effect' || ofThisHop.test(name) ? [] : [name],
);

describe('a Connection that names a field without which the request means something else is 400', () => {
  test.each([...endToEnd, 'Origin', 'Access-Control-Request-Method'])('%s', async (name) => {
    for (const options of [name, `close, ${name.toLowerCase()}`, `x,${name.toUpperCase()},`]) {
      const answer = await patch('/users/1', `Connection: ${options}`);
      expect([answer.status, JSON.parse(answer.body).detail]).toEqual([
        400,
        `The Connection header must not name ${name.toLowerCase()}`,
      ]);
    }
    expect(gateway.users.received).toEqual([]);
  });
});

describe('a field without effect: the answers are the same with it', () => {
  const comparable = ({ status, headers, body }: RawAnswer) => ({
    status,
    headers: headers.replace(/\r\n(Date|X-Request-Id):[^\r]*/gi, ''),
    body: body.replace(/"request_id":"[^"]*"/, ''),
  });
  const answersWith = async (...lines: string[]) => {
    const answers = [
      await get('/users/1', ...lines),
      await get('/users/404', ...lines),
      await get('/health/live', ...lines),
      await patch('/users/1', ...lines),
    ];
    return answers.map(comparable);
  };

  test.each(Object.entries(ignored))('%s', async (name, values) => {
    const field = name.replace('*', 'Anything');
    const without = await answersWith();
    for (const value of values) expect(await answersWith(`${field}: ${value}`)).toEqual(without);
    const isRemoved = removed.includes(name) || name.startsWith('X-');
    const names = received()?.rawHeaders.filter((_, at) => at % 2 === 0);
    if (isRemoved) expect(names?.map((each) => each.toLowerCase())).not.toContain(field.toLowerCase());
    expect(gateway.logLines.join('')).not.toMatch(/ada@example|curl|other\.example/);
  });
});

describe('a field that is evaluated or refused', () => {
  test.each(Object.entries(checks))('%s', async (_name, check) => {
    await check();
  });
});
