// Asks an owner for its current state when the projection is not sufficient, with one call per id at a time. A caller
// never gets state that was read before its request. While the owner fails, callers get 503 quickly (a short timeout and
// a circuit breaker).
import CircuitBreaker from 'opossum';
import { z } from 'zod';
import { sleep } from '../../backoff.ts';
import type { Cause } from '../../contracts/cause.ts';
import type { ServiceName } from '../../contracts/services.ts';
import { type BucketDigest, type OwnerPosition, snapshotDigests, snapshotPage } from '../../contracts/snapshot.ts';
import { type DomainError, dependencyUnavailable, isConnectionError } from '../../errors.ts';
import type { OnClientAnswer } from '../../telemetry/request-durations.ts';
import type { ProjectedState, Projection } from '../definition.ts';

interface OwnerOptions {
  url: string;
  /** Longest time, in milliseconds, for one answer; ten times as long for a page. */
  timeoutMs: number;
  onAnswer?: OnClientAnswer | undefined;
  /** Time, in milliseconds, after which an open breaker lets one call through. */
  resetMs: number;
}

/** The request for which an owner is asked: its id and its trace go on to the owner. */
type Origin = Pick<Cause, 'requestId' | 'traceparent'>;

const retryEveryMs = 50;

/** The client of each owner. */
export type OwnerClients<Owner extends string = string> = Readonly<Record<Owner, OwnerClient>>;

/** @param resetMs milliseconds until the next call may be tried */
export function ownerUnavailable(owner: ServiceName, resetMs: number, cause?: unknown): DomainError {
  const message = `The ${owner} service is unavailable. Retry after the time in Retry-After.`;
  return dependencyUnavailable(owner, message, Math.ceil(resetMs / 1000), cause);
}

interface CallsPerId {
  running: Promise<ProjectedState | null>;
  /** The call after `running`, shared by all callers that asked meanwhile. */
  next?: Promise<ProjectedState | null>;
}

/** Which rows a page has: of an id range, those changed since a time of the owner's clock, or single ones. */
export interface PageQuery {
  after_id?: number;
  up_to_id?: number;
  changed_since?: string;
  ids?: readonly number[];
  limit: number;
}

export interface Page {
  read: OwnerPosition;
  states: ProjectedState[];
  /** The ids of rows that this release does not understand. They exist. */
  unknownIds: number[];
  /** The highest id of the page, and how many rows it has. */
  lastId: number;
  length: number;
}

export interface DigestPage {
  read: OwnerPosition;
  /** The first bucket beyond these that has a row; null when there is none. */
  nextBucket: number | null;
  digests: BucketDigest[];
}

/**
 * Per id: no call, one running call, or one running and one planned. The breaker is closed, open (calls fail at once)
 * or half-open (one call decides).
 */
export class OwnerClient {
  readonly projection: Projection;
  readonly #options: OwnerOptions;
  readonly #callsById = new Map<number, CallsPerId>();
  readonly #breaker: CircuitBreaker<[id: number, cause: Origin], ProjectedState | null>;

