// A service that accepts no connection, as during a restart: requests wait for it, and nothing is sent twice.
import { get, type RequestListener } from 'node:http';
import { afterEach, beforeEach, describe, expect, test } from '@jest/globals';
import { eventually } from '@promopulse/testing/eventually';
import {
  answerOk,
  closedPort,
  neverAnswer,
  type StubService,
  sleep,
  startStubService,
  startTestGateway,
  type TestGateway,
  waitUntil,
} from './stubs.ts';

const timeoutMs = 4_000;
const maxInFlight = 5;
let gateway: TestGateway;
let port: number;
const toClose: { close(): unknown }[] = [];

const startGateway = (upstreamTimeoutMs: number): Promise<TestGateway> =>
  startTestGateway({
    USERS_URL: `http://127.0.0.1:${port}`,
    UPSTREAM_TIMEOUT_MS: String(upstreamTimeoutMs),
    MAX_IN_FLIGHT: String(maxInFlight),
    BREAKER_MIN_CALLS: '3',
    BREAKER_RESET_MS: '60000',
  });

beforeEach(async () => {
  port = await closedPort();
  gateway = await startGateway(timeoutMs);
});
afterEach(async () => {
  await gateway.close();
  for (const { close } of toClose.splice(0)) await close();
});

/** The users service, which has not been there before. */
async function startUsers(handler: RequestListener = answerOk): Promise<StubService> {
  const users = await startStubService(handler, port);
  toClose.push(users);
  return users;
}

interface Answer {
  status: number;
  code: unknown;
  retryAfter: string | null;
  tookMs: number;
}

async function call(method = 'GET', body?: string): Promise<Answer> {
  const startedAt = performance.now();
  const response = await fetch(`${gateway.url}/users/1`, { method, ...(body !== undefined && { body }) });
  const { code } = (await response.json()) as { code?: unknown };
  const tookMs = performance.now() - startedAt;
  return { status: response.status, code, retryAfter: response.headers.get('retry-after'), tookMs };
}

/** Starts requests one after the other: each of them waits before the next one is sent. */
async function startCalls(count: number): Promise<Promise<Answer>[]> {
  const answers: Promise<Answer>[] = [];
  for (let started = 0; started < count; started += 1) {
    answers.push(call());
    await sleep(25);
  }
  return answers;
}

const logged = (text: string): number => gateway.logLines.filter((line) => line.includes(text)).length;
const waiting = () => waitUntil(() => logged('the service refuses connections') > 0, 'a refused connection');
const unavailable = { status: 503, code: 'upstream_unavailable', retryAfter: '1' };

describe('a request that gets no connection', () => {
  test.each(['GET', 'POST', 'PATCH', 'PUT', 'DELETE'])(
    'by %s is sent when the service accepts connections, once and whole',
    async (method) => {
      const body = method === 'GET' ? undefined : '{"first_name":"Ada"}';
      const answer = call(method, body);
      await waiting();
      await sleep(200);
      const users = await startUsers();
      expect(await answer).toMatchObject({ status: 200 });
      expect(users.received).toMatchObject([{ method, body: body ?? '' }]);
    },
  );

  test('waits for a name that is not known yet', async () => {
    const other = await startTestGateway({
      USERS_URL: `http://not-started-yet.invalid:${port}`,
      UPSTREAM_TIMEOUT_MS: '400',
    });
    toClose.push(other);
    const startedAt = performance.now();
    const response = await fetch(`${other.url}/users/1`);
    expect([response.status, response.headers.get('retry-after')]).toEqual([503, '1']);
    expect(performance.now() - startedAt).toBeGreaterThan(390);
  });

  test.each(['GET', 'POST'])('by %s is 503 at the end of UPSTREAM_TIMEOUT_MS', async (method) => {
    const answer = await call(method, method === 'GET' ? undefined : '{}');
    expect(answer).toMatchObject(unavailable);
    expect(answer.tookMs).toBeGreaterThan(timeoutMs - 20);
    expect(answer.tookMs).toBeLessThan(timeoutMs + 2_000);
  });

  test('is not sent when its client has hung up meanwhile', async () => {
    const client = get(`${gateway.url}/users/1`);
    client.on('error', () => {});
    await waiting();
    client.destroy();
    await waitUntil(() => logged('"aborted":true') === 1, 'the abort');
    const users = await startUsers();
    expect(await call()).toMatchObject({ status: 200 });
    await sleep(100);
    expect(users.received).toHaveLength(1);
  });
});

