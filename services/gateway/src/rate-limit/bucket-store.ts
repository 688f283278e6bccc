// The buckets of all gateways, in the table rate_buckets. Only the database's clock counts. The table is unlogged: a write
// costs no disk access, and after a crash of the server the table is empty and every bucket is full.
import { createHmac } from 'node:crypto';
import { setImmediate as nextTurn } from 'node:timers/promises';
import { settleWithin, sleep } from '@promopulse/shared/backoff';
import type { Database } from '@promopulse/shared/database/database';
import { runApart } from '@promopulse/shared/database/own-connection';
import type { ActorKey } from '@promopulse/shared/http/caller/actor-token';
import { type Logger, warnRepeatedly } from '@promopulse/shared/telemetry/logger';
import type { BucketStore, Grant } from './buckets.ts';
import { type Policy, tolerance } from './gcra.ts';

/** A request waits for the database at most this long, in milliseconds. Then this gateway counts alone. */
const answerTimeoutMs = 500;
/** Milliseconds after a failure until one request tries the database again. */
const retryAfterMs = 1_000;
const maxBatch = 500;

const pruneEveryMs = 60_000;
const pruneBatch = 10_000;

/** The buckets of one client, one for each policy, at the moment `now`. A TAT far ahead is from before the clock was set back. */
const bucketsSql = `(
  select least(greatest(tat, now), now + w) as start, q, w, n
  from clock, unnest(bucket.tats, $3::float8[], $4::float8[]) with ordinality as one(tat, q, w, n)) as one`;
const availableSql = `(
  select min(floor((w - (start - now)) * q / w + ${tolerance})) from clock, ${bucketsSql})`;

const statements = {
  /**
   * $1: keys, each once; $2: units of each, at most the smallest quota; $3, $4: quota and seconds of each policy. Grants to
   * each key as many units as all policies allow, and changes no row of a key that gets none. The rows are locked in the
   * order of their keys, so that two gateways cannot wait for each other.
   */
  take: {
    name: 'rate_buckets_take',
    text: `with clock as materialized (select extract(epoch from clock_timestamp())::float8 as now),
      asked as (select key, units, n from unnest($1::bytea[], $2::float8[]) with ordinality as ask(key, units, n)),
      granted as (
        insert into rate_buckets as bucket (key, tats)
        select key, array(
          select now + units * w / q from unnest($3::float8[], $4::float8[]) with ordinality as one(q, w, n) order by n)
        from asked, clock order by key
        on conflict (key) do update set tats = (
          select array_agg(start + least(round((excluded.tats[1] - now) * ($3::float8[])[1] / ($4::float8[])[1]),
            ${availableSql}) * w / q order by n)
          from clock, ${bucketsSql})
        where ${availableSql} >= 1
        returning key, old.tats as before, new.tats as after)
      select
        case when granted.key is null then 0 else round((after[1] - coalesce(least(greatest(before[1], now), now + w), now)) * q / w)
          end::int as units,
        array(
          select least(greatest(tat - now, 0), seconds)
          from unnest(coalesce(after, present.tats), $4::float8[]) with ordinality as one(tat, seconds, n)
          order by n) as seconds_until_full
      from asked cross join clock
      cross join (select ($3::float8[])[1] as q, ($4::float8[])[1] as w) as first
      left join granted on granted.key = asked.key
      left join rate_buckets as present on granted.key is null and present.key = asked.key
      order by asked.n`,
  },
  /** $1: the greatest number of rows. Buckets that have been full for a minute are as good as none. */
  prune: {
    name: 'rate_buckets_prune',
    text: `delete from rate_buckets where key in (
        select key from rate_buckets
        where not exists (
          select from unnest(tats) as tat where tat > extract(epoch from clock_timestamp()) - 60)
        limit $1 for update skip locked)
      returning 1`,
  },
};

interface GrantRow {
  units: number;
  seconds_until_full: number[];
}

interface Ask {
  client: string;
  units: number;
  settle(grant: Grant): void;
  fail(error: unknown): void;
}

interface SharedBucketsOptions {
  database: Database;
  policies: readonly Policy[];
  /** The table has no client's address and no actor: only their MACs. */
  key: ActorKey;
  log: Logger;
}

/**
 * One statement at a time takes for all clients that ask. States: available; away, after a failure: `take` is not to be
 * called, but for one request in each second, and its success ends the state.
 */
