// Asks an owner for its current state when the projection is not sufficient. Per id there is one call at a time, and a
// caller never gets an answer that was read before it asked. A short timeout and a circuit breaker limit what a failing
// owner costs a caller: a 503.
import { dependencyUnavailable } from '@promopulse/shared/errors';
import CircuitBreaker from 'opossum';
import { z } from 'zod';
import { type PromotionState, projectedPromotion, projectedUser, type Source, type UserState } from './store.ts';

interface OwnerOptions {
  url: string;
  /** Longest time, in milliseconds, for one answer; ten times as long for a page. */
  timeoutMs: number;
  /** Time, in milliseconds, after which an open breaker lets one call through. */
  resetMs: number;
}

export interface Owners {
  users: OwnerClient<UserState>;
  promotions: OwnerClient<PromotionState>;
}

export function promotionsClient(options: OwnerOptions): OwnerClient<PromotionState> {
  return new OwnerClient('promotions', projectedPromotion, options);
}

export function usersClient(options: OwnerOptions): OwnerClient<UserState> {
  return new OwnerClient('users', projectedUser, options);
}

interface Flight<State> {
  running: Promise<State | null>;
  /** The call after `running`, shared by all who asked meanwhile. */
  next?: Promise<State | null>;
}

/**
 * Per id: no call, one running call, or one running and one planned. The breaker is closed, open (calls fail at once)
 * or half-open (one call decides).
 */
export class OwnerClient<State> {
  readonly #source: Source;
  readonly #schema: z.ZodType<State>;
  readonly #options: OwnerOptions;
  readonly #flights = new Map<number, Flight<State>>();
  readonly #breaker: CircuitBreaker<[id: number, requestId: string], State | null>;

  constructor(source: Source, schema: z.ZodType<State>, options: OwnerOptions) {
    this.#source = source;
    this.#schema = schema;
    this.#options = options;
    this.#breaker = new CircuitBreaker((id: number, requestId: string) => this.#fetchState(id, requestId), {
      timeout: false,
      volumeThreshold: 5,
      errorThresholdPercentage: 50,
      resetTimeout: options.resetMs,
      name: source,
    });
  }

  /** @returns null when the owner answers that there is none @throws dependencyUnavailable when it does not answer */
  get(id: number, requestId: string): Promise<State | null> {
    const flight = this.#flights.get(id);
    if (!flight) return this.#call(id, requestId);
    // The owner may have read the state for the running call before this caller asked, so this one shares the next call.
    flight.next ??= flight.running.then(
      () => this.#call(id, requestId),
      () => this.#call(id, requestId),
    );
    return flight.next;
  }

  /** States with ids above `afterId`, ascending. @throws when the owner does not answer, or `stop` aborts */
  async page(afterId: number, limit: number, stop: AbortSignal): Promise<State[]> {
    const signal = AbortSignal.any([stop, AbortSignal.timeout(this.#options.timeoutMs * 10)]);
    const body = await this.#fetchJson(`?after_id=${afterId}&limit=${limit}`, 'reconciliation', signal);
    return z.object({ items: z.array(this.#schema) }).parse(body).items;
  }

  #call(id: number, requestId: string): Promise<State | null> {
    const running = this.#breaker
      .fire(id, requestId)
      .catch((error: unknown) => {
        const message = `The ${this.#source} service cannot be asked right now`;
        throw dependencyUnavailable(this.#source, message, Math.ceil(this.#options.resetMs / 1000), error);
      })
      .finally(() => {
        if (!flight.next) this.#flights.delete(id);
      });
    const flight: Flight<State> = { running };
    this.#flights.set(id, flight);
    return running;
  }

  async #fetchState(id: number, requestId: string): Promise<State | null> {
    const body = await this.#fetchJson(`/${id}`, requestId, AbortSignal.timeout(this.#options.timeoutMs));
    return body === null ? null : this.#schema.parse(body);
  }

  /** @returns null for a 404; every other status but 2xx is a failure */
  async #fetchJson(path: string, requestId: string, signal: AbortSignal): Promise<unknown> {
    const url = `${this.#options.url.replace(/\/$/, '')}/internal/${this.#source}${path}`;
    const response = await fetch(url, { headers: { 'x-request-id': requestId }, signal });
    if (response.status === 404) return null;
    if (!response.ok) throw new Error(`${this.#source} answered ${response.status}`);
    return await response.json();
  }
}
