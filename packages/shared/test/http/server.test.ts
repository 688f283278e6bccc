// The stop of an HTTP server: no request that has reached it is lost.
import { Agent, get, type IncomingMessage, Server } from 'node:http';
import { connect, Server as TcpServer } from 'node:net';
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

test('a client that closes its sending side after its request gets its answer, and then the end', async () => {
  for (const path of ['/', '/users/1']) {
    const received = await new Promise<string>((resolve, reject) => {
      const socket = connect({ port: server.port, host: '127.0.0.1', allowHalfOpen: true }).on('error', reject);
      let text = '';
      socket.on('data', (chunk) => {
        text += String(chunk);
      });
      socket.on('end', () => resolve(text));
      socket.end(`GET ${path} HTTP/1.1\r\nHost: a\r\n\r\n`);
    });
    expect(received).toMatch(/^HTTP\/1\.1 200 OK\r\n/);
    expect(received.endsWith(path)).toBe(true);
  }
});

test('a client that goes while its request waits is noticed within a second, and one that only half-closes is not gone', async () => {
  const closed: string[] = [];
  const waiting = await serve(
    (request, response) => {
      response.once('close', () => closed.push(`${request.url} ${response.writableFinished}`));
      if (request.url === '/late') setTimeout(() => response.end('late'), 900);
    },
    { host: '127.0.0.1', port: 0, keepAliveTimeoutMs: 5_000, headersTimeoutMs: 5_000, requestTimeoutMs: 5_000 },
  );
  const open = (path: string) => {
    const socket = connect({ port: waiting.port, host: '127.0.0.1', allowHalfOpen: true }).on('error', () => {});
    socket.resume().write(`GET ${path} HTTP/1.1\r\nHost: a\r\n\r\n`);
    return socket;
  };
  const [gone, halfClosed] = [open('/never'), open('/late')];
  halfClosed.end();
  await sleep(50);
  gone.destroy();
  await sleep(700);
  expect(closed).toEqual(['/never false']);
  await sleep(400);
  expect(closed).toEqual(['/never false', '/late true']);
  await waiting.close(0);
});
