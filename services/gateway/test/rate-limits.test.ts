// The shares of callers whom the gateway knows: several gateways with one database, and stub services.
import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';
import { parseList } from 'structured-headers';
import { type AskingGateway, bearer, startAskingGateway } from './asking-gateway.ts';
import { sleep, startTestGateway, type TestGateway, waitUntil } from './stubs.ts';

const fieldOf = (headers: Headers, name: string) =>
  parseList(String(headers.get(name))).map(([item, parameters]) => [item, Object.fromEntries(parameters)]);

describe('4 gateways and one key', () => {
  const policy = { quota: 40, windowSeconds: 1 };
  let first: AskingGateway;
  let gateways: TestGateway[];

  beforeAll(async () => {
    const env = { RATE_LIMITS: `burst=${policy.quota}/${policy.windowSeconds}s, steady=3000/60s` };
    first = await startAskingGateway(env);
    gateways = [first, ...(await Promise.all([1, 2, 3].map(() => startTestGateway(first.env))))];
  }, 60_000);
  afterAll(async () => {
    for (const gateway of gateways.slice(1)) await gateway.close();
    await first.close();
  });

  test('admit together at most its quota and their leases, and not much less', async () => {
    const startedAt = performance.now();
    const statuses: number[] = [];
    await Promise.all(
      gateways.flatMap(({ url }) =>
        Array.from({ length: 5 }, async () => {
          while (performance.now() - startedAt < 4_000) {
            const response = await fetch(`${url}/users/1`, { headers: bearer(first.firstKey) });
            await response.arrayBuffer();
            statuses.push(response.status);
          }
        }),
      ),
    );
    const seconds = (performance.now() - startedAt) / 1_000;
    const admitted = statuses.filter((status) => status === 200).length;
    const inSpan = policy.quota + (policy.quota * seconds) / policy.windowSeconds;
    const leases = gateways.length * Math.floor(policy.quota / policy.windowSeconds / 20);
    process.stderr.write(
      `one key at 4 gateways for ${seconds.toFixed(2)} s: ${admitted} of ${statuses.length} admitted; ` +
        `quota + D/T = ${inSpan.toFixed(1)}, with leases ${(inSpan + leases).toFixed(1)}\n`,
    );
    expect([...new Set(statuses)].sort()).toEqual([200, 429]);
    expect(admitted).toBeLessThanOrEqual(inSpan + leases);
    expect(admitted).toBeGreaterThanOrEqual(0.7 * inSpan);
    expect(gateways.reduce((sum, { users }) => sum + users.received.length, 0)).toBe(admitted);
  }, 30_000);

  test('another key has a share of its own meanwhile, and the log names the actor of the first', async () => {
    await sleep(1_000);
    const { secret } = await first.newKey();
    const ask = async () => (await fetch(`${first.url}/users/1`, { headers: bearer(first.firstKey) })).status;
    let statuses: number[] = [];
    // A slow machine needs longer for 60 requests than for their units to come back.
    for (let round = 0; round < 20 && !statuses.includes(429); round += 1) {
      statuses = await Promise.all(Array.from({ length: 60 }, ask));
    }
    expect(statuses).toContain(429);
    expect((await fetch(`${first.url}/users/1`, { headers: bearer(secret) })).status).toBe(200);
    await waitUntil(() => first.logLines.some((line) => line.includes('"rate limited"')), 'the line');
    const line = first.logLines.findLast((each) => each.includes('"rate limited"'));
    expect(JSON.parse(String(line))).toMatchObject({ actors: [expect.stringMatching(/^key:[0-9a-f-]{36}$/)] });
  });
});

describe('with AUTH on', () => {
  let gateway: AskingGateway;
  const env = { TRUSTED_PROXIES: '127.0.0.1', RATE_LIMITS: 'few=6/3600s' };
  const get = (credential: string | undefined, address: string, path = '/users/1') =>
    fetch(gateway.url + path, {
      headers: { 'X-Forwarded-For': address, ...(credential !== undefined && bearer(credential)) },
    });

  beforeAll(async () => {
    gateway = await startAskingGateway({ ...env, AUTH: 'optional' });
  }, 60_000);
  afterAll(() => gateway.close());

  test('a key has one share from all addresses, and an anonymous caller that of its address', async () => {
    const { secret } = await gateway.newKey();
    for (let host = 1; host <= 6; host += 1) expect((await get(secret, `192.0.2.${host}`)).status).toBe(200);
    expect((await get(secret, '192.0.2.7')).status).toBe(429);
    for (let count = 0; count < 6; count += 1) expect((await get(undefined, '192.0.2.1')).status).toBe(200);
    expect((await get(undefined, '192.0.2.1')).status).toBe(429);
    expect((await get(undefined, '192.0.2.2')).status).toBe(200);
  });

  test('the keys of the API have the same limit as everything else', async () => {
    const { secret } = await gateway.newKey({ scopes: ['keys:manage'] });
    for (let count = 0; count < 6; count += 1) await get(secret, '192.0.2.9', '/api-keys');
    expect((await get(secret, '192.0.2.9', '/api-keys')).status).toBe(429);
  });
});

test('by default there is a limit when the gateway asks for credentials', async () => {
  const gateway = await startAskingGateway({ RATE_LIMITS: '', AUTH_FAILURE_LIMIT: '', FREE_LIMIT: '' });
  try {
    const { headers } = await gateway.api.get('/users/1');
    expect(fieldOf(headers, 'RateLimit-Policy')).toEqual([
      ['burst', { q: 100, w: 1 }],
      ['steady', { q: 3_000, w: 60 }],
    ]);
    expect(fieldOf(headers, 'RateLimit').map(([name]) => name)).toEqual(['burst', 'steady']);
  } finally {
    await gateway.close();
  }
});
