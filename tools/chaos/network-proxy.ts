// One way between two parts of the mesh: a TCP proxy that spreads connections over its targets in turn, passes over a
// target that refuses, and can be a bad network: cut, silent while connections stay open, or slow.
import { once } from 'node:events';
import { type AddressInfo, connect, createServer, type Socket } from 'node:net';

export interface Link {
  name: string;
  port: number;
  /** Resets every connection; new ones are taken. */
  cut(): void;
  /** Nothing moves either way, neither bytes nor ends, while connections stay open and new ones are accepted. */
  stall(): void;
  /** What was held back arrives. */
  resume(): void;
  /** The connections that are open now are forgotten, as by a firewall that lost its table: silent for ever. */
  forget(): void;
  /** Every chunk takes so many milliseconds longer, each way; 0 is the healthy state. */
  slow(ms: number): void;
  close(): Promise<void>;
}

interface Pair {
  client: Socket;
  upstream: Socket | undefined;
  /** Ends that came while the network was silent: Node tells of an end also when the socket is paused. */
  held: (() => void)[];
}

export async function openLink(name: string, targets: () => readonly number[]): Promise<Link> {
  const pairs = new Set<Pair>();
  const forgotten = new Set<Pair>();
  let turn = 0;
  let stalled = false;
  let latency = 0;

  function drop(pair: Pair): void {
    pairs.delete(pair);
    pair.client.resetAndDestroy();
    pair.upstream?.resetAndDestroy();
  }

  /** On a silent network the other end does not hear that this one is gone. */
  function ended(pair: Pair): void {
    if (!stalled && !forgotten.has(pair)) drop(pair);
  }

  function dial(pair: Pair, tries: number): void {
    const ports = targets();
    if (tries >= ports.length) {
      drop(pair);
      return;
    }
    turn += 1;
    const upstream = connect({ host: '127.0.0.1', port: ports[turn % ports.length] as number, allowHalfOpen: true });
    upstream.setNoDelay(true);
    pair.upstream = upstream;
    const refused = (): void => dial(pair, tries + 1);
    upstream.once('error', refused);
    upstream.once('connect', () => {
      upstream.off('error', refused);
      carry(pair, upstream, pair.client);
      carry(pair, pair.client, upstream);
      for (const socket of [pair.client, upstream]) socket[stalled ? 'pause' : 'resume']();
    });
  }

  function carry(pair: Pair, from: Socket, to: Socket): void {
    // In order, also when the latency changes: a chunk never leaves before the one that came before it.
    let lastAt = 0;
    const later = (act: () => void): void => {
      const at = Math.max(lastAt, performance.now() + latency);
      lastAt = at;
      if (at > performance.now()) setTimeout(act, at - performance.now());
      else act();
    };
    from.on('data', (chunk) => later(() => void to.write(chunk)));
    from.on('end', () => {
      const end = (): void => later(() => void to.end());
      if (stalled || forgotten.has(pair)) pair.held.push(end);
      else end();
    });
    from.on('error', () => ended(pair));
    from.on('close', () => {
      if (from.destroyed && to.destroyed) pairs.delete(pair);
      else if (!from.readableEnded) ended(pair);
    });
  }

  const server = createServer({ allowHalfOpen: true, pauseOnConnect: true, noDelay: true }, (client) => {
    const pair: Pair = { client, upstream: undefined, held: [] };
    pairs.add(pair);
    client.on('error', () => ended(pair));
    if (!stalled) dial(pair, 0);
  });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');

  return {
    name,
    port: (server.address() as AddressInfo).port,
    cut: () => {
      for (const pair of [...pairs]) drop(pair);
    },
    stall: () => {
      stalled = true;
      for (const { client, upstream } of pairs) for (const socket of [client, upstream]) socket?.pause();
    },
    resume: () => {
      stalled = false;
      for (const pair of [...pairs]) {
        if (pair.client.destroyed || pair.upstream?.destroyed) drop(pair);
        else if (!pair.upstream) dial(pair, 0);
        else {
          for (const socket of [pair.client, pair.upstream]) socket.resume();
          for (const end of pair.held.splice(0)) end();
        }
      }
    },
    forget: () => {
      for (const pair of pairs) {
        pairs.delete(pair);
        forgotten.add(pair);
        for (const socket of [pair.client, pair.upstream]) socket?.pause();
      }
    },
    slow: (ms) => {
      latency = ms;
    },
    close: async () => {
      const closed = once(server, 'close');
      server.close();
      for (const pair of [...pairs, ...forgotten]) drop(pair);
      await closed;
    },
  };
}
