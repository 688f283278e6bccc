// Asks an owner for its current state when the projection is not sufficient, with one call per id at a time. A caller
// never gets state that was read before its request. While the owner fails, callers get 503 quickly (a short timeout and
// a circuit breaker).
import { dependencyUnavailable } from '@promopulse/shared/errors';
import CircuitBreaker from 'opossum';
import { z } from 'zod';
import { type OwnerName, type PromotionState, projectedPromotion, projectedUser, type UserState } from './store.ts';

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

interface CallsPerId<State> {
  running: Promise<State | null>;
  /** The call after `running`, shared by all callers that asked meanwhile. */
  next?: Promise<State | null>;
}

/**
 * Per id: no call, one running call, or one running and one planned. The breaker is closed, open (calls fail at once)
 * or half-open (one call decides).
 */
export class OwnerClient<State> {
  readonly #owner: OwnerName;
  readonly #schema: z.ZodType<State>;
  readonly #options: OwnerOptions;
  readonly #callsById = new Map<number, CallsPerId<State>>();
  readonly #breaker: CircuitBreaker<[id: number, requestId: string], State | null>;

  constructor(owner: OwnerName, schema: z.ZodType<State>, options: OwnerOptions) {
    this.#owner = owner;
    this.#schema = schema;
    this.#options = options;
    this.#breaker = new CircuitBreaker((id: number, requestId: string) => this.#fetchState(id, requestId), {
      timeout: false,
      volumeThreshold: 5,
      errorThresholdPercentage: 50,
      resetTimeout: options.resetMs,
      name: owner,
    });
  }

  /** @returns null when the owner answers that there is none @throws dependencyUnavailable when it does not answer */
  get(id: number, requestId: string): Promise<State | null> {
    const calls = this.#callsById.get(id);
    if (!calls) return this.#call(id, requestId);
    // The owner may have read the state for the running call before this caller asked, so this one shares the next call.
    calls.next ??= calls.running.then(
      () => this.#call(id, requestId),
      () => this.#call(id, requestId),
    );
    return calls.next;
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
        const message = `The ${this.#owner} service is unavailable. Retry after the time in Retry-After.`;
        throw dependencyUnavailable(this.#owner, message, Math.ceil(this.#options.resetMs / 1000), error);
      })
      .finally(() => {
        if (!calls.next) this.#callsById.delete(id);
      });
    const calls: CallsPerId<State> = { running };
    this.#callsById.set(id, calls);
    return running;
  }

  async #fetchState(id: number, requestId: string): Promise<State | null> {
    const body = await this.#fetchJson(`/${id}`, requestId, AbortSignal.timeout(this.#options.timeoutMs));
    return body === null ? null : this.#schema.parse(body);
  }

  /** @returns null for a 404; every other status but 2xx is a failure */
  async #fetchJson(path: string, requestId: string, signal: AbortSignal): Promise<unknown> {
    const url = `${this.#options.url.replace(/\/$/, '')}/internal/${this.#owner}${path}`;
    const response = await fetch(url, { headers: { 'x-request-id': requestId }, signal });
    if (response.status === 404) return null;
    if (!response.ok) throw new Error(`${this.#owner} answered ${response.status}`);
    return await response.json();
  }
}
