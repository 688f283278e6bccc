// Asks an owner for its current state when the projection is not sufficient: about one id with one call per id at a time,
// or about several in one call. A caller never gets state that was read before its request. While the owner fails, callers get 503 quickly (a short timeout and
// a circuit breaker).
import CircuitBreaker from 'opossum';
import { z } from 'zod';
import type { ServiceName } from '../../contracts/services.ts';
import {
  type BucketDigest,
  maxIdsOfPage,
  type OwnerPosition,
  snapshotDigests,
  snapshotPage,
} from '../../contracts/snapshot.ts';
import { type DomainError, dependencyUnavailable } from '../../errors.ts';
import type { OnClientAnswer } from '../../telemetry/request-durations.ts';
import type { ProjectedState, Projection } from '../definition.ts';
import { isOwnNotFound, type Origin, readJson, requestOwner } from './owner-request.ts';

interface OwnerOptions {
  url: string;
  /** Longest time, in milliseconds, for one answer; ten times as long for a page. */
  timeoutMs: number;
  onAnswer?: OnClientAnswer | undefined;
  /** Time, in milliseconds, after which an open breaker lets one call through. */
  resetMs: number;
}

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

/** What an owner has answered about several ids: each is in one of the three. */
export interface OwnerAnswers {
  states: ReadonlyMap<number, ProjectedState>;
  /** The owner has no such rows. */
  missing: number[];
  /** The owner has these rows, in a shape that this release does not understand. */
  unknownIds: number[];
}

/** Which rows a page has: of an id range, those changed since a time of the owner's clock, or single ones. */
export interface PageQuery {
  after_id?: number;
  up_to_id?: number;
  changed_since?: string;
  ids?: readonly number[];
  limit: number;
}

interface ParsedRows {
  states: ProjectedState[];
  /** The ids of rows that this release does not understand. They exist. */
  unknownIds: number[];
}

export interface Page extends ParsedRows {
  read: OwnerPosition;
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
  readonly #breaker: CircuitBreaker<[call: () => Promise<unknown>], unknown>;

  constructor(projection: Projection, options: OwnerOptions) {
    this.projection = projection;
    this.#options = options;
    this.#breaker = new CircuitBreaker((call: () => Promise<unknown>) => call(), {
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

  /**
   * One call for all ids, behind the breaker of `get`.
   * @param ids at most `maxIdsOfPage`
   * @throws dependencyUnavailable when the owner does not answer
   */
  async getMany(ids: readonly number[], cause: Origin): Promise<OwnerAnswers> {
    const asked = new Set(ids);
    if (asked.size > maxIdsOfPage) throw new RangeError(`${asked.size} ids, not ${maxIdsOfPage} at most`);
    if (asked.size === 0) return { states: new Map(), missing: [], unknownIds: [] };
    const { states: found, unknownIds } = await this.#guard(() => this.#fetchStates(asked, cause));
    const states = new Map(found.map((state) => [state.id, state]));
    const missing = [...asked].filter((id) => !states.has(id) && !unknownIds.includes(id));
    return { states, missing, unknownIds };
  }

  /** Rows in the order of their ids, each parsed by itself. @throws when the owner does not answer, or `stop` aborts */
  async page(query: PageQuery, stop: AbortSignal): Promise<Page> {
    const { items, ...read } = snapshotPage.parse(await this.#fetchSnapshot('', query, stop));
    const { states, unknownIds } = this.#parseRows(items);
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
    const running = this.#guard(() => this.#fetchState(id, cause)).finally(() => {
      if (!calls.next) this.#callsById.delete(id);
    });
    const calls: CallsPerId = { running };
    this.#callsById.set(id, calls);
    return running;
  }

  /** @throws dependencyUnavailable when the call fails, or the breaker is open */
  async #guard<Answer>(call: () => Promise<Answer>): Promise<Answer> {
    try {
      return (await this.#breaker.fire(call)) as Answer;
    } catch (error) {
      throw ownerUnavailable(this.projection.owner, this.#options.resetMs, error);
    }
  }

  async #fetchState(id: number, cause: Origin): Promise<ProjectedState | null> {
    const response = await this.#fetch(`/${id}`, cause, AbortSignal.timeout(this.#options.timeoutMs));
    if (response.status === 404 && (await isOwnNotFound(response))) return null;
    const state = this.projection.state.parse(await readJson(this.projection.owner, response));
    if (state.id !== id) throw new Error(`${this.projection.owner} answered about another id`);
    return state;
  }

  async #fetchStates(asked: ReadonlySet<number>, cause: Origin): Promise<ParsedRows> {
    const search = searchOf({ after_id: 0, limit: asked.size, ids: [...asked] });
    const response = await this.#fetch(search, cause, AbortSignal.timeout(this.#options.timeoutMs));
    const { items } = snapshotPage.parse(await readJson(this.projection.owner, response));
    const rows = this.#parseRows(items);
    const isOther = (id: number): boolean => !asked.has(id);
    if (rows.unknownIds.some(isOther) || rows.states.some(({ id }) => isOther(id))) {
      throw new Error(`${this.projection.owner} answered about another id`);
    }
    return rows;
  }

  async #fetchSnapshot(path: string, query: object, stop: AbortSignal): Promise<unknown> {
    const signal = AbortSignal.any([stop, AbortSignal.timeout(this.#options.timeoutMs * 10)]);
    const response = await this.#fetch(path + searchOf(query), { requestId: 'reconciliation' }, signal);
    return await readJson(this.projection.owner, response);
  }

  #fetch(path: string, cause: Origin, signal: AbortSignal): Promise<Response> {
    const { url, onAnswer } = this.#options;
    return requestOwner({ owner: this.projection.owner, url, onAnswer }, path, cause, signal);
  }

  #parseRows(items: readonly unknown[]): ParsedRows {
    const rows: ParsedRows = { states: [], unknownIds: [] };
    for (const item of items) {
      const state = this.projection.state.safeParse(item);
      if (state.success) rows.states.push(state.data);
      else rows.unknownIds.push(z.object({ id: z.int() }).parse(item).id);
    }
    return rows;
  }
}

function searchOf(query: object): string {
  return `?${new URLSearchParams(Object.entries(query).map(([name, value]): [string, string] => [name, String(value)]))}`;
}
