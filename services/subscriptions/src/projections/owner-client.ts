// Asking a neighbour directly, when the projection cannot be believed: one call per id at a time, never an answer
// that is older than the question, a short timeout, and a circuit breaker, so that an owner in trouble costs a caller
// nothing but a 503.
import { promotionStatuses } from '@promopulse/shared/contracts/promotions';
import { dependencyUnavailable } from '@promopulse/shared/errors';
import CircuitBreaker from 'opossum';
import { z } from 'zod';
import type { PromotionState, Source, UserState } from './store.ts';

const promotionState = z.object({ id: z.int(), status: z.enum(promotionStatuses), version: z.int() });
const userState = z.object({ id: z.int(), version: z.int() });

interface OwnerOptions {
  url: string;
  source: Source;
  /** Milliseconds for one answer. */
  timeoutMs: number;
  /** Milliseconds an open breaker waits before it lets one call try. */
  resetMs: number;
}

export interface OwnerClient<State> {
  /** @returns null when the owner says there is none @throws neighbourAway when it cannot be asked */
  get(id: number, requestId: string): Promise<State | null>;
  /** States with ids above `afterId`, ascending. @throws when it cannot be asked, or `stop` aborts */
  page(afterId: number, limit: number, stop: AbortSignal): Promise<State[]>;
}

export function promotionsClient(options: Omit<OwnerOptions, 'source'>): OwnerClient<PromotionState> {
  return createOwner({ ...options, source: 'promotions' }, promotionState);
}

export function usersClient(options: Omit<OwnerOptions, 'source'>): OwnerClient<UserState> {
  return createOwner({ ...options, source: 'users' }, userState);
}

function createOwner<State>(
  { url, source, timeoutMs, resetMs }: OwnerOptions,
  schema: z.ZodType<State>,
): OwnerClient<State> {
  const base = `${url.replace(/\/$/, '')}/internal/${source}`;
  const pageSchema = z.object({ items: z.array(schema) });

  /** 404 is an answer; anything else but 200 is a failure. */
  async function fetchJson(path: string, requestId: string, signal: AbortSignal): Promise<unknown> {
    const response = await fetch(`${base}${path}`, {
      headers: { 'x-request-id': requestId },
      signal,
    });
    if (response.status === 404) return null;
    if (!response.ok) throw new Error(`${source} answered ${response.status}`);
    return await response.json();
  }

  const breaker = new CircuitBreaker(
    async (id: number, requestId: string): Promise<State | null> => {
      const body = await fetchJson(`/${id}`, requestId, AbortSignal.timeout(timeoutMs));
      return body === null ? null : schema.parse(body);
    },
    { timeout: false, volumeThreshold: 5, errorThresholdPercentage: 50, resetTimeout: resetMs, name: source },
  );
  interface Flight {
    running: Promise<State | null>;
    next?: Promise<State | null>;
  }
  const flights = new Map<number, Flight>();

  function ask(id: number, requestId: string): Promise<State | null> {
    const running = breaker
      .fire(id, requestId)
      .catch((error: unknown) => {
        const retryAfter = Math.ceil(resetMs / 1000);
        throw dependencyUnavailable(source, `The ${source} service cannot be asked right now`, retryAfter, error);
      })
      .finally(() => {
        if (!flight.next) flights.delete(id);
      });
    const flight: Flight = { running };
    flights.set(id, flight);
    return running;
  }

  return {
    get: (id, requestId) => {
      const flight = flights.get(id);
      if (!flight) return ask(id, requestId);
      // The call under way may have been read before this caller looked: it shares the next one instead.
      flight.next ??= flight.running.then(
        () => ask(id, requestId),
        () => ask(id, requestId),
      );
      return flight.next;
    },
    page: async (afterId, limit, stop) => {
      const signal = AbortSignal.any([stop, AbortSignal.timeout(timeoutMs * 10)]);
      const body = await fetchJson(`?after_id=${afterId}&limit=${limit}`, 'reconciliation', signal);
      return pageSchema.parse(body).items;
    },
  };
}
