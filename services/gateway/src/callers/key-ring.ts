// All usable API keys, in the memory of every gateway, so that a request asks no database. The promises: a key that is
// revoked is refused within 2 s by every gateway whose polls are answered within a second, also when one of them hangs;
// while the database is away, known keys go on for KEYS_STALE_SECONDS and revoked ones stay refused; nobody gets 401
// because the database is away.

import { setTimeout as sleep } from 'node:timers/promises';
import type { Database } from '@promopulse/shared/database/database';
import { type DomainError, unavailable } from '@promopulse/shared/errors';
import { summarizeError } from '@promopulse/shared/telemetry/describe-error';
import { type Logger, warnRepeatedly } from '@promopulse/shared/telemetry/logger';
import { digestOf, isWellFormedKey } from './key-format.ts';
import { noteUses, readChangedKeys, readUsableKeys } from './key-store.ts';
import { KnownKeys } from './known-keys.ts';
import type { Principal } from './principal.ts';

/** A poll may hang. The next one does not wait for it, so that a revocation is known within 2 s all the same. */
const pollEveryMs = 500;
/** Maximum number of polls in flight. Each ends with the time-out of a statement, after 3 s. */
const maxPolls = 8;
/** A commit may come seconds after the time that it carries. */
const lookBackSeconds = 15;
/** After a longer gap between two polls, `lookBackSeconds` could miss a change: then all keys are read. */
const maxGapMs = 5_000;
const readAllEveryMs = 60_000;
/** For keys that are not known, further polls are made at most once in this time. All who wait share them. */
const extraPollGapMs = 100;
const noteUsesEveryMs = 60_000;

interface KeyRingOptions {
  database: Database;
  log: Logger;
  /** KEYS_STALE_SECONDS. */
  staleSeconds: number;
}

/**
 * States: current (the last poll has succeeded); failing (known keys are accepted, and unknown ones cannot be judged);
 * and, `staleSeconds` after the last poll, stale: no key can be judged. A poll that succeeds leads back to current.
 */
export class KeyRing {
  readonly #options: KeyRingOptions;
  readonly #known = new KnownKeys();
  /** Id of a key → when it was used last, by the database's clock. */
  readonly #uses = new Map<string, number>();
  /** From `performance.now()` to the database's clock, in milliseconds. */
  #clockOffset = 0;
  /** Times of `performance.now()`: when the last poll began, and the last one that has succeeded, and that read all keys. */
  #begunAt = Number.NEGATIVE_INFINITY;
  #currentAt = Number.NEGATIVE_INFINITY;
  #completeAt = Number.NEGATIVE_INFINITY;
  /** When the state in memory was applied, and when the database had read it, by the clock of each. */
  #appliedAt = Number.NEGATIVE_INFINITY;
  #readAt = Number.NEGATIVE_INFINITY;
  #notedAt = performance.now();
  #isFailing = false;
  readonly #polls = new Set<Promise<void>>();
  #timer: NodeJS.Timeout | undefined;

  constructor(options: KeyRingOptions) {
    this.#options = options;
  }

  /** Reads all keys, then polls. @throws the database's error */
  async start(): Promise<void> {
    await this.#read();
    this.#timer = setInterval(() => void this.#tick(), pollEveryMs);
  }

