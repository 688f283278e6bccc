// The database of a service at its start: migrated, and in an epoch.
import { type Database, type DatabaseOptions, openDatabase } from '../database/database.ts';
import { migrate, retryUntilAvailable } from '../database/migrations.ts';
import { ensureEpoch, ensureEpochOn } from '../outbox/epoch.ts';
import type { Logger } from '../telemetry/logger.ts';

/** @throws the database's error after 30 s without a database, or when a migration fails */
export async function openMigratedDatabase(options: DatabaseOptions, log: Logger): Promise<Database> {
  const applied = await migrate({ ...options, url: options.directUrl ?? options.url }, log);
  if (applied.length > 0) log.info({ migrations: applied }, 'migrated');
  const onConnect: NonNullable<DatabaseOptions['onConnect']> = (connection) => ensureEpochOn(connection, log);
  const database = await openDatabase({ ...options, onConnect });
  try {
    // Before an id is given: on another server, the ids begin above those that this database may have given and lost.
    await retryUntilAvailable(log, () => ensureEpoch(database, log));
    return database;
  } catch (error) {
    await database.close();
    throw error;
  }
}
