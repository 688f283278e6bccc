// CORS: what a browser gets for a page of another origin. A test in Chromium is in test/cors.e2e.test.ts.
import { readFileSync } from 'node:fs';
import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';
import { ConfigError } from '@promopulse/shared/config';
import { startGateway } from '../src/app.ts';
import { loadGatewayConfig } from '../src/config.ts';
import { allowedHeaders, exposedHeaders } from '../src/edge/cors.ts';
import { answerWith, environmentFor, startTestGateway, type TestGateway, waitUntil } from './stubs.ts';
import { headerOf, sendRaw } from './wire.ts';

const page = 'https://app.example.com';
const preflight = (origin: string, method = 'POST', headers = 'content-type, idempotency-key') => ({
  method: 'OPTIONS',
  headers: { Origin: origin, 'Access-Control-Request-Method': method, 'Access-Control-Request-Headers': headers },
});
const namesOf = (headers: Headers, name: string) => (headers.get(name) ?? '').toLowerCase().split(/, ?/);
const corsHeaders = (headers: Headers) => [...headers.keys()].filter((name) => name.startsWith('access-control-'));

describe('with a list of origins', () => {
  let gateway: TestGateway;
  beforeAll(async () => {
    gateway = await startTestGateway({
      CORS_ORIGINS: `${page}, http://localhost:5173`,
      MAX_BODY_BYTES: '100',
      HEADERS_TIMEOUT_MS: '300',
      REQUEST_TIMEOUT_MS: '600',
      BREAKER_MIN_CALLS: '10000',
    });
  });
  afterAll(() => gateway.close());

  test.each([page, 'http://localhost:5173'])(
    'a preflight of %s is answered, and no service sees it',
    async (origin) => {
      const before = gateway.users.received.length;
      const { status, headers } = await fetch(`${gateway.url}/users`, preflight(origin));
      expect(status).toBe(204);
      expect(headers.get('access-control-allow-origin')).toBe(origin);
      for (const method of ['get', 'head', 'post', 'put', 'patch', 'delete']) {
        expect(namesOf(headers, 'access-control-allow-methods')).toContain(method);
      }
      expect(namesOf(headers, 'access-control-allow-headers')).toEqual(
        expect.arrayContaining([
          ...['authorization', 'content-type', 'idempotency-key', 'if-match', 'if-none-match', 'x-request-id'],
          ...['x-reason', 'traceparent', 'tracestate'],
        ]),
      );
      expect(Number(headers.get('access-control-max-age'))).toBeGreaterThanOrEqual(600);
      expect(namesOf(headers, 'vary')).toContain('origin');
      expect(headers.get('content-length')).toBeNull(); // RFC 9110 8.6: none with 204
      expect(headers.get('access-control-allow-credentials')).toBeNull();
      expect(gateway.users.received).toHaveLength(before);
      await waitUntil(() => gateway.logLines.some((line) => line.includes('"(preflight)"')), 'its log line');
    },
  );

  test('an answer can be read, with the headers that a client needs', async () => {
    gateway.users.handler = answerWith(201, {
      Location: '/users/7',
      'Promopulse-Projection': 'applied',
      'Idempotent-Replayed': 'true',
      Vary: 'Accept',
    });
    const { status, headers } = await fetch(`${gateway.url}/users`, {
      method: 'POST',
      body: '{}',
      headers: { Origin: page, 'Content-Type': 'application/json' },
    });
    expect(status).toBe(201);
    expect(headers.get('access-control-allow-origin')).toBe(page);
    expect(namesOf(headers, 'access-control-expose-headers')).toEqual(
      expect.arrayContaining([
        'retry-after',
        'x-request-id',
        'promopulse-projection',
        'location',
        'content-location',
        'etag',
        'allow',
        'idempotent-replayed',
      ]),
    );
    expect(namesOf(headers, 'vary').sort()).toEqual(['accept', 'accept-encoding', 'origin']);
    expect(headers.get('access-control-allow-methods')).toBeNull();
  });

  test.each([
    'https://other.example.com',
    'https://app.example.com.evil.example',
    'https://evil.example/https://app.example.com',
    'http://app.example.com',
    'https://app.example.com:8443',
    'https://APP.example.com',
    'null',
    '*',
    'https://app.example.com, http://localhost:5173',
  ])(
    'the origin %s is answered without CORS headers, and its preflight is an OPTIONS like any other',
    async (origin) => {
      gateway.users.handler = answerWith(200, { 'Content-Type': 'application/json' }, '{}');
      const answer = await fetch(`${gateway.url}/users/1`, { headers: { Origin: origin } });
      expect([answer.status, await answer.json()]).toEqual([200, {}]);
      expect(corsHeaders(answer.headers)).toEqual([]);
      expect(namesOf(answer.headers, 'vary')).toContain('origin');
      const refused = await fetch(`${gateway.url}/users/1`, preflight(origin));
      expect([refused.status, corsHeaders(refused.headers)]).toEqual([204, []]);
    },
  );

  test('a request without an origin has no CORS headers, but says that the answer depends on it', async () => {
    gateway.users.handler = answerWith(200);
    const { headers } = await fetch(`${gateway.url}/users/1`);
    expect([corsHeaders(headers), namesOf(headers, 'vary')]).toEqual([[], expect.arrayContaining(['origin'])]);
  });

  test('an OPTIONS that is no preflight is answered by the gateway, and the answer can be read', async () => {
    const before = gateway.users.received.length;
    const { status, headers } = await fetch(`${gateway.url}/users`, { method: 'OPTIONS', headers: { Origin: page } });
    expect([status, headers.get('allow')]).toEqual([204, 'GET, HEAD, POST, PUT, PATCH, DELETE, OPTIONS']);
    expect(headers.get('access-control-allow-origin')).toBe(page);
    expect(gateway.users.received).toHaveLength(before);
  });

  test.each([
    ['a page of the gateway', 'GET', '/health/live', undefined, 200],
    ['an unknown path', 'GET', '/nowhere', undefined, 404],
    ['a method that a page does not have', 'POST', '/health', undefined, 405],
    ['a malformed target', 'GET', '/users//1', undefined, 400],
    ['a body that is too large', 'POST', '/users', 'x'.repeat(101), 413],
    ['a service that hangs up', 'GET', '/promotions/1', undefined, 503],
    ['a change with an unknown outcome', 'PATCH', '/promotions/1', '{}', 503],
  ])('%s can be read as well', async (_what, method, path, body, status) => {
    gateway.promotions.handler = (request) => void request.socket.destroy();
    const answer = await fetch(gateway.url + path, { method, headers: { Origin: page }, ...(body && { body }) });
    expect([answer.status, answer.headers.get('access-control-allow-origin')]).toEqual([status, page]);
    expect(namesOf(answer.headers, 'access-control-expose-headers')).toContain('retry-after');
  });

  test('a malformed preflight is refused like every malformed request', async () => {
    const head = `OPTIONS /users HTTP/1.1\r\nHost: a\r\nHost: b\r\nOrigin: ${page}\r\nAccess-Control-Request-Method: GET\r\n\r\n`;
    expect((await sendRaw(gateway.port, [head])).status).toBe(400);
  });

  const complete = `Host: a\r\nOrigin: ${page}\r\n`;
  test.each([
    ['bytes that are no HTTP', `GET /users HTTP/1.1\r\n${complete}no colon\r\n\r\n`, 400],
    ['headers that are too large', `GET /users HTTP/1.1\r\n${complete}X: ${'x'.repeat(20_000)}\r\n\r\n`, 431],
    ['a body that does not end', `POST /users HTTP/1.1\r\n${complete}Content-Length: 9\r\n\r\nx`, 408],
    ['headers that do not end', `GET /users HTTP/1.1\r\n${complete}`, 408],
    [
      'a length beyond every number',
      `POST /users HTTP/1.1\r\n${complete}Content-Length: ${'9'.repeat(30)}\r\n\r\n`,
      413,
    ],
  ])('what no step has seen can be read too, in whatever packets it comes: %s', async (_what, bytes, status) => {
    const middle = bytes.indexOf(page) + 3;
    const parts = [
      bytes.slice(0, 8),
      bytes.slice(8, middle),
      bytes.slice(middle, middle + 25),
      bytes.slice(middle + 25),
    ];
    const answers = [await sendRaw(gateway.port, [bytes]), await sendRaw(gateway.port, parts, 30)];
    for (const answer of answers) {
      expect(answer.status).toBe(status);
      expect(headerOf(answer, 'access-control-allow-origin')).toBe(page);
      expect(headerOf(answer, 'vary')).toBe('Accept-Encoding, Origin');
    }
    const other = await sendRaw(gateway.port, [bytes.replace(page, 'https://other.example')]);
    expect([other.status, other.headers]).toEqual([status, expect.not.stringMatching(/access-control-/i)]);
  });
});

