import { get, type RequestListener } from 'node:http';
import { createServer, type Server, type Socket } from 'node:net';
import { afterEach, beforeEach, describe, expect, test } from '@jest/globals';
import { answerOk, answerWith, hang, type Mesh, pause, startMesh, until } from './stubs.ts';

const resetMs = 400;
let gateway: Mesh;
/** What a single test started besides; closed also when it fails. */
const others: { close(): unknown }[] = [];

beforeEach(async () => {
  gateway = await startMesh({
    UPSTREAM_TIMEOUT_MS: '300',
    BREAKER_MIN_CALLS: '3',
    BREAKER_RESET_MS: String(resetMs),
    BREAKER_ERROR_PERCENT: '50',
  });
});
afterEach(async () => {
  for (const { close } of others.splice(0)) await close();
  await gateway.close();
});

const reset: RequestListener = (request) => void request.socket.destroy();

describe('while a service fails', () => {
  test('a refused connection is 503 with Retry-After at once, and says nothing of the address', async () => {
    await gateway.users.close();
    const response = await fetch(`${gateway.url}/users/1?email=a@b.example`);
    const text = await response.text();
    expect(response.status).toBe(503);
    expect(Number(response.headers.get('retry-after'))).toBeGreaterThanOrEqual(1);
    expect(response.headers.get('content-type')).toContain('application/problem+json');
    expect(JSON.parse(text)).toMatchObject({ status: 503, code: 'upstream_unavailable' });
    expect(text).not.toMatch(/127\.0\.0\.1|ECONN|email/);
  });

  test('the breaker opens after a few failures, answers at once, and lets a trial close it', async () => {
    gateway.users.handler = reset;
    expect(await statuses(3)).toEqual([503, 503, 503]);
    const hits = gateway.users.seen.length;
    const started = performance.now();
    const rejected = await fetch(`${gateway.url}/users/1`);
    expect(rejected.status).toBe(503);
    expect(Number(rejected.headers.get('retry-after'))).toBeGreaterThanOrEqual(1);
    expect(await rejected.json()).toMatchObject({ code: 'upstream_unavailable' });
    expect(performance.now() - started).toBeLessThan(250);
    expect(gateway.users.seen.length).toBe(hits);

    gateway.users.handler = answerOk;
    await pause(resetMs + 50);
    expect(await statuses(5)).toEqual([200, 200, 200, 200, 200]);
  });

  test('one service that fails leaves the others alone', async () => {
    gateway.users.handler = reset;
    await statuses(5);
    expect((await fetch(`${gateway.url}/promotions`)).status).toBe(200);
    expect((await fetch(`${gateway.url}/subscriptions`)).status).toBe(200);
  });

  test('a failed trial opens it again', async () => {
    gateway.users.handler = reset;
    await statuses(3);
    await pause(resetMs + 50);
    expect(await statuses(1)).toEqual([503]);
    const hits = gateway.users.seen.length;
    expect(await statuses(3)).toEqual([503, 503, 503]);
    expect(gateway.users.seen.length).toBe(hits);
  });

  test('while a trial is under way the others are refused, so that a service gets up under one call', async () => {
    gateway.users.handler = reset;
    await statuses(3);
    let release = () => {};
    gateway.users.handler = (_request, response) => {
      release = () => void response.end('up');
    };
    await pause(resetMs + 50);
    const hits = gateway.users.seen.length;
    const trial = fetch(`${gateway.url}/users/trial`);
    await until(() => gateway.users.seen.length > hits, 'the trial');
    expect((await fetch(`${gateway.url}/users/other`)).status).toBe(503);
    release();
    expect((await trial).status).toBe(200);
    gateway.users.handler = answerOk;
    expect(await statuses(2)).toEqual([200, 200]);
  });

  test('a hang is 504 in time, and then 503 at once without reaching the service', async () => {
    others.push(gateway);
    gateway = await startMesh({ UPSTREAM_TIMEOUT_MS: '300', BREAKER_MIN_CALLS: '3', BREAKER_RESET_MS: '60000' });
    gateway.users.handler = hang;
    const started = performance.now();
    const first = await fetch(`${gateway.url}/users/1`);
    expect(first.status).toBe(504);
    expect(await first.json()).toMatchObject({ status: 504, code: 'upstream_timeout' });
    const took = performance.now() - started;
    expect(took).toBeGreaterThan(280);
    expect(took).toBeLessThan(5_000);
    await Promise.all([statuses(1), statuses(1)]);
    expect(gateway.users.seen.length).toBe(3);
    expect(await statuses(5)).toEqual([503, 503, 503, 503, 503]);
    expect(gateway.users.seen.length).toBe(3);
  });

  test('the request behind a 504 is destroyed', async () => {
    let closed = false;
    gateway.users.handler = (request) =>
      void request.socket.on('close', () => {
        closed = true;
      });
    expect(await statuses(1)).toEqual([504]);
    await until(() => closed, 'the end of the connection to the service');
  });

  test('a service that accepts connections and never reads is timed, also while a body is on its way', async () => {
    const deaf = await startDeafServer();
    others.push(deaf);
    const other = await startMesh({ USERS_URL: deaf.url, UPSTREAM_TIMEOUT_MS: '300', MAX_BODY_BYTES: '16777216' });
    others.push(other);
    const started = performance.now();
    const response = await fetch(`${other.url}/users`, { method: 'POST', body: Buffer.alloc(16_777_216) });
    expect(response.status).toBe(504);
    expect(performance.now() - started).toBeLessThan(15_000);
  });

  test('a 503 that names a neighbour which is away is not held against the service that answers', async () => {
    gateway.users.handler = answerWith(
      503,
      { 'Promopulse-Unavailable-Dependency': 'promotions', 'Retry-After': '2' },
      '{}',
    );
    expect(await statuses(20)).toEqual(Array(20).fill(503));
    gateway.users.handler = answerWith(200, {}, '{}');
    expect(await statuses(1)).toEqual([200]);
  });

  test('503 that a service answers on purpose passes unchanged, and counts', async () => {
    const body = '{"type":"about:blank","title":"Service Unavailable","status":503,"detail":"Cannot tell","code":"x"}';
    gateway.users.handler = answerWith(503, { 'Content-Type': 'application/problem+json', 'Retry-After': '7' }, body);
    for (let count = 0; count < 3; count += 1) {
      const response = await fetch(`${gateway.url}/users/1`);
      expect(response.status).toBe(503);
      expect(response.headers.get('retry-after')).toBe('7');
      expect(await response.text()).toBe(body);
    }
    expect((await fetch(`${gateway.url}/users/1`)).headers.get('retry-after')).toBe('1');
    expect(gateway.users.seen).toHaveLength(3);
  });

  test('a connection lost in the middle of a body cuts the answer, and is not a whole answer to the client', async () => {
    gateway.users.handler = (_request, response) => {
      response.writeHead(200, { 'Content-Length': '100' });
      response.write('half');
      setTimeout(() => response.destroy(), 20);
    };
    const response = await fetch(`${gateway.url}/users/1`);
    await expect(response.text()).rejects.toThrow();
  });

  test('a POST reaches the service once, whatever becomes of its connection', async () => {
    const patient = await startMesh({ BREAKER_MIN_CALLS: '10000' });
    others.push(patient);
    patient.users.handler = answerOk;
    for (let count = 0; count < 20; count += 1) {
      if (count % 3 === 0) patient.users.handler = answerOk;
      else if (count % 3 === 1)
        patient.users.handler = (request) => void request.resume().on('end', () => request.socket.destroy());
      else patient.users.handler = (request) => void request.socket.resetAndDestroy();
      await fetch(`${patient.url}/users`, { method: 'POST', body: `{"call":${count}}` });
    }
    expect(patient.users.seen).toHaveLength(20);
  });
});