describe('while requests wait', () => {
  test('more may wait than the service may have at once, and it gets no more of them than that', async () => {
    const answers = await startCalls(4 * maxInFlight);
    let atOnce = 0;
    let most = 0;
    await startUsers((_request, response) => {
      atOnce += 1;
      most = Math.max(most, atOnce);
      setTimeout(() => {
        atOnce -= 1;
        response.end('{}');
      }, 30);
    });
    for (const answer of await Promise.all(answers)) expect(answer).toMatchObject({ status: 200 });
    expect(most).toBeLessThanOrEqual(maxInFlight);
    // The wait has not taught the limit that the service is slow.
    const later = await Promise.all(Array.from({ length: maxInFlight }, () => call()));
    expect(later.map(({ status }) => status)).toEqual(Array(maxInFlight).fill(200));
  });

  test('those beyond four for each place are 503 at once, and the breaker stays closed', async () => {
    // Longer than a busy machine needs for the calls: none of them may end before the last has begun.
    const longMs = 25_000;
    await gateway.close();
    gateway = await startGateway(longMs);
    const answers = await startCalls(4 * maxInFlight);
    for (let count = 0; count < 5; count += 1) {
      const answer = await call();
      expect(answer).toMatchObject(unavailable);
      expect(answer.tookMs).toBeLessThan(longMs / 5);
    }
    await startUsers();
    for (const answer of await Promise.all(answers)) expect(answer).toMatchObject({ status: 200 });
    expect(logged('breaker opened')).toBe(0);
  });

  test('a new request finds a place while those that have waited are sent', async () => {
    const answers = await startCalls(4 * maxInFlight);
    await startUsers((_request, response) => void setTimeout(() => response.end('{}'), 100));
    await waitUntil(() => logged('accepts connections again') === 1, 'the connection');
    for (let count = 0; count < 5; count += 1) expect(await call()).toMatchObject({ status: 200 });
    for (const answer of await Promise.all(answers)) expect(answer).toMatchObject({ status: 200 });
  });

  test('the other services answer', async () => {
    const answers = await startCalls(10);
    expect((await fetch(`${gateway.url}/promotions`)).status).toBe(200);
    await startUsers();
    await Promise.all(answers);
  });

  test('the log says once that they do, and for how long', async () => {
    const answers = Array.from({ length: 5 }, () => call());
    await waiting();
    await sleep(100);
    await startUsers();
    await Promise.all(answers);
    expect(logged('the service refuses connections')).toBe(1);
    expect(logged('the service accepts connections again')).toBe(1);
    expect(gateway.logLines.join('')).toMatch(/"refused_ms":\d+/);
  });
});

describe('a service that stops', () => {
  test('says so by `Connection: close`: no idle connection to it is used again', async () => {
    const users = await startUsers((_request, response) => void setTimeout(() => response.end('{}'), 100));
    await Promise.all(Array.from({ length: maxInFlight }, () => call()));
    const connections = () => new Promise<number>((resolve) => users.server.getConnections((_, n) => resolve(n)));
    expect(await connections()).toBe(maxInFlight);
    users.handler = (_request, response) => void response.setHeader('Connection', 'close').end('{}');
    await call();
    await eventually(async () => expect(await connections()).toBe(0), { timeoutMs: 2_000 });
    users.handler = answerOk;
    expect(await call()).toMatchObject({ status: 200 });
  });

  test('while others are in flight: they are answered', async () => {
    const users = await startUsers(neverAnswer);
    let release = () => {};
    users.handler = (_request, response) => {
      release = () => void response.end('{}');
    };
    const first = call('POST', '{}');
    await waitUntil(() => users.received.length === 1, 'the request');
    users.handler = (_request, response) => void response.setHeader('Connection', 'close').end('{}');
    expect(await call()).toMatchObject({ status: 200 });
    await sleep(100);
    release();
    expect(await first).toMatchObject({ status: 200 });
  });
});

describe('a service that stays away', () => {
  test('answers are 503 at once after UPSTREAM_TIMEOUT_MS, and the breaker opens', async () => {
    await Promise.all([call(), call()]);
    for (let count = 0; count < 5; count += 1) {
      const answer = await call();
      expect(answer).toMatchObject({ status: 503, code: 'upstream_unavailable' });
      expect(answer.tookMs).toBeLessThan(500);
    }
    expect(logged('breaker opened')).toBe(1);
  });

  test('and comes back, is waited for again at the next restart', async () => {
    await call();
    const users = await startUsers();
    expect(await call()).toMatchObject({ status: 200 });
    await users.close();
    const answer = call('POST', '{}');
    await waitUntil(() => logged('the service refuses connections') === 2, 'the second outage');
    await startUsers();
    expect(await answer).toMatchObject({ status: 200 });
  });
});
