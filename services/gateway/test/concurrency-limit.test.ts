// The concurrency limit of each service: which requests count against it, and what the gateway answers beyond it.
import type { RequestListener } from 'node:http';
import { promisify } from 'node:util';
import { afterEach, beforeEach, describe, expect, test } from '@jest/globals';
import { ConcurrencyLimit } from '../src/proxy/concurrency-limit.ts';
import {
  answerOk,
  type LimitedGateway,
  maxInFlight,
  neverAnswer,
  sleep,
  startLimitedGateway,
  startTestGateway,
  waitUntil,
  waitUntilServed,
} from './stubs.ts';
import { requestFor, sendRaw } from './wire.ts';

let gateway: LimitedGateway;

beforeEach(async () => {
  gateway = await startLimitedGateway();
});
afterEach(() => gateway.close());

/** Sends as many requests as the limit of the users service allows. @returns a function that lets the service answer them */
async function reachLimit(): Promise<() => void> {
  const waiting: (() => void)[] = [];
  gateway.users.handler = (_request, response) => void waiting.push(() => response.end('late'));
  const calls = Array.from({ length: maxInFlight }, () => fetch(`${gateway.url}/users/1`));
  await waitUntil(() => waiting.length === maxInFlight, 'the requests at the service');
  return async () => {
    gateway.users.handler = answerOk;
    for (const release of waiting) release();
    for (const response of await Promise.all(calls)) expect(await response.text()).toBe('late');
  };
}