describe('what is not a failure', () => {
  test('4xx and 500 never open it', async () => {
    for (const status of [400, 401, 404, 409, 422, 429, 500, 501]) {
      gateway.users.handler = answerWith(status);
      expect(await statuses(10)).toEqual(Array(10).fill(status));
    }
    expect(gateway.users.seen).toHaveLength(80);
  });

  test('20 clients that hang up are no failures', async () => {
    gateway.users.handler = hang;
    await Promise.all(Array.from({ length: 20 }, () => abortedCall()));
    gateway.users.handler = answerOk;
    expect(await statuses(5)).toEqual([200, 200, 200, 200, 200]);
    expect(await breakerOfUsers()).toBe('closed');
  });

  test('a trial whose client hangs up neither closes nor opens it: the next call is the trial', async () => {
    gateway.users.handler = reset;
    await statuses(3);
    expect(await breakerOfUsers()).toBe('open');
    gateway.users.handler = hang;
    await pause(resetMs + 50);
    for (let count = 0; count < 3; count += 1) {
      await abortedCall();
      await until(
        () => gateway.lines.filter((line) => line.includes('"aborted":true')).length === count + 1,
        'the abort',
      );
      await pause(20);
      expect(await breakerOfUsers()).toBe('half_open');
    }
    gateway.users.handler = answerOk;
    expect(await statuses(3)).toEqual([200, 200, 200]);
    expect(await breakerOfUsers()).toBe('closed');
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
    expect(await breakerOfUsers()).toBe('closed');
    expect(await statuses(1)).toEqual([200]);
  });
});

async function statuses(count: number): Promise<number[]> {
  const result: number[] = [];
  for (let done = 0; done < count; done += 1) {
    const response = await fetch(`${gateway.url}/users/${done}`);
    await response.arrayBuffer();
    result.push(response.status);
  }
  return result;
}

async function breakerOfUsers(): Promise<unknown> {
  const response = await fetch(`${gateway.url}/health`);
  const { services } = (await response.json()) as { services: { users: { breaker: string } } };
  return services.users.breaker;
}

/** Resolves when the service has seen the request and its client is gone. */
function abortedCall(): Promise<void> {
  const before = gateway.users.seen.length;
  return new Promise((resolve) => {
    const call = get(`${gateway.url}/users/aborted`, { agent: false });
    call.on('error', () => {});
    call.on('close', resolve);
    until(() => gateway.users.seen.length > before, 'the request at the service').then(
      () => call.destroy(),
      () => call.destroy(),
    );
  });
}

async function startDeafServer(): Promise<{ url: string; close(): void }> {
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
