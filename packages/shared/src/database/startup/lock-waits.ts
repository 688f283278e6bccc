// How a migration waits for locks. A statement that waits for a strong lock makes all later statements on that table
// wait behind it, reads too. So a migration waits only for a moment, gives the lock up, lets the others pass, and tries
// again.
import type pg from 'pg';
import { backOffMs, sleep } from '../../backoff.ts';
import { ConfigError } from '../../config.ts';
import type { Logger } from '../../telemetry/logger.ts';
import { isLockConflict } from '../sqlstate.ts';

/** Longest wait of a migration for one lock, in milliseconds: its sessions' `lock_timeout`. */
export const lockTimeoutMs = 250;

/** Longest wait of one attempt for all its locks, in milliseconds. It keeps the first locks while it waits for the next. */
const attemptTimeoutMs = 500;
const sampleMs = 100;
const logIntervalMs = 10_000;

/** Long enough for those that waited behind the attempt to finish. */
const pause = { delayMs: 1_000, maxDelayMs: 5_000 };

/** Longer than the server's `deadlock_timeout` (1 s), after which it ends an autovacuum that another session waits for. */
const autovacuumWaitMs = 5_000;

export const defaultWaitMs = 300_000;

interface ShortLocks {
  /** Milliseconds from the first attempt, after which no other one is made. */
  waitMs?: number;
  /** Runs directly before each attempt but the first. */
  beforeRepeat?: () => Promise<void>;
}

/**
 * Repeats `work` while it fails because of a lock (lock time-out or deadlock), with jittered pauses of 0.5 to 5 s.
 * `work` is one statement or one whole transaction, in a session whose `lock_timeout` is short. It must be repeatable.
 * @throws ConfigError when it got no lock in time, and every other error of `work`
 */
export async function withShortLocks<Result>(
  work: () => Promise<Result>,
  { waitMs = defaultWaitMs, beforeRepeat }: ShortLocks = {},
): Promise<Result> {
  const deadline = Date.now() + waitMs;
  for (let attempt = 1; ; attempt++) {
    try {
      return await work();
    } catch (error) {
      if (!isLockConflict(error)) throw error;
      if (Date.now() >= deadline) throw outOfTime(waitMs);
      await sleep(backOffMs(attempt, pause));
      await beforeRepeat?.();
    }
  }
}

function outOfTime(waitMs: number): ConfigError {
  return new ConfigError(
    `A migration got no lock in ${waitMs / 1000} s, because other sessions hold it; the log names them. ` +
      'End these sessions, or raise MIGRATION_WAIT_SECONDS.',
  );
}

interface LockWait {
  pid: number;
  /** When its transaction began. */
  began: string;
  mode: string;
  locktype: string;
  relation: string | null;
  holders: { pid: number; background: boolean }[] | null;
}

/** Modes that make readers or writers wait. */
const strongModes = new Set(['ShareLock', 'ShareRowExclusiveLock', 'ExclusiveLock', 'AccessExclusiveLock']);

/**
 * Watches the migrations of this process from a second connection. It logs what an attempt waits for, and cancels an
 * attempt that waits for several locks one after the other. Idle between `repeat`s.
 */
export class LockWaits {
  readonly #pool: pg.Pool;
  readonly #log: Logger;
  readonly #waitMs: number;
  #attemptAt = Number.POSITIVE_INFINITY;
  /** Of the transaction that waited last. */
  #waitedMs = 0;
  #cancelled = false;
  #lastWait: LockWait | undefined;
  #loggedAt = Number.NEGATIVE_INFINITY;

  constructor(pool: pg.Pool, log: Logger, waitMs: number) {
    this.#pool = pool;
    this.#log = log;
    this.#waitMs = waitMs;
  }

  /** Watches what `repeat` does meanwhile, in sessions of this name. */
  async watch<Result>(applicationName: string, work: () => Promise<Result>): Promise<Result> {
    const done = new AbortController();
    const watching = this.#sample(applicationName, done.signal).catch(() => undefined); // `work` fails of the same
    try {
      return await work();
    } finally {
      done.abort();
      await watching;
    }
  }

