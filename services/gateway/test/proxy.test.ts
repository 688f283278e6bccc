// What passes through the gateway, unchanged or changed, and the time limits on both sides.
import { subscribe, unsubscribe } from 'node:diagnostics_channel';
import { Agent, request as httpRequest } from 'node:http';
import { connect, type Socket } from 'node:net';
import { afterEach, beforeEach, describe, expect, test } from '@jest/globals';
import { createKey } from '../src/callers/key-format.ts';
import { answerWith, neverAnswer, sleep, startTestGateway, type TestGateway, waitUntil } from './stubs.ts';
import { sendRaw } from './wire.ts';

let gateway: TestGateway;

describe('with services that answer', () => {
  beforeEach(async () => {
    gateway = await startTestGateway();
  });
  afterEach(() => gateway.close());

  test('method, path, query, headers and body reach the service that owns the prefix, and the credential does not', async () => {
    const response = await fetch(`${gateway.url}/promotions/1/status?a=1&b=%C3%A9&a=2`, {
      method: 'POST',
      headers: { 'Content-Type': 'application/json', 'X-Custom': 'kept', Authorization: 'Bearer t' },
      body: '{"status":"active"}',
    });
    expect(response.status).toBe(200);
    expect(await response.json()).toEqual({ ok: true });
    expect(gateway.promotions.received).toHaveLength(1);
    expect(gateway.promotions.received[0]).toMatchObject({
      method: 'POST',
      url: '/promotions/1/status?a=1&b=%C3%A9&a=2',
      body: '{"status":"active"}',
      headers: { 'content-type': 'application/json', 'x-custom': 'kept' },
    });
    expect(gateway.promotions.received[0]?.headers).not.toHaveProperty('authorization');
    expect(gateway.users.received).toHaveLength(0);
    expect(gateway.subscriptions.received).toHaveLength(0);
  });

  test('a prefix matches case-sensitively: alone, or followed by a slash', async () => {
    for (const path of ['/users', '/users/', '/users/1', '/users?x=/promotions']) {
      expect((await fetch(gateway.url + path)).status).toBe(200);
    }
    const otherPaths = [
      '/usersx',
      '/Users',
      '/USERS/1',
      '/internal/users',
      '/internal/promotions/1',
      '/x/users',
      '/docs/x',
      '/HEALTH',
      '/Health/Live',
      '/health/Ready',
    ];
    for (const path of [...otherPaths, '/users;x=1', '/healthy', '/health/ready/x', '/openapi.json/users']) {
      const response = await fetch(gateway.url + path);
      expect([path, response.status]).toEqual([path, 404]);
      expect(response.headers.get('content-type')).toContain('application/problem+json');
      expect(await response.json()).toMatchObject({ status: 404, code: 'no_such_path' });
    }
    expect(gateway.users.received.map(({ url }) => url)).toEqual([
      '/users',
      '/users/',
      '/users/1',
      '/users?x=/promotions',
    ]);
    expect(gateway.promotions.received).toEqual([]);
  });

  test('the reason phrase of a status is that of RFC 9110, whatever the service writes', async () => {
    for (const [status, phrase] of [
      [413, 'Content Too Large'],
      [422, 'Unprocessable Content'],
      [404, 'Not Found'],
      [201, 'Created'],
    ] as const) {
      gateway.users.handler = answerWith(status);
      const { headers } = await sendRaw(gateway.port, ['GET /users/1 HTTP/1.1\r\nHost: a\r\n\r\n']);
      expect(headers.split('\r\n')[0]).toBe(`HTTP/1.1 ${status} ${phrase}`);
    }
  });

  test('a valid request id is kept and any other is replaced; the id is echoed, forwarded and logged', async () => {
    const kept = await fetch(`${gateway.url}/users/1`, { headers: { 'X-Request-Id': 'order-42:a.b_c' } });
    expect(kept.headers.get('x-request-id')).toBe('order-42:a.b_c');
    expect(gateway.users.received[0]?.headers['x-request-id']).toBe('order-42:a.b_c');
    for (const invalid of ['', 'has space', 'x'.repeat(129), '<script>', createKey().secret]) {
      const response = await fetch(`${gateway.url}/users/1`, { headers: { 'X-Request-Id': invalid } });
      const generated = response.headers.get('x-request-id');
      expect(generated).toMatch(/^[0-9a-f-]{36}$/);
      expect(gateway.users.received.at(-1)?.headers['x-request-id']).toBe(generated);
    }
    await waitUntil(
      () => gateway.logLines.some((line) => line.includes('"request_id":"order-42:a.b_c"')),
      'the log line',
    );
  });

  test('a service cannot replace the request id of the logs', async () => {
    gateway.users.handler = answerWith(200, { 'X-Request-Id': 'other', 'Content-Length': '0' });
    const response = await fetch(`${gateway.url}/users/1`, { headers: { 'X-Request-Id': 'mine' } });
    expect(response.headers.get('x-request-id')).toBe('mine');
  });

  test('the log contains no query, no body and no part of a path but the first', async () => {
    await fetch(`${gateway.url}/users?email=canary@example.com`, { method: 'POST', body: 'canary-body' });
    await fetch(`${gateway.url}/users/canary@example.com`);
    await fetch(`${gateway.url}/users/4915112345678?x=canary`);
    await fetch(`${gateway.url}/promotions/4915112345678/canary/4915112345678`);
    await fetch(`${gateway.url}/4915112345678/canary`);
    await fetch(`${gateway.url}/docs/4915112345678`);
    gateway.users.handler = (request) => void request.socket.destroy();
    await fetch(`${gateway.url}/users?email=canary@example.com`);
    const routes = () =>
      gateway.logLines
        .filter((line) => line.includes('"msg":"request"'))
        .map((line) => JSON.parse(line).route)
        .sort();
    await waitUntil(() => routes().length === 7, 'seven log lines');
    expect(routes()).toEqual([
      '(no route)',
      '/docs/{name}',
      '/promotions/{id}/*',
      '/users',
      '/users',
      '/users/{id}',
      '/users/{id}',
    ]);
    expect(gateway.logLines.filter((line) => /canary|4915112345678/.test(line))).toEqual([]);
  });

  test('status, headers and body are returned, but no hop-by-hop headers and no names of software', async () => {
    gateway.users.handler = (_request, response) => {
      response.writeHead(
        201,
        [
          ['Location', '/users/7'],
          ['Set-Cookie', 'a=1'],
          ['Set-Cookie', 'b=2'],
          ['Server', 'secret/1.0'],
          ['X-Powered-By', 'secret'],
          ['Connection', 'keep-alive, X-Hop'],
          ['Keep-Alive', 'timeout=77'],
          ['X-Hop', 'hop'],
          ['Proxy-Authenticate', 'Basic'],
          ['Trailer', 'X-Sum'],
        ].flat(),
      );
      response.end('created');
    };
    const response = await fetch(`${gateway.url}/users`, { method: 'POST', body: '{}' });
    expect(response.status).toBe(201);
    expect(await response.text()).toBe('created');
    expect(response.headers.get('location')).toBe('/users/7');
    expect(response.headers.getSetCookie()).toEqual(['a=1', 'b=2']);
    for (const name of ['server', 'x-powered-by', 'x-hop', 'proxy-authenticate', 'trailer']) {
      expect([name, response.headers.get(name)]).toEqual([name, null]);
    }
    expect(response.headers.get('keep-alive')).not.toContain('77');
    expect(response.headers.get('x-content-type-options')).toBe('nosniff');
  });

  test('the head of a response does not wait for the body', async () => {
    let finish = () => {};
    gateway.users.handler = (_request, response) => {
      response.writeHead(200).flushHeaders();
      finish = () => response.end('late');
    };
    const response = await fetch(`${gateway.url}/users`, { signal: AbortSignal.timeout(5_000) });
    finish();
    expect(await response.text()).toBe('late');
  });

  test('every byte of a body and of a header is returned unchanged, in one chunk or in many', async () => {
    const bytes = Buffer.from(Array.from({ length: 256 }, (_, byte) => byte));
    gateway.users.handler = (_request, response) => {
      response.setHeader('X-Letters', Buffer.from('é ü').toString('latin1'));
      response.writeHead(200, { 'Content-Length': bytes.length }).end(bytes);
    };
    const whole = await fetch(`${gateway.url}/users`);
    expect(Buffer.from(await whole.arrayBuffer())).toEqual(bytes);
    expect(Buffer.from(whole.headers.get('x-letters') ?? '', 'latin1').toString()).toBe('é ü');
    gateway.users.handler = (_request, response) => {
      response.write(bytes);
      setTimeout(() => response.end(bytes), 20);
    };
    const pieces = await fetch(`${gateway.url}/users`);
    expect(Buffer.from(await pieces.arrayBuffer())).toEqual(Buffer.concat([bytes, bytes]));
  });

  test('responses without a body, and to HEAD, end at once', async () => {
    gateway.users.handler = answerWith(204);
    expect((await fetch(`${gateway.url}/users/1`)).status).toBe(204);
    gateway.users.handler = answerWith(200, { 'Content-Length': '11' });
    const head = await fetch(`${gateway.url}/users/1`, { method: 'HEAD' });
    expect(head.headers.get('content-length')).toBe('11');
    gateway.users.handler = answerWith(304, { ETag: '"1"' });
    expect((await fetch(`${gateway.url}/users/1`)).status).toBe(304);
  });

  test('a connection closes when its client asks for it or uses HTTP/1.0, which gets no chunks', async () => {
    gateway.users.handler = (_request, response) => {
      response.write('in ');
      response.end('chunks');
    };
    const closing = await sendRaw(gateway.port, ['GET /users HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n']);
    expect(closing.headers.toLowerCase()).toContain('connection: close');
    const http10 = await sendRaw(gateway.port, ['GET /users HTTP/1.0\r\nHost: a\r\n\r\n']);
    expect(http10.headers.toLowerCase()).not.toContain('transfer-encoding');
    expect(http10.body).toBe('in chunks');
  });

  test('keep-alive connections on both sides are reused and keep no listeners of earlier requests', async () => {
    const sockets = new Set<Socket>();
    const onSocket = (message: unknown) => void sockets.add((message as { socket: Socket }).socket);
    subscribe('net.client.socket', onSocket);
    subscribe('net.server.socket', onSocket);
    const agent = new Agent({ keepAlive: true, maxSockets: 1 });
    const listeners: number[] = [];
    for (let count = 0; count < 40; count += 1) {
      await new Promise<void>((resolve, reject) => {
        const call = httpRequest(`${gateway.url}/users/${count}`, { agent, method: count % 2 ? 'GET' : 'POST' });
        call.on('response', (response) => response.resume().on('end', resolve)).on('error', reject);
        call.setHeader('Content-Length', '0').end();
      });
      listeners.push(Math.max(...[...sockets].map(countListeners)));
    }
    agent.destroy();
    unsubscribe('net.client.socket', onSocket);
    unsubscribe('net.server.socket', onSocket);
    expect(sockets.size).toBe(4); // two connections (client to gateway, gateway to service), both ends of each
    expect(Math.max(...listeners.slice(-10))).toBeLessThanOrEqual(Math.max(...listeners.slice(0, 10)));
  });

  test('a body whose declared length is too large is rejected and does not reach the service', async () => {
    const response = await fetch(`${gateway.url}/users`, { method: 'POST', body: 'x'.repeat(65_537) });
    expect(response.status).toBe(413);
    expect(await response.json()).toMatchObject({ status: 413, code: 'body_too_large' });
    expect(gateway.users.received).toHaveLength(0);
    expect((await fetch(`${gateway.url}/users`, { method: 'POST', body: 'x'.repeat(65_536) })).status).toBe(200);
  });

  test('a chunked body of 1 MB is 413 at the limit and does not reach the service', async () => {
    expect(await postChunks(`${gateway.url}/users`, 'x'.repeat(16_384), 64)).toBe(413);
    expect(gateway.users.received).toEqual([]);
    gateway.users.handler = (request, response) => void request.resume().on('end', () => response.end('ok'));
    expect(await postChunks(`${gateway.url}/users`, 'x'.repeat(16_384), 4)).toBe(200);
    expect(gateway.users.received.at(-1)?.bytes).toBe(65_536);
  });

  test('a chunked body to a service that answers early does not disturb the next request', async () => {
    gateway.users.handler = answerWith(422, { 'Content-Length': '2' }, '{}');
    expect(await postChunks(`${gateway.url}/users`, 'x'.repeat(1_000), 40)).toBe(422);
    expect(await postChunks(`${gateway.url}/users`, 'x'.repeat(16_384), 64)).toBeGreaterThanOrEqual(400);
    gateway.users.handler = answerWith(200);
    expect((await fetch(`${gateway.url}/users`)).status).toBe(200);
  });

  test('the gateway answers Expect: 100-continue and does not forward it', async () => {
    const head =
      'POST /users HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\nExpect: 100-continue\r\nX-Internal-User: 1\r\n\r\n';
    const answer = await sendRaw(gateway.port, [head, '{}'], 50);
    expect(answer.status).toBe(200);
    expect(gateway.users.received[0]?.body).toBe('{}');
    expect(gateway.users.received[0]?.headers).not.toHaveProperty('expect');
    expect(gateway.users.received[0]?.headers).not.toHaveProperty('x-internal-user');
  });
});

