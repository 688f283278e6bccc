// Which requests are sent again, when, and how often: against a real HTTP server that answers as it is told.
import { createServer, type IncomingHttpHeaders } from 'node:http';
import type { AddressInfo } from 'node:net';
import { afterAll, beforeAll, beforeEach, describe, expect, test } from '@jest/globals';
import { type RetryOptions, retryingFetch } from '../src/retry.ts';

interface Answer {
  status: number;
  headers?: Record<string, string>;
  /** Sent as a problem document. */
  code?: string;
}
interface Received {
  method: string | undefined;
  url: string | undefined;
  headers: IncomingHttpHeaders;
  body: string;
  at: number;
}

let base: string;
/** Answers in this order; the last one is repeated. `undefined` closes the connection. */
let answers: (Answer | undefined)[];
let received: Received[];

const server = createServer(async (request, response) => {
  let body = '';
  for await (const chunk of request) body += chunk;
  const { method, url, headers } = request;
  received.push({ method, url, headers, body, at: performance.now() });
  const answer = answers.length > 1 ? answers.shift() : answers[0];
  if (!answer) return void response.destroy();
  response.writeHead(answer.status, { 'content-type': 'application/problem+json; charset=utf-8', ...answer.headers });
  response.end(JSON.stringify({ status: answer.status, code: answer.code ?? 'unavailable' }));
});