export class SharedBuckets implements BucketStore {
  readonly #options: SharedBucketsOptions;
  readonly #policyValues: readonly (readonly number[])[];
  /** Gateways with other policies have other buckets. */
  readonly #policyNames: string;
  readonly #asks = new Map<string, Ask[]>();
  readonly #stop = new AbortController();
  #isRunning = false;
  /** By `performance.now()`. Undefined while the database is available. */
  #retryAt: number | undefined;

  constructor(options: SharedBucketsOptions) {
    this.#options = options;
    const { policies } = options;
    this.#policyValues = [policies.map(({ quota }) => quota), policies.map(({ windowSeconds }) => windowSeconds)];
    this.#policyNames = policies.map(({ name, quota, windowSeconds }) => `${name}=${quota}/${windowSeconds}`).join();
    void this.#pruneUntil(this.#stop.signal);
  }

  /** Whether this gateway counts alone for now. */
  get isAway(): boolean {
    return this.#retryAt !== undefined;
  }

  isAvailable(): boolean {
    if (this.#retryAt === undefined) return true;
    const now = performance.now();
    if (now < this.#retryAt) return false;
    this.#retryAt = now + retryAfterMs;
    return true;
  }

  take(client: string, units: number): Promise<Grant> {
    return new Promise((settle, fail) => {
      const before = this.#asks.get(client) ?? [];
      this.#asks.set(client, [...before, { client, units, settle, fail }]);
      if (!this.#isRunning) void this.#run();
    });
  }

  /** Ends the pruning. */
  close(): void {
    this.#stop.abort();
  }

  async #run(): Promise<void> {
    this.#isRunning = true;
    await nextTurn(); // all that ask in this turn of the event loop share a statement
    while (this.#asks.size > 0) {
      const batch = this.#nextBatch();
      try {
        const rows = await this.#query(batch);
        this.#noteSuccess();
        for (const [index, ask] of batch.entries()) ask.settle(grantOf(rows[index]));
      } catch (error) {
        this.#noteFailure(error);
        for (const ask of [...batch, ...this.#removeAll()]) ask.fail(error);
      }
    }
    this.#isRunning = false;
  }

  /** Each client once: a statement cannot change a row twice. */
  #nextBatch(): Ask[] {
    const batch: Ask[] = [];
    for (const [client, asks] of this.#asks) {
      if (batch.length >= maxBatch) break;
      batch.push(asks.shift() as Ask);
      if (asks.length === 0) this.#asks.delete(client);
    }
    return batch;
  }

  #removeAll(): Ask[] {
    const asks = [...this.#asks.values()].flat();
    this.#asks.clear();
    return asks;
  }

  async #query(batch: readonly Ask[]): Promise<GrantRow[]> {
    const keys = batch.map(({ client }) => this.#keyOf(client));
    const units = batch.map((ask) => ask.units);
    const rows = this.#options.database.run<GrantRow>(statements.take, [keys, units, ...this.#policyValues]);
    if (!(await settleWithin(answerTimeoutMs, rows))) throw new Error(`no answer within ${answerTimeoutMs} ms`);
    return await rows;
  }

  #keyOf(client: string): Buffer {
    return createHmac('sha256', this.#options.key).update(`rate-bucket\n${this.#policyNames}\n${client}`).digest();
  }

  #noteSuccess(): void {
    if (this.#retryAt === undefined) return;
    this.#retryAt = undefined;
    this.#options.log.info('rate limits are counted by all gateways together again');
  }

  #noteFailure(error: unknown): void {
    if (this.#retryAt === undefined) {
      this.#options.log.warn({ err: error }, 'rate limits: the database is away, so this gateway counts alone');
    }
    this.#retryAt = performance.now() + retryAfterMs;
  }

  async #pruneUntil(signal: AbortSignal): Promise<void> {
    while (!signal.aborted) {
      await sleep(pruneEveryMs * (0.5 + Math.random()), signal);
      if (signal.aborted || this.#retryAt !== undefined) continue;
      await this.prune().catch(() => warnRepeatedly(this.#options.log, {}, 'full buckets could not be pruned'));
    }
  }

  /** Deletes the buckets that are full. @returns how many rows */
  async prune(): Promise<number> {
    let pruned = 0;
    let last = pruneBatch;
    while (last === pruneBatch) {
      last = (await runApart(this.#options.database, statements.prune, [pruneBatch])).length;
      pruned += last;
    }
    return pruned;
  }
}

function grantOf(row: GrantRow | undefined): Grant {
  return { units: row?.units ?? 0, secondsUntilFull: row?.seconds_until_full ?? [] };
}
