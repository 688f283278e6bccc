// Pairs of requests in one piece, the second dressed as part of the first: whatever the gateway makes of the first, no
// service gets the second as a request of its own. And what is malformed, on every route, is 4xx. The gateway is a
// process of its own, so that "it survives" means what it says.
import { type ChildProcess, spawn } from 'node:child_process';
import { connect } from 'node:net';
import { fileURLToPath } from 'node:url';
import { afterAll, beforeAll, beforeEach, describe, expect, test } from '@jest/globals';
import { answerOk, environmentFor, type Stub, startStub, until } from './stubs.ts';
import { sendRaw } from './wire.ts';

let stubs: Stub[];
let gateway: ChildProcess;
let port: number;
let output = '';

beforeAll(async () => {
  const whole: Stub['handler'] = (request, response) =>
    void request.resume().on('end', () => answerOk(request, response));
  stubs = await Promise.all([startStub(whole), startStub(whole), startStub(whole)]);
  const main = fileURLToPath(new URL('../src/main.ts', import.meta.url));
  gateway = spawn(process.execPath, [main], {
    env: { PATH: process.env.PATH, ...environmentFor(stubs), REQUEST_TIMEOUT_MS: '1000', HEADERS_TIMEOUT_MS: '1000' },
  });
  for (const stream of [gateway.stdout, gateway.stderr]) {
    stream?.on('data', (chunk: Buffer) => {
      output += chunk.toString();
    });
  }
  await until(() => output.includes('"listening"'), 'the gateway to listen', 20_000);
  port = Number(/"port":(\d+)/.exec(output)?.[1]);
});
afterAll(async () => {
  gateway.kill('SIGKILL');
  await Promise.all(stubs.map((stub) => stub.close()));
});
beforeEach(() => {
  for (const stub of stubs) stub.seen = [];
});

const seen = () => stubs.flatMap((stub) => stub.seen);
const hidden = 'GET /users/hidden HTTP/1.1\r\nHost: gateway\r\n\r\n';

