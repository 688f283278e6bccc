// Every place of the gateway that writes an answer: each answer has a date, an id, the security headers and, if it is an
// error, a problem document. No cache may store it.
import { connect } from 'node:net';
import { afterAll, beforeAll, beforeEach, describe, expect, test } from '@jest/globals';
import { answerOk, answerWith, neverAnswer, sleep, startTestGateway, type TestGateway, waitUntil } from './stubs.ts';
import { headerOf, type RawAnswer, requestFor, sendRaw } from './wire.ts';

const end = '\r\n\r\n';
const host = 'Host: gateway';
const get = (path: string, ...lines: string[]) => `GET ${path} HTTP/1.1\r\n${[host, ...lines].join('\r\n')}${end}`;
const post = (path: string, ...lines: string[]) => `POST ${path} HTTP/1.1\r\n${[host, ...lines].join('\r\n')}${end}`;
const chunked = post('/users', 'Transfer-Encoding: chunked', 'X-Request-Id: mine');

let gateway: TestGateway;
beforeAll(async () => {
  gateway = await startTestGateway({
    HEADERS_TIMEOUT_MS: '1000',
    REQUEST_TIMEOUT_MS: '1500',
    UPSTREAM_TIMEOUT_MS: '2000',
    MAX_BODY_BYTES: '1000',
    MAX_IN_FLIGHT: '1',
    BREAKER_MIN_CALLS: '1000',
  });
});
afterAll(() => gateway.close());
beforeEach(() => {
  gateway.users.received = [];
  gateway.users.handler = answerOk;
});

const send = (...parts: string[]) => sendRaw(gateway.port, parts, 50);

function expectComplete(answer: RawAnswer): void {
  const names = answer.headers
    .split('\r\n')
    .slice(1)
    .map((line) => String(line.split(':')[0]).toLowerCase());
  expect(names).toEqual([...new Set(names)]);
  expect(Math.abs(Date.now() - Date.parse(String(headerOf(answer, 'date'))))).toBeLessThan(10_000);
  expect({
    'x-request-id': headerOf(answer, 'x-request-id'),
    'x-content-type-options': headerOf(answer, 'x-content-type-options'),
    'x-frame-options': headerOf(answer, 'x-frame-options'),
    'referrer-policy': headerOf(answer, 'referrer-policy'),
    'content-security-policy': headerOf(answer, 'content-security-policy'),
    'cache-control': headerOf(answer, 'cache-control'),
  }).toEqual({
    'x-request-id': expect.stringMatching(/^[\w.:-]{1,128}$/),
    'x-content-type-options': 'nosniff',
    'x-frame-options': 'DENY',
    'referrer-policy': 'no-referrer',
    'content-security-policy': expect.stringMatching(/^default-src 'none'; .*frame-ancestors 'none'$/),
    'cache-control': 'no-store',
  });
  if (answer.status < 400) return;
  expect(headerOf(answer, 'content-type')).toMatch(/^application\/problem\+json\b/);
  expect(JSON.parse(answer.body)).toEqual({
    type: 'about:blank',
    title: expect.stringMatching(/^[A-Z]/),
    status: answer.status,
    detail: expect.stringMatching(/^[A-Z].{8,}/),
    code: expect.stringMatching(/^[a-z_]+$/),
    request_id: headerOf(answer, 'x-request-id'),
  });
}

