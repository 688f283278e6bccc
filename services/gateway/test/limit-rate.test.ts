// What a client sees of its quota, through a gateway in front of stub services. Shares are by address here; a trusted
// proxy says which one.
import { createServer, type IncomingMessage } from 'node:http';
import { type AddressInfo, connect } from 'node:net';
import { afterAll, afterEach, beforeAll, expect, test } from '@jest/globals';
import { createLogger } from '@promopulse/shared/telemetry/logger';
import { parseList } from 'structured-headers';
import { runSteps, type Step } from '../src/edge/steps.ts';
import { limitRate } from '../src/rate-limit/limit-rate.ts';
import { RefusalLog } from '../src/rate-limit/refusal-log.ts';
import { sleep, startTestGateway, type TestGateway, waitUntil } from './stubs.ts';
import { headerOf, sendRaw } from './wire.ts';

const RATE_LIMITS = 'burst=6/3s, steady=10/60s';
let gateway: TestGateway;
/** Its quota does not come back while a test runs. */
let strict: TestGateway;
let addresses = 0;
/** An address that no test has used. */
function newAddress(): string {
  addresses += 1;
  return `198.51.100.${addresses}`;
}
const from = (address: string, options: RequestInit = {}): RequestInit => ({
  ...options,
  headers: { 'X-Forwarded-For': address, ...options.headers },
});
const get = (address: string, path = '/users/1') => fetch(gateway.url + path, from(address));
const post = (address: string) => fetch(`${gateway.url}/users`, from(address, { method: 'POST', body: '{}' }));
/** A field as a client's library reads it. */
const listOf = (headers: Headers, name: string) =>
  parseList(String(headers.get(name))).map(([item, parameters]) => [item, Object.fromEntries(parameters)]);

beforeAll(async () => {
  const env = { TRUSTED_PROXIES: '127.0.0.1', CORS_ORIGINS: 'https://app.example' };
  gateway = await startTestGateway({ ...env, RATE_LIMITS });
  strict = await startTestGateway({ ...env, RATE_LIMITS: 'hourly=6/3600s' });
});
afterEach(() => {
  for (const { received } of [gateway.users, gateway.promotions]) received.length = 0;
});
afterAll(async () => {
  await gateway.close();
  await strict.close();
});

test('every answer has the policies and what is left, as structured fields', async () => {
  const address = newAddress();
  const { status, headers } = await get(address);
  expect(status).toBe(200);
  expect(listOf(headers, 'RateLimit-Policy')).toEqual([
    ['burst', { q: 6, w: 3 }],
    ['steady', { q: 10, w: 60 }],
  ]);
  expect(listOf(headers, 'RateLimit')).toEqual([
    ['burst', { r: 5, t: 1 }],
    ['steady', { r: 9, t: 6 }],
  ]);
  const unknown = await get(address, '/nowhere');
  expect([unknown.status, listOf(unknown.headers, 'RateLimit')[1]]).toEqual([404, ['steady', { r: 8, t: 6 }]]);
});

test('a change costs two units', async () => {
  const address = newAddress();
  const { headers } = await post(address);
  expect(listOf(headers, 'RateLimit')[1]).toEqual(['steady', { r: 8, t: 6 }]);
});

