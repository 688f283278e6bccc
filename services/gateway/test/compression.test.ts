// Compressed answers: which ones, for whom, and what stays as it is.
import { request as httpRequest, type IncomingHttpHeaders } from 'node:http';
import { connect, type Socket } from 'node:net';
import { brotliDecompressSync, gunzipSync } from 'node:zlib';
import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';
import { eventually } from '@promopulse/testing/eventually';
import { readAcceptEncoding } from '../src/edge/accept-encoding.ts';
import { sleep, startTestGateway, type TestGateway, waitUntil } from './stubs.ts';
import { sendRaw } from './wire.ts';

let gateway: TestGateway;
beforeAll(async () => {
  gateway = await startTestGateway({ IDLE_TIMEOUT_MS: '60000', MAX_IN_FLIGHT: '200' });
});
afterAll(() => gateway.close());

interface Answer {
  status: number;
  headers: IncomingHttpHeaders;
  body: Buffer;
}

/** Unlike `fetch`, it decompresses nothing and sends only the headers that are given. */
function get(path: string, headers: Record<string, string> = {}, method = 'GET'): Promise<Answer> {
  return new Promise((resolve, reject) => {
    httpRequest(gateway.url + path, { method, headers, agent: false }, (response) => {
      const chunks: Buffer[] = [];
      response.on('data', (chunk: Buffer) => chunks.push(chunk));
      response.on('error', reject);
      response.on('end', () =>
        resolve({ status: Number(response.statusCode), headers: response.headers, body: Buffer.concat(chunks) }),
      );
    })
      .on('error', reject)
      .end();
  });
}

const item = (id: number) => ({ id, name: `Summer Sale ${id}`, description: 'Get 20% off: ü, 😀', status: 'active' });
const listOf = (count: number): Buffer =>
  Buffer.from(JSON.stringify({ items: Array.from({ length: count }, (_, id) => item(id)), total: count }));
/** 500 to 600 bytes, 8 KB, and 250 KB. */
const [short, middle, long] = [listOf(6), listOf(90), listOf(2_800)];

interface Served {
  body?: Buffer;
  status?: number;
  headers?: Record<string, string>;
  /** Sends the body in parts of this many bytes, without a Content-Length. */
  partBytes?: number;
}

function serve({ body = Buffer.alloc(0), status = 200, headers = {}, partBytes }: Served): void {
  gateway.users.handler = async (request, response) => {
    const length = partBytes === undefined ? { 'Content-Length': String(body.length) } : {};
    response.writeHead(status, { 'Content-Type': 'application/json; charset=utf-8', ...length, ...headers });
    if (request.method === 'HEAD') response.end();
    else if (partBytes === undefined) response.end(body);
    else {
      for (let at = 0; at < body.length; at += partBytes) {
        response.write(body.subarray(at, at + partBytes));
        await sleep(1);
      }
      response.end();
    }
  };
}

const decode = ({ headers, body }: Answer): Buffer => {
  const coding = headers['content-encoding'];
  if (coding === 'gzip') return gunzipSync(body);
  return coding === 'br' ? brotliDecompressSync(body) : body;
};

