// A server that ends TLS and passes the bytes on to a server without TLS.
import { type AddressInfo, connect, type Socket } from 'node:net';
import { createServer, type TlsOptions } from 'node:tls';

export interface TlsProxy {
  /** The URL of the target, through this proxy: `amqps:` in place of `amqp:`, at `localhost`. */
  url: string;
  close(): Promise<unknown>;
}

export async function startTlsProxy(target: string, options: TlsOptions): Promise<TlsProxy> {
  const { hostname, port: targetPort, protocol } = new URL(target);
  const open = new Set<Socket>();
  const server = createServer(options, (socket) => {
    const upstream = connect(Number(targetPort), hostname);
    socket.pipe(upstream).pipe(socket);
    for (const [one, other] of [
      [socket, upstream],
      [upstream, socket],
    ] as const) {
      open.add(one);
      one
        .on('error', () => undefined)
        .on('close', () => {
          open.delete(one);
          other.destroy();
        });
    }
  });
  server.on('tlsClientError', () => undefined); // the client reports it
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  const { port } = server.address() as AddressInfo;
  const url = Object.assign(new URL(target), { hostname: 'localhost', port }).href;
  const close = async (): Promise<void> => {
    server.close();
    for (const socket of open) socket.destroy();
  };
  return { url: url.replace(protocol, protocol.replace(':', 's:')), close };
}
