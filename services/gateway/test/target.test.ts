// The forms of a request target (RFC 9112 3.2) and the Host header, and the health checks of load balancers.
import { afterAll, beforeAll, beforeEach, describe, expect, test } from '@jest/globals';
import { startTestGateway, type TestGateway } from './stubs.ts';
import { headerOf, sendRaw } from './wire.ts';

let gateway: TestGateway;
beforeAll(async () => {
  gateway = await startTestGateway();
});
afterAll(() => gateway.close());
beforeEach(() => {
  gateway.users.received = [];
});

const end = '\r\n\r\n';
const send = (bytes: string) => sendRaw(gateway.port, [bytes]);
const received = () => gateway.users.received.map(({ url, headers }) => [url, headers['x-forwarded-host']]);

describe('an absolute target is served as its path, and its host replaces the Host header', () => {
  test.each<[string, string, string]>([
    ['http://api.example/users/1', '/users/1', 'api.example'],
    ['http://api.example:8000/users?email=a%40b.c', '/users?email=a%40b.c', 'api.example:8000'],
    ['HTTP://API.example/users', '/users', 'API.example'],
    ['http://[::1]:8000/users', '/users', '[::1]:8000'],
    ['http://api.example:/users', '/users', 'api.example'],
    ['http://127.0.0.1/users?http://other.example/', '/users?http://other.example/', '127.0.0.1'],
  ])('%s', async (target, url, host) => {
    expect((await send(`GET ${target} HTTP/1.1\r\nHost: gateway${end}`)).status).toBe(200);
    expect(received()).toEqual([[url, host]]);
  });

  test('with HTTP/1.0 and no Host', async () => {
    expect((await send(`GET http://api.example/users/1 HTTP/1.0${end}`)).status).toBe(200);
    expect(received()).toEqual([['/users/1', 'api.example']]);
  });

  test.each<[string, number]>([
    ['http://api.example', 302],
    ['http://api.example?x=1', 302],
    ['http://api.example/health/live', 200],
    ['http://api.example/nothing', 404],
  ])('%s is a page of the gateway', async (target, status) => {
    expect((await send(`GET ${target} HTTP/1.1\r\nHost: gateway${end}`)).status).toBe(status);
  });
});

describe('an absolute target is refused, and reaches no service', () => {
  test.each<[string, string, number, RegExp]>([
    ['with a user', 'http://root@gateway/users', 400, /user name or a password/],
    ['with a password', 'http://root:secret@gateway/users', 400, /user name or a password/],
    ['with an empty user', 'http://@gateway/users', 400, /user name or a password/],
    ['without a host', 'http:///users', 400, /host/],
    ['with a port that is no number', 'http://gateway:x/users', 400, /host and a port/],
    ['with two ports', 'http://gateway:80:80/users', 400, /host and a port/],
    ['with a list of hosts', 'http://gateway,other/users', 400, /host and a port/],
    ['with a port beyond 65535', 'http://gateway:65536/users', 400, /host and a port/],
    ['with an invalid IPv6 address', 'http://[::1::2]/users', 400, /host and a port/],
    ['of https, because the connection has no TLS', 'https://gateway/users', 421, /https/],
    ['of another scheme', 'ftp://gateway/users', 400, /must be a path/],
    ['of a file', 'file:///users', 400, /must be a path/],
    ['with a fragment', 'http://gateway/users#1', 400, /fragment/],
    ['with dot segments', 'http://gateway/users/../internal', 400, /dot segment/],
    ['with an empty segment', 'http://gateway//users', 400, /empty segment/],
    ['with an encoded slash', 'http://gateway/users%2f1', 400, /encoded slash/],
    ['to the internal routes', 'http://gateway/internal/users', 404, /./],
    ['to the health of a service', 'http://users:9001/internal', 404, /./],
    ['* with a read', '*', 400, /OPTIONS/],
  ])('%s', async (_title, target, status, sentence) => {
    const answer = await send(`GET ${target} HTTP/1.1\r\nHost: gateway${end}`);
    expect(answer.status).toBe(status);
    expect(JSON.parse(answer.body).detail).toMatch(sentence);
    expect(received()).toEqual([]);
  });

  test.each<[string, string]>([
    ['without a Host in HTTP/1.1', `GET http://gateway/users HTTP/1.1${end}`],
    ['with two Hosts', `GET http://gateway/users HTTP/1.1\r\nHost: gateway\r\nHost: gateway${end}`],
    ['with an invalid Host', `GET http://gateway/users HTTP/1.1\r\nHost: root@gateway${end}`],
  ])('%s', async (_title, bytes) => {
    expect((await send(bytes)).status).toBe(400);
    expect(received()).toEqual([]);
  });
});