beforeAll(async () => {
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  base = `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
});
afterAll(async () => {
  server.closeAllConnections();
  await new Promise((resolve) => server.close(resolve));
});
beforeEach(() => {
  received = [];
});

const ok: Answer = { status: 201 };
const busy: Answer = { status: 503, headers: { 'retry-after': '0' } };
const quick: RetryOptions = { maxJitterMs: 5 };

function post(options: RetryOptions = quick, init: RequestInit = {}): Promise<Response> {
  const headers = { 'content-type': 'application/json', 'x-request-id': 'one' };
  return retryingFetch(options)(
    new Request(`${base}/users?x=1`, { method: 'POST', headers, body: '{"first_name":"Ada"}', ...init }),
  );
}
const get = () => retryingFetch(quick)(new Request(`${base}/promotions`));

describe('a request is sent again', () => {
  test('with its method, path, headers and body, after 503 and 429 with Retry-After', async () => {
    answers = [busy, { ...busy, status: 429 }, ok];
    expect((await post()).status).toBe(201);
    expect(received).toHaveLength(3);
    for (const { method, url, headers, body } of received) {
      expect([method, url, body]).toEqual(['POST', '/users?x=1', '{"first_name":"Ada"}']);
      expect(headers).toMatchObject({ 'content-type': 'application/json', 'x-request-id': 'one' });
    }
  });

  test('no earlier than Retry-After says, in seconds', async () => {
    answers = [{ status: 503, headers: { 'retry-after': '1' } }, ok];
    await post();
    expect((received[1]?.at ?? 0) - (received[0]?.at ?? 0)).toBeGreaterThanOrEqual(995);
  });

  test("no earlier than a date in Retry-After, by the server's clock", async () => {
    const date = 'Fri, 01 Jan 2027 00:00:00 GMT';
    answers = [{ status: 503, headers: { 'retry-after': 'Fri, 01 Jan 2027 00:00:01 GMT', date } }, ok];
    expect((await post()).status).toBe(201);
    expect((received[1]?.at ?? 0) - (received[0]?.at ?? 0)).toBeGreaterThanOrEqual(995);
    answers = [{ status: 503, headers: { 'retry-after': 'Thu, 31 Dec 2026 23:00:00 GMT', date } }, ok];
    expect((await post()).status).toBe(201); // a date in the past
  });

  test('at different moments by callers that were refused together', async () => {
    answers = [busy];
    const callers = Array.from({ length: 20 }, () => post({ attempts: 2, maxJitterMs: 400 }));
    await Promise.all(callers);
    const second = received.slice(20).map(({ at }) => at);
    expect(second).toHaveLength(20);
    expect(Math.max(...second) - Math.min(...second)).toBeGreaterThan(100);
  });
});

describe('a request is sent once', () => {
  test.each<[string, Answer]>([
    ['503 without Retry-After', { status: 503 }],
    ['503 with an empty Retry-After', { status: 503, headers: { 'retry-after': '' } }],
    ['503 with a Retry-After that is no time', { status: 503, headers: { 'retry-after': 'soon' } }],
    ['503 with a fraction in Retry-After', { status: 503, headers: { 'retry-after': '0.5' } }],
    ['503 with a negative Retry-After', { status: 503, headers: { 'retry-after': '-1' } }],
    ['429 without Retry-After', { status: 429 }],
    ['outcome_unknown, although a proxy has added Retry-After', { ...busy, code: 'outcome_unknown' }],
    ['504 with Retry-After', { ...busy, status: 504 }],
    ['500 with Retry-After', { ...busy, status: 500 }],
    ['409', { status: 409 }],
    ['201 with Retry-After', { ...busy, status: 201 }],
  ])('when the answer is %s: it is the answer, and can be read', async (_what, answer) => {
    answers = [answer, ok];
    const response = await post();
    expect([response.status, received.length]).toEqual([answer.status, 1]);
    expect(await response.json()).toMatchObject({ status: answer.status });
  });

  test('when the connection is lost, whatever its method', async () => {
    answers = [undefined];
    await expect(post()).rejects.toThrow('fetch failed');
    expect(received).toHaveLength(1);
    answers = [{ status: 503 }];
    expect((await get()).status).toBe(503);
  });
});

describe('a request with an Idempotency-Key is sent again, with the same key', () => {
  const headers = { 'content-type': 'application/json', 'idempotency-key': 'k1' };

  test.each<[string, Answer | undefined]>([
    ['the connection was lost', undefined],
    ['the outcome is unknown', { status: 503, code: 'outcome_unknown' }],
    ['the gateway did not wait longer', { status: 504, code: 'outcome_unknown' }],
    ['a proxy got no answer', { status: 502, code: 'bad_gateway' }],
    ['the first request is in progress', { ...busy, status: 409, code: 'idempotency_in_progress' }],
    ['nothing was changed', busy],
  ])('when %s', async (_what, answer) => {
    answers = [answer, ok];
    expect((await post({ maxJitterMs: 5 }, { headers })).status).toBe(201);
    expect(received.map((each) => each.headers['idempotency-key'])).toEqual(['k1', 'k1']);
    expect(received.map((each) => each.body)).toEqual(Array(2).fill('{"first_name":"Ada"}'));
  });

  test.each<[string, Answer]>([
    ['another conflict', { ...busy, status: 409, code: 'email_taken' }],
    ['the key of another request', { ...busy, status: 422, code: 'idempotency_key_reused' }],
    ['an error of the service', { ...busy, status: 500, code: 'internal_error' }],
  ])('but not after %s', async (_what, answer) => {
    answers = [answer, ok];
    expect((await post(quick, { headers })).status).toBe(answer.status);
    expect(received).toHaveLength(1);
  });

  test('until the attempts are used up: then the last error is the outcome', async () => {
    answers = [undefined];
    await expect(post({ ...quick, attempts: 3 }, { headers })).rejects.toThrow('fetch failed');
    expect(received).toHaveLength(3);
  });

  test('until its signal aborts', async () => {
    answers = [undefined];
    const caller = new AbortController();
    const sent = post({ maxJitterMs: 60_000 }, { headers, signal: caller.signal });
    setTimeout(() => caller.abort(new Error('the user left')), 100);
    await expect(sent).rejects.toThrow('the user left');
  });
});

describe('repeating ends', () => {
  test('after as many attempts as allowed, with the last answer', async () => {
    answers = [busy];
    const response = await post({ ...quick, attempts: 3 });
    expect([response.status, received.length]).toEqual([503, 3]);
    expect(await response.json()).toMatchObject({ code: 'unavailable' });
  });

  test('at once when Retry-After is beyond the time that is left', async () => {
    answers = [{ status: 503, headers: { 'retry-after': '3600' } }];
    const response = await post({ ...quick, maxElapsedMs: 2_000 });
    expect([response.status, received.length]).toEqual([503, 1]);
    expect(await response.json()).toMatchObject({ status: 503 });
  });

  test('when the signal aborts during the wait, with its reason and without another request', async () => {
    answers = [{ status: 503, headers: { 'retry-after': '20' } }];
    const caller = new AbortController();
    const answered = post(quick, { signal: caller.signal });
    setTimeout(() => caller.abort(new Error('the user left')), 200);
    const start = performance.now();
    await expect(answered).rejects.toThrow('the user left');
    expect(performance.now() - start).toBeLessThan(5_000);
    expect(received).toHaveLength(1);
  });
});
