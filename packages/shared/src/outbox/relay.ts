// Transactional outbox and its relay. The promise: an event is published if and only if its change was committed.
// A row is written in the change's own transaction; the relay publishes it with a confirm and only then marks it,
// so a crash anywhere between publishes it again and never loses it.
// One relay leads per schema (a session advisory lock): rows go out in id order, and for one aggregate that is the
// order of its versions. During a change of leader a row may go out twice or late; consumers compare versions.
import { randomUUID } from 'node:crypto';
import { settleWithin, sleep } from '../backoff.ts';
import { tryLock } from '../database/advisory-lock.ts';
import type { Connection, Database } from '../database/database.ts';
import { isDatabaseUnavailable } from '../database/sqlstate.ts';
import type { Broker } from '../messaging/broker.ts';
import type { Logger } from '../telemetry/logger.ts';
import { toMessage, type WaitingRow } from './batch.ts';

interface RelayOptions {
  database: Database;
  broker: Broker;
  log: Logger;
  /** Rows per batch: one wait for all their confirms. */
  batchSize?: number;
  /** Milliseconds between looks at the table when nobody wakes the relay (another replica's writes). */
  pollMs?: number;
  heartbeatMs?: number;
  /** Published rows are kept this long, in seconds, for people to look at. */
  retentionSeconds?: number;
  pruneEveryMs?: number;
}

export interface Backlog {
  /** Rows not yet published; 10,000 stands for that many or more. */
  waiting: number;
  /** Age of the oldest of these in seconds, 0 when there is none. */
  oldest_seconds: number;
}

export interface Relay {
  wake(): void;
  backlog(): Promise<Backlog>;
  /** Publishes what is left for up to `timeoutMs` milliseconds, then gives up the lead. */
  stop(timeoutMs: number): Promise<void>;
}

const pruneBatch = 1_000;

/** So many waiting rows are looked at for their number and age, and not all: a backlog may be millions. */
const maxInspectedRows = 10_000;

const waiting = `from (select created_at from outbox where published_at is null order by id limit ${maxInspectedRows}) as waiting`;

const statements = {
  waiting: {
    name: 'outbox_waiting',
    text: `select id, event_id, name, subject, data, request_id, reply_to, created_at
           from outbox where published_at is null and id not in (select unnest($2::bigint[])) order by id limit $1`,
  },
  mark: { name: 'outbox_mark', text: 'update outbox set published_at = now() where id = any($1::bigint[])' },
  watermark: {
    name: 'outbox_horizon',
    text: `select now() as now, coalesce(min(created_at), now()) as watermark, count(*) < ${maxInspectedRows} as complete ${waiting}`,
  },
  backlog: {
    name: 'outbox_backlog',
    text: `select count(*)::int as waiting,
                  coalesce(extract(epoch from now() - min(created_at)), 0)::float as oldest_seconds ${waiting}`,
  },
  // Rows are published about in the order of their ids, so those to prune come first, unless a long backlog stands before
  // them: then nothing is pruned until it is gone, and nothing much is published.
  prune: {
    name: 'outbox_prune',
    text: `delete from outbox where id in (
             select id from (select id, published_at from outbox order by id limit ${maxInspectedRows}) as first
             where published_at < now() - make_interval(secs => $1) limit ${pruneBatch})
           returning 1`,
  },
};

/** What a leader holds between two batches. */
interface RelayBatch {
  /** Read already, and to be published next. */
  prefetched: WaitingRow[] | undefined;
  /** Confirmed, and not marked yet. */
  unmarked: readonly string[];
}

const leaderRetryMs = 500;

/**
 * Milliseconds from one batch to the next, at least: an event that comes alone goes out at once, many go out together.
 * As many as the last batch had events: where more than one comes in a millisecond, the gap grows until it is greatest.
 */
const gapMs = { least: 5, greatest: 25 };

/** Longer than a leader ever leaves its connection alone: a batch without confirms (5 s) and the longest pause. */
const leaderSilenceMs = 15_000;

const maxPauseMs = 2_000;