describe('a Host', () => {
  test.each<[string, string]>([
    ['localhost:', 'localhost'],
    ['localhost:8000', 'localhost:8000'],
    ['localhost:65535', 'localhost:65535'],
    ['localhost:00080', 'localhost:00080'],
    ['[::1]', '[::1]'],
    ['[::1]:', '[::1]'],
    ['[2001:db8::1]:8000', '[2001:db8::1]:8000'],
    ['API.Example', 'API.Example'],
    ['api.example.', 'api.example.'],
  ])('%s is accepted', async (host, forwarded) => {
    expect((await send(`GET /users HTTP/1.1\r\nHost: ${host}${end}`)).status).toBe(200);
    expect(received()).toEqual([['/users', forwarded]]);
  });

  test.each([
    ':8000',
    ':',
    'a:b:',
    '[::1',
    '[]',
    '[::1]x',
    '[12345::1]',
    '[::1]:8000:',
    'a:65536',
    'a:99999',
    '[::1]:70000',
    'a b',
    'a/',
    'a?',
    '@',
    'a:1 a:1',
  ])('%s is refused', async (host) => {
    expect((await send(`GET /users HTTP/1.1\r\nHost: ${host}${end}`)).status).toBe(400);
    expect(received()).toEqual([]);
  });

  test('is not needed in HTTP/1.0: the service gets no X-Forwarded-Host', async () => {
    expect((await send(`GET /users HTTP/1.0${end}`)).status).toBe(200);
    expect(received()).toEqual([['/users', undefined]]);
  });

  test.each<[string, string]>([
    ['two Hosts in HTTP/1.0', `GET /users HTTP/1.0\r\nHost: a\r\nHost: a${end}`],
    ['an empty Host in HTTP/1.0', `GET /users HTTP/1.0\r\nHost:${end}`],
    ['no Host in HTTP/1.1', `GET /users HTTP/1.1${end}`],
  ])('%s: 400', async (_title, bytes) => {
    expect((await send(bytes)).status).toBe(400);
    expect(received()).toEqual([]);
  });
});

describe('a path with encoded letters is the same path without the encoding (RFC 3986 6.2.2.2)', () => {
  test.each<[string, string]>([
    ['/%75sers/1', '/users/1'],
    ['/users/%31', '/users/1'],
    ['/%75%73%65%72%73', '/users'],
    ['/users%5F%2d%7E', '/users_-~'],
    ['http://gateway/%75sers', '/users'],
    ['/users/%7b%C3%A9%20%25', '/users/%7b%C3%A9%20%25'],
    ['/users/%2531', '/users/%2531'],
    ['/users?email=%61', '/users?email=%61'],
    ['/users/%31?%75=%61%%', '/users/%31?%75=%61%%'],
  ])('%s', async (target, url) => {
    await send(`GET ${target} HTTP/1.1\r\nHost: gateway${end}`);
    const isRefused = target.endsWith('%%');
    expect(gateway.users.received.map((request) => request.url)).toEqual(
      isRefused || !url.match(/^\/users(?:[/?]|$)/) ? [] : [url],
    );
  });

  test.each<[string, number]>([
    ['/%68ealth/liv%65', 200],
    ['/users/%2e%2E/internal', 400],
    ['/users/%2e', 400],
    ['/users%2f1', 400],
    ['/%2575sers/1', 404],
    ['/%%37%35sers/1', 400],
    ['/users/%', 400],
    ['/users/%3', 400],
    ['/users/%zz', 400],
    ['/%69nternal/users', 404],
  ])('%s: %d', async (target, status) => {
    expect((await send(`GET ${target} HTTP/1.1\r\nHost: gateway${end}`)).status).toBe(status);
    expect(received()).toEqual([]);
  });
});