describe('an answer is complete', () => {
  test.each<[string, number, () => Promise<RawAnswer>]>([
    ['of a service', 200, () => send(get('/users/1'))],
    ['to HEAD', 200, () => send(`HEAD /users/1 HTTP/1.1\r\n${host}${end}`)],
    ['of the gateway: /health', 200, () => send(get('/health'))],
    ['of the gateway: /health/live', 200, () => send(get('/health/live'))],
    ['of the gateway: the redirect of /', 302, () => send(get('/'))],
    ['of the gateway: /docs', 200, () => send(get('/docs'))],
    ['to OPTIONS *', 204, () => send(`OPTIONS * HTTP/1.1\r\n${host}${end}`)],
    ['to OPTIONS /', 204, () => send(`OPTIONS / HTTP/1.1\r\n${host}${end}`)],
    ['for a path that nothing owns', 404, () => send(get('/nothing'))],
    ['for a method that a page does not have', 405, () => send(post('/docs', 'Content-Length: 0'))],
    ['for a body that is too large', 413, () => send(post('/users', 'Content-Length: 1001'))],
    [
      'for a service that does not answer a read',
      504,
      () => {
        gateway.users.handler = neverAnswer;
        return send(get('/users/1'));
      },
    ],
    [
      'for a service that does not answer a change',
      504,
      () => {
        gateway.users.handler = neverAnswer;
        return send(post('/users', 'Content-Length: 0'));
      },
    ],
    [
      'for a service that hangs up',
      503,
      () => {
        gateway.users.handler = (request) => void request.socket.destroy();
        return send(get('/users/1'));
      },
    ],
    [
      'for a service beyond its concurrency limit',
      503,
      async () => {
        gateway.users.handler = (_request, response) => void setTimeout(() => response.end('late'), 300);
        const first = send(get('/users/1'));
        await waitUntil(() => gateway.users.received.length === 1, 'the first request');
        const answer = await send(get('/users/2'));
        await first;
        return answer;
      },
    ],
  ])('%s', async (_title, status, provoke) => {
    const answer = await provoke();
    expect(answer.status).toBe(status);
    expectComplete(answer);
  });

  test('of a service that sends its own Cache-Control: it is kept', async () => {
    gateway.users.handler = answerWith(200, { 'Cache-Control': 'max-age=1' });
    expect(headerOf(await send(get('/users/1')), 'cache-control')).toBe('max-age=1');
  });
});

describe('an answer that is the last of its connection says so, and is complete', () => {
  test.each<[string, number, string[]]>([
    ['a malformed target', 400, [get('//users')]],
    ['no Host', 400, [`GET /users HTTP/1.1${end}`]],
    ['a method that is not supported', 405, [`TRACE /users HTTP/1.1\r\n${host}${end}`]],
    ['a method that the parser does not know', 405, [`BREW /users HTTP/1.1\r\n${host}${end}`]],
    ['CONNECT', 405, [`CONNECT gateway:80 HTTP/1.1\r\n${host}${end}`]],
    ['an expectation that is not known', 417, [get('/users', 'Expect: 200-maybe')]],
    ['an https target without TLS', 421, [`GET https://gateway/users HTTP/1.1\r\n${host}${end}`]],
    [
      'a request with a hidden length',
      400,
      [`${post('/users', 'Content-Length: 1', 'Transfer-Encoding: chunked')}0${end}`],
    ],
    ['bytes that are no request', 400, [`\x01\x02\x03${end}`]],
    ['headers of 20 KB', 431, [get('/users', `X-A: ${'a'.repeat(20_000)}`)]],
    ['headers that arrive too slowly', 408, ['GET /users HTTP/1.1\r\n']],
    ['a body that arrives too slowly', 408, [post('/users', 'Content-Length: 10'), 'half']],
    ['a chunk that is malformed', 400, [chunked, 'ZZ\r\n']],
    ['chunk extensions of 20 KB', 413, [chunked, `1;${'a'.repeat(20_000)}\r\nx\r\n0${end}`]],
  ])('%s: %d', async (_title, status, parts) => {
    const answer = await send(...parts);
    expect(answer.status).toBe(status);
    expect(headerOf(answer, 'connection')).toBe('close');
    if (status === 405) expect(headerOf(answer, 'allow')).toContain('GET, HEAD, POST');
    expect(headerOf(answer, 'vary')).toBe('Accept-Encoding');
    expectComplete(answer);
    expect(gateway.users.received).toEqual([]);
  });

  test('a fault in a body has the id of its request, and the access log has the status', async () => {
    const answer = await send(chunked, 'ZZ\r\n');
    expect(headerOf(answer, 'x-request-id')).toBe('mine');
    await waitUntil(
      () => gateway.logLines.some((line) => /"request_id":"mine".*"status":400.*"request"/.test(line)),
      'it',
    );
  });

  test('a connection over the limit: 503', async () => {
    const limited = await startTestGateway({ MAX_CONNECTIONS: '1' });
    const holder = connect(limited.port, '127.0.0.1');
    await new Promise((resolve) => holder.once('connect', resolve));
    const answer = await sendRaw(limited.port, [requestFor('/users/1')]);
    expect([answer.status, headerOf(answer, 'connection')]).toEqual([503, 'close']);
    expectComplete(answer);
    holder.destroy();
    await limited.close();
  });

  test('a gateway that stops: 503 of /health/ready, and the last answer of a connection', async () => {
    const stopping = await startTestGateway({ SHUTDOWN_DELAY_MS: '3000', SHUTDOWN_TIMEOUT_MS: '20000' });
    const closed = stopping.close();
    const ready = await sendRaw(stopping.port, [requestFor('/health/ready')]);
    expect([ready.status, headerOf(ready, 'retry-after')]).toEqual([503, '1']);
    expectComplete(ready);
    stopping.users.handler = (_request, response) => void setTimeout(() => response.end('ok'), 3_500);
    const last = await sendRaw(stopping.port, [requestFor('/users/1')]);
    expect([last.status, headerOf(last, 'connection')]).toEqual([200, 'close']);
    expectComplete(last);
    await closed;
  });
});

