// Pairs of requests in one write, the second hidden in the first: no service may get the second as a separate request.
// And malformed requests on every route, which must be 4xx. The gateway is a process of its own, so that the test would
// notice its end.

import { type ChildProcess, spawn } from 'node:child_process';
import { connect } from 'node:net';
import { fileURLToPath } from 'node:url';
import { afterAll, beforeAll, beforeEach, describe, expect, test } from '@jest/globals';
import { childEnvironment } from '@promopulse/testing/child-environment';
import { answerOk, environmentFor, type StubService, startStubService, waitUntil } from './stubs.ts';
import { sendRaw } from './wire.ts';

let stubs: StubService[];
let gateway: ChildProcess;
let port: number;
let output = '';

beforeAll(async () => {
  const answerAfterBody: StubService['handler'] = (request, response) =>
    void request.resume().on('end', () => answerOk(request, response));
  stubs = await Promise.all([
    startStubService(answerAfterBody),
    startStubService(answerAfterBody),
    startStubService(answerAfterBody),
  ]);
  const main = fileURLToPath(new URL('../src/main.ts', import.meta.url));
  gateway = spawn(process.execPath, [main], {
    env: { ...childEnvironment, ...environmentFor(stubs), REQUEST_TIMEOUT_MS: '1000', HEADERS_TIMEOUT_MS: '1000' },
  });
  for (const stream of [gateway.stdout, gateway.stderr]) {
    stream?.on('data', (chunk: Buffer) => {
      output += chunk.toString();
    });
  }
  await waitUntil(() => output.includes('"listening"'), 'the gateway to listen', 20_000);
  port = Number(/"port":(\d+)/.exec(output)?.[1]);
});
afterAll(async () => {
  gateway.kill('SIGKILL');
  await Promise.all(stubs.map((stub) => stub.close()));
});
beforeEach(() => {
  for (const stub of stubs) stub.received = [];
});

const received = () => stubs.flatMap((stub) => stub.received);
const hidden = 'GET /users/hidden HTTP/1.1\r\nHost: gateway\r\n\r\n';

/** @returns all that the gateway sends until it closes the connection, or sends nothing for `quietMs` milliseconds */
function readAnswers(bytes: string, quietMs = 300): Promise<string> {
  return new Promise((resolve) => {
    const socket = connect(port, '127.0.0.1');
    let text = '';
    const finish = () => {
      clearTimeout(timer);
      socket.destroy();
      resolve(text);
    };
    const timer = setTimeout(finish, quietMs + 3_000);
    let quiet: NodeJS.Timeout | undefined;
    socket.on('data', (chunk) => {
      text += chunk.toString('latin1');
      clearTimeout(quiet);
      quiet = setTimeout(finish, quietMs);
    });
    socket.on('close', finish);
    socket.on('error', () => {});
    socket.write(bytes, 'latin1');
  });
}

