// A TCP proxy between two parts of the stack that can behave like a bad network. It distributes connections over its
// targets in turn and skips a target that refuses a connection.
import { once } from 'node:events';
import { type AddressInfo, connect, createServer, type Server, type Socket } from 'node:net';

interface Connection {
  client: Socket;
  upstream: Socket | undefined;
  /** FINs that arrived while the network was stalled: Node emits `end` even when the socket is paused. */
  delayedEnds: (() => void)[];
}

/** @param targets the ports that a new connection may go to */
export async function openNetworkProxy(name: string, targets: () => readonly number[]): Promise<NetworkProxy> {
  const server = createServer({ allowHalfOpen: true, pauseOnConnect: true, noDelay: true });
  const proxy = new NetworkProxy(name, targets, server);
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  return proxy;
}

/**
 * States: healthy, stalled (between `stall` and `resume`), and slow (a latency above 0, also while stalled). Of a
 * connection: connecting, open, closed; or dropped, which it stays until the proxy closes.
 */
export class NetworkProxy {
  readonly name: string;
  readonly #targets: () => readonly number[];
  readonly #server: Server;
  readonly #connections = new Set<Connection>();
  readonly #dropped = new Set<Connection>();
  #connectCount = 0;
  #isStalled = false;
  #latencyMs = 0;

  constructor(name: string, targets: () => readonly number[], server: Server) {
    this.name = name;
    this.#targets = targets;
    this.#server = server;
    server.on('connection', (client) => this.#accept(client));
  }

  get port(): number {
    return (this.#server.address() as AddressInfo).port;
  }

  /** Resets every connection. New ones are accepted. */
  cut(): void {
    for (const connection of [...this.#connections]) this.#reset(connection);
  }

  /** Transfers neither bytes nor FINs, in both directions. Connections stay open and new ones are accepted. */
  stall(): void {
    this.#isStalled = true;
    for (const connection of this.#connections) setFlowing(connection, false);
  }

  /** Ends a stall: what was held back is transferred. */
  resume(): void {
    this.#isStalled = false;
    for (const connection of [...this.#connections]) {
      const { client, upstream, delayedEnds } = connection;
      if (client.destroyed || upstream?.destroyed) this.#reset(connection);
      else if (!upstream) this.#connectUpstream(connection, 0);
      else {
        setFlowing(connection, true);
        for (const end of delayedEnds.splice(0)) end();
      }
    }
  }

  /** Transfers nothing more on the present connections, like a firewall that has lost its connection table. */
  dropSilently(): void {
    for (const connection of this.#connections) {
      this.#connections.delete(connection);
      this.#dropped.add(connection);
      setFlowing(connection, false);
    }
  }

  /** Delays every chunk by `ms` milliseconds in each direction. 0: no delay. */
  setLatency(ms: number): void {
    this.#latencyMs = ms;
  }

  async close(): Promise<void> {
    const closed = once(this.#server, 'close');
    this.#server.close();
    for (const connection of [...this.#connections, ...this.#dropped]) this.#reset(connection);
    await closed;
  }

  #accept(client: Socket): void {
    const connection: Connection = { client, upstream: undefined, delayedEnds: [] };
    this.#connections.add(connection);
    client.on('error', () => this.#resetUnlessSilent(connection));
    if (!this.#isStalled) this.#connectUpstream(connection, 0);
  }

  #reset(connection: Connection): void {
    this.#connections.delete(connection);
    connection.client.resetAndDestroy();
    connection.upstream?.resetAndDestroy();
  }

  /** On a silent network one end does not learn that the other end has gone. */
  #resetUnlessSilent(connection: Connection): void {
    if (!this.#isSilent(connection)) this.#reset(connection);
  }

  #isSilent(connection: Connection): boolean {
    return this.#isStalled || this.#dropped.has(connection);
  }

  /** @param failedTargets how many targets have not accepted this connection so far */
  #connectUpstream(connection: Connection, failedTargets: number): void {
    const ports = this.#targets();
    if (failedTargets >= ports.length) {
      this.#reset(connection);
      return;
    }
    this.#connectCount += 1;
    const port = ports[this.#connectCount % ports.length] as number;
    const upstream = connect({ host: '127.0.0.1', port, allowHalfOpen: true });
    upstream.setNoDelay(true);
    connection.upstream = upstream;
    const tryNextTarget = (): void => this.#connectUpstream(connection, failedTargets + 1);
    upstream.once('error', tryNextTarget);
    upstream.once('connect', () => {
      upstream.off('error', tryNextTarget);
      this.#pipe(connection, upstream, connection.client);
      this.#pipe(connection, connection.client, upstream);
      setFlowing(connection, !this.#isStalled);
    });
  }

  #pipe(connection: Connection, from: Socket, to: Socket): void {
    const delay = delayInOrder(() => this.#latencyMs);
    from.on('data', (chunk) => delay(() => void to.write(chunk)));
    from.on('end', () => {
      const end = (): void => delay(() => void to.end());
      if (this.#isSilent(connection)) connection.delayedEnds.push(end);
      else end();
    });
    from.on('error', () => this.#resetUnlessSilent(connection));
    from.on('close', () => {
      if (from.destroyed && to.destroyed) this.#connections.delete(connection);
      else if (!from.readableEnded) this.#resetUnlessSilent(connection);
    });
  }
}

/**
 * Delays actions by the latency at the time they come, in order: none overtakes one that waits, also when the latency
 * drops or a timer is late. A byte that overtakes another would be a fault that TCP does not have.
 */
export function delayInOrder(latencyMs: () => number): (action: () => void) => void {
  const waiting: { at: number; action: () => void }[] = [];
  const runDue = (): void => {
    for (let [first] = waiting; first && first.at <= performance.now(); [first] = waiting) {
      waiting.shift();
      first.action();
    }
    const [next] = waiting;
    if (next) setTimeout(runDue, next.at - performance.now());
  };
  return (action) => {
    const delayMs = latencyMs();
    if (delayMs === 0 && waiting.length === 0) {
      action();
      return;
    }
    waiting.push({ at: Math.max(performance.now() + delayMs, waiting.at(-1)?.at ?? 0), action });
    if (waiting.length === 1) setTimeout(runDue, delayMs);
  };
}

function setFlowing({ client, upstream }: Connection, isFlowing: boolean): void {
  for (const socket of [client, upstream]) {
    if (isFlowing) socket?.resume();
    else socket?.pause();
  }
}
