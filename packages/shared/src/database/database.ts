// One service's Postgres: MikroORM, and below it node-postgres for the few frequent statements that are worth preparing
// and pipelining (pipelined-connections.ts). MikroORM inlines literals into the SQL, so the server plans each text
// again.
import { Migrator } from '@mikro-orm/migrations';
import { type EntityManager, MikroORM, type Options } from '@mikro-orm/postgresql';
import pg from 'pg';
import { z } from 'zod';
import { outcomeUnknown } from '../errors.ts';
import { connectionOptions, databaseUrl } from './connection-settings.ts';
import { type Entities, queryOf, type Statement } from './prepared.ts';
import { type DatabaseFigures, figuresOf } from './single-statements/database-figures.ts';
import { LockWaiters, lockWaitMs } from './single-statements/lock-waiters.ts';
import {
  connectPatiently,
  prepareForProbes,
  releasePatient,
  SingleStatements,
} from './single-statements/single-statements.ts';
import { isUnanswered } from './sqlstate.ts';

const defaultPoolMax = 5;
const defaultPipelinedConnections = 4;
/** Maximum number of the pool's connections that wait for a lock for longer than a moment. */
const maxLockWaiters = 2;
/** Connections of the pool for the relay's lead and for work that does not wait. */
const reservedConnections = 3;

export const databaseConfig = {
  DATABASE_URL: databaseUrl,
  /** The same database past a pooler: for migrations and for `connect`. Default: DATABASE_URL. */
  DIRECT_DATABASE_URL: databaseUrl.optional(),
  /** Maximum number of this process's connections for transactions. The relay's leader holds one of them. */
  DATABASE_POOL_MAX: z.coerce.number().int().min(3).max(100).default(defaultPoolMax),
  /**
   * Maximum number of further connections that single statements share. 0: each statement takes a connection of the
   * pool.
   */
  DATABASE_PIPELINED_CONNECTIONS: z.coerce.number().int().min(0).max(100).default(defaultPipelinedConnections),
};

/** A connection of the pool, held until `release` or `end`. */
export interface Connection {
  query<Row>(statement: Statement, values?: readonly unknown[]): Promise<Row[]>;
  /** Returns the connection to the pool. Its session lives on. */
  release(): void;
  /** Closes the connection. Leases that were taken on it are free; statements in flight fail. */
  end(): void;
}

export interface DatabaseOptions {
  url: string;
  /** For `connect`. Default: `url`. */
  directUrl?: string | undefined;
  schema: string;
  entities: Entities;
  /** Absolute path of the migrations' folder. */
  migrations: string;
  /** Names of migrations after which the release before does not work. Default: none. */
  contractMigrations?: readonly string[];
  poolMax?: number;
  pipelinedConnections?: number;
  /** Runs on each new connection before anything else. When it fails, the connection is closed. */
  onConnect?: (connection: Pick<Connection, 'query'>) => Promise<unknown>;
}

export interface Database {
  schema: string;
  /** Forks an entity manager for one unit of work outside a transaction. */
  em(): EntityManager;
  /**
   * Runs one transaction. Calls the listeners of `onCommit` after the commit. `work` runs again, in a new transaction,
   * when a lock is not free at once.
   * @param row the name (`rowName`) of the row whose lock it may wait for, or a function that knows it by then
   * @throws outcomeUnknown when the answer to COMMIT did not come
   */
  transaction<Result>(
    work: (em: EntityManager) => Promise<Result>,
    row?: string | (() => string | undefined),
  ): Promise<Result>;
  /** Runs a prepared statement that records no event, and may be repeated without harm. */
  run<Row>(statement: Statement, values: readonly unknown[]): Promise<Row[]>;
  /**
   * Runs a prepared statement that records events if it returns rows. Then it calls the listeners of `onCommit`.
   * @throws outcomeUnknown when the statement was sent and its answer did not come
   */
  write<Row>(statement: Statement, values: readonly unknown[]): Promise<Row[]>;
  onCommit(listener: () => void): void;
  /** @returns true if the server answers @throws the database's error if it does not */
  isReachable(): Promise<boolean>;
  /** Takes a connection for leases and long statements: out of the pool, or of a pool of `directUrl`. */
  connect(): Promise<Connection>;
  figures(): DatabaseFigures;
  close(): Promise<void>;
}

/** MikroORM's options for a service's schema. The migrations use them as well. */
export function ormOptions({ url, schema, entities, migrations, poolMax = defaultPoolMax }: DatabaseOptions): Options {
  const connection = connectionOptions({ url, schema });
  return {
    dbName: connection.database ?? '',
    schema,
    entities,
    extensions: [Migrator],
    schemaGenerator: { ignoreTriggers: true, ignoreRoutines: true }, // they are defined in migrations only
    ensureDatabase: false, // otherwise opening would connect, and create a missing database
    migrations: {
      path: migrations,
      pathTs: migrations,
      schema,
      tableName: 'mikro_orm_migrations',
      snapshot: false,
      allOrNothing: false, // one transaction per migration, so that its locks end with it
      emit: 'ts',
    },
    pool: { max: poolMax },
    forceUtcTimezone: true,
    logger: () => undefined,
    driverOptions: connection,
  };
}