describe('a request hidden in another reaches no service', () => {
  const post = (lines: string[], body: string, version = '1.1') =>
    `POST /users HTTP/${version}\r\nHost: gateway\r\n${lines.join('\r\n')}\r\n\r\n${body}`;
  const chunk = (text: string) => `${text.length.toString(16)}\r\n${text}\r\n`;
  const hiddenLength = `Content-Length: ${hidden.length}`;
  const zeroLength = 'Content-Length: 0';
  const chunked = 'Transfer-Encoding: chunked';
  const afterLastChunk = `0\r\n\r\n${hidden}`;

  test.each<[string, string]>([
    ['CL.TE', post([`Content-Length: ${afterLastChunk.length}`, chunked], afterLastChunk)],
    ['TE.CL', post([chunked, 'Content-Length: 4'], `${chunk(hidden)}0\r\n\r\n`)],
    ['CL.TE, an empty length', post([zeroLength, chunked], chunk(hidden) + afterLastChunk)],
    ['TE.TE, the second unknown', post([chunked, 'Transfer-Encoding: x'], afterLastChunk)],
    ['TE.TE, the first unknown', post(['Transfer-Encoding: x', chunked], afterLastChunk)],
    ['TE.TE, twice chunked', post([chunked, chunked], afterLastChunk)],
    ['TE.CL, identity', post(['Transfer-Encoding: identity', hiddenLength], hidden)],
    ['a coding in quotes', post(['Transfer-Encoding: "chunked"', hiddenLength], afterLastChunk)],
    ['a coding after a tab', post(['Transfer-Encoding:\tchunked', hiddenLength], afterLastChunk)],
    ['a coding after a vertical tab', post(['Transfer-Encoding: \x0bchunked', hiddenLength], afterLastChunk)],
    ['a coding followed by a NUL', post(['Transfer-Encoding: chunked\x00', hiddenLength], afterLastChunk)],
    ['a coding with a parameter', post(['Transfer-Encoding: chunked;q=1', hiddenLength], afterLastChunk)],
    ['a coding after a comma', post(['Transfer-Encoding: ,chunked', hiddenLength], afterLastChunk)],
    ['a coding in a folded line', post(['Transfer-Encoding:', ' chunked', hiddenLength], afterLastChunk)],
    ['a coding as the continuation of a folded line', post(['X-A: b', ` ${chunked}`, hiddenLength], afterLastChunk)],
    ['a space before the colon of the coding', post(['Transfer-Encoding : chunked', hiddenLength], afterLastChunk)],
    ['a space before the colon of the length', post([`Content-Length : ${hidden.length}`, zeroLength], hidden)],
    ['a space before the name', post([` ${chunked}`, hiddenLength], afterLastChunk)],
    ['a coding with an underscore', post(['Transfer_Encoding: chunked', hiddenLength], afterLastChunk)],
    ['two different lengths', post([zeroLength, hiddenLength], hidden)],
    ['two equal lengths', post([hiddenLength, hiddenLength], hidden)],
    ['a list of lengths', post([`Content-Length: ${hidden.length}, ${hidden.length}`], hidden)],
    ['a list of different lengths', post([`Content-Length: 0, ${hidden.length}`], hidden)],
    ['a length with a plus', post([`Content-Length: +${hidden.length}`], hidden)],
    ['a negative length', post([`Content-Length: -${hidden.length}`], hidden)],
    ['a length with a leading zero', post([`Content-Length: 0${hidden.length}`], hidden)],
    ['a hexadecimal length', post([`Content-Length: 0x${hidden.length.toString(16)}`], hidden)],
    ['a length with a space in it', post([`Content-Length: ${[...String(hidden.length)].join(' ')}`], hidden)],
    ['an empty length header', post(['Content-Length: ', hiddenLength], hidden)],
    ['a length beyond 64 bits', post([`Content-Length: ${2n ** 64n + BigInt(hidden.length)}`], hidden)],
    ['a chunk size beyond 64 bits', post([chunked], `${(2n ** 64n).toString(16)}\r\n${hidden}`)],
    ['a negative chunk size', post([chunked], `-1\r\n${hidden}`)],
    ['a chunk size with a plus', post([chunked], `+${chunk(hidden)}${afterLastChunk}`)],
    ['a 0x prefix in a chunk size', post([chunked], `0x${chunk(hidden)}${afterLastChunk}`)],
    ['a space before a chunk size', post([chunked], ` ${chunk('x')}0\r\n\r\n${hidden}`)],
    ['chunks that end in a line feed', post([chunked], `1\nx\n0\n\n${hidden}`)],
    ['a chunk longer than its size', post([chunked], `1\r\nxyz\r\n0\r\n\r\n${hidden}`)],
    ['an extension with a line feed in it', post([chunked], `1;a\nb\r\nx\r\n0\r\n\r\n${hidden}`)],
    ['an extension with a carriage return in it', post([chunked], `1;a\rb\r\nx\r\n0\r\n\r\n${hidden}`)],
    ['an extension of 20 KB', post([chunked], `1;${'a'.repeat(20_000)}\r\nx\r\n0\r\n\r\n${hidden}`)],
    ['thousands of chunk extensions', post([chunked], `${'1;a=b\r\nx\r\n'.repeat(5_000)}0\r\n\r\n`)],
    [
      'a Content-Length in a trailer',
      post([chunked], `1\r\nx\r\n0\r\n${hiddenLength}\r\n\r\n${hidden}`.replace(hidden, '')),
    ],
    ['a line feed without a carriage return after a value', post([`X-A: b\n${chunked}`, hiddenLength], afterLastChunk)],
    ['a carriage return without a line feed after a value', post([`X-A: b\r${chunked}`, hiddenLength], afterLastChunk)],
    ['a line feed in a name', post([`X-\nA: b`, hiddenLength], hidden)],
    [
      'line feeds without carriage returns before the body',
      `POST /users HTTP/1.1\nHost: gateway\n${hiddenLength}\n\n${hidden}`,
    ],
    ['a coding in HTTP/1.0', post([chunked, hiddenLength], afterLastChunk, '1.0')],
    ['a body of a GET', `GET /users HTTP/1.1\r\nHost: gateway\r\n${hiddenLength}\r\n\r\n${hidden}`],
    ['a body of a HEAD', `HEAD /users HTTP/1.1\r\nHost: gateway\r\n${hiddenLength}\r\n\r\n${hidden}`],
    ['a length that Connection names', post(['Connection: content-length', hiddenLength], hidden)],
    ['a body after an expectation', post(['Expect: 100-continue', hiddenLength], hidden)],
    ['a request after an upgrade to h2c', post(['Connection: Upgrade', 'Upgrade: h2c', hiddenLength], hidden)],
    [
      'a request after an upgrade to a websocket',
      post(['Connection: Upgrade', 'Upgrade: websocket', hiddenLength], hidden),
    ],
    ['a request in the target', `GET /users HTTP/1.1\r\n\r\n${hidden} HTTP/1.1\r\nHost: gateway\r\n\r\n`],
    ['a request after CONNECT', `CONNECT gateway:80 HTTP/1.1\r\nHost: gateway\r\n\r\n${hidden}`],
    ['a request after HTTP/0.9', `GET /users\r\n${hidden}`],
    ['a request after HTTP/1.0', `GET /users HTTP/1.0\r\nHost: gateway\r\n\r\n${hidden}`],
    ['a request after Connection: close', `GET /users HTTP/1.1\r\nHost: gateway\r\nConnection: close\r\n\r\n${hidden}`],
    [
      'a request after two Hosts',
      `GET /users HTTP/1.1\r\nHost: gateway\r\nHost: other\r\n${hiddenLength}\r\n\r\n${hidden}`,
    ],
    ['a request after a rejected target', `POST //users HTTP/1.1\r\nHost: gateway\r\n${hiddenLength}\r\n\r\n${hidden}`],
    ['a request after 413', post(['Content-Length: 1000000'], hidden)],
  ])('%s', async (_title, bytes) => {
    const text = await readAnswers(bytes);
    expect(received().filter(({ url }) => url.includes('hidden'))).toEqual([]);
    for (const { rawHeaders } of received()) {
      const names = rawHeaders.filter((_, at) => at % 2 === 0).map((name) => name.toLowerCase());
      expect(names.filter((name) => name === 'content-length').length).toBeLessThanOrEqual(1);
      expect(names).not.toContain('transfer-encoding');
    }
    expect(text).not.toMatch(/HTTP\/1\.1 (5|101)/);
    expect(gateway.exitCode).toBeNull();
  });

  test('a separate request after another one reaches its service', async () => {
    await readAnswers(`POST /users HTTP/1.1\r\nHost: gateway\r\n${zeroLength}\r\n\r\n${hidden}`);
    expect(received().map(({ url }) => url)).toEqual(['/users', '/users/hidden']);
  });
});

