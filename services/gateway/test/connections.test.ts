// What one connection may pipeline, and how many connections there may be.
import { connect, type Socket } from 'node:net';
import { afterEach, beforeEach, describe, expect, test } from '@jest/globals';
import {
  answerOk,
  type LimitedGateway,
  neverAnswer,
  sleep,
  startLimitedGateway,
  startTestGateway,
  type TestGateway,
  waitUntil,
} from './stubs.ts';
import { requestFor, sendRaw } from './wire.ts';

let gateway: LimitedGateway;

beforeEach(async () => {
  gateway = await startLimitedGateway();
});
afterEach(() => gateway.close());

describe('one connection', () => {
  test('gets the answers to its pipelined requests one at a time, in order', async () => {
    let atOnce = 0;
    let maxAtOnce = 0;
    gateway.users.handler = async (request, response) => {
      atOnce += 1;
      maxAtOnce = Math.max(maxAtOnce, atOnce);
      await sleep(Math.random() * 10);
      atOnce -= 1;
      response.end(`${request.url};`);
    };
    let text = '';
    const paths = Array.from({ length: 30 }, (_, at) => `/users/${at}`);
    gateway.open(paths.map(requestFor).join('')).on('data', (chunk) => {
      text += chunk.toString();
    });
    await waitUntil(() => text.includes('/users/29;'), 'the last answer');
    expect([...text.matchAll(/\/users\/\d+(?=;)/g)].map(String)).toEqual(paths);
    expect(maxAtOnce).toBe(1);
  });

  test('that pipelines thousands of requests has one in flight: the first hundred wait, the others are rejected', async () => {
    const release: (() => void)[] = [];
    gateway.users.handler = (_request, response) => void release.push(() => response.end('late'));
    const count = 5_000;
    const statuses: string[] = [];
    let unread = '';
    gateway.open(requestFor('/users/1').repeat(count)).on('data', (chunk) => {
      unread += chunk.toString('latin1');
      for (const [, status] of unread.matchAll(/HTTP\/1\.1 (\d{3}) /g)) statuses.push(String(status));
      unread = unread.slice(1 - 'HTTP/1.1 200 '.length); // less than a status line: none is counted twice
    });
    await waitUntil(() => release.length === 1, 'the first request');
    await sleep(200);
    expect(gateway.users.received).toHaveLength(1);
    gateway.users.handler = answerOk;
    release[0]?.();
    await waitUntil(() => statuses.length === count, 'every answer');
    expect(statuses.slice(0, 101)).toEqual(Array(101).fill('200'));
    expect(statuses[101]).toBe('503');
    expect((await fetch(`${gateway.url}/users/1`)).status).toBe(200);
  });

  test('whose client hangs up sends none of its waiting requests to the service', async () => {
    gateway.users.handler = neverAnswer;
    const socket = gateway.open(requestFor('/users/1').repeat(50));
    await waitUntil(() => gateway.users.received.length === 1, 'the first request');
    socket.destroy();
    await sleep(300);
    expect(gateway.users.received).toHaveLength(1);
  });

  /** Sends the bytes and closes the sending side. @returns what is received until the gateway closes its side */
  const halfClose = (bytes: string) =>
    new Promise<string>((resolve) => {
      const socket = connect({ port: gateway.port, host: '127.0.0.1', allowHalfOpen: true });
      gateway.sockets.push(socket);
      let text = '';
      socket.on('data', (chunk) => {
        text += chunk.toString('latin1');
      });
      socket.on('end', () => resolve(text));
      socket.end(bytes);
    });

  test('that its client half-closes after its requests answers each of them, and is closed', async () => {
    const post = 'POST /users HTTP/1.1\r\nHost: gateway\r\nContent-Length: 4\r\n\r\nbody';
    expect(await halfClose(requestFor('/users/1'))).toMatch(/^HTTP\/1\.1 200 OK\r\n/);
    expect(await halfClose(requestFor('/health/live'))).toMatch(/^HTTP\/1\.1 200 OK\r\n[\s\S]*\{"status":"ok"\}$/);
    expect(await halfClose(post)).toMatch(/^HTTP\/1\.1 200 OK\r\n/);
    expect(await halfClose('GET /users/1 HTTP/1.0\r\n\r\n')).toMatch(/^HTTP\/1\.1 200 OK\r\n/);
    expect((await halfClose(requestFor('/users/1').repeat(5))).match(/HTTP\/1\.1 200 OK\r\n/g)).toHaveLength(5);
    expect(gateway.users.received).toHaveLength(8);
    expect(gateway.logLines.join()).not.toMatch(/upstream failed|"aborted":true/);
  });

  test('that its client half-closes answers late as well: first an interim response, which clients ignore', async () => {
    gateway.users.handler = (_request, response) => void setTimeout(() => response.end('late'), 600);
    expect(await halfClose(requestFor('/users/1'))).toMatch(
      /^HTTP\/1\.1 100 Continue\r\n\r\nHTTP\/1\.1 200 OK\r\n[\s\S]*late/,
    );
    expect(await halfClose('GET /users/1 HTTP/1.0\r\n\r\n')).toMatch(/^HTTP\/1\.1 200 OK\r\n/);
  });

  test('whose client hangs up while its request waits is noticed within a second, before the answer is there', async () => {
    gateway.users.handler = neverAnswer;
    const socket = gateway.open(requestFor('/users/1'));
    await waitUntil(() => gateway.users.received.length === 1, 'the request at the service');
    const startedAt = performance.now();
    socket.destroy();
    await waitUntil(() => gateway.logLines.some((line) => line.includes('"aborted":true')), 'the hang-up');
    expect(performance.now() - startedAt).toBeLessThan(1_000);
  });

  test('that is half-closed in the middle of a body sends nothing to the service', async () => {
    const socket = connect({ port: gateway.port, host: '127.0.0.1', allowHalfOpen: true });
    gateway.sockets.push(socket);
    const ended = new Promise((resolve) => socket.on('end', resolve).resume());
    socket.end('POST /users HTTP/1.1\r\nHost: gateway\r\nContent-Length: 10\r\n\r\nhalf');
    await ended;
    expect(gateway.users.received).toEqual([]);
  });
});

