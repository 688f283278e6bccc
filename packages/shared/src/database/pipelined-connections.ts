// Connections that carry many statements at once, one behind the other (https://node-postgres.com/features/pipelining):
// what is asked in one turn goes out in one write and comes back in one read, which a request otherwise pays for alone.
// Each statement is a transaction of its own. One that has to wait, for a lock say, holds up those behind it: hence
// several connections, of which the least busy is taken, and none that has not answered for a while.
import { Socket } from 'node:net';
import pg from 'pg';
import { settleWithin } from '../backoff.ts';
import { coalesceWrites } from '../coalesce-writes.ts';

export interface PipelinedConnections {
  /** Undefined when no connection has room: the caller has a pool, whose queue has a time limit. */
  query(query: pg.QueryConfig): Promise<pg.QueryResult> | undefined;
  /** Lets what is under way finish, for a second at most. */
  close(): Promise<void>;
}

/** Statements under way on one connection. */
const maxDepth = 8;
/** Whoever is under way on a connection that has answered nothing for so long must wait; nobody else has to. */
const stallMs = 500;
const reopenAfterMs = 1_000;
const closesWithinMs = 1_000;

interface PipelinedConnection {
  client: pg.Client;
  inFlight: number;
  /** When it last answered, or was given something to do while it had nothing. */
  lastProgressAt: number;
}

/**
 * SQLSTATEs of a connection that is lost, or about to be (08, 57P), or on which a statement could not be prepared: those
 * sent behind it find it missing, or there twice.
 */
const lostStates = /^(08|57P|26000|42P05)/;

/** What has no SQLSTATE was said by the socket or the driver; a new connection is the safe answer also to the driver. */
function isLost(error: unknown): boolean {
  return !(error instanceof pg.DatabaseError) || lostStates.test(error.code ?? '');
}

/** @param most connections; they are opened one by one, when all that are there have something to do */
export function openPipelinedConnections(config: pg.ClientConfig, most: number): PipelinedConnections {
  const pipelines = new Set<PipelinedConnection>();
  let opening: Promise<void> | undefined;
  let openNotBefore = 0;
  let closed = false;

  async function openAnother(): Promise<void> {
    let client: pg.Client | undefined;
    try {
      // With TLS it is pg that writes to the socket on top of this one, statement by statement.
      const stream = (): Socket => coalesceWrites(new Socket(), setImmediate);
      client = new pg.Client({ ...config, pipeline: true, stream });
      const pipeline = { client, inFlight: 0, lastProgressAt: 0 };
      client.on('error', () => drop(pipeline)); // what is under way on it is rejected with the same
      client.on('end', () => drop(pipeline));
      await client.connect();
      if (closed) await client.end();
      else pipelines.add(pipeline);
    } catch {
      // Whoever asks meanwhile asks the pool, and hears from it what is wrong.
      openNotBefore = performance.now() + reopenAfterMs;
      client?.end().catch(() => undefined);
    }
  }

  /** Nothing more is sent on it. */
  function drop(pipeline: PipelinedConnection): void {
    if (pipelines.delete(pipeline)) pipeline.client.end().catch(() => undefined);
  }

  function leastBusy(now: number): PipelinedConnection | undefined {
    let least: PipelinedConnection | undefined;
    for (const pipeline of pipelines) {
      const { inFlight, lastProgressAt } = pipeline;
      const isStuck = inFlight > 0 && now - lastProgressAt > stallMs;
      if (!isStuck && inFlight < (least?.inFlight ?? maxDepth)) least = pipeline;
    }
    return least;
  }

  async function send(pipeline: PipelinedConnection, query: pg.QueryConfig, now: number): Promise<pg.QueryResult> {
    if (pipeline.inFlight === 0) pipeline.lastProgressAt = now;
    pipeline.inFlight += 1;
    try {
      return await pipeline.client.query(query);
    } catch (error) {
      if (isLost(error)) drop(pipeline);
      throw error;
    } finally {
      pipeline.inFlight -= 1;
      pipeline.lastProgressAt = performance.now();
    }
  }

  return {
    query: (query) => {
      if (closed) return undefined;
      const now = performance.now();
      const pipeline = leastBusy(now);
      const isBusy = !pipeline || pipeline.inFlight > 0;
      if (isBusy && !opening && pipelines.size < most && now >= openNotBefore) {
        opening = openAnother().finally(() => {
          opening = undefined;
        });
      }
      return pipeline && send(pipeline, query, now);
    },
    close: async () => {
      closed = true;
      // A server that has fallen silent, or is forgotten by the network, never says goodbye.
      const ends = [...pipelines].map(({ client }) => client.end());
      await settleWithin(closesWithinMs, Promise.all([opening, ...ends]));
    },
  };
}
