// The relay of the transactional outbox. The promise: an event is published if and only if its change was committed.
// A row is written in the transaction of its change. The relay publishes it with a confirm and marks it only then, so a
// crash in between publishes it a second time and never loses it.
// One relay leads per schema (the lease `relay`). It publishes rows in id order, which for one aggregate is the order of
// its versions. During a change of leader a row may be published twice or late; consumers compare versions.
import { settleWithin, sleep } from '../backoff.ts';
import type { Connection, Database } from '../database/database.ts';
import { type HeldLease, tryLease } from '../database/lease.ts';
import { isDatabaseUnavailable } from '../database/sqlstate.ts';
import { findOldReleaseLock, oldReleaseLockName } from '../database/startup/old-release-lock.ts';
import type { Broker } from '../messaging/broker.ts';
import type { Logger } from '../telemetry/logger.ts';
import { BatchPublisher } from './batch.ts';
import { ensureEpochOn } from './epoch.ts';
import { Lead, type Leading } from './lead.ts';
import { ParkedRows } from './parked.ts';
import { pruneUntil } from './prune.ts';
import { statements } from './statements.ts';

interface RelayOptions {
  database: Database;
  broker: Pick<Broker, 'publish'>;
  log: Logger;
  /** Maximum number of rows in a batch, which has one wait for all its confirms. Default 500. */
  batchSize?: number;
  /** Milliseconds between two reads without a wake-up. They find what other replicas wrote. Default 100. */
  pollMs?: number;
  /** Minimum milliseconds between two heartbeats, and between two attempts with parked rows. Default 1,000. */
  heartbeatMs?: number;
  /** How long published rows are kept for inspection, in seconds. Default one day. */
  retentionSeconds?: number;
  /** Default 10,000. */
  pruneEveryMs?: number;
}

export interface Backlog {
  /** Number of rows not yet published, at most 10,000 (`maxInspectedRows`). */
  waiting: number;
  /** Age of the oldest of these in seconds, 0 when there is none. */
  oldest_seconds: number;
  /** Number of rows that no queue has taken, at most 10,000. They are not among `waiting`. */
  parked: number;
}

const leaderRetryMs = 500;

/** Gap in ms between batches = size of the last batch, clamped to [min, max]: it grows with the event rate. */
const gapMs = { min: 5, max: 25 };

const maxPauseMs = 2_000;

export type { Relay };

/** Starts a relay in the background. It works, also through outages of database and broker, until `stop`. */
export function startRelay({
  batchSize = 500,
  pollMs = 100,
  heartbeatMs = 1_000,
  retentionSeconds = 86_400,
  pruneEveryMs = 10_000,
  ...required
}: RelayOptions): Relay {
  return new Relay({ ...required, batchSize, pollMs, heartbeatMs, retentionSeconds, pruneEveryMs });
}

/**
 * States:
 * - competing: tries to take the lease every half second. Another replica leads meanwhile. It takes no lead beside a relay
 *   of 0.1.0.
 * - leading: publishes batches. After a batch it sends a heartbeat and tries parked rows if these are due. After a full
 *   batch the next one follows at once, otherwise after a commit of this process or `pollMs`. While nothing is confirmed,
 *   the pause doubles up to 2 s and a commit does not end it. An error of the database ends the lead, and so do another
 *   epoch, the loss of the lease and a relay of 0.1.0 that leads: it competes again. Published rows are pruned meanwhile.
 * - stopping, from `stop` on: a leader publishes what is left until a batch is empty or the time is over, then releases
 *   the lease. A competitor stops at once.
 */
class Relay {
  readonly #options: Required<RelayOptions>;
  readonly #stopping = new AbortController();
  readonly #done: Promise<void>;
  #flushUntil = 0;
  #leads = 0;
  #isLeading = false;
  #lease: HeldLease | undefined;
  #woken = false;
  #endPause: (() => void) | undefined;

  constructor(options: Required<RelayOptions>) {
    this.#options = options;
    options.database.onCommit(() => this.wake());
    this.#done = this.#compete();
  }

  /** Ends the current pause. If there is none, the next pause is skipped. */
  wake(): void {
    this.#woken = true;
    this.#endPause?.();
  }

