// Raw bytes sent to the gateway, which is a process of its own, so that the test would notice its end.

import { type ChildProcess, spawn } from 'node:child_process';
import { fileURLToPath } from 'node:url';
import { afterAll, beforeAll, beforeEach, describe, expect, test } from '@jest/globals';
import { childEnvironment } from '@promopulse/testing/child-environment';
import { TrustedProxies } from '../src/edge/forwarding.ts';
import { sanitize } from '../src/edge/sanitize.ts';
import { copyResponseHeaders } from '../src/proxy/headers.ts';
import { answerOk, environmentFor, type StubService, startStubService, waitUntil } from './stubs.ts';
import { sendRaw } from './wire.ts';

let stubs: StubService[];
let gateway: ChildProcess;
let port: number;
let output = '';

beforeAll(async () => {
  stubs = await Promise.all([startStubService(), startStubService(), startStubService()]);
  const main = fileURLToPath(new URL('../src/main.ts', import.meta.url));
  gateway = spawn(process.execPath, [main], { env: { ...childEnvironment, ...environmentFor(stubs) } });
  const collect = (chunk: Buffer) => {
    output += chunk.toString();
  };
  gateway.stdout?.on('data', collect);
  gateway.stderr?.on('data', collect);
  await waitUntil(() => output.includes('"listening"'), 'the gateway to listen', 20_000);
  port = Number(/"port":(\d+)/.exec(output)?.[1]);
});

afterAll(async () => {
  gateway.kill('SIGKILL');
  await Promise.all(stubs.map((stub) => stub.close()));
});

beforeEach(() => {
  for (const stub of stubs) {
    stub.received = [];
    stub.handler = (request, response) => void request.resume().on('end', () => answerOk(request, response));
  }
});

const end = '\r\n\r\n';
const received = () => stubs.flatMap((stub) => stub.received);

