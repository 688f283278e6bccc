// Test frame: a gateway in this process before three stub services, which record what reaches them.
import { createServer, type IncomingHttpHeaders, type RequestListener, type Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import { type RunningGateway, startGateway } from '../src/app.ts';

interface Seen {
  method: string;
  url: string;
  headers: IncomingHttpHeaders;
  rawHeaders: string[];
  /** Bytes of the body that arrived, complete or not. */
  bytes: number;
  body: string;
}

export interface Stub {
  url: string;
  /** Requests to its public paths, in the order they came. */
  seen: Seen[];
  server: Server;
  handler: RequestListener;
  close(): Promise<void>;
}

export const answerOk: RequestListener = (_request, response) => {
  response.setHeader('Content-Type', 'application/json').end('{"ok":true}');
};

/** A status with a problem body, or nothing but the status. */
export const answerWith =
  (status: number, headers: Record<string, string> = {}, body = ''): RequestListener =>
  (_request, response) => {
    response.writeHead(status, headers).end(body);
  };

export const hang: RequestListener = () => {};

export async function startStub(handler: RequestListener = answerOk, port = 0): Promise<Stub> {
  const server = createServer({ keepAliveTimeout: 65_000 }, (request, response) => {
    const { method = '', url = '', headers, rawHeaders } = request;
    if (url.startsWith('/health') || url === '/openapi.json') {
      stub.handler(request, response);
      return;
    }
    const record: Seen = { method, url, headers: { ...headers }, rawHeaders, bytes: 0, body: '' };
    stub.seen.push(record);
    request.on('data', (chunk: Buffer) => {
      record.bytes += chunk.length;
      record.body += chunk.toString('latin1');
    });
    request.on('error', () => {});
    stub.handler(request, response);
  });
  await new Promise<void>((resolve) => server.listen(port, '127.0.0.1', resolve));
  const stub: Stub = {
    url: `http://127.0.0.1:${(server.address() as AddressInfo).port}`,
    seen: [],
    server,
    handler,
    close: async () => {
      server.closeAllConnections();
      await new Promise((resolve) => server.close(resolve));
    },
  };
  return stub;
}

export interface Mesh {
  url: string;
  port: number;
  gateway: RunningGateway;
  users: Stub;
  promotions: Stub;
  subscriptions: Stub;
  /** Log lines written so far. */
  lines: string[];
  close(): Promise<void>;
}

export async function startMesh(env: Record<string, string> = {}): Promise<Mesh> {
  const stubs = await Promise.all([startStub(), startStub(), startStub()]);
  const [users, promotions, subscriptions] = stubs;
  const lines: string[] = [];
  const gateway = await startGateway(
    { ...environmentFor(stubs), ...env },
    { logDestination: { write: (line) => void lines.push(line) } },
  );
  return {
    url: gateway.url,
    port: gateway.port,
    gateway,
    users,
    promotions,
    subscriptions,
    lines,
    close: async () => {
      await gateway.close();
      await Promise.all(stubs.map((stub) => stub.close()));
    },
  };
}

export function environmentFor(stubs: readonly Stub[]): Record<string, string> {
  const [users, promotions, subscriptions] = stubs.map(({ url }) => url);
  return {
    HOST: '127.0.0.1',
    PORT: '0',
    USERS_URL: String(users),
    PROMOTIONS_URL: String(promotions),
    SUBSCRIPTIONS_URL: String(subscriptions),
    SHUTDOWN_TIMEOUT_MS: '2000',
  };
}

export function pause(ms: number): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, ms));
}

export async function until(condition: () => boolean, what: string, timeoutMs = 10_000): Promise<void> {
  const deadline = Date.now() + timeoutMs;
  while (!condition()) {
    if (Date.now() > deadline) throw new Error(`waited ${timeoutMs} ms for ${what}`);
    await pause(5);
  }
}