/** @returns all that the gateway sends until it closes the connection */
async function readAll(bytes: readonly string[], gapMs: number): Promise<string> {
  const socket = connect(gateway.port, '127.0.0.1').on('error', () => {});
  let text = '';
  socket.on('data', (chunk) => {
    text += chunk.toString('latin1');
  });
  const closed = new Promise((resolve) => socket.once('close', resolve));
  for (const part of bytes) {
    socket.write(part, 'latin1');
    await sleep(gapMs);
  }
  await closed;
  return text;
}
const statusesIn = (text: string) => [...text.matchAll(/HTTP\/1\.1 (\d{3}) /g)].map(([, status]) => status);

describe('a fault is answered in its own place', () => {
  test('a request before it gets its own answer first, and the change is reported as made', async () => {
    gateway.users.handler = (_request, response) => void setTimeout(() => response.writeHead(201).end('made'), 200);
    const text = await readAll([`${post('/users', 'Content-Length: 0')}nonsense${end}`], 0);
    expect(statusesIn(text)).toEqual(['201', '400']);
    expect(gateway.users.received).toHaveLength(1);
  });

  test('a body that is completed after its 408 changes nothing', async () => {
    const parts = [post('/users', 'Content-Length: 4'), 'ab'];
    const socket = connect(gateway.port, '127.0.0.1').on('error', () => {});
    const answered = new Promise((resolve) => socket.once('data', resolve));
    for (const part of parts) socket.write(part);
    expect(String(await answered)).toMatch(/^HTTP\/1\.1 408 /);
    socket.write(`cd${post('/users/late', 'Content-Length: 0')}`);
    await sleep(400);
    socket.destroy();
    expect(gateway.users.received).toEqual([]);
  });

  test('headers that are completed after their 408 are no request', async () => {
    const socket = connect(gateway.port, '127.0.0.1').on('error', () => {});
    const answered = new Promise((resolve) => socket.once('data', resolve));
    socket.write('POST /users HTTP/1.1\r\n');
    expect(String(await answered)).toMatch(/^HTTP\/1\.1 408 /);
    socket.write(`${host}\r\nContent-Length: 0${end}`);
    await sleep(400);
    socket.destroy();
    expect(gateway.users.received).toEqual([]);
  });

  test('more than 100 pipelined requests: those beyond get a complete 503', async () => {
    let release = () => {};
    gateway.users.handler = (_request, response) => {
      release = () => response.end('late');
    };
    const requests = `${get('/users/1').repeat(102)}${get('/users/1', 'Connection: close')}`;
    const all = readAll([requests], 0);
    await waitUntil(() => gateway.users.received.length === 1, 'the first request');
    gateway.users.handler = answerOk;
    release();
    const [head = '', body = ''] = `${(await all).split(/(?=HTTP\/1\.1 )/).at(-1)}`.split(end);
    expectComplete({ status: 503, headers: head, body });
  });
});