describe('a malformed or ambiguous request is rejected and reaches no service', () => {
  const line = (target: string, method = 'GET') => `${method} ${target} HTTP/1.1\r\nHost: gateway${end}`;
  const headers = (...lines: string[]) => `GET /users HTTP/1.1\r\n${lines.join('\r\n')}${end}`;
  const post = (...lines: string[]) => `POST /users HTTP/1.1\r\nHost: gateway\r\n${lines.join('\r\n')}`;

  test.each<[string, string, number[]]>([
    ['two Hosts', headers('Host: gateway', 'Host: other'), [400]],
    ['two Hosts that differ in case', headers('Host: gateway', 'hOST: other'), [400]],
    ['no Host', headers('Accept: */*'), [400]],
    ['two Hosts in HTTP/1.0', `GET /users HTTP/1.0\r\nHost: gateway\r\nHost: gateway${end}`, [400]],
    ['an empty Host', headers('Host: '), [400]],
    ['a Host with a path', headers('Host: gateway/x'), [400]],
    ['a Host with a user', headers('Host: root@gateway'), [400]],
    ['two hosts in one Host', headers('Host: gateway, other'), [400]],
    ['an absolute target with a user', line('http://root@evil.example/users/1'), [400]],
    ['an absolute target of https', line('https://evil.example/users/1'), [421]],
    ['an invalid absolute target', line('http://a:b:c/users'), [400]],
    ['a target of another scheme', line('file:///etc/passwd'), [400]],
    ['a target without a slash', line('users/1'), [400]],
    ['the target * of a read', line('*'), [400]],
    ['a target that begins with two slashes', line('//evil.example/users'), [400]],
    ['an empty segment', line('/users//internal'), [400]],
    ['two dots', line('/users/../internal/promotions'), [400]],
    ['two dots at the end', line('/users/..'), [400]],
    ['one dot', line('/users/./1'), [400]],
    ['encoded dots', line('/users/%2e%2e/internal'), [400]],
    ['half-encoded dots', line('/users/.%2E/internal'), [400]],
    ['an encoded slash', line('/users/..%2finternal'), [400]],
    ['an encoded slash in upper case', line('/users%2F1'), [400]],
    ['a backslash', line('/users\\..\\internal'), [400]],
    ['an encoded backslash', line('/users/..%5cinternal'), [400]],
    ['an encoded NUL', line('/users/%00'), [400]],
    ['an encoded NUL in the query', line('/users?x=%00'), [400]],
    ['an encoded line break', line('/users/1%0d%0aX-Internal-User:%201'), [400]],
    ['an encoded DEL', line('/users/%7f'), [400]],
    ['invalid percent-encoding', line('/users/%ZZ'), [400]],
    ['truncated percent-encoding', line('/users/%2'), [400]],
    ['invalid percent-encoding in the query', line('/users?x=%'), [400]],
    ['an encoding that is not UTF-8', line('/users/%ff%fe'), [400]],
    ['an overlong encoding of a slash', line('/users/%c0%af'), [400]],
    ['bytes outside ASCII', line('/users/\xe9'), [400]],
    ['a fragment', line('/users#/internal'), [400]],
    ['a raw NUL', line('/users/\0'), [400]],
    ['TRACE', line('/users/1', 'TRACE'), [405]],
    ['CONNECT', `CONNECT gateway:80 HTTP/1.1\r\nHost: gateway${end}`, [405]],
    ['CONNECT with a path', line('/users', 'CONNECT'), [400, 405]],
    ['a WebDAV method', line('/users', 'PROPFIND'), [405]],
    ['PURGE', line('/users', 'PURGE'), [405]],
    ['an unknown method', line('/users', 'FROB'), [405]],
    ['a method in lower case', line('/users', 'get'), [400]],
    ['HTTP/0.9', 'GET /users\r\n', [400, 408]],
    ['HTTP/0.9 with an empty line', 'GET /users\r\n\r\n', [400]],
    ['the version HTTP/0.9', 'GET /users HTTP/0.9\r\nHost: gateway\r\n\r\n', [400]],
    ['the version HTTP/2.0', 'GET /users HTTP/2.0\r\nHost: gateway\r\n\r\n', [400]],
    ['the preface of HTTP/2', 'PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n', [400]],
    ['a TLS ClientHello', '\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03', [400]],
    ['garbage', `\x01\x02\x03${end}`, [400]],
    [
      'Content-Length and Transfer-Encoding',
      `${post('Content-Length: 5', 'Transfer-Encoding: chunked')}${end}0\r\n\r\n`,
      [400],
    ],
    [
      'Transfer-Encoding and Content-Length',
      `${post('Transfer-Encoding: chunked', 'Content-Length: 5')}${end}0\r\n\r\n`,
      [400],
    ],
    ['two different lengths', `${post('Content-Length: 5', 'Content-Length: 6')}${end}hello`, [400]],
    ['a negative length', `${post('Content-Length: -1')}${end}`, [400]],
    ['a length that is not a decimal number', `${post('Content-Length: 0x5')}${end}hello`, [400]],
    ['a length of 40 digits', `${post(`Content-Length: ${'9'.repeat(40)}`)}${end}`, [413]],
    ['chunked twice', `${post('Transfer-Encoding: chunked, chunked')}${end}0\r\n\r\n`, [400]],
    ['an unknown coding', `${post('Transfer-Encoding: xchunked')}${end}0\r\n\r\n`, [400]],
    ['another coding before chunked', `${post('Transfer-Encoding: gzip, chunked')}${end}0\r\n\r\n`, [400]],
    ['the coding identity', `${post('Transfer-Encoding: identity')}${end}`, [400]],
    ['chunked before another coding', `${post('Transfer-Encoding: chunked, gzip')}${end}0\r\n\r\n`, [400]],
    ['line feeds without carriage returns', 'GET /users HTTP/1.1\nHost: gateway\n\n', [400]],
    ['a space before a colon', headers('Host: gateway', 'X-Internal-User : 1'), [400]],
    ['a folded header', headers('Host: gateway', 'X-A: 1', ' X-Internal-User: 1'), [400]],
    ['a header without a colon', headers('Host: gateway', 'nonsense'), [400]],
    ['a NUL in a header', headers('Host: gateway', 'X-A: \0'), [400]],
    ['headers of 20 KB', headers('Host: gateway', `X-A: ${'a'.repeat(20_000)}`), [431]],
    ['a target of 20 KB', line(`/users/${'a'.repeat(20_000)}`), [431]],
    ['5,000 headers', headers('Host: gateway', ...Array.from({ length: 5_000 }, (_, at) => `X-${at}: 1`)), [431]],
    ['an unknown expectation', headers('Host: gateway', 'Expect: 200-maybe'), [417]],
    ['Content-Range of a change', `${post('Content-Range: bytes 0-1/2', 'Content-Length: 2')}${end}{}`, [400]],
    [
      'Transfer-Encoding in HTTP/1.0',
      `POST /users HTTP/1.0\r\nHost: gateway\r\nTransfer-Encoding: chunked${end}0${end}`,
      [400],
    ],
  ])('%s', async (_title, bytes, allowed) => {
    const answer = await sendRaw(port, [bytes]);
    expect(allowed).toContain(answer.status);
    expect(answer.headers.toLowerCase()).toContain('content-type: application/problem+json');
    expect(answer.headers.toLowerCase()).toContain('x-content-type-options: nosniff');
    expect(JSON.parse(answer.body)).toMatchObject({ status: answer.status, detail: expect.any(String) });
    if (answer.status === 405) expect(answer.headers).toContain('Allow: ');
    expect(received()).toEqual([]);
    expect(gateway.exitCode).toBeNull();
  });

  test('its answer has its request id and the security headers, closes the connection and is in the access log', async () => {
    const answer = await sendRaw(port, [
      `GET /users//secret HTTP/1.1\r\nHost: gateway\r\nX-Request-Id: rejected-1${end}`,
    ]);
    expect(answer.status).toBe(400);
    for (const header of ['X-Request-Id: rejected-1', 'X-Frame-Options: DENY', 'Connection: close']) {
      expect(answer.headers).toContain(header);
    }
    expect(JSON.parse(answer.body).request_id).toBe('rejected-1');
    const logLine = () => output.split('\n').find((text) => text.includes('"request_id":"rejected-1"'));
    await waitUntil(() => logLine() !== undefined, 'the log line');
    expect(JSON.parse(String(logLine()))).toMatchObject({
      msg: 'request',
      method: 'GET',
      route: '(no route)',
      status: 400,
    });
  });

  test('an invalid chunk in a body is 400, and the service gets no complete request', async () => {
    let complete = false;
    const users = stubs[0] as StubService;
    users.handler = (request) =>
      void request
        .on('end', () => {
          complete = true;
        })
        .resume();
    const answer = await sendRaw(port, [`${post('Transfer-Encoding: chunked')}${end}`, 'ZZZ\r\nhello\r\n'], 100);
    expect(answer.status).toBe(400);
    expect(complete).toBe(false);
    expect(gateway.exitCode).toBeNull();
  });

  test('bytes after a rejected request on its connection are not read as a request', async () => {
    const smuggled = 'GET /users/smuggled HTTP/1.1\r\nHost: gateway\r\n\r\n';
    const length = `Content-Length: ${smuggled.length}`;
    await sendRaw(port, [`${post(length, 'Transfer-Encoding: chunked')}${end}0\r\n\r\n${smuggled}`]);
    await sendRaw(port, [`POST //users HTTP/1.1\r\nHost: gateway\r\n${length}${end}${smuggled}`]);
    await sendRaw(port, [
      `GET /users HTTP/1.1\r\nHost: gateway\r\nConnection: content-length\r\n${length}${end}${smuggled}`,
    ]);
    expect(received().filter(({ url }) => url.includes('smuggled'))).toEqual([]);
  });
});

