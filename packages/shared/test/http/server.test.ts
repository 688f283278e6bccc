// The stop of an HTTP server: no request that has reached it is lost.
import { Agent, get, type IncomingMessage, Server } from 'node:http';
import { Server as TcpServer } from 'node:net';
import { setTimeout as sleep } from 'node:timers/promises';
import { afterEach, beforeEach, expect, test } from '@jest/globals';
import { type RunningServer, serve } from '../../src/http/server.ts';

let server: RunningServer;
let agent: Agent;

beforeEach(async () => {
  agent = new Agent({ keepAlive: true, maxSockets: 1 });
  server = await serve((request, response) => void response.end(request.url), {
    host: '127.0.0.1',
    port: 0,
    quietMs: 300,
    keepAliveTimeoutMs: 65_000,
    headersTimeoutMs: 10_000,
    requestTimeoutMs: 15_000,
  });
});
afterEach(async () => {
  agent.destroy();
  await server.close(0);
});

/** A request on the one connection of the agent, or on a new one. */
function call(by: Agent | false = agent): Promise<IncomingMessage> {
  return new Promise((resolve, reject) => {
    get(`${server.url}/`, { agent: by }, (response) => response.resume().on('end', () => resolve(response))).on(
      'error',
      reject,
    );
  });
}

test('a request on a connection that was idle when the stop began is answered, and ends the connection', async () => {
  expect((await call()).headers.connection).toBe('keep-alive');
  const closed = server.close(5_000);
  await sleep(100);
  const answer = await call();
  expect([answer.statusCode, answer.headers.connection]).toEqual([200, 'close']);
  await closed;
});

test('an idle connection holds the stop up for less than a second, and a new one is refused', async () => {
  await call();
  const startedAt = performance.now();
  const closed = server.close(5_000);
  await sleep(50);
  await expect(call(false)).rejects.toMatchObject({ code: 'ECONNREFUSED' });
  await closed;
  expect(performance.now() - startedAt).toBeLessThan(1_000);
});

test('without a connection the stop takes no time', async () => {
  const startedAt = performance.now();
  await server.close(5_000);
  expect(performance.now() - startedAt).toBeLessThan(250);
});

test("Node's HTTP server closes idle connections in its `close`, and a TCP server's `close`, which we call, does not", () => {
  expect(Server.prototype).toBeInstanceOf(TcpServer);
  expect(Server.prototype.close).not.toBe(TcpServer.prototype.close);
});