export function startRelay(options: RelayOptions): Relay {
  const {
    database,
    broker,
    log,
    batchSize = 500,
    pollMs = 100,
    heartbeatMs = 1_000,
    retentionSeconds = 86_400,
    pruneEveryMs = 10_000,
  } = options;
  const source = `/promopulse/${database.schema}`;
  let stopping = false;
  let flushUntil = 0;
  let woken = false;
  let endPause: (() => void) | undefined;
  const stopNow = new AbortController();
  let holding: Connection | undefined;
  const wake = (): void => {
    woken = true;
    endPause?.();
  };
  database.onCommit(wake);

  /** Waits `ms`, or until somebody wakes the relay, or not at all if somebody has since it last waited. */
  async function pauseUnlessWoken(ms: number): Promise<void> {
    if (!woken) {
      await new Promise<void>((resolve) => {
        const timer = setTimeout(resolve, ms);
        endPause = () => {
          clearTimeout(timer);
          resolve();
        };
      });
    }
    woken = false;
    endPause = undefined;
  }

  async function compete(): Promise<void> {
    while (!stopping) {
      const lead = await tryLock(database, 'relay', leaderSilenceMs).catch((error: unknown) => {
        if (!isDatabaseUnavailable(error)) log.error({ err: error }, 'relay cannot compete for the lead');
        return undefined;
      });
      if (!lead) {
        await sleep(leaderRetryMs, stopNow.signal); // whatever is committed here meanwhile: the leader finds it
        continue;
      }
      holding = lead;
      try {
        await leadUntilStopped(lead);
      } catch (error) {
        if (stopping) return;
        log.warn({ err: error }, 'relay lost the lead');
        await pauseUnlessWoken(leaderRetryMs);
      } finally {
        lead.end();
      }
    }
  }

  async function leadUntilStopped(lead: Connection): Promise<void> {
    let failures = 0;
    let nextHeartbeat = 0;
    let nextPrune = Date.now() + pruneEveryMs;
    const hands: RelayBatch = { prefetched: undefined, unmarked: [] };
    for (;;) {
      const startedAt = performance.now();
      const { found, published } = await publishBatch(lead, hands);
      failures = found > 0 && published === 0 ? failures + 1 : 0;
      if (stopping && (found === 0 || Date.now() > flushUntil)) {
        await mark(lead, hands.unmarked);
        return;
      }
      if (Date.now() >= nextHeartbeat) {
        await sendHeartbeat(lead);
        nextHeartbeat = Date.now() + heartbeatMs;
      }
      if (Date.now() >= nextPrune) {
        await prune();
        nextPrune = Date.now() + pruneEveryMs;
      }
      const longest = stopping ? Math.max(0, flushUntil - Date.now()) : maxPauseMs;
      const pauseMs = Math.min(pollMs * 2 ** failures, longest);
      // While nothing goes out, a commit is no reason to try again sooner.
      if (failures > 0) await sleep(pauseMs, stopNow.signal);
      else if (found < batchSize) {
        await pauseUnlessWoken(pauseMs);
        const gap = Math.min(Math.max(found, gapMs.least), gapMs.greatest);
        const sooner = startedAt + gap - performance.now();
        if (sooner > 0) await sleep(sooner, stopNow.signal);
      }
    }
  }

  /** Not on the lead's connection: what goes wrong here must not cost the lead. */
  async function prune(): Promise<void> {
    try {
      while ((await database.run(statements.prune, [retentionSeconds])).length > 0 && !stopping);
    } catch (error) {
      log.warn({ err: error }, 'published events could not be pruned');
    }
  }

  /** While the confirms of a full batch come in, the one before it is marked and the one behind it is read. */
  async function publishBatch(lead: Connection, hands: RelayBatch): Promise<{ found: number; published: number }> {
    const rows = hands.prefetched ?? (await read(lead, hands.unmarked));
    const ids = rows.map(({ id }) => id);
    const [outcomes, ahead] = await Promise.all([
      rows.length > 0 ? broker.publish(rows.map((row) => toMessage(row, source))) : [],
      rows.length === batchSize ? read(lead, [...hands.unmarked, ...ids]) : undefined,
      mark(lead, hands.unmarked),
    ]);
    const confirmed = ids.filter((_, index) => outcomes[index] === 'confirmed');
    const goesOn = ahead !== undefined && confirmed.length === rows.length;
    if (!goesOn) await mark(lead, confirmed); // and what was not confirmed is read again, before what is behind it
    hands.prefetched = goesOn ? ahead : undefined;
    hands.unmarked = goesOn ? confirmed : [];
    return { found: rows.length, published: confirmed.length };
  }

  function read(lead: Connection, except: readonly string[]): Promise<WaitingRow[]> {
    return lead.query<WaitingRow>(statements.waiting, [batchSize, except]);
  }

  async function mark(lead: Connection, ids: readonly string[]): Promise<void> {
    if (ids.length > 0) await lead.query(statements.mark, [ids]);
  }

  /**
   * Says through the same exchange and queue: whatever this service committed before `watermark` has gone out before
   * this. Behind a backlog so long that its oldest row cannot be told, it says nothing.
   */
  async function sendHeartbeat(lead: Connection): Promise<void> {
    const [row] = await lead.query<{ now: Date; watermark: Date; complete: boolean }>(statements.watermark);
    const { now, watermark, complete } = row as { now: Date; watermark: Date; complete: boolean };
    if (!complete) return;
    const heartbeat = {
      event_id: randomUUID(),
      name: 'relay.heartbeat' as const,
      subject: database.schema,
      data: { service: database.schema, watermark: watermark.toISOString() },
      request_id: null,
      reply_to: null,
      created_at: now,
    };
    // Not mandatory: without a listener a heartbeat has nothing to tell.
    await broker.publish([{ ...toMessage(heartbeat, source), mandatory: false }]);
  }

  const competing = compete();
  return {
    wake,
    backlog: async () => (await database.run<Backlog>(statements.backlog, []))[0] as Backlog,
    stop: async (timeoutMs) => {
      flushUntil = Date.now() + timeoutMs;
      stopping = true;
      wake();
      stopNow.abort();
      // A transport that keeps a batch waiting must not keep the process: unmarked, the batch goes out again.
      if (!(await settleWithin(timeoutMs, competing))) holding?.end();
    },
  };
}
