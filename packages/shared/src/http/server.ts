// An HTTP server that can be closed without dropping a request.
import { createServer, type RequestListener, type Server, type ServerResponse } from 'node:http';
import { type AddressInfo, Server as TcpServer } from 'node:net';
import type { OnResponseEnd } from '../telemetry/request-durations.ts';
import { answerHalfClosed } from './half-close.ts';

interface ServeOptions {
  host: string;
  /** 0: a free port, chosen by the system. */
  port: number;
  /** Milliseconds until an idle keep-alive connection is closed. */
  keepAliveTimeoutMs: number;
  /** Milliseconds in which the headers must arrive. After them the server answers 408. */
  headersTimeoutMs: number;
  /** Milliseconds in which the whole request must arrive. After them the server answers 408. */
  requestTimeoutMs: number;
  /**
   * Maximum number of connections that wait to be accepted. The system may allow fewer (Linux: net.core.somaxconn).
   * Default 511 (Node's).
   */
  backlog?: number;
  /**
   * While the server closes, it closes idle keep-alive connections when no request has come for this long, in
   * milliseconds. To close them at once (0, the default) can lose a request that is on its way, and its client cannot
   * tell whether it took effect.
   */
  quietMs?: number;
  /** Maximum total size of the request headers, in bytes. Default 16 KiB (Node's). */
  maxHeaderBytes?: number;
  /**
   * Adds listeners for events that express does not handle, such as `clientError`. Called before the server listens.
   */
  configure?(server: Server): void;
  onResponseEnd?: OnResponseEnd | undefined;
}

export interface RunningServer {
  port: number;
  url: string;
  /** How many requests have no whole response yet. */
  inFlight(): number;
  /** Accepts no new connection, waits up to `timeoutMs` for the requests in flight, then closes every connection. */
  close(timeoutMs: number): Promise<void>;
}

/** @throws the listen error, for example with code EADDRINUSE */
export async function serve(app: RequestListener, options: ServeOptions): Promise<RunningServer> {
  const server = new DrainingServer(app, options);
  const port = await server.listen(options);
  const url = `http://127.0.0.1:${port}`;
  return { port, url, inFlight: () => server.inFlight, close: (timeoutMs) => server.close(timeoutMs) };
}

const closeIdleEveryMs = 50;

/**
 * States: listening, then closing, then closed. While it closes, every response carries `Connection: close`, also those
 * of requests that had arrived before. Otherwise a keep-alive connection would stay open after its response, and its
 * next request would be served. With `quietMs`, idle connections answer what arrives in it.
 */
class DrainingServer {
  readonly #server: Server;
  readonly #inFlight = new Set<ServerResponse>();
  readonly #quietMs: number;
  #closing = false;
  #lastRequestAt = 0;

  constructor(app: RequestListener, options: ServeOptions) {
    this.#quietMs = options.quietMs ?? 0;
    const { onResponseEnd } = options;
    this.#server = createServer(
      {
        ...(options.maxHeaderBytes !== undefined && { maxHeaderSize: options.maxHeaderBytes }),
        keepAliveTimeout: options.keepAliveTimeoutMs,
        headersTimeout: options.headersTimeoutMs,
        requestTimeout: options.requestTimeoutMs,
        connectionsCheckingInterval: 1_000,
      },
      (request, response) => {
        this.#inFlight.add(response);
        const startedAt = onResponseEnd ? performance.now() : 0;
        response.once('close', () => {
          this.#inFlight.delete(response);
          onResponseEnd?.(request, response, startedAt);
        });
        if (this.#closing) {
          response.setHeader('Connection', 'close');
          this.#lastRequestAt = performance.now();
        }
        app(request, response);
      },
    );
    // Node would drop or reject fields beyond a number. Their size is limited.
    this.#server.maxHeadersCount = 0;
    answerHalfClosed(this.#server);
    options.configure?.(this.#server);
  }

  get inFlight(): number {
    return this.#inFlight.size;
  }

  /** @returns the port */
  async listen({ port, host, backlog }: ServeOptions): Promise<number> {
    await new Promise<void>((resolve, reject) => {
      this.#server.once('error', reject);
      this.#server.listen({ port, host, backlog }, resolve);
    });
    return (this.#server.address() as AddressInfo).port;
  }

  async close(timeoutMs: number): Promise<void> {
    this.#closing = true;
    for (const response of this.#inFlight) if (!response.headersSent) response.setHeader('Connection', 'close');
    const closed = new Promise<void>((resolve) => this.#stopListening(resolve));
    this.#lastRequestAt = performance.now();
    this.#closeIdle();
    // In the phase after the one that reads: a connection is not idle if a request has arrived on it.
    const closingIdle = setInterval(() => setImmediate(() => this.#closeIdle()), closeIdleEveryMs);
    const deadline = setTimeout(() => this.#server.closeAllConnections(), timeoutMs);
    await closed;
    clearInterval(closingIdle);
    clearTimeout(deadline);
    this.#server.close(); // ends its timer for slow requests
  }

  #closeIdle(): void {
    if (performance.now() - this.#lastRequestAt >= this.#quietMs) this.#server.closeIdleConnections();
  }

  /** The close of an HTTP server would also close its idle connections. */
  #stopListening(onClosed: () => void): void {
    TcpServer.prototype.close.call(this.#server, onClosed);
  }
}
