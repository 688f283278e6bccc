// The gateway behind proxies: whose forwarding headers it believes, and where it says that the API is.
import { createServer, type Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import { afterAll, beforeAll, beforeEach, describe, expect, test } from '@jest/globals';
import { createProxyMiddleware } from 'http-proxy-middleware';
import { loadGatewayConfig } from '../src/config.ts';
import { TrustedProxies } from '../src/edge/forwarding.ts';
import { answerWith, environmentFor, startTestGateway, type TestGateway } from './stubs.ts';
import { sendRaw } from './wire.ts';

const end = '\r\n\r\n';
const loadConfig = (env: Record<string, string>) =>
  loadGatewayConfig({
    ...environmentFor([]),
    USERS_URL: 'http://u:1',
    PROMOTIONS_URL: 'http://p:1',
    SUBSCRIPTIONS_URL: 'http://s:1',
    USERS_INTERNAL_URL: '',
    PROMOTIONS_INTERNAL_URL: '',
    SUBSCRIPTIONS_INTERNAL_URL: '',
    ...env,
  });

describe('TRUSTED_PROXIES', () => {
  const trusts = (list: string, remoteAddress: string) =>
    new TrustedProxies(loadConfig({ TRUSTED_PROXIES: list }).TRUSTED_PROXIES).isTrusted({ remoteAddress } as never);

  test.each<[string, string, boolean]>([
    ['10.0.0.1', '10.0.0.1', true],
    ['10.0.0.1', '10.0.0.2', false],
    ['10.0.0.0/8', '10.255.255.255', true],
    ['10.0.0.0/8', '11.0.0.0', false],
    ['10.0.0.1/8', '10.9.9.9', true],
    ['10.0.0.1/32', '10.0.0.2', false],
    ['10.0.0.0/8', '::ffff:10.0.0.1', true],
    ['10.0.0.0/8', '::ffff:11.0.0.1', false],
    ['fd00::/8', 'fd12::1', true],
    ['fd00::/8', 'fe80::1', false],
    ['::1', '::1', true],
    ['2001:db8::/127', '2001:db8::1', true],
    ['2001:db8::/127', '2001:db8::2', false],
    ['192.0.2.1, 10.0.0.0/8  ::1', '::1', true],
    ['0.0.0.0/0', '203.0.113.9', true],
    ['0.0.0.0/0', '2001:db8::1', false],
    ['10.0.0.0/8', '', false],
    ['', '10.0.0.1', false],
  ])('%s: %s is trusted: %s', (list, address, isTrusted) => {
    expect(trusts(list, address)).toBe(isTrusted);
  });

  test.each([
    '10.0.0.0/33',
    'fd00::/129',
    '10.0.0',
    '10.0.0.1/',
    '10.0.0.1/-1',
    '10.0.0.1/8/8',
    'proxy.example',
    '300.0.0.1',
    'fe80::1%eth0',
    '*',
  ])('%s stops the start, and the message names it', (entry) => {
    expect(() => loadConfig({ TRUSTED_PROXIES: `192.0.2.1,${entry}` })).toThrow(
      `TRUSTED_PROXIES is not valid: ${entry} is no IP address`,
    );
  });
});

describe('PUBLIC_URL', () => {
  test.each<[string, string]>([
    ['https://api.example.com', 'https://api.example.com'],
    ['https://api.example.com/', 'https://api.example.com'],
    ['https://api.example.com/promo/', 'https://api.example.com/promo'],
    ['https://api.example.com/p\tq', 'https://api.example.com/pq'],
    ['http://localhost:8080/a/b-c', 'http://localhost:8080/a/b-c'],
  ])('%s is accepted', (url, stored) => {
    expect(loadConfig({ PUBLIC_URL: url }).PUBLIC_URL).toBe(stored);
  });

  test.each<[string, RegExp]>([
    ['api.example.com', /http:\/\/ or https:\/\//],
    ['ftp://api.example.com', /http:\/\/ or https:\/\//],
    ['/promo', /http:\/\/ or https:\/\//],
    ['https://root@api.example.com', /no user, query or fragment/],
    ['https://api.example.com/?x=1', /no user, query or fragment/],
    ['https://api.example.com/#x', /no user, query or fragment/],
    ['https://api.example.com/a//b', /letters, digits/],
    ['https://api.example.com/a%2fb', /letters, digits/],
    ['https://api.example.com/ä', /letters, digits/],
    ['https://api.example.com/../p', /dot segments/],
    ['https://api.example.com/a/./b', /dot segments/],
    ['https://api.example.com/a/..', /dot segments/],
    ['https://api.example.com/%2e%2e/p', /letters, digits/],
    ['https://api.example.com\\p', /letters, digits/],
    ['https:api.example.com/p', /./],
    ['https:///api.example.com/p', /./],
    ['https://api.example.com/users', /like one of the API/],
    ['https://api.example.com/docs/x', /like one of the API/],
    ['https://api.example.com/health', /like one of the API/],
  ])('%s stops the start, and the message says why', (url, reason) => {
    expect(() => loadConfig({ PUBLIC_URL: url })).toThrow(/PUBLIC_URL is not valid/);
    expect(() => loadConfig({ PUBLIC_URL: url })).toThrow(reason);
  });
});

describe('what a trusted proxy says of the client', () => {
  let gateway: TestGateway;
  beforeAll(async () => {
    gateway = await startTestGateway({ TRUSTED_PROXIES: '127.0.0.1, 10.0.0.0/8, fd00::/8' });
  });
  afterAll(() => gateway.close());
  beforeEach(() => {
    gateway.users.received = [];
  });

  async function seenWith(...lines: string[]): Promise<(string | undefined)[]> {
    const head = `GET /users/1 HTTP/1.1\r\n${['Host: gateway:8000', ...lines].join('\r\n')}${end}`;
    expect((await sendRaw(gateway.port, [head])).status).toBe(200);
    const headers = gateway.users.received[0]?.headers ?? {};
    return ['for', 'proto', 'host', 'prefix'].map((name) => headers[`x-forwarded-${name}`] as string | undefined);
  }

  test.each<[string, string[], string]>([
    ['nothing: the proxy itself', [], '127.0.0.1'],
    ['one address', ['X-Forwarded-For: 203.0.113.9'], '203.0.113.9'],
    ['an address with a port', ['X-Forwarded-For: 203.0.113.9:4711'], '203.0.113.9'],
    ['IPv6', ['X-Forwarded-For: 2001:db8::9'], '2001:db8::9'],
    ['IPv6 in brackets with a port', ['X-Forwarded-For: [2001:db8::9]:4711'], '2001:db8::9'],
    ['IPv4 in IPv6', ['X-Forwarded-For: ::ffff:203.0.113.9'], '203.0.113.9'],
    ['what the client wrote, and its address', ['X-Forwarded-For: 6.6.6.6, 203.0.113.9'], '203.0.113.9'],
    ['a trusted proxy that the client pretends', ['X-Forwarded-For: 10.6.6.6, 203.0.113.9'], '203.0.113.9'],
    ['two trusted proxies', ['X-Forwarded-For: 6.6.6.6, 203.0.113.9, fd00::2, 10.0.0.2'], '203.0.113.9'],
    ['trusted proxies only: the first', ['X-Forwarded-For: 10.0.0.3, 10.0.0.2'], '10.0.0.3'],
    ['two lines', ['X-Forwarded-For: 6.6.6.6', 'X-Forwarded-For: 203.0.113.9, 10.0.0.2'], '203.0.113.9'],
    ['an unknown client', ['X-Forwarded-For: unknown'], '127.0.0.1'],
    ['an unknown client of an inner proxy', ['X-Forwarded-For: 6.6.6.6, unknown, 10.0.0.2'], '10.0.0.2'],
    ['no address', ['X-Forwarded-For: 203.0.113.9, 300.1.1.1'], '127.0.0.1'],
    ['an empty entry', ['X-Forwarded-For: 203.0.113.9,'], '127.0.0.1'],
    ['Forwarded', ['Forwarded: for=203.0.113.9;proto=https'], '203.0.113.9'],
    ['Forwarded, with IPv6', ['Forwarded: For="[2001:db8::9]:4711"'], '2001:db8::9'],
    ['Forwarded, of two proxies', ['Forwarded: for=6.6.6.6, for=203.0.113.9, for=10.0.0.2;by=10.0.0.1'], '203.0.113.9'],
    ['Forwarded, of a hidden client', ['Forwarded: for=_hidden, for=10.0.0.2'], '10.0.0.2'],
    ['Forwarded, malformed', ['Forwarded: for=203.0.113.9;;='], '127.0.0.1'],
    [
      'Forwarded of the client beside X-Forwarded-For',
      ['Forwarded: for=6.6.6.6', 'X-Forwarded-For: 203.0.113.9'],
      '203.0.113.9',
    ],
    [
      'Forwarded of the client beside X-Forwarded-Proto',
      ['Forwarded: for=6.6.6.6', 'X-Forwarded-Proto: https'],
      '127.0.0.1',
    ],
    ['X-Real-IP', ['X-Real-IP: 6.6.6.6'], '127.0.0.1'],
  ])('%s', async (_title, lines, address) => {
    expect((await seenWith(...lines))[0]).toBe(address);
  });

  test.each<[string, string[], (string | undefined)[]]>([
    ['nothing', [], ['http', 'gateway:8000', undefined]],
    [
      'all of X-Forwarded-*',
      ['X-Forwarded-Proto: https', 'X-Forwarded-Host: api.example', 'X-Forwarded-Prefix: /promo'],
      ['https', 'api.example', '/promo'],
    ],
    ['a scheme in upper case', ['X-Forwarded-Proto: HTTPS'], ['https', 'gateway:8000', undefined]],
    ['another scheme', ['X-Forwarded-Proto: gopher'], ['http', 'gateway:8000', undefined]],
    [
      'a scheme for each address',
      ['X-Forwarded-For: 203.0.113.9, 10.0.0.2', 'X-Forwarded-Proto: https, http'],
      ['https', 'gateway:8000', undefined],
    ],
    [
      'a scheme of the client before that of the proxy',
      ['X-Forwarded-For: 203.0.113.9', 'X-Forwarded-Proto: https, http'],
      ['http', 'gateway:8000', undefined],
    ],
    ['a host that is none', ['X-Forwarded-Host: a/b'], ['http', 'gateway:8000', undefined]],
    ['a prefix with a slash at the end', ['X-Forwarded-Prefix: /a/b/'], ['http', 'gateway:8000', '/a/b']],
    ['a prefix that is another host', ['X-Forwarded-Prefix: //evil.example'], ['http', 'gateway:8000', undefined]],
    ['a prefix with dots', ['X-Forwarded-Prefix: /../x'], ['http', 'gateway:8000', undefined]],
    [
      'Forwarded',
      ['Forwarded: for=203.0.113.9;proto=https;host="api.example:8443"'],
      ['https', 'api.example:8443', undefined],
    ],
  ])('%s', async (_title, lines, [scheme, host, prefix]) => {
    expect((await seenWith(...lines)).slice(1)).toEqual([scheme, host, prefix]);
  });

  test('a prefix goes before the path in Location and in Content-Location', async () => {
    gateway.users.handler = answerWith(201, { Location: '/users/7', 'Content-Location': '/users/7' });
    const answer = await sendRaw(gateway.port, [`POST /users HTTP/1.1\r\nHost: a\r\nX-Forwarded-Prefix: /promo${end}`]);
    expect(answer.headers.toLowerCase()).toContain('\r\nlocation: /promo/users/7');
    expect(answer.headers.toLowerCase()).toContain('\r\ncontent-location: /promo/users/7');
  });

  test('a prefix is where the document says that the API is', async () => {
    for (const stub of [gateway.users, gateway.promotions, gateway.subscriptions]) {
      stub.handler = answerWith(200, { 'Content-Type': 'application/json' }, '{"paths":{}}');
    }
    const serversWith = async (...lines: string[]) => {
      const head = ['GET /openapi.json HTTP/1.1', 'Host: a', ...lines].join('\r\n');
      return JSON.parse((await sendRaw(gateway.port, [head + end])).body).servers[0].url;
    };
    expect(await serversWith()).toBe('/');
    expect(await serversWith('X-Forwarded-Prefix: /api')).toBe('/api');
    expect(await serversWith('X-Forwarded-Prefix: /a/b/')).toBe('/a/b');
    expect(await serversWith('X-Forwarded-Prefix: /..')).toBe('/');
    expect(await serversWith()).toBe('/');
  });

  test('a PUBLIC_URL wins over a prefix, also one without a path', async () => {
    const publicUrl = 'https://api.example.com';
    const other = await startTestGateway({ TRUSTED_PROXIES: '127.0.0.1', PUBLIC_URL: publicUrl });
    try {
      for (const stub of [other.users, other.promotions, other.subscriptions]) {
        stub.handler = answerWith(200, { 'Content-Type': 'application/json', Location: '/users/7' }, '{"paths":{}}');
      }
      const headers = { 'X-Forwarded-Prefix': '/api' };
      const document = await fetch(`${other.url}/openapi.json`, { headers });
      expect(await document.json()).toMatchObject({ servers: [{ url: publicUrl }] });
      expect((await fetch(`${other.url}/users/7`, { headers })).headers.get('location')).toBe('/users/7');
      const root = await fetch(other.url, { headers, redirect: 'manual' });
      expect(root.headers.get('location')).toBe('/docs');
    } finally {
      await other.close();
    }
  });

  test('an https target is served, because the proxy may have ended TLS', async () => {
    const answer = await sendRaw(gateway.port, [`GET https://a/users/1 HTTP/1.1\r\nHost: a${end}`]);
    expect(answer.status).toBeLessThan(300);
    expect(gateway.users.received).toMatchObject([{ url: '/users/1' }]);
  });

  test('no address is logged', () => {
    expect(gateway.logLines.join('')).not.toMatch(/203\.0\.113|6\.6\.6|2001:db8|10\.0\.0/);
  });
});

describe.each([true, false])('behind a proxy with the path /promo, which it removes: %s', (isRemoved) => {
  let gateway: TestGateway;
  let proxy: Server;
  let base: string;
  beforeAll(async () => {
    gateway = await startTestGateway({ PUBLIC_URL: 'https://api.example.com/promo' });
    const middleware = createProxyMiddleware({
      target: gateway.url,
      xfwd: true,
      ...(isRemoved && { pathRewrite: { '^/promo': '' } }),
    });
    proxy = createServer((request, response) => {
      if (request.url?.startsWith('/promo')) void middleware(request, response, () => response.end());
      else response.writeHead(404).end();
    });
    await new Promise<void>((resolve) => proxy.listen(0, '127.0.0.1', resolve));
    base = `http://127.0.0.1:${(proxy.address() as AddressInfo).port}`;
  });
  afterAll(async () => {
    proxy.closeAllConnections();
    proxy.close();
    await gateway.close();
  });

  test('Location leads to what was made', async () => {
    gateway.users.handler = (request, response) => {
      if (request.method === 'POST') response.writeHead(201, { Location: '/users/7' }).end();
      else response.end(request.url);
    };
    const made = await fetch(`${base}/promo/users`, { method: 'POST', body: '{}' });
    const location = made.headers.get('location');
    expect([made.status, location]).toEqual([201, '/promo/users/7']);
    const found = await fetch(new URL(String(location), base));
    expect(await found.text()).toBe('/users/7');
  });

  test('a service gets paths without the prefix, and the prefix as a header', async () => {
    gateway.users.received = [];
    await fetch(`${base}/promo/users?email=a%40b.c`);
    expect(gateway.users.received).toMatchObject([
      { url: '/users?email=a%40b.c', headers: { 'x-forwarded-prefix': '/promo' } },
    ]);
  });

  test('the root leads to the documentation', async () => {
    for (const path of ['/promo', '/promo/']) {
      const answer = await fetch(`${base}${path}`, { redirect: 'manual' });
      expect([answer.status, answer.headers.get('location')]).toEqual([302, '/promo/docs']);
    }
    expect((await fetch(`${base}/promo/docs`)).status).toBe(200);
  });

  test('probes and other paths are as without a prefix', async () => {
    expect((await fetch(`${gateway.url}/health/live`)).status).toBe(200);
    expect((await fetch(`${gateway.url}/users/1`)).status).toBe(200);
    expect((await fetch(`${gateway.url}/promotionsx`)).status).toBe(404);
    expect((await sendRaw(gateway.port, [`GET /promo/../internal HTTP/1.1\r\nHost: a${end}`])).status).toBe(400);
    expect((await sendRaw(gateway.port, [`GET /promo//evil.example HTTP/1.1\r\nHost: a${end}`])).status).toBe(400);
  });

  test('a URL of another host in Location is kept', async () => {
    for (const location of ['https://other.example/x', '//other.example/x', 'relative']) {
      gateway.users.handler = answerWith(201, { Location: location });
      expect((await fetch(`${gateway.url}/users`)).headers.get('location')).toBe(location);
    }
  });
});