describe('with short time limits', () => {
  beforeEach(async () => {
    gateway = await startTestGateway({
      IDLE_TIMEOUT_MS: '700',
      HEADERS_TIMEOUT_MS: '300',
      REQUEST_TIMEOUT_MS: '800',
      UPSTREAM_TIMEOUT_MS: '300',
    });
  });
  afterEach(() => gateway.close());

  test('headers that arrive too slowly are 408', async () => {
    const answer = await sendRaw(gateway.port, ['GET /users HTTP/1.1\r\n', ...Array(100).fill('X-A: b\r\n')], 100);
    expect(answer.status).toBe(408);
    expect(JSON.parse(answer.body)).toMatchObject({ status: 408, code: 'request_timeout' });
  });

  test('a body that arrives too slowly is 408 and no failure of the service', async () => {
    gateway.users.handler = neverAnswer;
    const head = 'POST /users HTTP/1.1\r\nHost: a\r\nContent-Length: 1000\r\n\r\n';
    for (let count = 0; count < 2; count += 1) {
      expect((await sendRaw(gateway.port, [head, ...Array(100).fill('x')], 100)).status).toBe(408);
    }
    expect(gateway.logLines.filter((line) => line.includes('upstream failed'))).toEqual([]);
  });

  test('a body may take longer than UPSTREAM_TIMEOUT_MS, which limits only the service', async () => {
    gateway.users.handler = (request, response) => void request.resume().on('end', () => response.end('late'));
    const head = 'POST /users HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\n';
    const answer = await sendRaw(gateway.port, [head, 'a', 'b', 'c', 'd', 'e'], 100);
    expect(answer.status).toBe(200);
  });

  test('a client that does not read its response is disconnected, and its connection to the service is released', async () => {
    let released = false;
    gateway.users.handler = (_request, response) => {
      response.on('close', () => {
        released = true;
      });
      response.end(Buffer.alloc(50_000_000));
    };
    const client = connect(gateway.port, '127.0.0.1').on('error', () => {});
    client.pause().write('GET /users HTTP/1.1\r\nHost: a\r\n\r\n');
    await waitUntil(() => released, 'the end of the answer at the service');
    client.destroy();
  });

  test('connections that send too slowly do not delay other clients', async () => {
    const slow = Array.from({ length: 200 }, () => connect(gateway.port, '127.0.0.1').on('error', () => {}));
    const closed = slow.map((socket) => new Promise((resolve) => socket.on('close', resolve).resume()));
    for (const socket of slow) socket.write('GET /users HTTP/1.1\r\nX');
    const started = performance.now();
    for (let count = 0; count < 20; count += 1) expect((await fetch(`${gateway.url}/users`)).status).toBe(200);
    expect(performance.now() - started).toBeLessThan(2_000);
    await Promise.all(closed);
    expect(performance.now() - started).toBeLessThan(7_000);
  });

  test('a response may stream for longer than UPSTREAM_TIMEOUT_MS', async () => {
    gateway.users.handler = async (_request, response) => {
      for (let count = 0; count < 12; count += 1) {
        response.write(`${count} `);
        await sleep(100);
      }
      response.end('end');
    };
    const response = await fetch(`${gateway.url}/users`);
    expect(await response.text()).toBe('0 1 2 3 4 5 6 7 8 9 10 11 end');
  });
});

function countListeners(socket: Socket): number {
  return socket.eventNames().reduce((sum, name) => sum + socket.listenerCount(name), 0);
}

/** @returns the status of a POST with a body of `count` chunks */
function postChunks(url: string, chunk: string, count: number): Promise<number> {
  return new Promise((resolve, reject) => {
    const call = httpRequest(url, { method: 'POST', agent: false }, (response) => {
      response.resume();
      resolve(response.statusCode ?? 0);
    });
    call.on('error', reject);
    for (let sent = 0; sent < count; sent += 1) call.write(chunk);
    call.end();
  });
}
