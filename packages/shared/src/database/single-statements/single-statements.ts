// Statements that are a transaction of their own: the connection that each one takes, and when it is sent again. Reads
// and statements that can wait for a lock share no connection (docs/decisions/0013-pipelines.md). A statement is sent
// again only after the server has reported an error by which it was not executed:
// - its plan no longer fits the tables, or it is not prepared: at once, without a name, so that it is planned anew;
// - it waited too long for a lock: when lock-waiters.ts allows it.
import { once } from 'node:events';
import type pg from 'pg';
import { meansLost, PipelinedConnections, type PipelineFigures } from '../pipelined-connections.ts';
import { queryOf, type Statement } from '../prepared.ts';
import { isPlanInvalid } from '../sqlstate.ts';
import { type LockWaiters, lockProbeMs, lockWaitMs } from './lock-waiters.ts';

/** Maximum numbers of statements in flight on one connection. A write delays those behind it for up to `lockProbeMs`. */
const maxDepth = { reads: 16, writes: 4 };

/** A connection that does not answer `set` for so long, in milliseconds, is closed. It must not hold up the pool's end. */
const setTimeoutMs = 1_000;

type Prepare = (client: pg.ClientBase) => Promise<void>;
/** Sees a statement that was sent, and may translate its error. */
type Guard = (sent: Promise<pg.QueryResult>) => Promise<pg.QueryResult>;

interface SingleStatementsOptions {
  pool: pg.Pool;
  settings: pg.ClientConfig;
  /** Maximum number of pipelined connections: half of them are for reads. 0: each statement uses the pool. */
  connections: number;
  /** Runs on each new connection before it takes statements. */
  prepare: Prepare;
  waiters: LockWaiters;
}

export class SingleStatements {
  readonly #pool: pg.Pool;
  readonly #waiters: LockWaiters;
  readonly #reads: PipelinedConnections;
  readonly #writes: PipelinedConnections;

  constructor({ pool, settings, connections, prepare, waiters }: SingleStatementsOptions) {
    this.#pool = pool;
    this.#waiters = waiters;
    const forReads = Math.ceil(connections / 2);
    this.#reads = new PipelinedConnections(settings, { maxConnections: forReads, maxDepth: maxDepth.reads, prepare });
    this.#writes = new PipelinedConnections(settings, {
      maxConnections: connections - forReads,
      maxDepth: maxDepth.writes,
      prepare: (client) => prepareForProbes(client, prepare),
    });
  }

  query(statement: Statement, values: readonly unknown[], guard: Guard = (sent) => sent): Promise<pg.QueryResult> {
    const { row, failsWhenLocked } = statement;
    const connections = canWaitForLock(statement) ? this.#writes : this.#reads;
    const query = queryOf(statement, values);
    const work = async (isRepeated: boolean): Promise<pg.QueryResult> => {
      const send = (toSend: pg.QueryConfig): Promise<pg.QueryResult> => {
        if (isRepeated) return sendPatiently(this.#pool, toSend, guard);
        const sent = connections.query(toSend);
        return sent ? guard(sent) : sendOnPool(this.#pool, toSend, guard);
      };
      try {
        return await send(query);
      } catch (error) {
        if (!isPlanInvalid(error)) throw error;
        return await send({ ...query, name: '' });
      }
    };
    return failsWhenLocked ? work(false) : this.#waiters.attempt(row && (() => row(values)), work);
  }

  figures(): Record<'reads' | 'writes', PipelineFigures> {
    return { reads: this.#reads.figures(), writes: this.#writes.figures() };
  }

  async close(): Promise<void> {
    await Promise.all([this.#reads.close(), this.#writes.close()]);
  }
}

const lockingClause =
  /\b(insert\s+into|update|delete\s+from|merge\s+into|truncate|for\s+(key\s+)?share|lock\s+table)\b/i;
const knownStatements = new WeakMap<Statement, boolean>();

/** Whether another transaction can make the statement wait, by a row that it holds. Read from the text once. */
function canWaitForLock(statement: Statement): boolean {
  let can = knownStatements.get(statement);
  if (can === undefined) {
    can = lockingClause.test(statement.text);
    knownStatements.set(statement, can);
  }
  return can;
}

/** Prepares a connection for first attempts. Until then, the wait for a lock has the time-out of its settings. */
export async function prepareForProbes(client: pg.ClientBase, prepare: Prepare): Promise<void> {
  await prepare(client);
  await setLockTimeout(client, lockProbeMs);
}

function setLockTimeout(client: pg.ClientBase, timeoutMs: number): Promise<pg.QueryResult> {
  const query: pg.QueryConfig & pg.ClientConfig = {
    text: `set lock_timeout = ${timeoutMs}`,
    query_timeout: setTimeoutMs,
  };
  return client.query(query);
}

/** Like `pool.query`. Only here is it known whether the failure came before the statement was sent. */
async function sendOnPool(pool: pg.Pool, query: pg.QueryConfig, guard: Guard): Promise<pg.QueryResult> {
  const client = await pool.connect();
  try {
    const result = await guard(client.query(query));
    client.release();
    return result;
  } catch (error) {
    releaseAfter(error, client);
    throw error;
  }
}

async function sendPatiently(pool: pg.Pool, query: pg.QueryConfig, guard: Guard): Promise<pg.QueryResult> {
  const client = await connectPatiently(pool);
  try {
    const result = await guard(client.query(query));
    releasePatient(client);
    return result;
  } catch (error) {
    releaseAfter(error, client);
    throw error;
  }
}

/** Takes a connection of the pool whose statements wait for a lock for `lockWaitMs`. */
export async function connectPatiently(pool: pg.Pool): Promise<pg.PoolClient> {
  const client = await pool.connect();
  try {
    await setLockTimeout(client, lockWaitMs);
    return client;
  } catch (error) {
    client.release(true);
    throw error;
  }
}

/** Keeps the connection when only the statement failed: a new one costs far more. */
function releaseAfter(error: unknown, client: pg.PoolClient): void {
  if (meansLost(error)) client.release(true);
  else releasePatient(client);
}

/** Returns a connection to the pool, once it has answered everything and waits for a lock as the others do. */
export function releasePatient(client: pg.PoolClient): void {
  void whenReady(client)
    .then(() => setLockTimeout(client, lockProbeMs))
    .then(
      () => client.release(),
      () => client.release(true),
    );
}

/**
 * Resolves when the server is done with the statement that was sent last. Of an error it says so only after the error.
 * @throws when that takes longer than `setTimeoutMs`
 */
async function whenReady(client: pg.PoolClient): Promise<void> {
  const { readyForQuery } = client as unknown as { readyForQuery: boolean };
  if (!readyForQuery) await once(client, 'drain', { signal: AbortSignal.timeout(setTimeoutMs) });
}