describe('the sentence that helps', () => {
  const users = (target: string) => `GET ${target} HTTP/1.1\r\n${host}${end}`;
  test.each<[string, string, number, RegExp]>([
    ['raw UTF-8 in the query', users('/users?email=d\xc3\xb6rte@example.com'), 400, /not ASCII \(0xC3\).*as %C3/],
    ['raw Latin-1 in the path', users('/users/\xe9'), 400, /not ASCII \(0xE9\).*as %E9/],
    ['raw UTF-8 in an absolute target', users('http://gateway/users?x=\xc3\xb6'), 400, /not ASCII \(0xC3\)/],
    ['raw UTF-8 as a host', users('http://g\xc3\xb6/users'), 400, /not ASCII \(0xC3\)/],
    ['a control character', users('/users/\x01'), 400, /target contains a control character \(0x01\)/],
    ['a tab', users('/users/\t1'), 400, /target contains a control character \(0x09\)/],
    ['a form feed', users('/users/1\f'), 400, /target contains a control character \(0x0C\)/],
    ['a vertical tab', users('/users/\x0b1'), 400, /target contains a control character \(0x0B\)/],
    ['a tab before the target', users('\t/users'), 400, /target contains a control character \(0x09\)/],
    ['a tab in the query', users('/users?a=\tb'), 400, /target contains a control character \(0x09\)/],
    ['a form feed in the fragment', users('/users#\f'), 400, /target contains a control character \(0x0C\)/],
    ['a tab in the host', users('http://gate\tway/users'), 400, /target contains a control character \(0x09\)/],
    ['a CR in the target', users('/users\r/1'), 400, /CR LF/],
    ['DEL', users('/users/\x7f'), 400, /target contains a control character \(0x7F\)/],
    ['a space in the query', users('/users?name=Ada Lovelace'), 400, /percent-encode a space.*%20/],
    ['a fragment', users('/users#1'), 400, /fragment.*%23/],
    ['a target without a slash', users('users'), 400, /must be a path, such as \/users/],
    ['a host as the target', users('gateway:80'), 400, /must be a path, such as \/users/],
    ['a method in lower case', `get /users HTTP/1.1\r\n${host}${end}`, 400, /method must be in upper case: GET/],
    ['a method in mixed case', `Patch /users HTTP/1.1\r\n${host}${end}`, 400, /method must be in upper case: PATCH/],
    ['BREW', `BREW /pot HTTP/1.1\r\n${host}${end}`, 405, /supports only GET, HEAD/],
    ['FOO', `FOO /users HTTP/1.1\r\n${host}${end}`, 405, /supports only GET, HEAD/],
    ['GET2', `GET2 /users HTTP/1.1\r\n${host}${end}`, 405, /supports only GET, HEAD/],
    ['a method of another word', `foo-bar.1! /users HTTP/1.1\r\n${host}${end}`, 405, /supports only GET, HEAD/],
    ['a method behind a line', `\r\nBREW /pot HTTP/1.1\r\n${host}${end}`, 405, /supports only GET, HEAD/],
    ['JSON', `{"email":"Ada"}${end}`, 400, /begin with a method, such as GET, and a space/],
    ['a tab behind the method', `GET\t/users HTTP/1.1\r\n${host}${end}`, 400, /begin with a method.*space/],
    ['a method alone', `BREW${end}`, 400, /begin with a method.*space/],
    ['TLS on this port', '\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03', 400, /TLS.*http:\/\//],
    ['HTTP/2', `PRI * HTTP/2.0${end}SM${end}`, 400, /HTTP\/2.*HTTP\/1\.1/],
    ['a version that is unknown', `GET /users HTTP/1.7\r\n${host}${end}`, 400, /HTTP\/1\.1 or HTTP\/1\.0/],
    ['RTSP', `GET / RTSP/1.0\r\nCSeq: 1${end}`, 400, /HTTP\/1\.1 and HTTP\/1\.0/],
    ['RTSP with a body', `POST /users RTSP/1.0\r\nContent-Length: 2${end}{}`, 400, /HTTP\/1\.1 and HTTP\/1\.0/],
    ['RTSP that asks for methods', `OPTIONS * RTSP/1.0${end}`, 400, /HTTP\/1\.1 and HTTP\/1\.0/],
    ['RTSP/1.1', `GET /users RTSP/1.1\r\n${host}${end}`, 400, /HTTP\/1\.1 and HTTP\/1\.0/],
    ['RTSP/2.0', `GET /users RTSP/2.0${end}`, 400, /HTTP\/1\.1 and HTTP\/1\.0/],
    ['ICE', `GET /users ICE/1.0${end}`, 400, /HTTP\/1\.1/],
    ['line feeds alone', `GET /users HTTP/1.1\n${host}\n\n`, 400, /CR LF/],
    ['a line feed in a header', get('/users', 'X-A: a\nb'), 400, /CR LF/],
    ['a control character in a header', get('/users', 'X-Name: a\x00'), 400, /header X-Name contains a control/],
    ['a space before the colon', get('/users', 'X-Name : a'), 400, /header X-Name is not valid.*colon/],
    ['a header without a colon', get('/users', 'nonsense'), 400, /A header is not valid.*colon/],
    ['a name outside ASCII', get('/users', 'X-N\xe4me: a'), 400, /A header is not valid.*ASCII/],
    ['a folded header', get('/users', 'X-A: 1', ' more'), 400, /continues on the next line/],
    ['a length that is no number', post('/users', 'Content-Length: x'), 400, /Content-Length.*decimal/],
    ['a negative length', post('/users', 'Content-Length: -1'), 400, /Content-Length.*decimal/],
    [
      'a length beyond every number',
      post('/users', `Content-Length: ${'9'.repeat(23)}`),
      413,
      /larger than 1000 bytes/,
    ],
    ['a chunk size beyond every number', `${chunked}${'F'.repeat(17)}\r\n`, 413, /larger than 1000 bytes/],
    ['two lengths', post('/users', 'Content-Length: 1', 'Content-Length: 1'), 400, /only one Content-Length/],
    ['a coding that is not chunked', post('/users', 'Transfer-Encoding: gzip'), 400, /Transfer-Encoding.*chunked/],
    ['a chunk size that is no number', `${chunked}ZZ\r\n`, 400, /size of a chunk.*hexadecimal/],
    ['a chunk longer than its size', `${chunked}1\r\nabc\r\n`, 400, /chunk.*size/],
    ['headers of 20 KB', get('/users', `X-A: ${'a'.repeat(20_000)}`), 431, /target and the headers.*16 KiB/],
    ['a target of 20 KB', users(`/users/${'a'.repeat(20_000)}`), 431, /target and the headers.*16 KiB/],
    ['a slow request', 'GET /users HTTP/1.1\r\n', 408, /headers.* within 1 s.*whole request within 1\.5 s/],
  ])('%s', async (_title, bytes, status, sentence) => {
    const { status: answered, body } = await send(bytes);
    expect(answered).toBe(status);
    expect(JSON.parse(body).detail).toMatch(sentence);
    expect(body).not.toMatch(/Ada|rte@|HPE_|llhttp/);
  });
});