describe('when a service has reached its concurrency limit', () => {
  test('the next request is 503 with Retry-After at once and does not reach the service', async () => {
    const release = await reachLimit();
    const started = performance.now();
    const response = await fetch(`${gateway.url}/users/1`, { headers: { 'X-Request-Id': 'mine' } });
    expect(performance.now() - started).toBeLessThan(1_000);
    expect(response.status).toBe(503);
    expect(response.headers.get('retry-after')).toBe('1');
    expect(response.headers.get('content-type')).toBe('application/problem+json; charset=utf-8');
    expect(response.headers.get('x-request-id')).toBe('mine');
    expect(response.headers.get('x-content-type-options')).toBe('nosniff');
    expect(await response.json()).toEqual({
      type: 'about:blank',
      title: 'Service Unavailable',
      status: 503,
      detail: 'The gateway is overloaded. Retry after the time in Retry-After.',
      code: 'overloaded',
      request_id: 'mine',
    });
    expect(gateway.users.received).toHaveLength(maxInFlight);
    await release();
  });

  test('a request is rejected before its body arrives, and also when the limit is reached while its body arrives', async () => {
    const head = 'POST /users HTTP/1.1\r\nHost: gateway\r\nContent-Length: 2\r\n\r\n';
    const early = gateway.open(`${head}{`);
    await sleep(100);
    const release = await reachLimit();
    expect((await sendRaw(gateway.port, [head])).status).toBe(503);
    let text = '';
    early.on('data', (chunk) => {
      text += chunk.toString();
    });
    early.write('}');
    await waitUntil(() => text.includes('"overloaded"'), 'the rejection');
    expect(gateway.users.received).toHaveLength(maxInFlight);
    await release();
  });

  test('the other services and the health routes still answer', async () => {
    const release = await reachLimit();
    for (const path of ['/promotions', '/subscriptions', '/health/live', '/health/ready']) {
      expect([path, (await fetch(gateway.url + path)).status]).toEqual([path, 200]);
    }
    expect((await fetch(`${gateway.url}/users//x`)).status).toBe(400);
    await release();
  });

  test('rejected requests are no failures of the service and do not lower its limit', async () => {
    const release = await reachLimit();
    for (let count = 0; count < 20; count += 1) expect((await fetch(`${gateway.url}/users/1`)).status).toBe(503);
    await release();
    for (let count = 0; count < 2 * maxInFlight; count += 1) {
      expect((await fetch(`${gateway.url}/users/1`)).status).toBe(200);
    }
  });

  test('the log has the number of rejected requests, in one line a second', async () => {
    const release = await reachLimit();
    for (let count = 0; count < 20; count += 1) await fetch(`${gateway.url}/users/1`);
    await release();
    const logged = () => gateway.logLines.filter((line) => line.includes('"msg":"overloaded"'));
    const sum = () => logged().reduce((total, line) => total + JSON.parse(line).rejected, 0);
    await waitUntil(() => sum() === 20, 'the log line');
    expect(logged().length).toBeLessThan(10);
  });

  test.each([
    '/users?offset=1001',
    '/users?status=draft&offset=2147483647&limit=1',
    '/users?o%66fset=5000',
    '/users?limit=101&cursor=x',
  ])(
    'costly pages have a limit of their own: %s occupies no place of other requests, and the other way round',
    async (path) => {
      const waiting: (() => void)[] = [];
      gateway.users.handler = (_request, response) => void waiting.push(() => response.end('late'));
      const calls = Array.from({ length: maxInFlight }, () => fetch(`${gateway.url}${path}`));
      await waitUntil(() => waiting.length === maxInFlight, 'the requests at the service');
      expect((await fetch(`${gateway.url}${path}`)).status).toBe(503);
      gateway.users.handler = answerOk;
      for (const other of ['/users/1', '/users?offset=1000&limit=100', '/users?x=offset']) {
        expect([other, (await fetch(gateway.url + other)).status]).toEqual([other, 200]);
      }
      const release = await reachLimit();
      for (const answer of waiting) answer();
      await Promise.all(calls);
      gateway.users.handler = answerOk;
      expect((await fetch(`${gateway.url}${path}`)).status).toBe(200);
      expect((await fetch(`${gateway.url}/users/1`)).status).toBe(503);
      await release();
    },
  );

  test('a request whose client hangs up counts until the service is done with it', async () => {
    const waiting: (() => void)[] = [];
    gateway.users.handler = (_request, response) => void waiting.push(() => response.end('late'));
    for (let count = 0; count < maxInFlight; count += 1) {
      const socket = gateway.open(requestFor('/users/1'));
      await waitUntil(() => waiting.length === count + 1, 'the request at the service');
      socket.destroy();
    }
    await waitUntil(
      () => gateway.logLines.filter((line) => line.includes('"aborted":true')).length === maxInFlight,
      'the hang-ups',
    );
    const connections = () => promisify(gateway.users.server.getConnections.bind(gateway.users.server))();
    expect(await connections()).toBe(maxInFlight);
    expect((await fetch(`${gateway.url}/users/1`)).status).toBe(503);
    expect(gateway.users.received).toHaveLength(maxInFlight);
    gateway.users.handler = answerOk;
    for (const release of waiting) release();
    await waitUntilServed(gateway, maxInFlight);
    expect(gateway.logLines.filter((line) => line.includes('upstream failed'))).toEqual([]);
  });

  test('failed and timed-out requests stop counting, also when their client hangs up', async () => {
    const other = await startTestGateway({
      MAX_IN_FLIGHT: '2',
      UPSTREAM_TIMEOUT_MS: '100',
      BREAKER_MIN_CALLS: '10000',
    });
    try {
      const failures: RequestListener[] = [neverAnswer, (request) => void request.socket.destroy()];
      for (const handler of failures) {
        other.users.handler = handler;
        for (let round = 0; round < 3; round += 1) {
          const answers = await Promise.all([fetch(`${other.url}/users`), fetch(`${other.url}/users`)]);
          expect(answers.map(({ status }) => status)).not.toContain(200);
        }
      }
      other.users.handler = neverAnswer;
      for (let round = 0; round < 3; round += 1) {
        const before = other.users.received.length;
        const call = new AbortController();
        const aborted = fetch(`${other.url}/users`, { signal: call.signal }).catch(() => {});
        await waitUntil(() => other.users.received.length > before, 'the request at the service');
        call.abort();
        await aborted;
        await sleep(150);
      }
      other.users.handler = answerOk;
      for (let count = 0; count < 3; count += 1) expect((await fetch(`${other.url}/users`)).status).toBe(200);
    } finally {
      await other.close();
    }
  });
});