test('beyond the quota the answer is 429 with the problem of the draft, and no service sees the request', async () => {
  const address = newAddress();
  const init = from(address, { headers: { 'X-Request-Id': 'mine', Origin: 'https://app.example' } });
  const answers = await Promise.all(Array.from({ length: 12 }, () => fetch(`${gateway.url}/users/1`, init)));
  const [response] = answers.filter(({ status }) => status === 429) as [Response];
  const admitted = answers.filter(({ status }) => status === 200).length;
  expect(admitted).toBeGreaterThanOrEqual(6); // more on a machine so slow that units come back meanwhile
  expect(response.status).toBe(429);
  expect(response.headers.get('content-type')).toBe('application/problem+json; charset=utf-8');
  expect(await response.json()).toEqual({
    type: 'https://iana.org/assignments/http-problem-types#quota-exceeded',
    title: 'Quota Exceeded',
    status: 429,
    detail: 'The quota of burst is used up. Retry after the time in Retry-After.',
    code: 'quota_exceeded',
    'violated-policies': ['burst'],
    request_id: 'mine',
  });
  expect(response.headers.get('retry-after')).toBe('1');
  expect(listOf(response.headers, 'RateLimit')).toEqual([['burst', { r: 0, t: 1 }]]);
  expect(response.headers.get('cache-control')).toBe('no-store');
  const exposed = String(response.headers.get('access-control-expose-headers'));
  for (const name of ['RateLimit', 'RateLimit-Policy', 'Retry-After']) expect(exposed.split(',')).toContain(name);
  expect(gateway.users.received).toHaveLength(admitted);
  expect((await get(newAddress())).status).toBe(200);
});

test('the second policy is named when it is the one, with a longer time to wait', async () => {
  const address = newAddress();
  for (let count = 0; count < 5; count += 1) await get(address);
  await sleep(2_600);
  for (let count = 0; count < 5; count += 1) expect((await get(address)).status).toBe(200);
  const response = await get(address);
  expect(await response.json()).toMatchObject({ code: 'quota_exceeded', 'violated-policies': ['steady'] });
  expect(Number(response.headers.get('retry-after'))).toBeGreaterThan(1);
  expect(listOf(response.headers, 'RateLimit')).toHaveLength(1);
});

test('a client that is refused and waits exactly Retry-After is served', async () => {
  const address = newAddress();
  for (let count = 0; count < 3; count += 1) await post(address);
  const refused = await post(address);
  expect(refused.status).toBe(429);
  await sleep(Number(refused.headers.get('retry-after')) * 1_000);
  expect((await post(address)).status).toBe(200);
});

test('an IPv6 network of 64 bits is one client', async () => {
  for (let host = 1; host <= 6; host += 1) expect((await get(`2001:db8:7:7::${host}`)).status).toBe(200);
  expect((await get('2001:db8:7:7:ffff::9')).status).toBe(429);
  expect((await get('2001:db8:7:8::1')).status).toBe(200);
});

test('who is no trusted proxy cannot choose its address', async () => {
  const alone = await startTestGateway({ RATE_LIMITS: 'burst=3/60s' });
  try {
    const statuses: number[] = [];
    for (let count = 0; count < 4; count += 1) {
      statuses.push((await fetch(`${alone.url}/users/1`, from(newAddress()))).status);
    }
    expect(statuses).toEqual([200, 200, 200, 429]);
  } finally {
    await alone.close();
  }
});

test('a change is refused before its body arrives, and the connection serves the next request', async () => {
  const address = newAddress();
  for (let count = 0; count < 3; count += 1) await post(address);
  const head = `POST /users HTTP/1.1\r\nHost: gateway\r\nX-Forwarded-For: ${address}\r\nContent-Length: 10\r\n\r\n`;
  const refused = await sendRaw(gateway.port, [head]);
  expect([refused.status, headerOf(refused, 'retry-after')]).toEqual([429, '1']);
  const socket = connect(gateway.port, '127.0.0.1');
  let text = '';
  socket.on('data', (chunk) => {
    text += chunk.toString();
  });
  socket.write(head);
  await waitUntil(() => text.includes('quota_exceeded'), 'the refusal');
  socket.write(`0123456789GET /health/live HTTP/1.1\r\nHost: gateway\r\n\r\n`);
  await waitUntil(() => /HTTP\/1\.1 200 /.test(text), 'the next answer on the connection');
  socket.destroy();
  expect(gateway.users.received).toHaveLength(3);
});

