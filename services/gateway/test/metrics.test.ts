// What the gateway counts when services fail or are slow, and when clients send too much: with stub services.
import { afterEach, beforeEach, expect, test } from '@jest/globals';
import { eventually } from '@promopulse/testing/eventually';
import { answerWith, neverAnswer, startTestGateway, type TestGateway } from './stubs.ts';
import { sendRaw } from './wire.ts';

let gateway: TestGateway;
beforeEach(async () => {
  gateway = await startTestGateway({
    METRICS_PORT: '0',
    UPSTREAM_TIMEOUT_MS: '500',
    BREAKER_MIN_CALLS: '3',
    BREAKER_RESET_MS: '60000',
    MAX_IN_FLIGHT: '2',
    RATE_LIMITS: 'hourly=40/3600s',
  });
});
afterEach(() => gateway.close());

const get = (path: string): Promise<Response> => fetch(gateway.url + path);

/** The values of a metric that are not 0, by the values of its labels. */
async function valuesOf(name: string): Promise<Record<string, number>> {
  const text = await (await fetch(`${gateway.gateway.metricsUrl}/metrics`)).text();
  const lines = text.split('\n').filter((line) => line.startsWith(`${name}{`) || line.startsWith(`${name} `));
  const values = lines.map((line): [string, number] => [
    [...line.matchAll(/="([^"]*)"/g)].map(([, value]) => value).join(' '),
    Number(line.split(' ').at(-1)),
  ]);
  return Object.fromEntries(values.filter(([, value]) => value !== 0));
}
const answers = (): Promise<Record<string, number>> => valuesOf('http_client_request_duration_seconds_count');
const requests = (): Promise<Record<string, number>> => valuesOf('http_server_request_duration_seconds_count');

test('an answer of a service has its status, and each request its route', async () => {
  gateway.users.handler = answerWith(404);
  await get('/users/1');
  await fetch(`${gateway.url}/promotions/1/status`, { method: 'POST', body: '{}' });
  await get('/nowhere');
  expect(await answers()).toEqual({ 'GET users 404 ': 1, 'POST promotions 200 ': 1 });
  await eventually(async () =>
    expect(await requests()).toEqual({
      'GET /users/{id} 404': 1,
      'POST /promotions/{id}/* 200': 1,
      'GET  404': 1,
    }),
  );
});

test('a request without an answer says why, and failures open the breaker', async () => {
  gateway.users.handler = neverAnswer;
  gateway.promotions.handler = (request) => void request.socket.destroy();
  expect((await get('/users/1')).status).toBe(504);
  for (let count = 0; count < 3; count += 1) expect((await get('/promotions/1')).status).toBe(503);
  expect((await get('/promotions/1')).status).toBe(503); // the breaker is open: no request was sent
  expect(await answers()).toEqual({ 'GET users  timeout': 1, 'GET promotions  unavailable': 3 });
  expect(await valuesOf('promopulse_upstream_breaker_openings_total')).toEqual({ promotions: 1 });
  expect(await valuesOf('promopulse_upstream_breaker_state')).toEqual({
    'users closed': 1,
    'promotions open': 1,
    'subscriptions closed': 1,
    'engagement closed': 1,
  });
});

test('a client that hangs up is no failure of the service, and its request has no status', async () => {
  gateway.users.handler = neverAnswer;
  const abort = new AbortController();
  const request = fetch(`${gateway.url}/users/1`, { signal: abort.signal }).catch(() => undefined);
  await eventually(() => expect(gateway.users.received.length).toBe(1));
  expect(await valuesOf('promopulse_upstream_active_requests')).toEqual({ 'users ordinary': 1 });
  abort.abort();
  await request;
  await eventually(async () => {
    expect(await answers()).toEqual({ 'GET users  aborted': 1 });
    expect(await requests()).toEqual({ 'GET /users/{id} ': 1 });
    expect(await valuesOf('promopulse_upstream_active_requests')).toEqual({});
  });
});

test('requests beyond the concurrency limit, beyond a quota and without a form are counted', async () => {
  gateway.users.handler = neverAnswer;
  const waiting = [get('/users/1'), get('/users/2')];
  await eventually(() => expect(gateway.users.received.length).toBe(2));
  expect((await get('/users/3')).status).toBe(503);
  await Promise.all(waiting);
  expect(await valuesOf('promopulse_upstream_rejected_requests_total')).toEqual({ 'users ordinary': 1 });
  expect(await valuesOf('promopulse_gateway_overloaded_requests_total')).toEqual({ '': 1 });

  let refused = 0;
  for (let count = 0; count < 45; count += 1) refused += (await get('/promotions/1')).status === 429 ? 1 : 0;
  expect(refused).toBeGreaterThan(4);
  expect(await valuesOf('promopulse_gateway_rate_limited_requests_total')).toEqual({ caller: refused });

  await sendRaw(gateway.port, ['GET /users HTTP/1.1\r\nbad header\r\n\r\n']);
  expect(await valuesOf('promopulse_gateway_unparsed_requests_total')).toEqual({ malformed_request: 1 });
});