describe('headers beyond the first 2,000, which Node drops by default,', () => {
  const many = 'a:\r\n'.repeat(2_500);

  test('are seen: the Host, and the length of the body', async () => {
    gateway.users.handler = (request, response) => void request.resume().on('end', () => response.end('ok'));
    const answer = await send(`POST /users HTTP/1.1\r\n${many}Host: gateway\r\nContent-Length: 2${end}{}`);
    expect(answer.status).toBe(200);
    expect(gateway.users.received).toMatchObject([{ body: '{}' }]);
  });

  test('are seen: a second Host', async () => {
    expect((await send(`GET /users HTTP/1.1\r\nHost: gateway\r\n${many}Host: other${end}`)).status).toBe(400);
    expect(received()).toEqual([]);
  });
});

describe('a health check', () => {
  test.each<[string, string, number]>([
    ['of HAProxy, by default', `OPTIONS / HTTP/1.0${end}`, 204],
    ['of HAProxy, with a path', `GET /health/ready HTTP/1.0${end}`, 200],
    ['of HAProxy, with a version', `OPTIONS / HTTP/1.1\r\nHost: www${end}`, 204],
    [
      'of an ELB',
      `GET /health/ready HTTP/1.1\r\nHost: 10.0.0.1:8000\r\nConnection: close\r\nUser-Agent: ELB-HealthChecker/2.0\r\nAccept-Encoding: gzip, compressed${end}`,
      200,
    ],
    ['of a classic ELB', `GET /health/live HTTP/1.0\r\nUser-Agent: ELB-HealthChecker/1.0${end}`, 200],
    ['of keepalived', `GET /health/live HTTP/1.0\r\nUser-Agent: KeepAliveClient\r\nHost: [::1]:8000${end}`, 200],
    ['of nginx', `GET /health/live HTTP/1.0\r\nConnection: close${end}`, 200],
    ['by HEAD', `HEAD /health/live HTTP/1.0${end}`, 200],
  ])('%s', async (_title, bytes, status) => {
    expect((await send(bytes)).status).toBe(status);
  });
});

describe('OPTIONS', () => {
  const options = (target: string, ...lines: string[]) =>
    send(`OPTIONS ${target} HTTP/1.1\r\n${['Host: gateway', ...lines].join('\r\n')}${end}`);

  test.each(['*', 'http://gateway', 'http://gateway:8000'])(
    '%s asks for the methods of the whole gateway',
    async (target) => {
      const answer = await options(target);
      expect([answer.status, headerOf(answer, 'allow')]).toEqual([204, 'GET, HEAD, POST, PUT, PATCH, DELETE, OPTIONS']);
    },
  );

  test.each(['/', '/?a', '/?', '/?x=/users', 'http://gateway/', 'http://gateway/?a', 'http://gateway?a'])(
    '%s asks for the methods of the root',
    async (target) => {
      const answer = await options(target);
      expect([answer.status, headerOf(answer, 'allow')]).toEqual([204, 'GET, HEAD, OPTIONS']);
    },
  );

  test.each(['/users', '/users/1', '/promotions?limit=101', '/subscriptions/1/x'])(
    '%s is answered by the gateway with the methods that it forwards, and a body is not read',
    async (target) => {
      const answer = await options(target, 'Content-Length: 1000000');
      expect([answer.status, headerOf(answer, 'allow')]).toEqual([204, 'GET, HEAD, POST, PUT, PATCH, DELETE, OPTIONS']);
      expect(gateway.users.received).toEqual([]);
    },
  );

  test.each(['0', '00', '1', '5', '99999999999999999999999'])(
    'with Max-Forwards %s is answered by the gateway',
    async (sent) => {
      const answer = await options('/users/1', `Max-Forwards: ${sent}`);
      expect([answer.status, headerOf(answer, 'allow')]).toEqual([204, 'GET, HEAD, POST, PUT, PATCH, DELETE, OPTIONS']);
      expect(gateway.users.received).toEqual([]);
    },
  );

  test.each(['-1', 'x', '1.5', ''])('with Max-Forwards "%s" is 400', async (sent) => {
    const answer = await options('/users/1', `Max-Forwards: ${sent}`);
    expect([answer.status, JSON.parse(answer.body).detail]).toEqual([400, expect.stringContaining('Max-Forwards')]);
  });
});
