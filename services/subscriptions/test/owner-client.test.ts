// An owner that cannot be reached for a moment, as during its restart.
import { createServer, type RequestListener, type Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import { setTimeout as sleep } from 'node:timers/promises';
import { afterEach, expect, test } from '@jest/globals';
import { OwnerClient } from '@promopulse/shared/projections/reading/owner-client';
import { projections } from '../src/active-check/projections.ts';

const timeoutMs = 2_000;
let server: Server | undefined;
let asked = 0;
afterEach(async () => {
  server?.closeAllConnections();
  await new Promise((resolve) => (server ? server.close(resolve) : resolve(undefined)));
  server = undefined;
  asked = 0;
});

const answerUser: RequestListener = (_request, response) => {
  response.setHeader('content-type', 'application/json').end('{"id":1,"version":3}');
};

async function listen(port: number, handler: RequestListener): Promise<number> {
  const listening = createServer((request, response) => {
    asked += 1;
    handler(request, response);
  });
  server = listening;
  await new Promise<void>((resolve) => listening.listen(port, '127.0.0.1', resolve));
  return (listening.address() as AddressInfo).port;
}

async function closedPort(): Promise<number> {
  const port = await listen(0, answerUser);
  await new Promise((resolve) => server?.close(resolve));
  return port;
}

const clientOf = (port: number): OwnerClient =>
  new OwnerClient(projections.owners.users, { url: `http://127.0.0.1:${port}`, timeoutMs, resetMs: 60_000 });

test('is asked again until it accepts a connection', async () => {
  const port = await closedPort();
  const answer = clientOf(port).get(1, { requestId: 'request' });
  await sleep(300);
  await listen(port, answerUser);
  expect(await answer).toMatchObject({ id: 1, version: 3 });
  expect(asked).toBe(1);
});

test('is asked again when the connection is lost before the answer', async () => {
  const port = await listen(0, (request, response) => {
    if (asked === 1) request.socket.destroy();
    else answerUser(request, response);
  });
  expect(await clientOf(port).get(1, { requestId: 'request' })).toMatchObject({ id: 1, version: 3 });
});

test('is unavailable at the end of the time limit, and then at once behind the breaker', async () => {
  const client = clientOf(await closedPort());
  const startedAt = performance.now();
  const unavailable = { code: 'dependency_unavailable' };
  await Promise.all(
    [1, 2, 3, 4, 5].map((id) => expect(client.get(id, { requestId: 'request' })).rejects.toMatchObject(unavailable)),
  );
  const tookMs = performance.now() - startedAt;
  expect(tookMs).toBeGreaterThan(timeoutMs - 100);
  expect(tookMs).toBeLessThan(timeoutMs + 3_000);
  const later = performance.now();
  await expect(client.get(6, { requestId: 'request' })).rejects.toMatchObject(unavailable);
  expect(performance.now() - later).toBeLessThan(500);
});

test('a page of its rows waits for it, too, unless the reading stops', async () => {
  const port = await closedPort();
  const client = clientOf(port);
  const stopped = client.page({ after_id: 0, limit: 10 }, AbortSignal.timeout(200));
  await expect(stopped).rejects.toThrow();
  const page = client.page({ after_id: 0, limit: 10 }, new AbortController().signal);
  await sleep(200);
  const epoch = '0197c0de-0000-7000-8000-000000000001';
  const body = { epoch, position: 1, read_at: new Date().toISOString(), items: [{ id: 1, version: 1 }] };
  await listen(port, (_request, response) => void response.end(JSON.stringify(body)));
  expect(await page).toMatchObject({ length: 1, states: [{ id: 1 }] });
});