describe('a request with forbidden headers is forwarded without them', () => {
  const dropped =
    /^(te|trailer|upgrade|expect|keep-alive|http2-settings|forwarded|x-real-ip|x-hop|proxy-.*|x-internal-.*|.*_.*)$/;

  test.each<[string, string[]]>([
    ['Trailer', ['Trailer: x']],
    ['an empty Trailer', ['Trailer:']],
    ['Trailer and TE', ['TE: trailers', 'Trailer: Expires']],
    ['Upgrade to h2c', ['Connection: Upgrade, HTTP2-Settings', 'Upgrade: h2c', 'HTTP2-Settings: AAMAAABkAAQAAP__']],
    ['Upgrade to a websocket', ['Connection: Upgrade', 'Upgrade: websocket', 'Sec-WebSocket-Key: dGhlIHNhbXBsZQ==']],
    ['headers that Connection names', ['Connection: close, X-Hop', 'X-Hop: 1']],
    ['a Connection that names X-Request-Id', ['Connection: x-request-id', 'X-Request-Id: mine']],
    ['a Connection that names Host', ['Connection: host, content-length, transfer-encoding']],
    ['proxy headers', ['Proxy-Authorization: Basic eA==', 'Proxy-Connection: keep-alive', 'Proxy-Foo: 1']],
    ['Keep-Alive', ['Connection: keep-alive', 'Keep-Alive: timeout=1000']],
    ['a name with an underscore', ['X_Internal_User: 1', 'x_forwarded_for: 6.6.6.6', '__proto__: 1']],
    ['internal headers', ['X-Internal-User: 1', 'x-InTeRnAl-Role: admin']],
    [
      'forwarding headers',
      ['X-Forwarded-For: 6.6.6.6', 'X-Forwarded-Host: evil', 'X-Forwarded-Port: 1', 'X-Forwarded-Proto: https'],
    ],
    ['other forwarding headers', ['Forwarded: for=6.6.6.6', 'X-Real-IP: 6.6.6.6', 'X-Forwarded-Prefix: /x']],
    [
      'an expectation with a spoofed header',
      ['Expect: 100-continue', 'X-Internal-User: 1', 'X-Forwarded-For: 6.6.6.6'],
    ],
  ])('%s', async (_title, lines) => {
    const head = `POST /users?x=%C3%A9 HTTP/1.1\r\nHost: gateway:8000\r\nContent-Length: 2\r\n${lines.join('\r\n')}${end}`;
    const answer = await sendRaw(port, [head, '{}'], 20);
    expect(answer.status).toBe(200);
    expect(gateway.exitCode).toBeNull();
    expect(received()).toHaveLength(1);
    const [request] = received();
    const names = (request?.rawHeaders ?? []).filter((_, at) => at % 2 === 0).map((name) => name.toLowerCase());
    expect(names.filter((name) => dropped.test(name))).toEqual([]);
    expect(names.filter((name) => name === 'host')).toHaveLength(1);
    expect(names.filter((name) => name.startsWith('x-forwarded-')).sort()).toEqual([
      'x-forwarded-for',
      'x-forwarded-host',
      'x-forwarded-proto',
    ]);
    expect(request).toMatchObject({
      url: '/users?x=%C3%A9',
      body: '{}',
      headers: {
        connection: 'keep-alive',
        'content-length': '2',
        'x-forwarded-for': '127.0.0.1',
        'x-forwarded-host': 'gateway:8000',
        'x-forwarded-proto': 'http',
        'x-request-id': expect.stringMatching(/^[0-9a-f-]{36}$/),
      },
    });
  });

  test('trailers of a chunked body are not forwarded', async () => {
    const head = `POST /users HTTP/1.1\r\nHost: gateway\r\nTrailer: X-Internal-User\r\nTransfer-Encoding: chunked${end}`;
    const answer = await sendRaw(port, [`${head}2\r\n{}\r\n0\r\nX-Internal-User: 1\r\n\r\n`]);
    expect(answer.status).toBe(200);
    expect(received()).toMatchObject([{ body: '{}', headers: { 'content-length': '2' } }]);
    for (const name of ['trailer', 'transfer-encoding']) expect(received()[0]?.headers).not.toHaveProperty(name);
  });
});

