// The circuit breaker: what opens and closes it, and what clients get meanwhile.
import { get, type RequestListener } from 'node:http';
import { createServer, type Server, type Socket } from 'node:net';
import { afterEach, beforeEach, describe, expect, test } from '@jest/globals';
import { answerOk, answerWith, neverAnswer, sleep, startTestGateway, type TestGateway, waitUntil } from './stubs.ts';

const resetMs = 400;
let gateway: TestGateway;
/** What a single test has started. It is closed also when the test fails. */
const toClose: { close(): unknown }[] = [];

beforeEach(async () => {
  gateway = await startTestGateway({
    UPSTREAM_TIMEOUT_MS: '300',
    BREAKER_MIN_CALLS: '3',
    BREAKER_RESET_MS: String(resetMs),
    BREAKER_ERROR_PERCENT: '50',
  });
});
afterEach(async () => {
  for (const { close } of toClose.splice(0)) await close();
  await gateway.close();
});

const dropConnection: RequestListener = (request) => void request.socket.destroy();

describe('while a service fails', () => {
  test('a refused connection is 503 with Retry-After in time, and the answer does not contain the address', async () => {
    await gateway.users.close();
    const response = await fetch(`${gateway.url}/users/1?email=a@b.example`);
    const text = await response.text();
    expect(response.status).toBe(503);
    expect(Number(response.headers.get('retry-after'))).toBeGreaterThanOrEqual(1);
    expect(response.headers.get('content-type')).toContain('application/problem+json');
    expect(JSON.parse(text)).toMatchObject({ status: 503, code: 'upstream_unavailable' });
    expect(text).not.toMatch(/127\.0\.0\.1|ECONN|email/);
  });

  test('the breaker opens after three failures, rejects at once, and closes after a successful trial', async () => {
    gateway.users.handler = dropConnection;
    expect(await callUsers(3)).toEqual([503, 503, 503]);
    const receivedBefore = gateway.users.received.length;
    const started = performance.now();
    const rejected = await fetch(`${gateway.url}/users/1`);
    expect(rejected.status).toBe(503);
    expect(Number(rejected.headers.get('retry-after'))).toBeGreaterThanOrEqual(1);
    expect(await rejected.json()).toMatchObject({ code: 'upstream_unavailable' });
    expect(performance.now() - started).toBeLessThan(250);
    expect(gateway.users.received.length).toBe(receivedBefore);

    gateway.users.handler = answerOk;
    await sleep(resetMs + 50);
    expect(await callUsers(5)).toEqual([200, 200, 200, 200, 200]);
  });

  test('a failing service does not affect the others', async () => {
    gateway.users.handler = dropConnection;
    await callUsers(5);
    expect((await fetch(`${gateway.url}/promotions`)).status).toBe(200);
    expect((await fetch(`${gateway.url}/subscriptions`)).status).toBe(200);
  });

  test('a failed trial opens the breaker again', async () => {
    gateway.users.handler = dropConnection;
    await callUsers(3);
    await sleep(resetMs + 50);
    expect(await callUsers(1)).toEqual([503]);
    const receivedBefore = gateway.users.received.length;
    expect(await callUsers(3)).toEqual([503, 503, 503]);
    expect(gateway.users.received.length).toBe(receivedBefore);
  });

  test('other requests are rejected during a trial, so that a service recovers under a single request', async () => {
    gateway.users.handler = dropConnection;
    await callUsers(3);
    let release = () => {};
    gateway.users.handler = (_request, response) => {
      release = () => void response.end('up');
    };
    await sleep(resetMs + 50);
    const receivedBefore = gateway.users.received.length;
    const trial = fetch(`${gateway.url}/users/trial`);
    await waitUntil(() => gateway.users.received.length > receivedBefore, 'the trial');
    expect((await fetch(`${gateway.url}/users/other`)).status).toBe(503);
    release();
    expect((await trial).status).toBe(200);
    gateway.users.handler = answerOk;
    expect(await callUsers(2)).toEqual([200, 200]);
  });

  test('a service that does not answer is 504 in time, then 503 at once without a request to it', async () => {
    toClose.push(gateway);
    gateway = await startTestGateway({ UPSTREAM_TIMEOUT_MS: '300', BREAKER_MIN_CALLS: '3', BREAKER_RESET_MS: '60000' });
    gateway.users.handler = neverAnswer;
    const started = performance.now();
    const first = await fetch(`${gateway.url}/users/1`);
    expect(first.status).toBe(504);
    expect(await first.json()).toMatchObject({ status: 504, code: 'upstream_timeout' });
    const took = performance.now() - started;
    expect(took).toBeGreaterThan(280);
    expect(took).toBeLessThan(5_000);
    await Promise.all([callUsers(1), callUsers(1)]);
    expect(gateway.users.received.length).toBe(3);
    expect(await callUsers(5)).toEqual([503, 503, 503, 503, 503]);
    expect(gateway.users.received.length).toBe(3);
  });

  test('the request to the service is destroyed after a 504', async () => {
    let closed = false;
    gateway.users.handler = (request) =>
      void request.socket.on('close', () => {
        closed = true;
      });
    expect(await callUsers(1)).toEqual([504]);
    await waitUntil(() => closed, 'the end of the connection to the service');
  });

  test('the timeout also applies to a service that accepts connections and never reads the body', async () => {
    const silent = await startSilentServer();
    toClose.push(silent);
    const other = await startTestGateway({
      USERS_URL: silent.url,
      UPSTREAM_TIMEOUT_MS: '300',
      MAX_BODY_BYTES: '16777216',
    });
    toClose.push(other);
    const started = performance.now();
    const response = await fetch(`${other.url}/users`, { method: 'POST', body: Buffer.alloc(16_777_216) });
    expect(response.status).toBe(504);
    expect(performance.now() - started).toBeLessThan(15_000);
  });

  test.each([
    ['an unavailable dependency', { 'Promopulse-Unavailable-Dependency': 'promotions' }],
    ['a limit that is reached', { 'Promopulse-Reached-Limit': 'deep_offset' }],
  ])('a 503 that names %s is no failure of the service that answers', async (_what, header) => {
    gateway.users.handler = answerWith(503, { ...header, 'Retry-After': '2' }, '{}');
    expect(await callUsers(20)).toEqual(Array(20).fill(503));
    gateway.users.handler = answerWith(200, {}, '{}');
    expect(await callUsers(1)).toEqual([200]);
  });

  test('a 503 from the service itself is forwarded unchanged and counts as a failure', async () => {
    const body = '{"type":"about:blank","title":"Service Unavailable","status":503,"detail":"Cannot tell","code":"x"}';
    gateway.users.handler = answerWith(503, { 'Content-Type': 'application/problem+json', 'Retry-After': '7' }, body);
    for (let count = 0; count < 3; count += 1) {
      const response = await fetch(`${gateway.url}/users/1`);
      expect(response.status).toBe(503);
      expect(response.headers.get('retry-after')).toBe('7');
      expect(await response.text()).toBe(body);
    }
    expect((await fetch(`${gateway.url}/users/1`)).headers.get('retry-after')).toBe('1');
    expect(gateway.users.received).toHaveLength(3);
  });

  test('a connection lost in the middle of a body also cuts the response to the client', async () => {
    gateway.users.handler = (_request, response) => {
      response.writeHead(200, { 'Content-Length': '100' });
      response.write('half');
      setTimeout(() => response.destroy(), 20);
    };
    const response = await fetch(`${gateway.url}/users/1`);
    await expect(response.text()).rejects.toThrow();
  });

  test('a POST reaches the service once, even when its connection is lost', async () => {
    const tolerant = await startTestGateway({ BREAKER_MIN_CALLS: '10000' });
    toClose.push(tolerant);
    tolerant.users.handler = answerOk;
    for (let count = 0; count < 20; count += 1) {
      if (count % 3 === 0) tolerant.users.handler = answerOk;
      else if (count % 3 === 1)
        tolerant.users.handler = (request) => void request.resume().on('end', () => request.socket.destroy());
      else tolerant.users.handler = (request) => void request.socket.resetAndDestroy();
      await fetch(`${tolerant.url}/users`, { method: 'POST', body: `{"call":${count}}` });
    }
    expect(tolerant.users.received).toHaveLength(20);
  });
});

