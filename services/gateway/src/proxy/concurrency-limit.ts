// How many requests one service has at a time. More requests at once only increase the response time. So the limit
// follows the response times, and a request beyond it is rejected before it costs anything.

/** Lower bound for a slow service: twice as many as it has connections to its database. */
const minLimit = 10;

/** Milliseconds after which a rejected request is told to come again. */
const minReturnMs = 1_000;
const maxReturnMs = 10_000;

/** One request among those that the limit counts. */
export interface Place {
  readonly limit: ConcurrencyLimit;
  /** By `performance.now()`. Undefined while the request does not count. */
  startedAt: number | undefined;
}

/**
 * An adaptive limit (additive increase, multiplicative decrease, as in RFC 5681 and Netflix's concurrency-limits).
 *
 * It starts at `maxLimit`. An answer within `slowMs` raises it: by one for each round of `limit` answers, up to
 * `maxLimit`. A slower answer lowers it in proportion to its delay, to between one third and two thirds, and not below
 * 10. Answers to requests that started before a decrease do not lower it again, so that one slow round counts once.
 *
 * A request counts from the end of its body to the headers of its response, except while it waits for a connection.
 */
export class ConcurrencyLimit {
  readonly #minLimit: number;
  readonly #maxLimit: number;
  readonly #slowMs: number;
  #limit: number;
  #inFlight = 0;
  #rejected = 0;
  #loweredAt = 0;
  /** When the last of the rejected requests was told to come again. */
  #lastReturnAt = 0;

  constructor(maxLimit: number, slowMs: number) {
    this.#maxLimit = maxLimit;
    this.#minLimit = Math.min(minLimit, maxLimit);
    this.#slowMs = slowMs;
    this.#limit = maxLimit;
  }

  /** `rejected`: requests since the start. */
  figures(): { limit: number; inFlight: number; rejected: number } {
    return { limit: Math.floor(this.#limit), inFlight: this.#inFlight, rejected: this.#rejected };
  }

  isReached(): boolean {
    return this.#inFlight >= Math.floor(this.#limit);
  }

  /** Runs `work` if the limit allows it. @returns false, at once, when it does not */
  async tryRun(work: (place: Place) => Promise<void>): Promise<boolean> {
    if (this.isReached()) return false;
    const place: Place = { startedAt: undefined, limit: this };
    this.#enter(place);
    try {
      await work(place);
    } finally {
      if (place.startedAt !== undefined) this.#adjustLimit(place.startedAt);
      this.leave(place);
    }
    return true;
  }

  /**
   * Counts a request again that has waited for a connection. These get half of the places, so that new requests find one
   * while many that have waited are sent.
   * @returns false when they have no place now
   */
  enterAgain(place: Place): boolean {
    if (this.#inFlight >= Math.max(1, Math.floor(this.#limit / 2))) return false;
    this.#enter(place);
    return true;
  }

  /** The request does not count any more, and says nothing about how fast the service is. */
  leave(place: Place): void {
    if (place.startedAt !== undefined) this.#inFlight -= 1;
    place.startedAt = undefined;
  }

  /**
   * Must be called once for each request that is rejected, and counts it.
   * @returns whole seconds from 1 to 10 after which it should come again. Rejected requests are told
   * different times: in each second no more of them come back than the limit allows at once.
   */
  retryAfter(): number {
    this.#rejected += 1;
    const now = performance.now();
    const afterLastMs = this.#lastReturnAt + 1_000 / this.#limit - now;
    const waitMs = Math.min(Math.max(minReturnMs, afterLastMs), maxReturnMs);
    this.#lastReturnAt = now + waitMs;
    return Math.floor(waitMs / 1_000);
  }

  #enter(place: Place): void {
    this.#inFlight += 1;
    place.startedAt = performance.now();
  }

  #adjustLimit(startedAt: number): void {
    const now = performance.now();
    const tookMs = now - startedAt;
    if (tookMs <= this.#slowMs) {
      this.#limit = Math.min(this.#maxLimit, this.#limit + 1 / this.#limit);
    } else if (startedAt >= this.#loweredAt) {
      const factor = Math.max(1 / 3, Math.min(2 / 3, this.#slowMs / tookMs));
      this.#limit = Math.max(this.#minLimit, this.#limit * factor);
      this.#loweredAt = now;
    }
  }
}