test('probes, the documentation and OPTIONS are free, also for a client without quota', async () => {
  const address = newAddress();
  const ask = (path: string, options: RequestInit = {}) =>
    fetch(strict.url + path, from(address, { redirect: 'manual', ...options }));
  for (let count = 0; count < 7; count += 1) await ask('/users/1');
  for (const path of ['/health/live', '/health/ready', '/openapi.json', '/docs', '/']) {
    const { status, headers } = await ask(path);
    expect([path, status < 429, headers.has('ratelimit')]).toEqual([path, true, false]);
  }
  expect((await ask('/users', { method: 'OPTIONS' })).status).not.toBe(429);
  for (const path of ['/healthy', '/docsx', '/users/health'])
    expect([path, (await ask(path)).status]).toEqual([path, 429]);
});

test('refusals are one log line a second, with their number and without an address', async () => {
  await sleep(1_100); // until the line about the test before is written
  strict.logLines.length = 0;
  const address = newAddress();
  await Promise.all(Array.from({ length: 26 }, () => fetch(`${strict.url}/users/1`, from(address))));
  await waitUntil(() => strict.logLines.some((line) => line.includes('rate limited')), 'the line');
  const lines = strict.logLines.filter((line) => line.includes('rate limited')).map((line) => JSON.parse(line));
  expect(lines).toMatchObject([{ level: 'warn', msg: 'rate limited', refused: 20 }]);
  expect(strict.logLines.join()).not.toContain(address);
  expect(strict.logLines.filter((line) => line.includes('"status":429'))).toEqual([]);
});

test('by default there is no limit and no field', async () => {
  const open = await startTestGateway();
  try {
    const responses = await Promise.all(Array.from({ length: 300 }, () => fetch(`${open.url}/users/1`)));
    expect(responses.filter(({ status }) => status === 429)).toEqual([]);
    expect(responses[0]?.headers.has('ratelimit-policy')).toBe(false);
  } finally {
    await open.close();
  }
});

async function serveSteps(...steps: Step[]): Promise<{ url: string; close(): Promise<void> }> {
  const withAddress: Step = (request, _response, next) => {
    request.headers['x-forwarded-for'] = String(request.headers['x-address'] ?? '192.0.2.1');
    next();
  };
  const server = createServer(runSteps([withAddress, ...steps]));
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  return {
    url: `http://127.0.0.1:${(server.address() as AddressInfo).port}`,
    close: async () => {
      server.closeAllConnections();
      await new Promise((resolve) => server.close(resolve));
    },
  };
}

test('an actor has a share of its own, wherever it calls from, and the log names it', async () => {
  const lines: string[] = [];
  const log = createLogger({ service: 'test', level: 'info', destination: { write: (line) => void lines.push(line) } });
  const actorOf = ({ headers }: IncomingMessage) => (headers['x-actor'] as string | undefined) ?? null;
  const policies = [{ name: 'burst', quota: 2, windowSeconds: 60 }];
  const refusals = new RefusalLog(log, 'rate limited');
  const server = await serveSteps(limitRate({ policies, store: undefined, actorOf, refusals }), (_request, response) =>
    response.end(),
  );
  const call = async (actor: string | undefined, address: string) =>
    (await fetch(`${server.url}/users`, { headers: { ...(actor && { 'X-Actor': actor }), 'X-Address': address } }))
      .status;
  try {
    expect([await call('key:a', '192.0.2.1'), await call('key:a', '192.0.2.2')]).toEqual([200, 200]);
    expect([await call('key:a', '192.0.2.3'), await call('key:b', '192.0.2.1')]).toEqual([429, 200]);
    expect([await call(undefined, '192.0.2.1'), await call(undefined, '192.0.2.1')]).toEqual([200, 200]);
    expect([await call(undefined, '192.0.2.1'), await call(undefined, '192.0.2.2')]).toEqual([429, 200]);
    await waitUntil(() => lines.length > 0, 'the line');
    expect(JSON.parse(String(lines[0]))).toMatchObject({ refused: 2, actors: ['key:a'] });
  } finally {
    await server.close();
  }
});