describe('a Connection with many options and many headers beside it takes no time of other requests', () => {
  const options = Array.from({ length: 2_000 }, (_, at) => `o${at}`).join(',');
  const fields = Array.from({ length: 10_000 }, (_, at) => [`x-${at}`, '1']);
  const headers = () => ({ connection: `${options},X-9999`, ...Object.fromEntries(fields) });
  const millisecondsOf = (work: () => void) => {
    const { user } = process.cpuUsage();
    work();
    return (process.cpuUsage().user - user) / 1_000;
  };

  test('in a request', () => {
    const request = { headers: headers(), httpVersion: '1.1', socket: { remoteAddress: '127.0.0.1' } } as never;
    const step = sanitize(new TrustedProxies(undefined), '');
    expect(millisecondsOf(() => step(request, {} as never, () => undefined))).toBeLessThan(300);
    expect((request as { headers: object }).headers).not.toHaveProperty('x-9999');
    expect((request as { headers: object }).headers).toHaveProperty('x-9998');
  });

  test('in a response', () => {
    const names: string[] = [];
    const response = { setHeader: (name: string) => void names.push(name) } as never;
    expect(millisecondsOf(() => copyResponseHeaders(headers(), response))).toBeLessThan(300);
    expect([names.length, names.includes('x-9999')]).toEqual([9_999, false]);
  });
});

test('the gateway still serves after all of this and has logged no error', async () => {
  expect((await sendRaw(port, [`GET /users/1 HTTP/1.1\r\nHost: gateway${end}`])).status).toBe(200);
  expect(gateway.exitCode).toBeNull();
  expect(output.split('\n').filter((text) => /"level":"(error|fatal)"|Warning|Error:/.test(text))).toEqual([]);
});
