// One service's Postgres: MikroORM for everything, and pg below it for the few hot statements that are worth preparing
// (MikroORM inlines literals into every text, so the server plans each one anew) and sending together (pipelines.ts).
import { Migrator } from '@mikro-orm/migrations';
import { type EntityManager, type EntitySchema, MikroORM, type Options } from '@mikro-orm/postgresql';
import type pg from 'pg';
import { z } from 'zod';
import { openPipelinedConnections } from './pipelined-connections.ts';
import { queryOf, type Statement } from './prepared.ts';

const defaultPipelinedConnections = 4;

export const databaseConfig = {
  DATABASE_URL: z.url({ protocol: /^postgres(ql)?$/, error: 'must be a postgres:// URL' }),
  /** Connections of this process for transactions; one of them leads the relay. */
  DATABASE_POOL_MAX: z.coerce.number().int().min(3).max(100).default(5),
  /** Connections besides for single statements, many at once on each. 0: those, too, take a connection of the pool each. */
  DATABASE_PIPELINED_CONNECTIONS: z.coerce.number().int().min(0).max(100).default(defaultPipelinedConnections),
};

/** A connection of the pool, held for itself. */
export interface Connection {
  query<Row>(statement: Statement, values?: readonly unknown[]): Promise<Row[]>;
  /** Gives it back to the pool, with whatever its session holds. */
  release(): void;
  /** Closes the connection, and with it ends the session's locks; what is under way on it fails. */
  end(): void;
}

// biome-ignore lint/suspicious/noExplicitAny: MikroORM's own type for a list of entities of any kind
export type Entities = EntitySchema<any>[];

export interface DatabaseOptions {
  url: string;
  schema: string;
  entities: Entities;
  /** Absolute path of the folder of migrations. */
  migrations: string;
  poolMax?: number;
  pipelinedConnections?: number;
}

export interface Database {
  schema: string;
  /** A fresh entity manager for one unit of work outside a transaction. */
  em(): EntityManager;
  /** Runs one transaction; once it is committed, whoever asked by `onCommit` is told. */
  transaction<Result>(work: (em: EntityManager) => Promise<Result>): Promise<Result>;
  /** Runs a prepared statement. */
  run<Row>(statement: Statement, values: readonly unknown[]): Promise<Row[]>;
  /** Runs a prepared statement that, when it returns rows, has recorded events: like a transaction of its own. */
  write<Row>(statement: Statement, values: readonly unknown[]): Promise<Row[]>;
  onCommit(listener: () => void): void;
  /** Whether the server answers now. @throws the database's error when it does not */
  isReachable(): Promise<boolean>;
  /** A connection of its own, for session locks. */
  connect(): Promise<Connection>;
  close(): Promise<void>;
}

/** MikroORM's options for a service's schema; also what the migration command starts from. */
export function ormOptions({ url, schema, entities, migrations, poolMax = 5 }: DatabaseOptions): Options {
  return {
    clientUrl: url,
    schema,
    entities,
    extensions: [Migrator],
    schemaGenerator: { ignoreTriggers: true, ignoreRoutines: true }, // migrations alone say what these are
    ensureDatabase: false, // else the first use, and not the first query, would connect; to create it is not our part
    migrations: {
      path: migrations,
      pathTs: migrations,
      schema,
      tableName: 'mikro_orm_migrations',
      snapshot: false,
      allOrNothing: false, // each in a transaction of its own: a lock that one takes ends with it
      emit: 'ts',
    },
    pool: { max: poolMax },
    forceUtcTimezone: true,
    logger: () => undefined,
    driverOptions: connectionOptions(schema),
  };
}

function connectionOptions(schema: string): pg.ClientConfig {
  return {
    // The server, too, lets go of a connection from which nothing comes any more, after about a minute.
    options: `-c search_path="${schema}" -c tcp_keepalives_idle=30 -c tcp_keepalives_interval=10 -c tcp_keepalives_count=3`,
    application_name: `promopulse-${schema}`,
    connectionTimeoutMillis: 2_000,
    statement_timeout: 2_000,
    query_timeout: 3_000, // the same on our side, for a server that has fallen silent
    lock_timeout: 1_000,
    idle_in_transaction_session_timeout: 5_000,
    keepAlive: true,
  };
}

/** Opens the pool lazily: succeeds while the server is down. */
export async function openDatabase(options: DatabaseOptions): Promise<Database> {
  const orm = new MikroORM(ormOptions(options));
  const pool = await poolOf(orm);
  dropSilentConnections(pool);
  // As MikroORM reads the URL: its pool and these go to the same place, with the same settings.
  const { host, port, user, password, database, ssl } = pool.options;
  const target = { host, port, user, password, database, ssl, ...connectionOptions(options.schema) };
  const pipelines = openPipelinedConnections(target, options.pipelinedConnections ?? defaultPipelinedConnections);
  const listeners: (() => void)[] = [];
  const committed = (): void => {
    for (const listener of listeners) listener();
  };
  const run = async <Row>(statement: Statement, values: readonly unknown[]): Promise<Row[]> => {
    const asked = queryOf(statement, values);
    return (await (pipelines.query(asked) ?? pool.query(asked))).rows as Row[];
  };
  return {
    schema: options.schema,
    em: () => orm.em.fork(),
    transaction: async (work) => {
      const result = await orm.em.fork().transactional(work);
      committed();
      return result;
    },
    run,
    write: async <Row>(statement: Statement, values: readonly unknown[]) => {
      const rows = await run<Row>(statement, values);
      if (rows.length > 0) committed();
      return rows;
    },
    onCommit: (listener) => listeners.push(listener),
    isReachable: async () => (await run({ name: 'ready', text: 'select 1' }, [])).length === 1,
    connect: async () => {
      const client = await pool.connect();
      let given = false;
      const giveBack = (destroy: boolean): void => {
        if (!given) client.release(destroy);
        given = true;
      };
      return {
        query: async (statement, values = []) => (await client.query(queryOf(statement, values))).rows,
        release: () => giveBack(false),
        end: () => giveBack(true),
      };
    },
    close: async () => {
      await pipelines.close();
      await orm.close();
      if (!pool.ending) await pool.end(); // MikroORM ends the pool only if it has used it itself
    },
  };
}

/** MikroORM gives a connection back also when its query was not answered in time; whoever got it next would wait in vain. */
function dropSilentConnections(pool: pg.Pool): void {
  pool.on('release', (_error, client) => {
    const { readyForQuery } = client as unknown as { readyForQuery: boolean };
    if (!readyForQuery) void (client as unknown as pg.Client).end();
  });
}

/** The node-postgres pool under an ORM. */
export function poolOf(orm: MikroORM): Promise<pg.Pool> {
  return orm.em.getConnection().getNativeClient();
}
