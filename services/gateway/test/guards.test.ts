// What the gateway relies on that its libraries do not document. Each test names one such assumption and what depends on
// it, so that an upgrade which breaks it fails here and not in production.
import { createServer, type IncomingMessage, ServerResponse } from 'node:http';
import { type AddressInfo, connect } from 'node:net';
import { afterEach, describe, expect, test } from '@jest/globals';
import { createProxyMiddleware, type Plugin } from 'http-proxy-middleware';
import CircuitBreaker from 'opossum';
import { type Dispatcher, Pool } from 'undici';
import { closedPort, sleep, startStubService, waitUntil } from './stubs.ts';

const toClose: { close(): unknown }[] = [];
afterEach(async () => {
  for (const each of toClose.splice(0).reverse()) await each.close();
});

describe('httpxy, below http-proxy-middleware (proxy/proxy.ts, undiciTransport)', () => {
  type Passes = { name: string }[];
  const passesOf = (proxyServer: object): Passes => (proxyServer as { _webPasses: Passes })._webPasses;
  const pass = (): true => true;

  function pluginsSee(look: Plugin): void {
    createProxyMiddleware({ target: 'http://127.0.0.1:9', ejectPlugins: true, plugins: [look] });
  }

  test('its passes have no names, so that the name "" finds the last of them', () => {
    let names: string[] = [];
    pluginsSee((proxyServer) => {
      names = passesOf(proxyServer).map(({ name }) => name);
    });
    expect(names.length).toBeGreaterThan(1);
    expect(new Set(names)).toEqual(new Set(['']));
  });

  test('`before` puts our pass before the last one, `stream`, which sends by node:http', () => {
    let position = -1;
    let length = 0;
    let last = '';
    pluginsSee((proxyServer) => {
      proxyServer.before('web', '', pass);
      const passes = passesOf(proxyServer);
      [position, length, last] = [passes.indexOf(pass), passes.length, String(passes.at(-1))];
    });
    expect([position, length > 2]).toEqual([length - 2, true]);
    expect(last).toMatch(/\.request\(|pipe\(/);
  });

  test('a pass that returns true ends the list: the last pass does not run, and the answer is ours', async () => {
    const target = await startStubService();
    toClose.push(target);
    const plugin: Plugin = (proxyServer) => {
      proxyServer.before('web', '', (_request, response) => {
        (response as ServerResponse).end('ours');
        return true;
      });
    };
    const middleware = createProxyMiddleware({ target: target.url, ejectPlugins: true, plugins: [plugin] });
    const server = createServer((request, response) => void middleware(request, response, () => undefined));
    await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
    toClose.push(server);
    const answer = await fetch(`http://127.0.0.1:${(server.address() as AddressInfo).port}/users`);
    expect(await answer.text()).toBe('ours');
    expect(target.received).toEqual([]);
  });
});

describe('opossum (proxy/breaker.ts)', () => {
  const options = { timeout: false as const, errorThresholdPercentage: 50, volumeThreshold: 1, resetTimeout: 60_000 };
  const failing = () => Promise.reject(new Error('failed'));

  test('reads `resetTimeout` from the options that it was given, each time that it opens', async () => {
    const settings = { ...options };
    const circuit = new CircuitBreaker(failing, settings);
    settings.resetTimeout = 0;
    await circuit.fire().catch(() => undefined);
    expect(circuit.opened).toBe(true);
    await sleep(20);
    expect(circuit.halfOpen).toBe(true);
    circuit.shutdown();
  });

  test('`open` during a trial prevents that the success of the trial closes it: half open again, then', async () => {
    const settings = { ...options, resetTimeout: 0 };
    let work: () => unknown = failing;
    const circuit = new CircuitBreaker(async () => work(), settings);
    await circuit.fire().catch(() => undefined);
    await sleep(20);
    expect(circuit.halfOpen).toBe(true);
    work = () => circuit.open();
    await circuit.fire();
    expect(circuit.closed).toBe(false);
    await sleep(20);
    expect(circuit.halfOpen).toBe(true);
    work = () => undefined;
    await circuit.fire();
    expect(circuit.closed).toBe(true);
    circuit.shutdown();
  });

  test('lets one call through while it is half open, and rejects the others', async () => {
    const settings = { ...options, resetTimeout: 0 };
    const { promise, resolve } = Promise.withResolvers<void>();
    let work: () => unknown = failing;
    const circuit = new CircuitBreaker(async () => work(), settings);
    await circuit.fire().catch(() => undefined);
    await sleep(20);
    work = () => promise;
    const trial = circuit.fire();
    await expect(circuit.fire()).rejects.toMatchObject({ code: 'EOPENBREAKER' });
    resolve();
    await trial;
    circuit.shutdown();
  });

  test('rejects with the error that the call threw, itself', async () => {
    const error = new Error('ours');
    const circuit = new CircuitBreaker(() => Promise.reject(error), options);
    await expect(circuit.fire()).rejects.toBe(error);
    circuit.shutdown();
  });
});

/** Records undici's calls of a handler. */
class Recorder implements Dispatcher.DispatchHandler {
  readonly calls: string[] = [];
  onRequestStart(): void {
    this.calls.push('start');
  }
  onResponseStart(_controller: Dispatcher.DispatchController, status: number): void {
    this.calls.push(String(status));
  }
  onResponseData(): void {}
  onResponseEnd(): void {
    this.calls.push('end');
  }
  onResponseError(_controller: Dispatcher.DispatchController | null, error: Error & { code?: string }): void {
    this.calls.push(`error ${error.code}`);
  }
}

describe('undici (proxy/upstream-request.ts, reconnects.ts)', () => {
  const request = { path: '/users', method: 'POST' as const, body: Buffer.from('{}') };

  function poolOf(port: number): Pool {
    const pool = new Pool(`http://127.0.0.1:${port}`, { headersTimeout: 0, bodyTimeout: 0 });
    toClose.push({ close: () => pool.destroy() });
    return pool;
  }

  test('without a connection there is no `onRequestStart`: nothing was sent, and the handler can be dispatched again', async () => {
    const port = await closedPort();
    const pool = poolOf(port);
    const recorder = new Recorder();
    pool.dispatch(request, recorder);
    await waitUntil(() => recorder.calls.length > 0, 'the error');
    expect(recorder.calls).toEqual(['error ECONNREFUSED']);
    const stub = await startStubService(undefined, port);
    toClose.push(stub);
    pool.dispatch(request, recorder);
    await waitUntil(() => recorder.calls.includes('end'), 'the response');
    expect(recorder.calls).toEqual(['error ECONNREFUSED', 'start', '200', 'end']);
    expect(stub.received).toMatchObject([{ body: '{}' }]);
  });

  test('a connection that is lost after sending: `onRequestStart` comes before the error, and nothing is sent twice', async () => {
    const stub = await startStubService((incoming) => void incoming.socket.destroy());
    toClose.push(stub);
    const recorder = new Recorder();
    poolOf(Number(new URL(stub.url).port)).dispatch(request, recorder);
    await waitUntil(() => recorder.calls.length > 1, 'the error');
    expect(recorder.calls).toEqual(['start', expect.stringMatching(/^error (UND_ERR_SOCKET|ECONNRESET)$/)]);
    await sleep(50);
    expect(stub.received).toHaveLength(1);
  });

  test('a kept connection that the service has closed is not used: the request gets a new one, or a refusal', async () => {
    const stub = await startStubService();
    const pool = poolOf(Number(new URL(stub.url).port));
    const first = new Recorder();
    pool.dispatch(request, first);
    await waitUntil(() => first.calls.includes('end'), 'the response');
    await stub.close();
    await sleep(50);
    const second = new Recorder();
    pool.dispatch(request, second);
    await waitUntil(() => second.calls.length > 0, 'the error');
    expect(second.calls).toEqual(['error ECONNREFUSED']);
  });

  test('an error thrown in `onRequestStart` prevents that the request is sent', async () => {
    const stub = await startStubService();
    toClose.push(stub);
    const recorder = new Recorder();
    recorder.onRequestStart = () => {
      throw Object.assign(new Error('abandoned'), { code: 'OURS' });
    };
    poolOf(Number(new URL(stub.url).port)).dispatch(request, recorder);
    await waitUntil(() => recorder.calls.length > 0, 'the error');
    await sleep(50);
    expect(recorder.calls).toEqual(['error OURS']);
    expect(stub.received).toEqual([]);
  });

  test('the second request of a busy pool gets a connection of its own', async () => {
    const stub = await startStubService(() => undefined);
    toClose.push(stub);
    const pool = poolOf(Number(new URL(stub.url).port));
    pool.dispatch(request, new Recorder());
    pool.dispatch(request, new Recorder());
    await waitUntil(() => stub.received.length === 2, 'both requests');
    const count = await new Promise<number>((resolve) => stub.server.getConnections((_error, n) => resolve(n)));
    expect(count).toBe(2);
  });
});

describe('Node', () => {
  test('`requireHostHeader` can be set on a server (edge/unparsed.ts, answerUnparsed)', async () => {
    const server = createServer((_request, response) => void response.end('ours'));
    expect((server as { requireHostHeader?: boolean }).requireHostHeader).toBe(true);
    (server as { requireHostHeader?: boolean }).requireHostHeader = false;
    await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
    toClose.push(server);
    const socket = connect((server.address() as AddressInfo).port, '127.0.0.1');
    socket.write('GET / HTTP/1.1\r\nConnection: close\r\n\r\n');
    let answer = '';
    for await (const chunk of socket) answer += chunk;
    expect(answer).toMatch(/^HTTP\/1\.1 200 /);
  });

  test('its parser reads RTSP/1.0 as HTTP/1.0, and has the packet until the request is emitted (http/unparsed/protocol.ts)', async () => {
    let seen: unknown[] = [];
    const server = createServer((request, response) => {
      const { parser } = request.socket as unknown as { parser: { getCurrentBuffer(): Buffer } };
      seen = [request.httpVersion, parser.getCurrentBuffer().toString()];
      response.end();
    });
    await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
    toClose.push(server);
    const socket = connect((server.address() as AddressInfo).port, '127.0.0.1');
    socket.write('GET /users RTSP/1.0\r\n\r\n');
    await new Promise((resolve) => socket.once('data', resolve));
    socket.destroy();
    expect(seen).toEqual(['1.0', 'GET /users RTSP/1.0\r\n\r\n']);
  });

  test('a socket has the response that is written to it as `_httpMessage` (http/unparsed/unparsed-requests.ts, responseOn)', async () => {
    let seen: unknown;
    const server = createServer((request: IncomingMessage, response) => {
      seen = (request.socket as { _httpMessage?: unknown })._httpMessage;
      response.end(String(seen === response));
    });
    await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
    toClose.push(server);
    const answer = await fetch(`http://127.0.0.1:${(server.address() as AddressInfo).port}/`);
    expect(await answer.text()).toBe('true');
    expect(seen).toBeInstanceOf(ServerResponse);
  });
});