describe('a change whose answer is lost', () => {
  const unknown = { code: 'outcome_unknown', detail: expect.stringContaining('may or may not have been made') };
  const change = async (method: string) => {
    const response = await fetch(`${gateway.url}/users/1`, { method, body: '{}' });
    return { status: response.status, retryAfter: response.headers.get('retry-after'), body: await response.json() };
  };

  test.each(['POST', 'PATCH', 'PUT', 'DELETE'])('with the connection: a %s has an unknown outcome', async (method) => {
    gateway.users.handler = dropConnection;
    expect(await change(method)).toMatchObject({ status: 503, retryAfter: null, body: unknown });
  });

  test('because the service answers too late has an unknown outcome', async () => {
    gateway.users.handler = neverAnswer;
    expect(await change('POST')).toMatchObject({ status: 504, retryAfter: null, body: unknown });
  });

  test('counts as a failure of the service, and behind an open breaker nothing is sent: 503 with Retry-After', async () => {
    gateway.users.handler = dropConnection;
    for (let count = 0; count < 3; count += 1) expect((await change('POST')).body).toMatchObject(unknown);
    expect(await change('POST')).toMatchObject({
      status: 503,
      retryAfter: '1',
      body: { code: 'upstream_unavailable' },
    });
    expect(gateway.users.received).toHaveLength(3);
  });

  test('does not exist when there is no connection: 503 with Retry-After', async () => {
    await gateway.users.close();
    expect(await change('POST')).toMatchObject({
      status: 503,
      retryAfter: '1',
      body: { code: 'upstream_unavailable' },
    });
  });

  test('of a read keeps Retry-After', async () => {
    gateway.users.handler = dropConnection;
    const response = await fetch(`${gateway.url}/users/1`);
    expect(response.headers.get('retry-after')).toBe('1');
    expect(await response.json()).toMatchObject({ status: 503, code: 'upstream_unavailable' });
  });
});