describe('a list of a service', () => {
  test.each([
    ['gzip', middle],
    ['br', middle],
    ['gzip', long],
    ['br', long],
  ])('is sent with %s when the client asks for it, and every byte comes back', async (coding, body) => {
    serve({ body });
    const answer = await get('/users', { 'Accept-Encoding': coding });
    expect(answer.headers['content-encoding']).toBe(coding);
    expect(answer.headers.vary).toBe('Accept-Encoding');
    expect(answer.headers['content-type']).toBe('application/json; charset=utf-8');
    expect(answer.body.length).toBeLessThan(body.length / 5);
    expect(decode(answer).equals(body)).toBe(true);
  });

  test.each([
    ['gzip', 1_000],
    ['br', 1_000],
    ['gzip', 100_000],
    ['br', 100_000],
  ])('is sent with %s as well when it comes in parts of %i bytes', async (coding, partBytes) => {
    const body = partBytes < 10_000 ? middle : long;
    serve({ body, partBytes });
    const answer = await get('/users', { 'Accept-Encoding': coding });
    expect([answer.headers['content-encoding'], decode(answer).equals(body)]).toEqual([coding, true]);
  });

  test.each([
    ['does not ask', {}],
    ['asks for bytes as they are', { 'Accept-Encoding': 'identity' }],
    ['has an empty header', { 'Accept-Encoding': '' }],
    ['asks for codings that we do not have', { 'Accept-Encoding': 'deflate, compress, zstd' }],
    ['likes bytes as they are better', { 'Accept-Encoding': 'gzip;q=0.5, identity' }],
    ['refuses everything', { 'Accept-Encoding': 'identity;q=0' }],
    ['forbids a transformation', { 'Accept-Encoding': 'gzip', 'Cache-Control': 'max-age=0, no-transform' }],
    ['writes nonsense', { 'Accept-Encoding': ';;, =gzip;q' }],
  ])(
    'goes out as it is to a client that %s, and still says that others may get it compressed',
    async (_who, headers) => {
      serve({ body: long });
      const answer = await get('/users', headers as Record<string, string>);
      expect([answer.status, answer.body.equals(long)]).toEqual([200, true]);
      expect(answer.headers).toMatchObject({ vary: 'Accept-Encoding', 'content-length': String(long.length) });
      expect(answer.headers).not.toHaveProperty('content-encoding');
    },
  );

  test('below 1 KiB goes out as it is, unless the client refuses that', async () => {
    serve({ body: short });
    const answer = await get('/users', { 'Accept-Encoding': 'gzip, br' });
    expect(answer.headers).toMatchObject({ vary: 'Accept-Encoding', 'content-length': String(short.length) });
    expect(answer.body.equals(short)).toBe(true);
    for (const value of ['gzip, identity;q=0', 'br, *;q=0']) {
      const compressed = await get('/users', { 'Accept-Encoding': value });
      expect(value).toContain(compressed.headers['content-encoding']);
      expect(decode(compressed).equals(short)).toBe(true);
    }
  });

  test.each([1_023, 1_024])('of %i bytes: 1 KiB is the limit', async (length) => {
    serve({ body: Buffer.from(JSON.stringify('x'.repeat(length - 2))) });
    const { headers } = await get('/users', { 'Accept-Encoding': 'gzip' });
    expect(headers['content-encoding']).toBe(length < 1_024 ? undefined : 'gzip');
  });

  test('HEAD has the headers of GET, and no length that the content does not have', async () => {
    for (const body of [short, middle, long]) {
      serve({ body });
      const [head, full] = [
        await get('/users', { 'Accept-Encoding': 'gzip' }, 'HEAD'),
        await get('/users', { 'Accept-Encoding': 'gzip' }),
      ];
      expect([head.status, head.body.length]).toEqual([200, 0]);
      for (const name of ['content-encoding', 'content-type', 'vary']) {
        expect([name, head.headers[name]]).toEqual([name, full.headers[name]]);
      }
      expect([undefined, full.headers['content-length']]).toContain(head.headers['content-length']);
    }
    const plain = await get('/users', {}, 'HEAD');
    expect(plain.headers['content-length']).toBe(String(long.length));
  });

  test('a keep-alive connection serves the next request after a compressed answer and after a HEAD', async () => {
    serve({ body: long });
    const head = (method: string, end: string) =>
      `${method} /users HTTP/1.1\r\nHost: a\r\nAccept-Encoding: gzip\r\n${end}\r\n`;
    const socket = connect(gateway.port, '127.0.0.1');
    socket.write(head('GET', '') + head('HEAD', '') + head('GET', 'Connection: close\r\n'));
    let text = '';
    for await (const chunk of socket) text += (chunk as Buffer).toString('latin1');
    expect(text.match(/^HTTP\/1\.1 200 OK/gm)).toHaveLength(3);
    expect(text.match(/^Content-Encoding: gzip/gm)).toHaveLength(3);
  });

  test('HTTP/1.0 gets it without chunks', async () => {
    serve({ body: long });
    const answer = await sendRaw(gateway.port, ['GET /users HTTP/1.0\r\nHost: a\r\nAccept-Encoding: gzip\r\n\r\n']);
    expect(answer.headers.toLowerCase()).not.toContain('transfer-encoding');
    expect(gunzipSync(Buffer.from(answer.body, 'latin1')).equals(long)).toBe(true);
  });

  test('an error of a service is compressed like any other answer', async () => {
    serve({ status: 422, body: middle, headers: { 'Content-Type': 'application/problem+json; charset=utf-8' } });
    const answer = await get('/users', { 'Accept-Encoding': 'gzip' });
    expect([answer.status, answer.headers['content-encoding']]).toEqual([422, 'gzip']);
    expect(decode(answer).equals(middle)).toBe(true);
  });
});