  async stop(): Promise<void> {
    clearInterval(this.#timer);
    await Promise.all(this.#polls);
    await this.#noteUses();
  }

  /**
   * @returns the caller of a known key at once, undefined for what is no valid key. A key that is not known may have been
   *   made a moment ago: then a promise of the same
   * @throws unavailable (the promise too) when the database is away and the key cannot be judged
   */
  find(secret: string): Principal | undefined | Promise<Principal | undefined> {
    const digest = digestOf(secret);
    const known = this.#lookUp(digest);
    if (known) {
      if (known !== 'ended' && this.#isStale()) throw keysUnavailable();
      return known === 'ended' ? undefined : known;
    }
    // With a wrong checksum it is no key, whatever the database holds.
    return isWellFormedKey(secret) ? this.#findAfterPoll(digest) : undefined;
  }

  /** The caller of a key that this gateway knows to be good, without a query. Never throws. */
  recall(secret: string): Principal | undefined {
    const known = this.#isStale() ? undefined : this.#lookUp(digestOf(secret));
    return known === 'ended' ? undefined : known;
  }

  /** Seconds since the last poll that has succeeded began. */
  ageSeconds(): number {
    return (performance.now() - this.#currentAt) / 1_000;
  }

  /** Refuses a key from now on, also when the next poll fails. */
  end(id: string): void {
    this.#known.end(id);
  }

  /** Polls now. The gateway that has changed a key knows it at once. Never rejects. */
  async refresh(): Promise<void> {
    const since = performance.now();
    do await this.#poll();
    while (this.#begunAt < since);
  }

  #lookUp(digest: string): Principal | 'ended' | undefined {
    const now = performance.now() + this.#clockOffset;
    const found = this.#known.find(digest, now);
    if (found === undefined || found === 'ended') return found;
    this.#uses.set(found.id, now);
    return found.principal;
  }

  /** Waits for a poll that has begun after the request arrived. */
  async #findAfterPoll(digest: string): Promise<Principal | undefined> {
    const arrivedAt = performance.now();
    while (this.#currentAt < arrivedAt) {
      if (this.#isFailing) throw keysUnavailable();
      if (this.#begunAt < arrivedAt) await sleep(Math.max(0, this.#begunAt + extraPollGapMs - performance.now()));
      if (this.#begunAt < arrivedAt) void this.#poll();
      // A poll that begins meanwhile may end before these.
      await Promise.race([...this.#polls, sleep(pollEveryMs, undefined, { ref: false })]);
    }
    const found = this.#lookUp(digest);
    return found === 'ended' ? undefined : found;
  }

  #isStale(): boolean {
    return performance.now() - this.#currentAt > this.#options.staleSeconds * 1_000;
  }

  async #tick(): Promise<void> {
    await this.#poll();
    if (performance.now() - this.#notedAt >= noteUsesEveryMs) await this.#noteUses();
  }

  /** Begins a poll, unless too many are in flight: then it waits for one of them. Never rejects. */
  #poll(): Promise<void> {
    if (this.#polls.size >= maxPolls) return Promise.race(this.#polls);
    const begunAt = performance.now();
    const poll = this.#read()
      .catch((error: unknown) => this.#fail(begunAt, error))
      .finally(() => this.#polls.delete(poll));
    this.#polls.add(poll);
    return poll;
  }

  /** A poll that hung says nothing once a later one has succeeded. */
  #fail(begunAt: number, error: unknown): void {
    if (begunAt < this.#currentAt) return;
    const { log, staleSeconds } = this.#options;
    this.#isFailing = true;
    const fields = { stale_seconds: staleSeconds, ...summarizeError(error) };
    warnRepeatedly(log, fields, 'the keys of callers cannot be read: known keys go on until they are stale');
  }

  async #read(): Promise<void> {
    const { database } = this.#options;
    const begunAt = performance.now();
    this.#begunAt = begunAt;
    const isComplete = begunAt - this.#completeAt >= readAllEveryMs || begunAt - this.#currentAt >= maxGapMs;
    const { now, keys } = await (isComplete ? readUsableKeys(database) : readChangedKeys(database, lookBackSeconds));
    // An older state must not replace a newer one: it would revive a secret that ended between them. The database may
    // execute overlapping polls in another order than that of their beginnings.
    if (begunAt < this.#currentAt || (begunAt < this.#appliedAt && now < this.#readAt)) return;
    if (isComplete) this.#known.replaceAll(keys);
    else this.#known.replace(keys);
    this.#clockOffset = now - performance.now();
    this.#currentAt = begunAt;
    this.#appliedAt = performance.now();
    this.#readAt = now;
    if (isComplete) this.#completeAt = begunAt;
    if (this.#isFailing) this.#options.log.info('the keys of callers are current again');
    this.#isFailing = false;
  }

  /** What cannot be noted now is noted the next time. */
  async #noteUses(): Promise<void> {
    this.#notedAt = performance.now();
    const uses = new Map(this.#uses);
    this.#uses.clear();
    await noteUses(this.#options.database, uses).catch(() => {
      for (const [id, at] of uses) if (!this.#uses.has(id)) this.#uses.set(id, at);
    });
  }
}

function keysUnavailable(): DomainError {
  return unavailable('API keys cannot be checked at present. Retry after the time in Retry-After.');
}
