// Which responses wait in memory for clients that do not read, on real sockets.
import { connect, type Socket } from 'node:net';
import { afterEach, beforeEach, expect, test } from '@jest/globals';
import { type Client, client } from '@promopulse/testing/client';
import { eventually } from '@promopulse/testing/eventually';
import { z } from 'zod';
import { createApp, errorHandler } from '../../src/http/app.ts';
import { assignRequestId } from '../../src/http/request-log.ts';
import { ResponseBudget } from '../../src/http/response-budget.ts';
import { addRoutes, route } from '../../src/http/routes.ts';
import { textInteger } from '../../src/http/schemas.ts';
import { type RunningServer, serve } from '../../src/http/server.ts';
import { createLogger } from '../../src/telemetry/logger.ts';

const MiB = 1_048_576;

const common = {
  method: 'get',
  summary: 'Bytes',
  success: { status: 200, description: 'Bytes', schema: z.string() },
  errors: {},
} as const;
const query = z.strictObject({ bytes: textInteger(0, 8 * MiB) });

let server: RunningServer;
let api: Client;
const readers = new Set<Socket>();

async function start(timeoutMs: number): Promise<void> {
  const app = createApp();
  app.use(assignRequestId);
  const handle = async ({ query: { bytes } }: { query: { bytes: number } }) => ({
    status: 200,
    body: 'x'.repeat(bytes),
  });
  const routes = [
    route({
      ...common,
      path: '/list',
      operationId: 'list',
      query,
      mayBeLarge: ({ bytes }: { bytes: number }) => bytes > 65_536,
      handle,
    }),
    route({ ...common, path: '/item', operationId: 'item', query, handle }),
  ];
  addRoutes(app, routes, new ResponseBudget({ MAX_RESPONSE_BYTES_IN_FLIGHT: 8 * MiB, RESPONSE_TIMEOUT_MS: timeoutMs }));
  app.use(errorHandler(createLogger({ service: 'test', level: 'silent' })));
  const timeouts = { keepAliveTimeoutMs: 5_000, headersTimeoutMs: 10_000, requestTimeoutMs: 15_000 };
  server = await serve(app, { host: '127.0.0.1', port: 0, ...timeouts });
  api = client(server.url);
}

beforeEach(() => start(60_000));
afterEach(async () => {
  for (const socket of readers) socket.destroy();
  readers.clear();
  await server.close(0);
});

/**
 * Twelve connections that each request 1 MiB, again every 20 ms, and read nothing. The system takes some megabytes of
 * each by itself.
 */
function openSilentReaders(): Socket[] {
  return Array.from({ length: 12 }, () => {
    const request = (): unknown => socket.write(`GET /list?bytes=${MiB} HTTP/1.1\r\nHost: localhost\r\n\r\n`);
    const socket = connect(server.port, '127.0.0.1', request);
    const repeating = setInterval(request, 20);
    socket.once('close', () => clearInterval(repeating));
    readers.add(socket.pause().on('error', () => undefined));
    return socket;
  });
}

/** Lets them read. @returns the number of those whose connection was closed */
async function closedOf(silent: readonly Socket[]): Promise<number> {
  let closed = 0;
  for (const socket of silent) socket.once('close', () => (closed += 1)).resume();
  await new Promise((resolve) => setTimeout(resolve, 500));
  return closed;
}

const list = (bytes: number) => api.get(`/list?bytes=${bytes}`);
const full = () =>
  eventually(async () => expect((await list(MiB)).status).toBe(503), { timeoutMs: 5_000, everyMs: 10 });

test('when they are too many, a large list is overloaded; an ordinary list and a single row are answered', async () => {
  openSilentReaders();
  await full();
  const { status, body, headers } = await list(MiB);
  expect([status, body.code, headers.get('retry-after'), headers.get('promopulse-reached-limit')]).toEqual([
    503,
    'overloaded',
    '1',
    'response_bytes',
  ]);
  expect((await list(65_000)).status).toBe(200);
  expect((await api.get(`/item?bytes=${MiB}`)).status).toBe(200);
});

test('those that have not been read for two seconds make room for others, and their connection is closed', async () => {
  const silent = openSilentReaders();
  await full();
  await eventually(async () => expect((await list(MiB)).status).toBe(200), { timeoutMs: 5_000, everyMs: 50 });
  expect(await closedOf(silent)).toBeGreaterThan(0);
});

test('the room of clients that have gone, or have read all, is free', async () => {
  for (const end of [(socket: Socket) => socket.destroy(), (socket: Socket) => socket.resume()]) {
    const silent = openSilentReaders();
    await full();
    for (const socket of silent) end(socket);
    await eventually(async () => expect((await list(6 * MiB - 100)).status).toBe(200), {
      timeoutMs: 1_500,
      everyMs: 20,
    });
  }
});

test('a client that reads nothing loses its connection after the time limit', async () => {
  await server.close(0);
  await start(1_000);
  const silent = openSilentReaders();
  await full();
  await new Promise((resolve) => setTimeout(resolve, 2_500));
  expect((await list(6 * MiB - 100)).status).toBe(200);
  expect(await closedOf(silent)).toBe(silent.length);
});