describe('goes out unchanged', () => {
  test.each([
    ['an answer that a service has encoded', { 'Content-Encoding': 'gzip' }],
    ['one that must not be transformed', { 'Cache-Control': 'no-store, no-transform' }],
    ['an image', { 'Content-Type': 'image/png' }],
    ['one without a type', { 'Content-Type': '' }],
    ['one whose digest is of its bytes', { 'Content-Digest': 'sha-256=:abc:' }],
  ])('%s', async (_what, headers) => {
    for (const body of [middle, long]) {
      serve({ body, headers });
      const answer = await get('/users', { 'Accept-Encoding': 'br, gzip' });
      expect(answer.headers['content-encoding']).toBe((headers as Record<string, string>)['Content-Encoding']);
      expect([answer.headers['content-length'], answer.body.equals(body)]).toEqual([String(body.length), true]);
      expect(answer.headers.etag).toBe((headers as Record<string, string>).ETag);
    }
  });

  test('a part of something (206)', async () => {
    serve({ status: 206, body: middle, headers: { 'Content-Range': 'bytes 0-8/9' } });
    const { headers } = await get('/users', { 'Accept-Encoding': 'gzip' });
    expect(headers).not.toHaveProperty('content-encoding');
  });

  test.each([204, 304])('%i, which has no content', async (status) => {
    gateway.users.handler = (_request, response) =>
      void response.writeHead(status, { 'Content-Type': 'application/json', ETag: 'W/"7"' }).end();
    const answer = await get('/users', { 'Accept-Encoding': 'gzip' });
    expect([answer.status, answer.body.length, answer.headers.etag]).toEqual([status, 0, 'W/"7"']);
    expect(answer.headers).not.toHaveProperty('content-encoding');
  });
});

test('a weak ETag stays, because it does not name bytes', async () => {
  serve({ body: long, headers: { ETag: 'W/"7"' } });
  const { headers } = await get('/users', { 'Accept-Encoding': 'gzip' });
  expect(headers).toMatchObject({ 'content-encoding': 'gzip', etag: 'W/"7"' });
});

test('a Vary of the service is kept', async () => {
  serve({ body: middle, headers: { Vary: 'Accept-Language, accept-encoding' } });
  const { headers } = await get('/users', { 'Accept-Encoding': 'gzip' });
  expect(String(headers.vary).toLowerCase().split(', ').sort()).toEqual(['accept-encoding', 'accept-language']);
});

test('the pages of the gateway are compressed as well', async () => {
  for (const path of ['/docs', '/docs/swagger-ui.css', '/docs/swagger-ui-bundle.js']) {
    const plain = await get(path);
    const [zipped, brotli] = [
      await get(path, { 'Accept-Encoding': 'gzip' }),
      await get(path, { 'Accept-Encoding': 'gzip, br' }),
    ];
    if (plain.body.length < 1_024) continue;
    expect([zipped.headers['content-encoding'], brotli.headers['content-encoding']]).toEqual(['gzip', 'br']);
    expect([decode(zipped).equals(plain.body), decode(brotli).equals(plain.body)]).toEqual([true, true]);
    expect(brotli.body.length).toBeLessThan(plain.body.length / 2);
  }
  expect((await get('/docs/favicon-32x32.png', { 'Accept-Encoding': 'gzip' })).headers).not.toHaveProperty(
    'content-encoding',
  );
});

describe('while an answer is on its way', () => {
  test('what a service has sent arrives at once, and does not wait for more', async () => {
    for (const coding of ['gzip', 'br']) {
      let finish = () => {};
      gateway.users.handler = (_request, response) => {
        response.writeHead(200, { 'Content-Type': 'application/json' }).write('["first"');
        finish = () => response.end(',"last"]');
      };
      const response = await fetch(`${gateway.url}/users`, { headers: { 'Accept-Encoding': coding } });
      expect(response.headers.get('content-encoding')).toBe(coding);
      const reader = (response.body as ReadableStream<Uint8Array>).getReader();
      const { value } = await reader.read();
      expect(Buffer.from(value ?? []).toString()).toBe('["first"');
      finish();
      expect(Buffer.from((await reader.read()).value ?? []).toString()).toBe(',"last"]');
    }
  });

  test('an answer that its service cuts is cut for the client', async () => {
    gateway.users.handler = (_request, response) => {
      response.writeHead(200, { 'Content-Type': 'application/json' }).write(long.subarray(0, 100_000));
      setTimeout(() => response.destroy(), 50);
    };
    await expect(get('/users', { 'Accept-Encoding': 'gzip' })).rejects.toThrow();
  });
});