/** Everything the gateway answers until it closes, or until nothing more comes for `quietMs`. */
function converse(bytes: string, quietMs = 300): Promise<string> {
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
  const whole = `Content-Length: ${hidden.length}`;
  const none = 'Content-Length: 0';
  const chunked = 'Transfer-Encoding: chunked';
  const behindLastChunk = `0\r\n\r\n${hidden}`;

  test.each<[string, string]>([
    ['CL.TE', post([`Content-Length: ${behindLastChunk.length}`, chunked], behindLastChunk)],
    ['TE.CL', post([chunked, 'Content-Length: 4'], `${chunk(hidden)}0\r\n\r\n`)],
    ['CL.TE, an empty length', post([none, chunked], chunk(hidden) + behindLastChunk)],
    ['TE.TE, the second unknown', post([chunked, 'Transfer-Encoding: x'], behindLastChunk)],
    ['TE.TE, the first unknown', post(['Transfer-Encoding: x', chunked], behindLastChunk)],
    ['TE.TE, twice chunked', post([chunked, chunked], behindLastChunk)],
    ['TE.CL, identity', post(['Transfer-Encoding: identity', whole], hidden)],
    ['a coding in quotes', post(['Transfer-Encoding: "chunked"', whole], behindLastChunk)],
    ['a coding behind a tab', post(['Transfer-Encoding:\tchunked', whole], behindLastChunk)],
    ['a coding behind a vertical tab', post(['Transfer-Encoding: \x0bchunked', whole], behindLastChunk)],
    ['a coding with something behind it', post(['Transfer-Encoding: chunked\x00', whole], behindLastChunk)],
    ['a coding with a parameter', post(['Transfer-Encoding: chunked;q=1', whole], behindLastChunk)],
    ['a coding behind a comma', post(['Transfer-Encoding: ,chunked', whole], behindLastChunk)],
    ['a coding in a folded line', post(['Transfer-Encoding:', ' chunked', whole], behindLastChunk)],
    ['a coding below a folded line', post(['X-A: b', ` ${chunked}`, whole], behindLastChunk)],
    ['a space before the colon of the coding', post(['Transfer-Encoding : chunked', whole], behindLastChunk)],
    ['a space before the colon of the length', post([`Content-Length : ${hidden.length}`, none], hidden)],
    ['a space before the name', post([` ${chunked}`, whole], behindLastChunk)],
    ['a coding with an underscore', post(['Transfer_Encoding: chunked', whole], behindLastChunk)],
    ['two lengths that differ', post([none, whole], hidden)],
    ['two equal lengths', post([whole, whole], hidden)],
    ['a list of lengths', post([`Content-Length: ${hidden.length}, ${hidden.length}`], hidden)],
    ['a list of lengths that differ', post([`Content-Length: 0, ${hidden.length}`], hidden)],
    ['a length with a plus', post([`Content-Length: +${hidden.length}`], hidden)],
    ['a negative length', post([`Content-Length: -${hidden.length}`], hidden)],
    ['a length with a zero before it', post([`Content-Length: 0${hidden.length}`], hidden)],
    ['a hexadecimal length', post([`Content-Length: 0x${hidden.length.toString(16)}`], hidden)],
    ['a length with a space in it', post([`Content-Length: ${[...String(hidden.length)].join(' ')}`], hidden)],
    ['an empty length header', post(['Content-Length: ', whole], hidden)],
    ['a length beyond 64 bits', post([`Content-Length: ${2n ** 64n + BigInt(hidden.length)}`], hidden)],
    ['a chunk size beyond 64 bits', post([chunked], `${(2n ** 64n).toString(16)}\r\n${hidden}`)],
    ['a negative chunk size', post([chunked], `-1\r\n${hidden}`)],
    ['a chunk size with a plus', post([chunked], `+${chunk(hidden)}${behindLastChunk}`)],
    ['a hexadecimal mark in a chunk size', post([chunked], `0x${chunk(hidden)}${behindLastChunk}`)],
    ['a space before a chunk size', post([chunked], ` ${chunk('x')}0\r\n\r\n${hidden}`)],
    ['a chunk that ends in a line feed', post([chunked], `1\nx\n0\n\n${hidden}`)],
    ['a chunk that is longer than it says', post([chunked], `1\r\nxyz\r\n0\r\n\r\n${hidden}`)],
    ['an extension with a line feed in it', post([chunked], `1;a\nb\r\nx\r\n0\r\n\r\n${hidden}`)],
    ['an extension with a carriage return in it', post([chunked], `1;a\rb\r\nx\r\n0\r\n\r\n${hidden}`)],
    ['an extension of 20 KB', post([chunked], `1;${'a'.repeat(20_000)}\r\nx\r\n0\r\n\r\n${hidden}`)],
    ['thousands of extensions', post([chunked], `${'1;a=b\r\nx\r\n'.repeat(5_000)}0\r\n\r\n`)],
    ['a trailer that frames anew', post([chunked], `1\r\nx\r\n0\r\n${whole}\r\n\r\n${hidden}`.replace(hidden, ''))],
    ['a line feed alone behind a value', post([`X-A: b\n${chunked}`, whole], behindLastChunk)],
    ['a carriage return alone behind a value', post([`X-A: b\r${chunked}`, whole], behindLastChunk)],
    ['a line feed in a name', post([`X-\nA: b`, whole], hidden)],
    ['a line feed alone before the body', `POST /users HTTP/1.1\nHost: gateway\n${whole}\n\n${hidden}`],
    ['a coding in HTTP/1.0', post([chunked, whole], behindLastChunk, '1.0')],
    ['a body behind GET', `GET /users HTTP/1.1\r\nHost: gateway\r\n${whole}\r\n\r\n${hidden}`],
    ['a body behind HEAD', `HEAD /users HTTP/1.1\r\nHost: gateway\r\n${whole}\r\n\r\n${hidden}`],
    ['a length that Connection names', post(['Connection: content-length', whole], hidden)],
    ['a body behind an expectation', post(['Expect: 100-continue', whole], hidden)],
    ['a request behind a switch to h2c', post(['Connection: Upgrade', 'Upgrade: h2c', whole], hidden)],
    ['a request behind a switch to a websocket', post(['Connection: Upgrade', 'Upgrade: websocket', whole], hidden)],
    ['a request in the target', `GET /users HTTP/1.1\r\n\r\n${hidden} HTTP/1.1\r\nHost: gateway\r\n\r\n`],
    ['a request behind CONNECT', `CONNECT gateway:80 HTTP/1.1\r\nHost: gateway\r\n\r\n${hidden}`],
    ['a request behind HTTP/0.9', `GET /users\r\n${hidden}`],
    ['a request behind HTTP/1.0 that closes', `GET /users HTTP/1.0\r\nHost: gateway\r\n\r\n${hidden}`],
    ['a request behind one that closes', `GET /users HTTP/1.1\r\nHost: gateway\r\nConnection: close\r\n\r\n${hidden}`],
    ['a request behind two Hosts', `GET /users HTTP/1.1\r\nHost: gateway\r\nHost: other\r\n${whole}\r\n\r\n${hidden}`],
    ['a request behind a refused target', `POST //users HTTP/1.1\r\nHost: gateway\r\n${whole}\r\n\r\n${hidden}`],
    ['a request behind 413', post(['Content-Length: 1000000'], hidden)],
  ])('%s', async (_title, bytes) => {
    const text = await converse(bytes);
    expect(seen().filter(({ url }) => url.includes('hidden'))).toEqual([]);
    for (const { rawHeaders } of seen()) {
      const names = rawHeaders.filter((_, at) => at % 2 === 0).map((name) => name.toLowerCase());
      expect(names.filter((name) => name === 'content-length').length).toBeLessThanOrEqual(1);
      expect(names).not.toContain('transfer-encoding');
    }
    expect(text).not.toMatch(/HTTP\/1\.1 (5|101)/);
    expect(gateway.exitCode).toBeNull();
  });

  test('a request of its own behind another, on the other hand, is one', async () => {
    await converse(`POST /users HTTP/1.1\r\nHost: gateway\r\n${none}\r\n\r\n${hidden}`);
    expect(seen().map(({ url }) => url)).toEqual(['/users', '/users/hidden']);
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

  /** 40 requests, none of which is one. */
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
    `GET http://evil.example${path} HTTP/1.1\r\nHost: gateway\r\n\r\n`,
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

  test('answers each of 40 malformed requests with 4xx, and no service hears of them', async () => {
    expect(malformed).toHaveLength(40);
    const answers = await Promise.all(malformed.map((bytes) => sendRaw(port, [bytes])));
    const others = answers.flatMap(({ status }, at) =>
      status >= 400 && status < 500 ? [] : [[status, malformed[at]]],
    );
    expect(others).toEqual([]);
    expect(answers.every(({ body }) => JSON.parse(body).code !== undefined)).toBe(true);
    expect(seen()).toEqual([]);
    expect(gateway.exitCode).toBeNull();
  });
});

test('after all of that the gateway still serves, and has reported no error', async () => {
  expect((await sendRaw(port, ['GET /users/1 HTTP/1.1\r\nHost: gateway\r\n\r\n'])).status).toBe(200);
  expect(gateway.exitCode).toBeNull();
  expect(output.split('\n').filter((text) => /"level":"(error|fatal)"|Warning|Error:/.test(text))).toEqual([]);
});
