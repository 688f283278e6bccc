// A TCP proxy that simulates a bad network: resets, silence, cut responses and injected bytes.
import { once } from 'node:events';
import { type AddressInfo, connect, createServer, type Server, type Socket } from 'node:net';

/**
 * Forwards each accepted connection to the target, over a second connection. States:
 * - forwarding: bytes pass both ways, from the target at most `limit` bytes per connection;
 * - swallowing: bytes pass to the target, and its answers are discarded;
 * - stalled: no bytes pass, and connections stay open, as on a half-open TCP connection;
 * - refusing: every connection is reset, also a new one;
 * - closed.
 */
export class TcpProxy {
  port = 0;
  readonly #target: { host: string; port: number };
  readonly #server: Server;
  readonly #pairs = new Set<[client: Socket, upstream: Socket]>();
  #accepted = 0;
  #stalled = false;
  #limit: number | undefined;
  #swallowFrom: string | undefined;
  #refusing = false;

  constructor(target: string) {
    const { hostname, port } = new URL(target);
    this.#target = { host: hostname, port: Number(port) };
    this.#server = createServer((client) => this.#forward(client));
  }

  async listen(): Promise<void> {
    this.#server.listen(0, '127.0.0.1');
    await once(this.#server, 'listening');
    this.port = (this.#server.address() as AddressInfo).port;
  }

  /** The URL with the proxy's address in place of its own. */
  through(url: string): string {
    const through = new URL(url);
    through.hostname = '127.0.0.1';
    through.port = String(this.port);
    return through.href;
  }

  /** Number of connections accepted so far. */
  accepted(): number {
    return this.#accepted;
  }

  /** Resets every connection. */
  cut(): void {
    for (const socket of this.#sockets()) socket.resetAndDestroy();
  }

  /** Resets every connection, and each new one until `refuse(false)`. */
  refuse(refusing: boolean): void {
    this.#refusing = refusing;
    if (refusing) this.cut();
  }

  /** Stops forwarding. Connections stay open, and new ones are accepted. */
  stall(): void {
    this.#stalled = true;
    for (const socket of this.#sockets()) socket.pause();
  }

  resume(): void {
    this.#stalled = false;
    for (const socket of this.#sockets()) socket.resume();
  }

  /** Ends each new connection after this number of bytes from the target. undefined removes the limit. */
  limit(bytes: number | undefined): void {
    this.#limit = bytes;
  }

  /**
   * Discards all that the target answers, from the moment that a client sends bytes with `text`: the target does its
   * work, and nobody hears of it. undefined ends this for new connections.
   */
  swallow(text: string | undefined): void {
    this.#swallowFrom = text;
  }

  /** Sends bytes to one end of every connection, as if the other end had sent them. */
  inject(to: 'client' | 'server', bytes: Buffer): void {
    for (const [client, upstream] of this.#pairs) (to === 'client' ? client : upstream).write(bytes);
  }

  async close(): Promise<void> {
    const closed = once(this.#server, 'close');
    this.#server.close();
    for (const socket of this.#sockets()) socket.destroy();
    await closed;
  }

  #sockets(): Socket[] {
    return [...this.#pairs].flat();
  }

  #forward(client: Socket): void {
    this.#accepted += 1;
    if (this.#refusing) {
      client.on('error', () => undefined).resetAndDestroy();
      return;
    }
    const upstream = connect(this.#target);
    const pair: [Socket, Socket] = [client, upstream];
    this.#pairs.add(pair);
    let remaining = this.#limit ?? Number.POSITIVE_INFINITY;
    const end = (): void => {
      this.#pairs.delete(pair);
      client.destroy();
      upstream.destroy();
    };
    let swallowing = false;
    client.on('data', (chunk) => {
      swallowing ||= this.#swallowFrom !== undefined && chunk.includes(this.#swallowFrom);
      upstream.write(chunk);
    });
    upstream.on('data', (chunk) => {
      if (swallowing) return;
      client.write(chunk.subarray(0, remaining));
      remaining -= chunk.length;
      if (remaining < 0) client.end(end);
    });
    for (const socket of pair) {
      socket.on('error', end);
      socket.on('close', end);
      if (this.#stalled) socket.pause();
    }
  }
}

/** @param target the URL of the server behind the proxy */
export async function startTcpProxy(target: string): Promise<TcpProxy> {
  const proxy = new TcpProxy(target);
  await proxy.listen();
  return proxy;
}
