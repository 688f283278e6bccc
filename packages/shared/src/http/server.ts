// An HTTP server that can be closed without dropping a request.
import { createServer, type RequestListener, type Server, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';

interface ServeOptions {
  host: string;
  port: number;
  /** Milliseconds an idle keep-alive connection is kept. */
  keepAliveTimeoutMs: number;
  /** Milliseconds for the headers, and for the whole request, to arrive; then 408. */
  headersTimeoutMs: number;
  requestTimeoutMs: number;
  /** Connections that may wait to be accepted; the system may allow fewer (Linux: net.core.somaxconn). Default 511 (Node's). */
  backlog?: number;
  /** Of a request's headers in all. Default 16 KiB (Node's). */
  maxHeaderBytes?: number;
  /** To listen to what express never sees, such as `clientError`; called before the server listens. */
  configure?(server: Server): void;
}

export interface RunningServer {
  port: number;
  url: string;
  /** Takes no new connection, lets requests in flight finish for up to `timeoutMs`, then cuts what is left. */
  close(timeoutMs: number): Promise<void>;
}

/** @throws the listen error, for example with code EADDRINUSE */
export async function serve(app: RequestListener, options: ServeOptions): Promise<RunningServer> {
  let closing = false;
  const inFlight = new Set<ServerResponse>();
  const server: Server = createServer(
    {
      ...(options.maxHeaderBytes !== undefined && { maxHeaderSize: options.maxHeaderBytes }),
      keepAliveTimeout: options.keepAliveTimeoutMs,
      headersTimeout: options.headersTimeoutMs,
      requestTimeout: options.requestTimeoutMs,
      connectionsCheckingInterval: 1_000,
    },
    (request, response) => {
      inFlight.add(response);
      response.once('close', () => inFlight.delete(response));
      if (closing) response.setHeader('Connection', 'close');
      app(request, response);
    },
  );
  options.configure?.(server);
  await new Promise<void>((resolve, reject) => {
    server.once('error', reject);
    server.listen({ port: options.port, host: options.host, backlog: options.backlog }, resolve);
  });
  const { port } = server.address() as AddressInfo;
  return {
    port,
    url: `http://127.0.0.1:${port}`,
    close: async (timeoutMs) => {
      closing = true;
      // A kept-alive connection whose request is in flight would stay open, and be served, after its response.
      for (const response of inFlight) if (!response.headersSent) response.setHeader('Connection', 'close');
      const closed = new Promise<void>((resolve) => server.close(() => resolve()));
      const sweep = setInterval(() => server.closeIdleConnections(), 50);
      const deadline = setTimeout(() => server.closeAllConnections(), timeoutMs);
      await closed;
      clearInterval(sweep);
      clearTimeout(deadline);
    },
  };
}