describe('beyond MAX_CONNECTIONS', () => {
  const max = 10;
  let limited: TestGateway;
  beforeEach(async () => {
    limited = await startTestGateway({ MAX_CONNECTIONS: String(max) });
  });
  afterEach(() => limited.close());

  const openConnection = () => {
    const socket = connect(limited.port, '127.0.0.1').on('error', () => {});
    gateway.sockets.push(socket);
    return socket;
  };
  const opened = (socket: Socket) => new Promise((resolve) => socket.once('connect', resolve));

  test('a client gets 503 with Retry-After and its connection is closed; probes are answered', async () => {
    const busy = Array.from({ length: max }, () => openConnection());
    for (const socket of busy) socket.write('GET /users HTTP/1.1\r\n');
    await Promise.all(busy.map(opened));
    for (const path of ['/users/1', '/health', '/']) {
      const answer = await sendRaw(limited.port, [requestFor(path)]);
      expect(answer.status).toBe(503);
      expect(answer.headers).toContain('Retry-After: 1');
      expect(answer.headers).toContain('Connection: close');
      expect(JSON.parse(answer.body)).toMatchObject({ status: 503, code: 'overloaded' });
    }
    for (const path of ['/health/live', '/health/ready']) {
      expect((await sendRaw(limited.port, [requestFor(path)])).status).toBe(200);
    }
    expect(limited.users.received).toEqual([]);
    for (const socket of busy) socket.destroy();
    await waitUntil(
      () => limited.logLines.some((line) => line.includes('"msg":"too many connections"')),
      'the log line',
    );
    expect((await sendRaw(limited.port, [requestFor('/users/1')])).status).toBe(200);
  });

  test('connections beyond twice the limit are dropped at once', async () => {
    const all = Array.from({ length: 5 * max }, () => openConnection());
    let closed = 0;
    for (const socket of all) {
      socket.on('close', () => {
        closed += 1;
      });
      socket.resume();
    }
    await waitUntil(() => closed === 3 * max, 'the end of the dropped connections');
  });

  test('idle keep-alive connections are closed to make room, unless they were used a moment ago', async () => {
    const kept = Array.from({ length: max }, () => openConnection());
    let answered = 0;
    let closed = 0;
    for (const socket of kept) {
      socket.on('data', () => {
        answered += 1;
      });
      socket.on('close', () => {
        closed += 1;
      });
      socket.write(requestFor('/users/1'));
    }
    await waitUntil(() => answered === max, 'their answers');
    await sleep(5_200);
    kept[0]?.write(requestFor('/users/1'));
    await waitUntil(() => answered === max + 1, 'one more answer');
    await sendRaw(limited.port, [requestFor('/users/1')]);
    await waitUntil(() => closed === max - 1, 'the end of the idle connections');
    expect((await sendRaw(limited.port, [requestFor('/users/1')])).status).toBe(200);
    expect(closed).toBe(max - 1);
  });
});
