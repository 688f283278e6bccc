// What a Service of Kubernetes is to its clients: each new connection goes to one of the processes that were ready when
// they were last asked. Or it works like a proxy such as nginx by default: each request has a connection of its own to
// one of these processes. It repeats nothing. A connection that its process refuses is reset, and counted.
import { once } from 'node:events';
import { createServer as createHttpServer, type IncomingMessage, request, type ServerResponse } from 'node:http';
import { type AddressInfo, connect, createServer, type Server, type Socket } from 'node:net';
import { setTimeout as sleep } from 'node:timers/promises';

/** Shorter than the period of a readiness probe, so that a short run sees many changes. */
const probeEveryMs = 100;
const probeTimeoutMs = 1_000;

const socketOptions = { allowHalfOpen: true, pauseOnConnect: true, noDelay: true };

export interface Target {
  port: number;
  /** Where `/health/ready` is. */
  healthPort: number;
}

/** What is distributed: connections, or requests. */
export type Unit = 'connections' | 'requests';

export async function openReadyBalancer(name: string, unit: Unit): Promise<ReadyBalancer> {
  const server = unit === 'requests' ? createHttpServer({ keepAliveTimeout: 65_000 }) : createServer(socketOptions);
  const balancer = new ReadyBalancer(name, server, unit);
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  return balancer;
}

/** States of a target: waiting (added), ready, not ready; and gone, after `remove`. */
export class ReadyBalancer {
  readonly name: string;
  readonly #server: Server;
  readonly #targets = new Map<Target, { isReady: boolean }>();
  readonly #clients = new Set<Socket>();
  #connectCount = 0;
  #refused = 0;
  #isClosed = false;

  constructor(name: string, server: Server, unit: Unit) {
    this.name = name;
    this.#server = server;
    if (unit === 'connections') server.on('connection', (client) => this.#connect(client));
    else server.on('request', (received, response) => this.#forward(received, response));
    server.on('connection', (client: Socket) => {
      this.#clients.add(client);
      client.once('close', () => this.#clients.delete(client));
    });
    void this.#probe();
  }

  get url(): string {
    return `http://127.0.0.1:${(this.#server.address() as AddressInfo).port}`;
  }

  /** Connections that no process took. */
  get refused(): number {
    return this.#refused;
  }

  add(target: Target): void {
    this.#targets.set(target, { isReady: false });
  }

  /** Gives it no further connection. Those that it has stay open. */
  remove(target: Target): void {
    this.#targets.delete(target);
  }

  isReady(target: Target): boolean {
    return this.#targets.get(target)?.isReady === true;
  }

  async close(): Promise<void> {
    this.#isClosed = true;
    const closed = once(this.#server, 'close');
    this.#server.close();
    for (const client of this.#clients) client.destroy();
    await closed;
  }

  async #probe(): Promise<void> {
    while (!this.#isClosed) {
      const probes = [...this.#targets].map(async ([{ healthPort }, state]) => {
        state.isReady = (await answersReady(healthPort)) ?? state.isReady;
      });
      await Promise.all(probes);
      await sleep(probeEveryMs);
    }
  }

  /** The next process that is ready. Port 1, where none listens, when there is none. */
  #nextPort(): number {
    const ready = [...this.#targets].filter(([, { isReady }]) => isReady);
    this.#connectCount += 1;
    return ready[this.#connectCount % Math.max(1, ready.length)]?.[0].port ?? 1;
  }

  #forward(received: IncomingMessage, response: ServerResponse): void {
    const { method, url, rawHeaders, socket } = received;
    const headers = rawHeaders.map((text, at) => (/^connection$/i.test(rawHeaders[at - 1] ?? '') ? 'close' : text));
    const options = { host: '127.0.0.1', port: this.#nextPort(), method, path: url, headers, agent: false as const };
    const upstream = request(options, (answer) => {
      const { connection: _connection, 'keep-alive': _keepAlive, ...fields } = answer.headers;
      response.writeHead(answer.statusCode ?? 502, fields);
      answer.pipe(response);
    });
    let isConnected = false;
    upstream.once('socket', (to) =>
      to.once('connect', () => {
        isConnected = true;
      }),
    );
    upstream.on('error', () => {
      if (!isConnected) this.#refused += 1;
      socket.resetAndDestroy();
    });
    received.pipe(upstream);
  }

  #connect(client: Socket): void {
    const upstream = connect({ host: '127.0.0.1', port: this.#nextPort(), allowHalfOpen: true, noDelay: true });
    const reset = (): void => {
      client.resetAndDestroy();
      upstream.resetAndDestroy();
    };
    let isConnected = false;
    upstream.once('connect', () => {
      isConnected = true;
      client.pipe(upstream).pipe(client);
    });
    upstream.on('error', () => {
      if (!isConnected) this.#refused += 1;
      reset();
    });
    client.on('error', reset);
    client.once('close', () => upstream.destroy());
  }
}

/** @returns undefined when it does not answer in time: on a busy machine that says nothing */
async function answersReady(port: number): Promise<boolean | undefined> {
  try {
    const signal = AbortSignal.timeout(probeTimeoutMs);
    const response = await fetch(`http://127.0.0.1:${port}/health/ready`, { signal });
    await response.arrayBuffer();
    return response.status === 200;
  } catch (error) {
    return (error as Error).name === 'TimeoutError' ? undefined : false;
  }
}