describe.each([
  '/users',
  '/users/1',
  '/promotions',
  '/promotions/1',
  '/promotions/1/status',
  '/subscriptions',
  '/subscriptions/1/deactivate',
  '/health',
  '/health/live',
  '/health/ready',
  '/openapi.json',
  '/docs',
  '/',
  '/nothing',
])('%s', (path) => {
  const get = (...lines: string[]) => `GET ${path} HTTP/1.1\r\n${lines.join('\r\n')}\r\n\r\n`;
  const post = (lines: string[], body = '') =>
    `POST ${path} HTTP/1.1\r\nHost: gateway\r\n${lines.join('\r\n')}\r\n\r\n${body}`;
  const host = 'Host: gateway';

  /** 40 malformed requests. */
  const malformed = [
    get(host, 'Host: other'),
    get(host, 'hOST: gateway'),
    get('Accept: */*'),
    get('Host: '),
    get('Host: gateway/x'),
    get('Host: root@gateway'),
    get('Host: gateway, other'),
    get('Host: gateway:port'),
    get(host, 'nonsense'),
    get(host, 'X-A : 1'),
    get(host, ' X-A: 1'),
    get(host, 'X-A: 1', '\tfolded'),
    get(host, 'X-A: \0'),
    get(host, 'X-A: \x01'),
    get(host, 'X\0A: 1'),
    get(host, 'X(A): 1'),
    get(host, ': 1'),
    get(host, `X-A: ${'a'.repeat(20_000)}`),
    get(host, ...Array.from({ length: 5_000 }, (_, at) => `X-${at}: 1`)),
    get(host, 'Expect: 200-maybe'),
    get(host, 'Transfer-Encoding: gzip'),
    `GET http://root@gateway${path} HTTP/1.1\r\nHost: gateway\r\n\r\n`,
    `GET evil.example:80 HTTP/1.1\r\nHost: gateway\r\n\r\n`,
    `GET /${path} HTTP/1.1\r\nHost: gateway\r\n\r\n`.replace('GET // ', 'GET //x '),
    `GET ${path}/../internal HTTP/1.1\r\nHost: gateway\r\n\r\n`,
    `GET ${path}?%00 HTTP/1.1\r\nHost: gateway\r\n\r\n`,
    `GET ${path}?%zz HTTP/1.1\r\nHost: gateway\r\n\r\n`,
    `GET ${path}#x HTTP/1.1\r\nHost: gateway\r\n\r\n`,
    `GET ${path}\x7f HTTP/1.1\r\nHost: gateway\r\n\r\n`,
    `GET  ${path} HTTP/1.1\r\nHost: gateway\r\n\r\n`.replace('  ', ' \t'),
    `TRACE ${path} HTTP/1.1\r\nHost: gateway\r\n\r\n`,
    `CONNECT gateway:80 HTTP/1.1\r\nHost: gateway\r\n\r\n`,
    `FROB ${path} HTTP/1.1\r\nHost: gateway\r\n\r\n`,
    `GET ${path} HTTP/0.9\r\nHost: gateway\r\n\r\n`,
    `GET ${path} HTTP/2.0\r\nHost: gateway\r\n\r\n`,
    `GET ${path}\r\nHost: gateway\r\n\r\n`,
    `GET ${path} HTTP/1.1\nHost: gateway\n\n`,
    post(['Content-Length: 1', 'Transfer-Encoding: chunked'], '0\r\n\r\n'),
    post(['Content-Length: 1', 'Content-Length: 2'], 'ab'),
    post(['Content-Length: -1']),
  ];

  test('answers each of 40 malformed requests with 4xx, and none reaches a service', async () => {
    expect(malformed).toHaveLength(40);
    const answers = await Promise.all(malformed.map((bytes) => sendRaw(port, [bytes])));
    const others = answers.flatMap(({ status }, at) =>
      status >= 400 && status < 500 ? [] : [[status, malformed[at]]],
    );
    expect(others).toEqual([]);
    expect(answers.every(({ body }) => JSON.parse(body).code !== undefined)).toBe(true);
    expect(received()).toEqual([]);
    expect(gateway.exitCode).toBeNull();
  });
});

test('the gateway still serves after all of this and has logged no error', async () => {
  expect((await sendRaw(port, ['GET /users/1 HTTP/1.1\r\nHost: gateway\r\n\r\n'])).status).toBe(200);
  expect(gateway.exitCode).toBeNull();
  expect(output.split('\n').filter((text) => /"level":"(error|fatal)"|Warning|Error:/.test(text))).toEqual([]);
});