describe('the headers of requests and answers', () => {
  const document = JSON.parse(readFileSync(new URL('../../../docs/openapi.json', import.meta.url), 'utf8'));
  const lower = (names: readonly string[]) => names.map((name) => name.toLowerCase());
  /** Of every `headers` and header parameter, at any depth. */
  const namesIn = (node: unknown, kind: 'headers' | 'parameter'): string[] => {
    if (typeof node !== 'object' || node === null) return [];
    const { in: place, name } = node as { in?: unknown; name?: unknown };
    const own = kind === 'parameter' && place === 'header' ? [String(name)] : [];
    const inside = Object.entries(node).flatMap(([key, value]) => [
      ...(kind === 'headers' && key === 'headers' ? Object.keys(value as object) : []),
      ...namesIn(value, kind),
    ]);
    return [...own, ...inside];
  };

  test('every header that the document declares of an answer is exposed', () => {
    const declared = lower(namesIn(document, 'headers'));
    expect(declared).toEqual(expect.arrayContaining(['accept-post', 'accept-patch', 'allow', 'retry-after']));
    expect(declared.filter((name) => !lower(exposedHeaders).includes(name))).toEqual([]);
  });

  test('every header that the document or the README says is read from a page is allowed', () => {
    const readme = readFileSync(new URL('../README.md', import.meta.url), 'utf8');
    const evaluated = [...readme.matchAll(/^\| `([\w-]+)` \| evaluated \| by the service/gm)].map(([, name]) =>
      String(name),
    );
    expect(evaluated).toEqual(expect.arrayContaining(['Content-Encoding', 'If-Match', 'X-Reason']));
    const needed = lower([...namesIn(document, 'parameter'), ...evaluated]);
    expect(needed.filter((name) => !lower(allowedHeaders).includes(name))).toEqual([]);
  });
});

