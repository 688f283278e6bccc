// The database of a service at its start: migrated, in an epoch, and with room for the service's connections. The gateway
// publishes no events, so its database has no epoch.
import { type Database, type DatabaseOptions, openDatabase } from '../database/database.ts';
import { migrate, retryUntilAvailable, waitForMigrations } from '../database/migrations.ts';
import { onDirectConnections } from '../database/sqlstate.ts';
import { checkConnectionLimits } from '../database/startup/connection-limits.ts';
import { ensureEpoch, ensureEpochOn } from '../outbox/epoch.ts';
import type { Logger } from '../telemetry/logger.ts';
import type { ServiceConfig } from './service-config.ts';

type DatabaseSettings = Pick<
  ServiceConfig,
  'DIRECT_DATABASE_URL' | 'DATABASE_POOL_MAX' | 'DATABASE_PIPELINED_CONNECTIONS' | 'MIGRATE' | 'MIGRATION_WAIT_SECONDS'
>;

/** What a database needs beyond its migrations, on each connection and before it is used. */
interface Preparation {
  onConnect?: NonNullable<DatabaseOptions['onConnect']>;
  prepare?(database: Database): Promise<unknown>;
}

/** The database of a service. @throws as `openPreparedDatabase` does */
export function openMigratedDatabase(base: DatabaseOptions, log: Logger, config: DatabaseSettings): Promise<Database> {
  return openPreparedDatabase(base, log, config, {
    onConnect: (connection) => ensureEpochOn(connection, log),
    // Before an id is given: on another server, the ids begin above those that this database may have given and lost.
    prepare: (database) => ensureEpoch(database, log),
  });
}

/**
 * @throws the database's error after 30 s without a database, or when a migration fails; ConfigError when a migration
 *   gets no lock, is pending although MIGRATE=off, or when the database does not allow this process its connections
 */
export async function openPreparedDatabase(
  base: DatabaseOptions,
  log: Logger,
  config: DatabaseSettings,
  { onConnect, prepare }: Preparation = {},
): Promise<Database> {
  const options: DatabaseOptions = {
    ...base,
    directUrl: config.DIRECT_DATABASE_URL,
    poolMax: config.DATABASE_POOL_MAX,
    pipelinedConnections: config.DATABASE_PIPELINED_CONNECTIONS,
  };
  const direct = { ...options, url: options.directUrl ?? options.url };
  const waitMs = config.MIGRATION_WAIT_SECONDS * 1000;
  const onDirect = options.directUrl === undefined ? <Result>(work: () => Result) => work() : onDirectConnections;
  if (config.MIGRATE === 'off') await onDirect(() => waitForMigrations(direct, log, waitMs));
  else {
    const onlyExpand = config.MIGRATE === 'expand';
    const applied = await onDirect(() => migrate(direct, log, { waitMs, onlyExpand }));
    if (applied.length > 0) log.info({ migrations: applied }, 'migrated');
  }
  const database = await openDatabase({ ...options, ...(onConnect && { onConnect }) });
  try {
    await onDirect(() => retryUntilAvailable(log, () => checkConnectionLimits(database, config, log)));
    if (prepare) await retryUntilAvailable(log, () => prepare(database));
    return database;
  } catch (error) {
    await database.close();
    throw error;
  }
}
