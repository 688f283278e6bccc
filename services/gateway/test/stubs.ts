// A gateway in this process, with a stub of each service that records the requests it receives.
import { createServer, type IncomingHttpHeaders, type RequestListener, type Server } from 'node:http';
import { type AddressInfo, connect, type Socket } from 'node:net';
import { internalServiceUrls, type ServiceName, services, serviceUrls } from '@promopulse/shared/contracts/services';
import { eventually } from '@promopulse/testing/eventually';
import { type RunningGateway, startGateway } from '../src/app.ts';

interface ReceivedRequest {
  method: string;
  url: string;
  headers: IncomingHttpHeaders;
  rawHeaders: string[];
  /** Bytes of the body that have arrived. */
  bytes: number;
  body: string;
}

export interface StubService {
  url: string;
  /** Requests to its public paths, in the order of their arrival. */
  received: ReceivedRequest[];
  server: Server;
  handler: RequestListener;
  close(): Promise<void>;
}

export const answerOk: RequestListener = (_request, response) => {
  response.setHeader('Content-Type', 'application/json').end('{"ok":true}');
};

/** Answers with a status, and with headers and a body if they are given. */
export const answerWith =
  (status: number, headers: Record<string, string> = {}, body = ''): RequestListener =>
  (_request, response) => {
    response.writeHead(status, headers).end(body);
  };

export const neverAnswer: RequestListener = () => {};

export async function startStubService(handler: RequestListener = answerOk, port = 0): Promise<StubService> {
  const server = createServer({ keepAliveTimeout: 65_000 }, (request, response) => {
    const { method = '', url = '', headers, rawHeaders } = request;
    if (url.startsWith('/health') || url === '/openapi.json') {
      stub.handler(request, response);
      return;
    }
    const record: ReceivedRequest = { method, url, headers: { ...headers }, rawHeaders, bytes: 0, body: '' };
    stub.received.push(record);
    request.on('data', (chunk: Buffer) => {
      record.bytes += chunk.length;
      record.body += chunk.toString('latin1');
    });
    request.on('error', () => {});
    stub.handler(request, response);
  });
  await new Promise<void>((resolve) => server.listen(port, '127.0.0.1', resolve));
  const stub: StubService = {
    url: `http://127.0.0.1:${(server.address() as AddressInfo).port}`,
    received: [],
    server,
    handler,
    close: async () => {
      server.closeAllConnections();
      await new Promise((resolve) => server.close(resolve));
    },
  };
  return stub;
}

/** A port on which nothing listens any more. */
export async function closedPort(): Promise<number> {
  const stub = await startStubService();
  await stub.close();
  return Number(new URL(stub.url).port);
}

export interface TestGateway extends Record<ServiceName, StubService> {
  url: string;
  port: number;
  gateway: RunningGateway;
  /** Log lines that the gateway has written. */
  logLines: string[];
  close(): Promise<void>;
}

export async function startTestGateway(env: Record<string, string> = {}): Promise<TestGateway> {
  const stubs = await Promise.all(services.map(() => startStubService()));
  const named = Object.fromEntries(services.map((name, index) => [name, stubs[index]]));
  const logLines: string[] = [];
  const gateway = await startGateway(
    { ...environmentFor(stubs), ...env },
    { logDestination: { write: (line) => void logLines.push(line) } },
  );
  return {
    url: gateway.url,
    port: gateway.port,
    gateway,
    ...(named as Record<ServiceName, StubService>),
    logLines,
    close: async () => {
      await gateway.close();
      await Promise.all(stubs.map((stub) => stub.close()));
    },
  };
}

/** For services that these tests do not need. Nothing listens on the discard port. */
const unusedUrl = 'http://127.0.0.1:9';

/** @param stubs in the order of the list of services; a stub serves its pages on the same port */
export function environmentFor(stubs: readonly StubService[]): Record<string, string> {
  const urlOf = (name: ServiceName): string => stubs[services.indexOf(name)]?.url ?? unusedUrl;
  return {
    HOST: '127.0.0.1',
    PORT: '0',
    ...serviceUrls(urlOf),
    ...internalServiceUrls(urlOf),
    SHUTDOWN_TIMEOUT_MS: '2000',
  };
}

/** Requests that the users service of `startLimitedGateway` may have at the same time. */
export const maxInFlight = 5;

export interface LimitedGateway extends TestGateway {
  /** Opens a connection and writes `text`. */
  open(text: string): Socket;
  /** What `open` has opened. `close` destroys it. */
  sockets: Socket[];
}

/** A gateway with a low concurrency limit. */
export async function startLimitedGateway(): Promise<LimitedGateway> {
  const gateway = await startTestGateway({
    MAX_IN_FLIGHT: String(maxInFlight),
    UPSTREAM_TIMEOUT_MS: '20000',
    BREAKER_MIN_CALLS: '3',
  });
  const sockets: Socket[] = [];
  return {
    ...gateway,
    sockets,
    open: (text) => {
      const socket = connect(gateway.port, '127.0.0.1').on('error', () => {});
      sockets.push(socket);
      socket.write(text);
      return socket;
    },
    close: async () => {
      for (const socket of sockets.splice(0)) socket.destroy();
      await gateway.close();
    },
  };
}

export function sleep(ms: number): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, ms));
}

export async function waitUntil(condition: () => boolean, what: string, timeoutMs = 10_000): Promise<void> {
  const deadline = Date.now() + timeoutMs;
  while (!condition()) {
    if (Date.now() > deadline) throw new Error(`waited ${timeoutMs} ms for ${what}`);
    await sleep(5);
  }
}

/** Waits until the gateway serves `count` concurrent requests for the users service. */
export async function waitUntilServed({ url }: TestGateway, count: number): Promise<void> {
  await eventually(async () => {
    const answers = await Promise.all(Array.from({ length: count }, () => fetch(`${url}/users/1`)));
    if (answers.some(({ status }) => status !== 200)) throw new Error(`not all of ${count} requests were served`);
  });
}