test('the limit of a slow service falls, and rises again when the service is fast', async () => {
  const other = await startTestGateway({ MAX_IN_FLIGHT: '20', UPSTREAM_TIMEOUT_MS: '3000' });
  const manyAtOnce = async (latencyMs: number): Promise<number> => {
    other.users.handler = async (_request, response) => {
      await sleep(latencyMs);
      response.end();
    };
    const answers = await Promise.all(Array.from({ length: 20 }, () => fetch(`${other.url}/users/1`)));
    return answers.filter(({ status }) => status === 200).length;
  };
  try {
    expect(await manyAtOnce(0)).toBe(20);
    const slow: number[] = [];
    for (let round = 0; round < 4; round += 1) slow.push(await manyAtOnce(1_000));
    expect(slow).toEqual(slow.toSorted((a, b) => b - a));
    expect(slow.at(-1)).toBe(10);
    let quick = 0;
    for (let round = 0; round < 500 && quick < 20; round += 1) quick = await manyAtOnce(0);
    expect(quick).toBe(20);
  } finally {
    await other.close();
  }
});

describe('Retry-After', () => {
  test('tells no more requests to come back in a second than the limit allows, and none to wait for more than 10 s', () => {
    const limit = new ConcurrencyLimit(5, 1_000);
    const seconds = Array.from({ length: 100 }, () => limit.retryAfter());
    expect(seconds).toEqual(seconds.toSorted((a, b) => a - b));
    expect([seconds[0], seconds.at(-1)]).toEqual([1, 10]);
    for (let second = 1; second < 10; second += 1) {
      const count = seconds.filter((each) => each === second).length;
      expect([second, count >= 4 && count <= 6]).toEqual([second, true]);
    }
  });

  test('is one second again when nothing was rejected for as long as it was', async () => {
    const limit = new ConcurrencyLimit(1, 1_000);
    for (let count = 0; count < 3; count += 1) limit.retryAfter();
    expect(limit.retryAfter()).toBeGreaterThan(1);
    await sleep(4_100);
    expect(limit.retryAfter()).toBe(1);
  });

  test('obeyed by 100 callers at once, serves all of them within four attempts', async () => {
    const other = await startTestGateway({ MAX_IN_FLIGHT: '20' });
    other.users.handler = async (_request, response) => {
      await sleep(500);
      response.end();
    };
    const attemptsOf = async (): Promise<number> => {
      for (let attempt = 1; ; attempt += 1) {
        const { status, headers } = await fetch(`${other.url}/users/1`);
        if (status === 200) return attempt;
        expect(status).toBe(503);
        await sleep((Number(headers.get('retry-after')) + Math.random()) * 1_000);
      }
    };
    try {
      const attempts = await Promise.all(Array.from({ length: 100 }, attemptsOf));
      expect(Math.max(...attempts)).toBeLessThanOrEqual(4);
      expect(attempts.filter((attempt) => attempt > 1).length).toBeGreaterThan(10);
    } finally {
      await other.close();
    }
  });
});

describe('a slow client does not count against the limit', () => {
  test('300 bodies that do not end: none reaches the service, and other clients are served', async () => {
    for (let count = 0; count < 300; count += 1) {
      gateway.open('POST /users HTTP/1.1\r\nHost: gateway\r\nContent-Length: 10\r\n\r\nhalf');
    }
    await sleep(300);
    for (let count = 0; count < 20; count += 1) expect((await fetch(`${gateway.url}/users/1`)).status).toBe(200);
    expect(gateway.users.received.filter(({ method }) => method === 'POST')).toEqual([]);
  });

  test('300 responses that stream for long: other clients are served', async () => {
    gateway.users.handler = (_request, response) => {
      response.writeHead(200).write('the first part');
    };
    let answered = 0;
    for (let count = 0; count < 300; count += 1) {
      gateway.open(requestFor('/users/long')).once('data', () => {
        answered += 1;
      });
      // No more at a time than the limit allows.
      if (count % maxInFlight === maxInFlight - 1) await waitUntil(() => answered === count + 1, 'the first parts');
    }
    gateway.users.handler = answerOk;
    for (let count = 0; count < 20; count += 1) expect((await fetch(`${gateway.url}/users/1`)).status).toBe(200);
  });
});