describe('beyond a limit', () => {
  test('the 503 of the concurrency limit can be read, and a preflight is answered', async () => {
    const gateway = await startTestGateway({ CORS_ORIGINS: page, MAX_IN_FLIGHT: '1' });
    try {
      gateway.users.handler = () => undefined;
      const call = new AbortController();
      const first = fetch(`${gateway.url}/users/1`, { signal: call.signal }).catch(() => undefined);
      await waitUntil(() => gateway.users.received.length === 1, 'the first request');
      const second = await fetch(`${gateway.url}/users/1`, { headers: { Origin: page } });
      expect([second.status, second.headers.get('access-control-allow-origin')]).toEqual([503, page]);
      expect((await fetch(`${gateway.url}/users/1`, preflight(page))).status).toBe(204);
      call.abort();
      await first;
    } finally {
      await gateway.close();
    }
  });
});

describe('with *', () => {
  let gateway: TestGateway;
  beforeAll(async () => {
    gateway = await startTestGateway({ CORS_ORIGINS: ' * ' });
  });
  afterAll(() => gateway.close());

  test.each([page, 'null', undefined])('the origin %s may read every answer', async (origin) => {
    const { headers } = await fetch(`${gateway.url}/users/1`, { headers: { ...(origin && { Origin: origin }) } });
    expect(headers.get('access-control-allow-origin')).toBe('*');
    expect(namesOf(headers, 'vary')).not.toContain('origin');
    const raw = await sendRaw(gateway.port, ['no HTTP\r\n\r\n']);
    expect([raw.status, raw.headers]).toEqual([400, expect.stringContaining('Access-Control-Allow-Origin: *')]);
  });

  test('a preflight is answered', async () => {
    const { status, headers } = await fetch(`${gateway.url}/promotions/1`, preflight('null', 'PATCH'));
    expect([status, headers.get('access-control-allow-origin')]).toEqual([204, '*']);
  });
});

