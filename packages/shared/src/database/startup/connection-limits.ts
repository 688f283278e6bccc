// Whether the database allows as many connections as this process may open: docs/operations.md, "Connections".
import { ConfigError } from '../../config.ts';
import type { Logger } from '../../telemetry/logger.ts';
import type { Database } from '../database.ts';
import { withOwnConnection } from '../own-connection.ts';

/** Limit → maximum number of connections that this role can have by it. A superuser has none but max_connections. */
type Limits = Record<'max_connections' | 'role' | 'database', number | null>;

interface PoolSizes {
  DATABASE_POOL_MAX: number;
  DATABASE_PIPELINED_CONNECTIONS: number;
}

/**
 * Asks the server once. Logs a warning if the connections of this process fit only once: in a rollout the old and the
 * new process are open at the same time.
 * @throws ConfigError if they do not even fit once
 */
export async function checkConnectionLimits(database: Database, sizes: PoolSizes, log: Logger): Promise<void> {
  const connections = sizes.DATABASE_POOL_MAX + sizes.DATABASE_PIPELINED_CONNECTIONS;
  // Behind a pooler the limits of the server itself count, hence a direct connection.
  const [limits] = await withOwnConnection(database, (connection) => connection.query<Limits>({ text: limitsQuery }));
  const found = Object.entries(limits ?? {}).filter((entry): entry is [string, number] => entry[1] !== null);
  const [limit, allowed] = found.sort(([, a], [, b]) => a - b)[0] ?? ['none', Number.POSITIVE_INFINITY];
  if (connections > allowed) throw tooMany(connections, limit, allowed);
  if (2 * connections <= allowed) return;
  log.warn(
    { connections, during_rollout: 2 * connections, allowed, limit },
    'a rollout of this service may exceed the connections that the database allows',
  );
}

function tooMany(connections: number, limit: string, allowed: number): ConfigError {
  const where = { role: "the role's connection limit", database: "the database's connection limit" }[limit] ?? limit;
  return new ConfigError(
    `DATABASE_POOL_MAX + DATABASE_PIPELINED_CONNECTIONS is ${connections}, but ${where} allows ${allowed}. ` +
      'Lower the two variables, or raise the limit.',
  );
}

/** Reserved connections are subtracted. `reserved_connections` exists since PostgreSQL 16. */
const limitsQuery = `
  select
    current_setting('max_connections')::int - case when rolsuper then 0 else
      current_setting('superuser_reserved_connections')::int
      + coalesce(current_setting('reserved_connections', true)::int, 0) end as max_connections,
    case when rolconnlimit >= 0 and not rolsuper then rolconnlimit end as role,
    case when datconnlimit >= 0 and not rolsuper then datconnlimit end as database
  from pg_roles, pg_database
  where rolname = current_user and datname = current_database()`;
