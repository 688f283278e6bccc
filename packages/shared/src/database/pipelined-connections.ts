// Connections that carry many statements at once (https://node-postgres.com/features/pipelining). Statements of one
// turn of the event loop go out in one write, and their results come back in one read; otherwise each statement pays
// for both. Each statement is a transaction of its own. A statement that waits delays those behind it. So there are
// several connections: a statement goes to the least busy one that is not stalled.
import { Socket } from 'node:net';
import { TLSSocket } from 'node:tls';
import pg from 'pg';
import { settleWithin } from '../backoff.ts';
import { coalesceWrites } from '../coalesce-writes.ts';
import { isPlanInvalid } from './sqlstate.ts';

/** A connection silent this long gets no new statements. */
const stallMs = 500;
/** After a failure to connect, no connection is opened for this time. */
const reopenAfterMs = 1_000;
const closeTimeoutMs = 1_000;

interface PipelinedConnectionsOptions {
  maxConnections: number;
  /** Maximum number of statements in flight on one connection. */
  maxDepth: number;
  /** Runs on each new connection before it takes statements. */
  prepare?: (client: pg.ClientBase) => Promise<void>;
}

/** Open connections, statements in flight on them, and the most of both. */
export interface PipelineFigures {
  connections: number;
  maxConnections: number;
  statements: number;
  maxStatements: number;
}

/**
 * Opens up to `maxConnections` connections, one at a time, each when all the open ones are busy.
 * States: open, then closed. While it is open, each of its connections is
 * - ready: it takes statements while fewer than `maxDepth` are in flight;
 * - stalled: statements are in flight, and none was answered for `stallMs`; it is ready again after an answer;
 * - lost: it failed, so its statements fail as well; or its plans are invalid, and its statements in flight are still
 *   answered. It is removed, so that another one is opened.
 */
export class PipelinedConnections {
  readonly #config: pg.ClientConfig;
  readonly #maxConnections: number;
  readonly #maxDepth: number;
  readonly #prepare: (client: pg.ClientBase) => Promise<void>;
  readonly #connections = new Set<PipelinedConnection>();
  #opening: Promise<void> | undefined;
  #openNotBefore = 0;
  #closed = false;

  constructor(config: pg.ClientConfig, options: PipelinedConnectionsOptions) {
    this.#config = config;
    this.#maxConnections = options.maxConnections;
    this.#maxDepth = options.maxDepth;
    this.#prepare = options.prepare ?? (async () => {});
  }

  figures(): PipelineFigures {
    const statements = [...this.#connections].reduce((sum, { inFlight }) => sum + inFlight, 0);
    const maxStatements = this.#maxConnections * this.#maxDepth;
    return { connections: this.#connections.size, maxConnections: this.#maxConnections, statements, maxStatements };
  }

  /** @returns undefined when no connection is ready: the caller then uses its pool, whose queue has a time limit */
  query(query: pg.QueryConfig): Promise<pg.QueryResult> | undefined {
    if (this.#closed) return undefined;
    const now = performance.now();
    const connection = this.#leastBusy(now);
    if (!connection || connection.inFlight > 0) this.#openAnotherIfAllowed(now);
    return connection?.query(query, now);
  }

  /** Waits for the statements in flight, for a second at most. */
  async close(): Promise<void> {
    this.#closed = true;
    const ends = [...this.#connections].map((connection) => connection.end());
    // The limit is for a server that no longer answers: it does not confirm the end of a connection either.
    await settleWithin(closeTimeoutMs, Promise.all([this.#opening, ...ends]));
  }

  #leastBusy(now: number): PipelinedConnection | undefined {
    let least: PipelinedConnection | undefined;
    for (const connection of this.#connections) {
      if (!connection.isStalled(now) && connection.inFlight < (least?.inFlight ?? this.#maxDepth)) least = connection;
    }
    return least;
  }

  #openAnotherIfAllowed(now: number): void {
    if (this.#opening || this.#connections.size >= this.#maxConnections || now < this.#openNotBefore) return;
    this.#opening = this.#openAnother().finally(() => {
      this.#opening = undefined;
    });
  }

  async #openAnother(): Promise<void> {
    let connection: PipelinedConnection | undefined;
    try {
      connection = new PipelinedConnection(this.#config, (lost) => this.#remove(lost));
      await connection.connect(this.#prepare);
      if (this.#closed) await connection.end();
      else this.#connections.add(connection);
    } catch {
      // Statements use the pool in the meantime, which reports the cause.
      this.#openNotBefore = performance.now() + reopenAfterMs;
      connection?.end().catch(() => undefined);
    }
  }

  #remove(connection: PipelinedConnection): void {
    if (this.#connections.delete(connection)) connection.end().catch(() => undefined);
  }
}

class PipelinedConnection {
  inFlight = 0;
  /** The time of the last answer, or of the first statement after an idle time. */
  #lastProgressAt = 0;
  readonly #client: pg.Client;
  readonly #onLost: (connection: PipelinedConnection) => void;

  /** @param onLost also called for a connection that `end` has ended */
  constructor(config: pg.ClientConfig, onLost: (connection: PipelinedConnection) => void) {
    const stream = (): Socket => (config.ssl ? new Socket() : coalesceWrites(new Socket(), setImmediate));
    this.#client = new pg.Client({ ...config, pipeline: true, stream });
    this.#onLost = onLost;
    this.#client.on('error', () => onLost(this)); // the statements in flight are rejected with the same error
    this.#client.on('end', () => onLost(this));
  }

  async connect(prepare: (client: pg.ClientBase) => Promise<void>): Promise<void> {
    await this.#client.connect();
    // With TLS, node-postgres has put a TLS socket on top of the one from the constructor. It writes past that one.
    const { stream } = this.#client.connection;
    if (stream instanceof TLSSocket) coalesceWrites(stream, setImmediate);
    await prepare(this.#client);
  }

  isStalled(now: number): boolean {
    return this.inFlight > 0 && now - this.#lastProgressAt > stallMs;
  }

  async query(query: pg.QueryConfig, now: number): Promise<pg.QueryResult> {
    if (this.inFlight === 0) this.#lastProgressAt = now;
    this.inFlight += 1;
    try {
      return await this.#client.query(query);
    } catch (error) {
      if (meansLost(error)) this.#onLost(this);
      throw error;
    } finally {
      this.inFlight -= 1;
      this.#lastProgressAt = performance.now();
    }
  }

  end(): Promise<void> {
    return this.#client.end();
  }
}

/** SQLSTATEs of a connection that is lost or about to be. */
const lostStates = /^(08|57P)/;

/**
 * An error without a SQLSTATE comes from the socket or the driver: then, too, a new connection is the safe choice. So it
 * is where plans are invalid: the driver would send the same names again.
 */
export function meansLost(error: unknown): boolean {
  return !(error instanceof pg.DatabaseError) || lostStates.test(error.code ?? '') || isPlanInvalid(error);
}