  /** Like `withShortLocks`. May be called inside the `work` of another `repeat`. */
  async repeat<Result>(work: () => Promise<Result>): Promise<Result> {
    const attempt = async (): Promise<Result> => {
      this.#begin(Date.now());
      try {
        return await work();
      } catch (error) {
        const cancelled = this.#cancelled && (error as { code?: unknown }).code === '57014';
        throw cancelled ? Object.assign(new Error('lock time-out'), { code: '55P03' }) : error;
      } finally {
        this.#begin(Number.POSITIVE_INFINITY);
      }
    };
    return await withShortLocks(attempt, { waitMs: this.#waitMs, beforeRepeat: () => this.#endAutovacuum() });
  }

  #begin(at: number): void {
    this.#attemptAt = at;
    this.#waitedMs = 0;
    this.#cancelled = false;
  }

  async #sample(applicationName: string, done: AbortSignal): Promise<void> {
    let client: pg.PoolClient | undefined;
    try {
      for (let lastAt = Date.now(); !done.aborted; lastAt = Date.now()) {
        await sleep(sampleMs, done);
        if (done.aborted || Date.now() - this.#attemptAt < sampleMs) continue;
        client ??= await this.#pool.connect();
        const { rows } = await client.query<LockWait>(currentWait, [applicationName]);
        if (rows[0]) await this.#onWait(client, rows[0], Date.now() - lastAt);
      }
    } finally {
      client?.release(true);
    }
  }

  async #onWait(client: pg.PoolClient, wait: LockWait, elapsedMs: number): Promise<void> {
    // A migration such as widen-ids.ts has many transactions, each with short waits of its own.
    const isNew = wait.began !== this.#lastWait?.began;
    if (isNew) this.#waitedMs = 0;
    this.#lastWait = wait;
    if (Date.now() - this.#loggedAt >= logIntervalMs) {
      this.#loggedAt = Date.now();
      const { mode, locktype, relation, holders } = wait;
      this.#log.warn({ lock: mode, on: relation ?? locktype, held_by: holders ?? [] }, 'a migration waits for a lock');
    }
    if (wait.locktype !== 'relation' || !strongModes.has(wait.mode)) return;
    this.#waitedMs += isNew ? Math.min(elapsedMs, sampleMs) : elapsedMs;
    if (this.#waitedMs < attemptTimeoutMs || this.#cancelled) return;
    this.#cancelled = true;
    await client.query('select pg_cancel_backend($1)', [wait.pid]);
  }

  /**
   * The server ends an autovacuum for a session that waits longer than the attempts do. So this waits, for a lock that
   * makes no reader or writer wait.
   */
  async #endAutovacuum(): Promise<void> {
    const { relation, holders } = this.#lastWait ?? {};
    this.#lastWait = undefined;
    if (!relation || !holders?.some(({ background }) => background)) return;
    await this.#pool
      .query(
        `do $lock$ begin
           perform set_config('lock_timeout', '${autovacuumWaitMs}', true);
           lock table ${relation} in share update exclusive mode;
         end $lock$`,
      )
      .catch(() => undefined); // the next attempt shows whether it helped
  }
}

/** What the sessions named $1 of this role wait for. Other roles' sessions show no state and no age. */
const currentWait = `
  select waiting.pid, migrator.xact_start::text as began, waiting.mode, waiting.locktype,
    waiting.relation::regclass::text as relation,
    (select json_agg(json_build_object(
       'pid', holder.pid, 'application_name', holder.application_name, 'user', holder.usename, 'state', holder.state,
       'transaction_seconds', extract(epoch from clock_timestamp() - holder.xact_start)::int,
       'background', holder.usesysid is null))
     from pg_stat_activity as holder where holder.pid = any (pg_blocking_pids(waiting.pid))) as holders
  from pg_locks as waiting
  join pg_stat_activity as migrator on migrator.pid = waiting.pid
  join pg_stat_activity as own on own.pid = pg_backend_pid() and (own.datid, own.usesysid) = (migrator.datid, migrator.usesysid)
  where not waiting.granted and migrator.application_name = $1`;