describe('many answers on their way', () => {
  /** Hardly becomes smaller by compression. */
  const noise = Buffer.from(
    JSON.stringify(Array.from({ length: 80_000 }, () => Math.random().toString(36).slice(2)).join('')),
  );

  function openUnread(coding: string): Socket {
    const socket = connect(gateway.port, '127.0.0.1').on('error', () => {});
    socket.pause().write(`GET /users HTTP/1.1\r\nHost: a\r\nAccept-Encoding: ${coding}\r\n\r\n`);
    return socket;
  }

  test.each(['gzip', 'br'])(
    'clients that do not read stop their service (%s), and release it when they leave',
    async (coding) => {
      let sent = 0;
      let released = 0;
      gateway.users.handler = (_request, response) => {
        response.on('close', () => {
          released += 1;
        });
        response.writeHead(200, { 'Content-Type': 'application/json' });
        const push = (): void => {
          if (response.destroyed) return;
          sent += noise.length;
          if (response.write(noise)) setImmediate(push);
          else response.once('drain', push);
        };
        push();
      };
      const clients = Array.from({ length: 3 }, () => openUnread(coding));
      let before = -1;
      while (before !== sent) {
        before = sent;
        await sleep(1_000);
      }
      expect(sent).toBeGreaterThanOrEqual(clients.length * noise.length);
      for (const socket of clients) socket.destroy();
      await waitUntil(() => released === clients.length, 'the end at the service');
    },
  );

  test('beyond 64 answers that are on their way, others go out as they are: the memory is bounded', async () => {
    const release: (() => void)[] = [];
    let answered = 0;
    gateway.users.handler = (_request, response) => {
      response.writeHead(200, { 'Content-Type': 'application/json' }).write(noise.subarray(0, 300_000));
      release.push(() => response.end());
    };
    const before = process.memoryUsage().rss;
    const clients = Array.from({ length: 100 }, (_, number) =>
      openUnread(number % 2 === 0 ? 'br' : 'gzip').once('data', () => {
        answered += 1;
      }),
    );
    for (const socket of clients) socket.resume();
    await waitUntil(() => answered === clients.length, 'the first parts');
    const grownMiB = Math.round((process.memoryUsage().rss - before) / 1_048_576);
    process.stderr.write(`100 unfinished answers, of which 64 are compressed: ${grownMiB} MiB\n`);
    expect(grownMiB).toBeLessThan(150);
    serve({ body: long });
    const codingNow = async () => (await get('/users', { 'Accept-Encoding': 'gzip' })).headers['content-encoding'];
    expect(await codingNow()).toBeUndefined();
    for (const end of release) end();
    for (const socket of clients) socket.destroy();
    await eventually(async () => expect(await codingNow()).toBe('gzip'));
  });
});

describe('Accept-Encoding', () => {
  test.each([
    ['gzip', 'gzip', false],
    ['br', 'br', false],
    ['GZIP', 'gzip', false],
    ['x-gzip', 'gzip', false],
    ['X-GZip;q=0.8', 'gzip', false],
    ['gzip, deflate, br, zstd', 'br', false],
    ['br;q=0.5, gzip', 'gzip', false],
    ['br;q=0.5 , gzip;q=0.5', 'br', false],
    ['gzip;q=0.001', 'gzip', false],
    ['*', 'br', false],
    ['*;q=0.1, br;q=0', 'gzip', false],
    ['gzip, *;q=0', 'gzip', true],
    ['gzip;q=0.2, identity;q=0', 'gzip', true],
    ['deflate, gzip;q=1.0, *;q=0.5', 'gzip', false],
  ])('%s: %s', (value, coding, isIdentityRefused) => {
    expect(readAcceptEncoding(value)).toEqual({ coding, isIdentityRefused });
    expect(readAcceptEncoding(value)).toEqual({ coding, isIdentityRefused });
  });

  test.each([
    undefined,
    '',
    'identity',
    'deflate',
    'gzip;q=0',
    'gzip;q=0, br;q=0.0',
    'identity;q=0',
    '*;q=0',
    ';',
    ',',
  ])('%s: the body goes out as it is', (value) => {
    expect(readAcceptEncoding(value)).toBeUndefined();
  });
});