/** Opens no connection before the first query, so it succeeds while the server is down. */
export async function openDatabase(options: DatabaseOptions): Promise<Database> {
  const { schema, pipelinedConnections = defaultPipelinedConnections, onConnect } = options;
  const orm = new MikroORM(ormOptions(options));
  const pool = await poolOf(orm);
  const prepare = async (client: pg.ClientBase): Promise<void> => {
    await onConnect?.({
      query: async (statement, values = []) => (await client.query(queryOf(statement, values))).rows,
    });
  };
  const direct = directPool(options) ?? pool;
  for (const each of new Set([pool, direct])) {
    closeUnansweredConnections(each);
    each.options.onConnect = (client: pg.ClientBase) => prepareForProbes(client, prepare);
  }
  const waiters = new LockWaiters(Math.max(1, Math.min(maxLockWaiters, pool.options.max - reservedConnections)));
  const settings = connectionOptions(options);
  const single = new SingleStatements({ pool, settings, connections: pipelinedConnections, prepare, waiters });
  const listeners: (() => void)[] = [];
  const notifyCommit = (): void => {
    for (const listener of listeners) listener();
  };
  const run = async <Row>(statement: Statement, values: readonly unknown[]): Promise<Row[]> =>
    (await single.query(statement, values)).rows as Row[];
  return {
    schema,
    em: () => orm.em.fork(),
    transaction: async (work, row) => {
      const result = await waiters.attempt(typeof row === 'string' ? () => row : row, (isRepeated) =>
        runTransaction(orm.em.fork(), isRepeated ? patiently(work) : work),
      );
      notifyCommit();
      return result;
    },
    run,
    write: async <Row>(statement: Statement, values: readonly unknown[]) => {
      const { rows } = await single.query(statement, values, rejectUnanswered);
      if (rows.length > 0) notifyCommit();
      return rows as Row[];
    },
    onCommit: (listener) => listeners.push(listener),
    isReachable: async () => (await run({ name: 'ready', text: 'select 1' }, [])).length === 1,
    connect: async () => heldConnection(await connectPatiently(direct)),
    figures: () => figuresOf({ pool, direct }, single, waiters),
    close: async () => {
      await single.close();
      await orm.close();
      for (const each of [pool, direct]) if (!each.ending) await each.end(); // MikroORM ends only a pool that it has used
    },
  };
}

/** @returns undefined when `connect` may use the pool of all */
function directPool({ url, directUrl = url, schema, poolMax = defaultPoolMax }: DatabaseOptions): pg.Pool | undefined {
  if (directUrl === url) return undefined;
  const pool = new pg.Pool({ ...connectionOptions({ url: directUrl, schema }), max: poolMax });
  // As MikroORM does with its own pool. Whoever waits for an answer gets the same error.
  pool.on('error', () => undefined);
  pool.on('connect', (client) => client.on('error', () => undefined));
  return pool;
}

async function runTransaction<Result>(
  em: EntityManager,
  work: (em: EntityManager) => Promise<Result>,
): Promise<Result> {
  let committing = false;
  const transaction = em.transactional(async (inner) => {
    const result = await work(inner);
    await inner.flush(); // after it, only COMMIT is left to be sent
    committing = true;
    return result;
  });
  return await transaction.catch((error) => {
    throw committing && isUnanswered(error) ? outcomeUnknown(error) : error;
  });
}

/** Lets the statements of a transaction wait for a lock for the full time. */
function patiently<Result>(work: (em: EntityManager) => Promise<Result>): typeof work {
  return async (em) => {
    await em.execute(`set local lock_timeout = ${lockWaitMs}`);
    return await work(em);
  };
}

/** @param sent a statement on its way to the server */
function rejectUnanswered(sent: Promise<pg.QueryResult>): Promise<pg.QueryResult> {
  return sent.catch((error) => {
    throw isUnanswered(error) ? outcomeUnknown(error) : error;
  });
}

function heldConnection(client: pg.PoolClient): Connection {
  let held = true;
  /** A renewal of a lease may come while the holder's own statement runs. One waits for the other here, not in pg. */
  let last: Promise<unknown> = Promise.resolve();
  const once = (giveBack: () => void): void => {
    if (held) giveBack();
    held = false;
  };
  return {
    query: async (statement, values = []) => {
      const result = last.then(() => client.query(queryOf(statement, values)));
      last = result.catch(() => undefined);
      return (await result).rows;
    },
    release: () => once(() => releasePatient(client)),
    end: () => once(() => client.release(true)),
  };
}

/**
 * Closes a connection that is released while its query is unanswered. MikroORM releases it after the query's timeout,
 * and the next query on it would wait behind the first.
 */
function closeUnansweredConnections(pool: pg.Pool): void {
  pool.on('release', (_error, client) => {
    const { readyForQuery } = client as unknown as { readyForQuery: boolean };
    if (!readyForQuery) void (client as unknown as pg.Client).end();
  });
}

/** The node-postgres pool that MikroORM uses. */
export function poolOf(orm: MikroORM): Promise<pg.Pool> {
  return orm.em.getConnection().getNativeClient();
}
