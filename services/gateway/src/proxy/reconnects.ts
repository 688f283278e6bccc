// What requests do while their service accepts no connection, as during the restart of its only replica: they wait, and
// are sent when it accepts one. Nothing of them was sent before, so that this is safe for every method.
import type { Logger } from '@promopulse/shared/telemetry/logger';

/** A request that got no connection. */
export interface RefusedRequest {
  /**
   * Sends the request, which then no longer waits.
   * @returns false, without sending it, while the concurrency limit has no place for it
   */
  tryAgain(): boolean;
}

interface ReconnectOptions {
  upstream: string;
  /** Longest time, in milliseconds, from the first refused connection until requests no longer wait. */
  timeoutMs: number;
  /** Maximum number of requests that wait. Each of them keeps a connection of a client and a body. */
  maxWaiting: number;
  log: Logger;
}

const retryEveryMs = 50;
/** Two refused connections this far apart belong to different outages. */
const outageGapMs = 60_000;

/**
 * reachable: no request waits.
 * refusing: one waiting request is sent every 50 ms, to try. When it gets a connection, the others are sent, as many at
 * a time as the concurrency limit allows.
 * down: refusing for longer than `timeoutMs`. Requests that come now do not wait: they are answered at once, as the
 * breaker needs to open.
 * A service is reachable again as soon as any request gets a connection.
 */
export class Reconnects {
  readonly #options: ReconnectOptions;
  readonly #waiting = new Set<RefusedRequest>();
  #refusedSince: number | undefined;
  #refusedAt = 0;
  #timer: NodeJS.Timeout | undefined;

  constructor(options: ReconnectOptions) {
    this.#options = options;
  }

  /** How many requests wait now. */
  get waiting(): number {
    return this.#waiting.size;
  }

  /** Keeps a request until it can be sent. @returns whether it waits, and why not */
  add(request: RefusedRequest): 'waits' | 'full' | 'down' {
    const now = performance.now();
    if (this.#refusedSince === undefined || now - this.#refusedAt > outageGapMs) {
      this.#refusedSince = now;
      this.#options.log.warn({ upstream: this.#options.upstream }, 'the service refuses connections: requests wait');
    }
    this.#refusedAt = now;
    if (now - this.#refusedSince >= this.#options.timeoutMs) return 'down';
    if (this.#waiting.size >= this.#options.maxWaiting) return 'full';
    this.#waiting.add(request);
    this.#timer ??= setTimeout(() => this.#trySome(), retryEveryMs);
    return 'waits';
  }

  /** @returns whether the request was waiting */
  delete(request: RefusedRequest): boolean {
    return this.#waiting.delete(request);
  }

  /** A request has got a connection. */
  connected(): void {
    if (this.#refusedSince === undefined) return;
    const refusedMs = Math.round(performance.now() - this.#refusedSince);
    this.#refusedSince = undefined;
    this.#options.log.info(
      { upstream: this.#options.upstream, refused_ms: refusedMs, waiting: this.#waiting.size },
      'the service accepts connections again',
    );
    // Not now: this is undici's call, in the middle of sending a request.
    clearTimeout(this.#timer);
    this.#timer = setTimeout(() => this.#trySome(), 0);
  }

  close(): void {
    clearTimeout(this.#timer);
  }

  #trySome(): void {
    this.#timer = undefined;
    const isRefusing = this.#refusedSince !== undefined;
    for (const request of [...this.#waiting]) {
      if (!request.tryAgain() || isRefusing) break;
    }
    if (this.#waiting.size > 0) this.#timer ??= setTimeout(() => this.#trySome(), retryEveryMs);
  }
}