test('without CORS_ORIGINS, no answer has a CORS header, and a preflight is an OPTIONS like any other', async () => {
  const gateway = await startTestGateway();
  try {
    for (const [init, wanted] of [
      [{ headers: { Origin: page } }, 200],
      [preflight(page), 204],
    ] as const) {
      const { status, headers } = await fetch(`${gateway.url}/users/1`, init);
      expect([status, corsHeaders(headers), namesOf(headers, 'vary')]).toEqual([wanted, [], ['accept-encoding']]);
    }
  } finally {
    await gateway.close();
  }
});

describe('CORS_ORIGINS', () => {
  const read = (value: string) => loadGatewayConfig({ ...environmentFor([]), ...serviceUrl, CORS_ORIGINS: value });
  const serviceUrl = Object.fromEntries(
    ['USERS', 'PROMOTIONS', 'SUBSCRIPTIONS'].flatMap((name) => [
      [`${name}_URL`, 'http://127.0.0.1:8001'],
      [`${name}_INTERNAL_URL`, 'http://127.0.0.1:9001'],
    ]),
  );

  test.each([
    ['', []],
    ['*', '*'],
    ['https://app.example.com', ['https://app.example.com']],
    ['https://App.Example.com:443,http://[::1]:3000', ['https://app.example.com', 'http://[::1]:3000']],
    ['https://bücher.example', ['https://xn--bcher-kva.example']],
    ['capacitor://localhost', ['capacitor://localhost']],
  ])('%s is read as a browser writes it', (value, expected) => {
    expect(read(value).CORS_ORIGINS).toEqual(expected);
  });

  test.each([
    ['https://app.example.com/', 'https://app.example.com/'],
    ['https://app.example.com/path', 'https://app.example.com/path'],
    ['https://app.example.com?x=1', 'https://app.example.com?x=1'],
    ['app.example.com', 'app.example.com'],
    ['localhost:5173', 'localhost:5173'],
    ['https://*.example.com', 'https://*.example.com'],
    ['https://ok.example.com, https://app.example.com:99999', 'https://app.example.com:99999'],
    ['null', 'null'],
    ['file://home', 'file://home'],
    ['https://a.example,', '""'],
    ['https://a.example;https://b.example', 'https://a.example;https://b.example'],
    ['https://a.example *', 'https://a.example *'],
    ['https://a.example,*', '* allows every origin, and must stand alone'],
    ['https://user:secret@a.example', 'an entry with credentials'],
  ])('%s stops the start, and the message names it', (value, named) => {
    let message = '';
    try {
      read(value);
    } catch (error) {
      expect(error).toBeInstanceOf(ConfigError);
      message = (error as Error).message;
    }
    expect(message).toContain('CORS_ORIGINS is not valid');
    expect(message).toContain(named);
    expect(message).not.toContain('secret');
  });

  test('the start ends with this message', async () => {
    const env = { ...environmentFor([]), ...serviceUrl, CORS_ORIGINS: 'app.example.com' };
    await expect(startGateway(env)).rejects.toThrow('CORS_ORIGINS is not valid: "app.example.com" is not an origin');
  });
});
