// A TCP proxy that can be a bad network: cuts, silence, refusals, and bytes that nobody sent.
import { once } from 'node:events';
import { type AddressInfo, connect, createServer, type Socket } from 'node:net';

export interface TcpProxy {
  port: number;
  /** The given address as seen through the proxy. */
  through(url: string): string;
  /** Connections accepted so far. */
  accepted(): number;
  /** Resets every connection. */
  cut(): void;
  /** From now on nothing moves either way, while connections stay open: what a half-open link looks like. */
  stall(): void;
  resume(): void;
  /** Cuts each new connection after so many bytes from the server; undefined takes the limit away. */
  limit(bytes: number | undefined): void;
  /** Sends bytes to one end of every connection, as if the other end had. */
  inject(to: 'client' | 'server', bytes: Buffer): void;
  close(): Promise<void>;
}

export async function startTcpProxy(target: string): Promise<TcpProxy> {
  const { hostname, port } = new URL(target);
  const pairs = new Set<[Socket, Socket]>();
  let accepted = 0;
  let stalled = false;
  let limit: number | undefined;

  const server = createServer((client) => {
    accepted += 1;
    const upstream = connect({ host: hostname, port: Number(port) });
    const pair: [Socket, Socket] = [client, upstream];
    pairs.add(pair);
    let left = limit ?? Number.POSITIVE_INFINITY;
    const end = (): void => {
      pairs.delete(pair);
      client.destroy();
      upstream.destroy();
    };
    client.on('data', (chunk) => upstream.write(chunk));
    upstream.on('data', (chunk) => {
      client.write(chunk.subarray(0, left));
      left -= chunk.length;
      if (left < 0) client.end(end);
    });
    for (const socket of pair) {
      socket.on('error', end);
      socket.on('close', end);
      if (stalled) socket.pause();
    }
  });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  const address = server.address() as AddressInfo;

  return {
    port: address.port,
    through: (url) => {
      const through = new URL(url);
      through.hostname = '127.0.0.1';
      through.port = String(address.port);
      return through.href;
    },
    accepted: () => accepted,
    cut: () => {
      for (const [client, upstream] of pairs) {
        client.resetAndDestroy();
        upstream.resetAndDestroy();
      }
    },
    stall: () => {
      stalled = true;
      for (const socket of [...pairs].flat()) socket.pause();
    },
    resume: () => {
      stalled = false;
      for (const socket of [...pairs].flat()) socket.resume();
    },
    limit: (bytes) => {
      limit = bytes;
    },
    inject: (to, bytes) => {
      for (const [client, upstream] of pairs) (to === 'client' ? client : upstream).write(bytes);
    },
    close: async () => {
      const closed = once(server, 'close');
      server.close();
      for (const socket of [...pairs].flat()) socket.destroy();
      await closed;
    },
  };
}