  constructor(projection: Projection, options: OwnerOptions) {
    this.projection = projection;
    this.#options = options;
    this.#breaker = new CircuitBreaker((id: number, cause: Origin) => this.#fetchState(id, cause), {
      timeout: false,
      volumeThreshold: 5,
      errorThresholdPercentage: 50,
      resetTimeout: options.resetMs,
      name: projection.owner,
    });
  }

  /** Whether calls fail at once. */
  get isBreakerOpen(): boolean {
    return this.#breaker.opened;
  }

  /** @returns null when the owner answers that there is none @throws dependencyUnavailable when it does not answer */
  get(id: number, cause: Origin): Promise<ProjectedState | null> {
    const calls = this.#callsById.get(id);
    if (!calls) return this.#call(id, cause);
    // The owner may have read the state for the running call before this caller asked, so this one shares the next call.
    calls.next ??= calls.running.then(
      () => this.#call(id, cause),
      () => this.#call(id, cause),
    );
    return calls.next;
  }

  /** Rows in the order of their ids, each parsed by itself. @throws when the owner does not answer, or `stop` aborts */
  async page(query: PageQuery, stop: AbortSignal): Promise<Page> {
    const { items, ...read } = snapshotPage.parse(await this.#fetchSnapshot('', query, stop));
    const states: ProjectedState[] = [];
    const unknownIds: number[] = [];
    for (const item of items) {
      const state = this.projection.state.safeParse(item);
      if (state.success) states.push(state.data);
      else unknownIds.push(z.object({ id: z.int() }).parse(item).id);
    }
    const lastId = Math.max(0, ...unknownIds, states.at(-1)?.id ?? 0);
    return { read, states, unknownIds, lastId, length: items.length };
  }

  /** The digests of at most `limit` buckets. @throws when the owner does not answer, or `stop` aborts */
  async digests(fromBucket: number, limit: number, stop: AbortSignal): Promise<DigestPage> {
    const answer = await this.#fetchSnapshot('/digests', { from_bucket: fromBucket, limit }, stop);
    const { items: digests, last_bucket, next_bucket, ...read } = snapshotDigests.parse(answer);
    const following = fromBucket + limit;
    const nextBucket = next_bucket === undefined ? (following <= last_bucket ? following : null) : next_bucket;
    return { read, nextBucket, digests };
  }

  #call(id: number, cause: Origin): Promise<ProjectedState | null> {
    const running = this.#breaker
      .fire(id, cause)
      .catch((error: unknown) => {
        throw ownerUnavailable(this.projection.owner, this.#options.resetMs, error);
      })
      .finally(() => {
        if (!calls.next) this.#callsById.delete(id);
      });
    const calls: CallsPerId = { running };
    this.#callsById.set(id, calls);
    return running;
  }

  async #fetchState(id: number, cause: Origin): Promise<ProjectedState | null> {
    const signal = AbortSignal.timeout(this.#options.timeoutMs);
    const response = await this.#fetch(`/${id}`, cause, signal);
    if (response.status === 404 && (await isOwnNotFound(response))) return null;
    const state = this.projection.state.parse(await this.#readJson(response));
    if (state.id !== id) throw new Error(`${this.projection.owner} answered about another id`);
    return state;
  }

  async #fetchSnapshot(path: string, query: object, stop: AbortSignal): Promise<unknown> {
    const search = new URLSearchParams(
      Object.entries(query).map(([name, value]): [string, string] => [name, String(value)]),
    );
    const signal = AbortSignal.any([stop, AbortSignal.timeout(this.#options.timeoutMs * 10)]);
    return await this.#readJson(await this.#fetch(`${path}?${search}`, { requestId: 'reconciliation' }, signal));
  }

  /** An owner that cannot be reached, as during its restart, is tried again until `signal` aborts: it is only read. */
  async #fetch(path: string, { requestId, traceparent }: Origin, signal: AbortSignal): Promise<Response> {
    const url = `${this.#options.url.replace(/\/$/, '')}/internal/${this.projection.owner}${path}`;
    const headers = { 'x-request-id': requestId, ...(traceparent !== undefined && { traceparent }) };
    for (;;) {
      const startedAt = performance.now();
      try {
        const response = await fetch(url, { headers, redirect: 'error', signal });
        this.#report(startedAt, response.status);
        return response;
      } catch (error) {
        this.#report(startedAt, undefined, error);
        if (!isConnectionError((error as Error).cause)) throw error;
        await sleep(retryEveryMs, signal);
        if (signal.aborted) throw error;
      }
    }
  }

  #report(startedAt: number, status: number | undefined, error?: unknown): void {
    const { name } = Object(error) as { name?: string };
    const reason = name === 'TimeoutError' ? 'timeout' : name === 'AbortError' ? 'aborted' : 'unavailable';
    const seconds = (performance.now() - startedAt) / 1_000;
    const kind = status === undefined ? reason : '';
    this.#options.onAnswer?.({ upstream: this.projection.owner, method: 'GET', status, error: kind, seconds });
  }

  async #readJson(response: Response): Promise<unknown> {
    if (!response.ok) {
      // The log shows the code of an error, and no message.
      throw Object.assign(new Error(`${this.projection.owner} answered ${response.status}`), {
        code: `HTTP_${response.status}`,
      });
    }
    return await response.json();
  }
}

/**
 * Whether a 404 is the owner's own "there is no such row": a problem document with the code of its route. The page of a
 * load balancer, of another program or of a release without the route (`no_such_path`) says nothing about the row.
 */
async function isOwnNotFound(response: Response): Promise<boolean> {
  if (!/^application\/problem\+json\b/.test(response.headers.get('content-type') ?? '')) return false;
  const problem: unknown = await response.json().catch(() => undefined);
  return z.object({ status: z.literal(404), code: z.literal('not_found') }).safeParse(problem).success;
}
