// The database of a service at its start: migrated, in an epoch, and with room for the service's connections.
import { type Database, type DatabaseOptions, openDatabase } from '../database/database.ts';
import { migrate, retryUntilAvailable, waitForMigrations } from '../database/migrations.ts';
import { checkConnectionLimits } from '../database/startup/connection-limits.ts';
import { ensureEpoch, ensureEpochOn } from '../outbox/epoch.ts';
import type { Logger } from '../telemetry/logger.ts';
import type { ServiceConfig } from './service-config.ts';

/**
 * @throws the database's error after 30 s without a database, or when a migration fails; ConfigError when a migration
 *   gets no lock, is pending although MIGRATE=off, or when the database does not allow this process its connections
 */
export async function openMigratedDatabase(
  base: DatabaseOptions,
  log: Logger,
  config: ServiceConfig,
): Promise<Database> {
  const options: DatabaseOptions = {
    ...base,
    directUrl: config.DIRECT_DATABASE_URL,
    poolMax: config.DATABASE_POOL_MAX,
    pipelinedConnections: config.DATABASE_PIPELINED_CONNECTIONS,
  };
  const direct = { ...options, url: options.directUrl ?? options.url };
  const waitMs = config.MIGRATION_WAIT_SECONDS * 1000;
  if (config.MIGRATE === 'off') await waitForMigrations(direct, log, waitMs);
  else {
    const applied = await migrate(direct, log, { waitMs });
    if (applied.length > 0) log.info({ migrations: applied }, 'migrated');
  }
  const onConnect: NonNullable<DatabaseOptions['onConnect']> = (connection) => ensureEpochOn(connection, log);
  const database = await openDatabase({ ...options, onConnect });
  try {
    await retryUntilAvailable(log, () => checkConnectionLimits(database, config, log));
    // Before an id is given: on another server, the ids begin above those that this database may have given and lost.
    await retryUntilAvailable(log, () => ensureEpoch(database, log));
    return database;
  } catch (error) {
    await database.close();
    throw error;
  }
}
