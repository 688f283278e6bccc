// Connections that carry many statements at once, one behind the other (https://node-postgres.com/features/pipelining):
// what is asked in one turn goes out in one write and comes back in one read, which a request otherwise pays for alone.
// Each statement is a transaction of its own. One that has to wait, for a lock say, holds up those behind it, for as
// long as the server's time-outs let it: hence several connections, and the least busy is taken.
import { Socket } from 'node:net';
import pg from 'pg';
import { within } from './backoff.ts';
import { writeTogether } from './write-together.ts';

export interface Pipelines {
  /** Undefined when no connection has room: the caller has a pool, whose queue has a time limit. */
  query(query: pg.QueryConfig): Promise<pg.QueryResult> | undefined;
  /** Lets what is under way finish, for a second at most. */
  close(): Promise<void>;
}

/** Statements under way on one connection: even slow ones are all answered before the last of them has waited too long. */
const deepest = 8;

const closesWithinMs = 1_000;

interface Pipeline {
  client: pg.Client;
  underWay: number;
}

/** SQLSTATEs of a connection that is lost, or about to be; what has none was said by the socket or the driver. */
const lostStates = /^(08|57P)/;

function isLost(error: unknown): boolean {
  return !(error instanceof pg.DatabaseError) || lostStates.test(error.code ?? '');
}

/** @param most connections; they are opened one by one, when all that are there have something to do */
export function openPipelines(config: pg.ClientConfig, most: number): Pipelines {
  const pipelines = new Set<Pipeline>();
  let opening = false;
  let closed = false;

  async function openAnother(): Promise<void> {
    opening = true;
    const stream = (): Socket => writeTogether(new Socket(), setImmediate);
    const client = new pg.Client({ ...config, pipeline: true, stream });
    const pipeline = { client, underWay: 0 };
    client.on('error', () => drop(pipeline)); // what is under way on it is rejected with the same
    client.on('end', () => drop(pipeline));
    try {
      await client.connect();
      if (closed) await client.end();
      else pipelines.add(pipeline);
    } catch {
      // Whoever asks meanwhile asks the pool, and hears from it what is wrong.
    } finally {
      opening = false;
    }
  }

  /** Nothing more is sent on it. */
  function drop(pipeline: Pipeline): void {
    if (pipelines.delete(pipeline)) pipeline.client.end().catch(() => undefined);
  }

  function leastBusy(): Pipeline | undefined {
    let least: Pipeline | undefined;
    for (const pipeline of pipelines) if (!least || pipeline.underWay < least.underWay) least = pipeline;
    return least;
  }

  async function send(pipeline: Pipeline, query: pg.QueryConfig): Promise<pg.QueryResult> {
    pipeline.underWay += 1;
    try {
      return await pipeline.client.query(query);
    } catch (error) {
      if (isLost(error)) drop(pipeline);
      throw error;
    } finally {
      pipeline.underWay -= 1;
    }
  }

  return {
    query: (query) => {
      if (closed) return undefined;
      const pipeline = leastBusy();
      const isBusy = !pipeline || pipeline.underWay > 0;
      if (isBusy && pipelines.size < most && !opening) void openAnother();
      if (!pipeline || pipeline.underWay >= deepest) return undefined;
      return send(pipeline, query);
    },
    close: async () => {
      closed = true;
      // A server that has fallen silent, or is forgotten by the network, never says goodbye.
      await within(closesWithinMs, Promise.all([...pipelines].map(({ client }) => client.end())));
    },
  };
}