  async backlog(): Promise<Backlog> {
    return (await this.#options.database.run<Backlog>(statements.backlog, []))[0] as Backlog;
  }

  /** `leads`: how often this process has begun to lead. */
  figures(): { isLeading: boolean; leads: number } {
    return { isLeading: this.#isLeading, leads: this.#leads };
  }

  /** Publishes what is left for at most `timeoutMs` milliseconds, then releases the lead. Never rejects. */
  async stop(timeoutMs: number): Promise<void> {
    this.#flushUntil = Date.now() + timeoutMs;
    this.#stopping.abort();
    this.wake();
    // Do not wait longer for a stuck publish: the unmarked batch is published again after the restart.
    if (!(await settleWithin(timeoutMs, this.#done))) this.#lease?.end();
  }

  async #compete(): Promise<void> {
    const { log } = this.#options;
    while (!this.#stopping.signal.aborted) {
      const lease = await this.#tryLead().catch((error: unknown) => {
        if (!isDatabaseUnavailable(error)) log.error({ err: error }, 'relay cannot compete for the lead');
        return undefined;
      });
      if (!lease) {
        await sleep(leaderRetryMs, this.#stopping.signal); // the leader publishes what this process commits
        continue;
      }
      this.#lease = lease;
      this.#isLeading = true;
      this.#leads += 1;
      try {
        await this.#leadUntilStopped(lease);
      } catch (error) {
        if (this.#stopping.signal.aborted) return;
        log.warn({ err: error }, 'relay lost the lead');
        await this.#pauseUnlessWoken(leaderRetryMs);
      } finally {
        this.#isLeading = false;
        await lease.release();
      }
    }
  }

  async #tryLead(): Promise<HeldLease | undefined> {
    const { database } = this.#options;
    const lease = await tryLease(database, 'relay');
    try {
      if (!lease || !(await this.#isLedByOldRelease(lease.connection))) return lease;
      await lease.release();
    } catch (error) {
      lease?.end();
      throw error;
    }
    return undefined;
  }

  /** Two relays that lead at once would change the lead with each event, so that consumers rely on no projection. */
  async #isLedByOldRelease(connection: Connection): Promise<boolean> {
    const name = oldReleaseLockName(this.#options.database.schema, 'relay');
    return (await connection.query<{ held: boolean }>(findOldReleaseLock, [name]))[0]?.held === true;
  }

  async #leadUntilStopped({ connection: leaderConnection, holder, lost }: HeldLease): Promise<void> {
    const { database, broker, log } = this.#options;
    const epoch = await ensureEpochOn(leaderConnection, log);
    const lead = new Lead(holder, epoch, database.schema);
    const ended = new AbortController();
    void pruneUntil(ended.signal, this.#options);
    try {
      await this.#publishUntilStopped({ leaderConnection, broker, lead }, lost);
    } finally {
      ended.abort();
    }
  }

  async #publishUntilStopped(leading: Leading, lost: AbortSignal): Promise<void> {
    const { batchSize, heartbeatMs } = this.#options;
    const batches = new BatchPublisher({ ...leading, batchSize });
    const parked = new ParkedRows(leading);
    let failures = 0;
    let nextHeartbeat = 0;
    for (;;) {
      lost.throwIfAborted();
      const startedAt = performance.now();
      const { found, failed } = await batches.publishNext();
      failures = found > 0 && failed === found ? failures + 1 : 0;
      if (this.#stopping.signal.aborted && (found === 0 || Date.now() > this.#flushUntil)) {
        await batches.markConfirmed();
        return;
      }
      if (Date.now() >= nextHeartbeat) {
        if (await this.#isLedByOldRelease(leading.leaderConnection)) throw new Error('a relay of 0.1.0 leads');
        await leading.lead.sendHeartbeat(leading);
        await parked.probe();
        nextHeartbeat = Date.now() + heartbeatMs;
      }
      await parked.publishNext();
      if (failures > 0) await sleep(this.#pauseMs(failures), this.#stopping.signal);
      else if (found < batchSize && !parked.isRoutable) await this.#pauseAfterBatch(found, startedAt);
    }
  }

  /** Pauses until a commit, and in any case until the gap after the start of the last batch is over. */
  async #pauseAfterBatch(found: number, startedAt: number): Promise<void> {
    await this.#pauseUnlessWoken(this.#pauseMs(0));
    const gap = Math.min(Math.max(found, gapMs.min), gapMs.max);
    const remainingMs = startedAt + gap - performance.now();
    if (remainingMs > 0) await sleep(remainingMs, this.#stopping.signal);
  }

  #pauseMs(failures: number): number {
    const maxMs = this.#stopping.signal.aborted ? Math.max(0, this.#flushUntil - Date.now()) : maxPauseMs;
    return Math.min(this.#options.pollMs * 2 ** failures, maxMs);
  }

  /** Waits `ms` milliseconds or until `wake`. Does not wait if `wake` was called since the last pause. */
  async #pauseUnlessWoken(ms: number): Promise<void> {
    if (!this.#woken) {
      await new Promise<void>((resolve) => {
        const timer = setTimeout(resolve, ms);
        this.#endPause = () => {
          clearTimeout(timer);
          resolve();
        };
      });
    }
    this.#woken = false;
    this.#endPause = undefined;
  }
}