describe('no failure of the service', () => {
  test('4xx and 500 never open the breaker', async () => {
    for (const status of [400, 401, 404, 409, 422, 429, 500, 501]) {
      gateway.users.handler = answerWith(status);
      expect(await callUsers(10)).toEqual(Array(10).fill(status));
    }
    expect(gateway.users.received).toHaveLength(80);
  });

  test('20 clients that hang up are no failures', async () => {
    gateway.users.handler = neverAnswer;
    await Promise.all(Array.from({ length: 20 }, () => abortedCall()));
    gateway.users.handler = answerOk;
    expect(await callUsers(5)).toEqual([200, 200, 200, 200, 200]);
    expect(await usersBreakerState()).toBe('closed');
  });

  test('a trial whose client hangs up neither closes nor opens the breaker: the next request is the trial', async () => {
    gateway.users.handler = dropConnection;
    await callUsers(3);
    expect(await usersBreakerState()).toBe('open');
    gateway.users.handler = neverAnswer;
    await sleep(resetMs + 50);
    for (let count = 0; count < 3; count += 1) {
      await abortedCall();
      await waitUntil(
        () => gateway.logLines.filter((line) => line.includes('"aborted":true')).length === count + 1,
        'the abort',
      );
      await sleep(20);
      expect(await usersBreakerState()).toBe('half_open');
    }
    gateway.users.handler = answerOk;
    expect(await callUsers(3)).toEqual([200, 200, 200]);
    expect(await usersBreakerState()).toBe('closed');
  });

  test('bodies that are too large are no failures', async () => {
    for (let count = 0; count < 10; count += 1) {
      const response = await fetch(`${gateway.url}/users`, {
        method: 'POST',
        body: new Blob(['x'.repeat(200_000)]).stream(),
        duplex: 'half',
      } as RequestInit);
      expect(response.status).toBe(413);
    }
    expect(await usersBreakerState()).toBe('closed');
    expect(await callUsers(1)).toEqual([200]);
  });
});

/** @returns the statuses of `count` requests, one after the other */
async function callUsers(count: number): Promise<number[]> {
  const statuses: number[] = [];
  for (let done = 0; done < count; done += 1) {
    const response = await fetch(`${gateway.url}/users/${done}`);
    await response.arrayBuffer();
    statuses.push(response.status);
  }
  return statuses;
}

async function usersBreakerState(): Promise<unknown> {
  const response = await fetch(`${gateway.url}/health`);
  const { services } = (await response.json()) as { services: { users: { breaker: string } } };
  return services.users.breaker;
}

/** Resolves when the service has received the request and its client has hung up. */
function abortedCall(): Promise<void> {
  const before = gateway.users.received.length;
  return new Promise((resolve) => {
    const call = get(`${gateway.url}/users/aborted`, { agent: false });
    call.on('error', () => {});
    call.on('close', resolve);
    waitUntil(() => gateway.users.received.length > before, 'the request at the service').then(
      () => call.destroy(),
      () => call.destroy(),
    );
  });
}

/** A server that accepts connections and never reads from them. */
async function startSilentServer(): Promise<{ url: string; close(): void }> {
  const sockets: Socket[] = [];
  const server: Server = createServer({ pauseOnConnect: true }, (socket) => {
    sockets.push(socket);
    socket.on('error', () => {});
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  const { port } = server.address() as { port: number };
  return {
    url: `http://127.0.0.1:${port}`,
    close() {
      for (const socket of sockets) socket.destroy();
      server.close();
    },
  };
}
