// A service's migrations, applied at its start and by command. MikroORM's migrator takes no lock. Every operation on a
// database is therefore done under a session advisory lock per schema, held on a second connection.
import { existsSync, mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { TSMigrationGenerator } from '@mikro-orm/migrations';
import { MikroORM } from '@mikro-orm/postgresql';
import { sleep } from '../backoff.ts';
import type { Logger } from '../telemetry/logger.ts';
import { type DatabaseOptions, ormOptions, poolOf } from './database.ts';
import { isDatabaseUnavailable } from './sqlstate.ts';

const databaseWaitMs = 30_000;
const retryDelayMs = 1_000;

/**
 * Applies the pending migrations, once for all replicas. Waits up to 30 s while the server is unavailable, also in the
 * middle.
 * @returns the names of the migrations applied by this call
 * @throws the database's error if the server is still unavailable, or if a migration fails
 */
export function migrate(options: DatabaseOptions, log: Logger): Promise<string[]> {
  // A retry starts from the beginning: it skips the migrations that the attempt before it has applied.
  return retryUntilAvailable(log, () =>
    withMigrationLock(options, log, async (orm) => (await orm.migrator.up()).map(({ name }) => name)),
  );
}

/** Reverts the migration that was applied last. @returns its name, or undefined when there is none */
export function revert(options: DatabaseOptions, log: Logger): Promise<string | undefined> {
  return withMigrationLock(options, log, async (orm) => {
    const executed = await orm.migrator.getExecuted();
    return executed.length > 0 ? (await orm.migrator.down())[0]?.name : undefined;
  });
}

/** Lists every migration, the oldest first; `appliedAt` is undefined for a pending one. */
export function listMigrations(options: DatabaseOptions, log: Logger): Promise<{ name: string; appliedAt?: Date }[]> {
  return withMigrationLock(options, log, async (orm) => {
    const executed = await orm.migrator.getExecuted();
    const pending = await orm.migrator.getPending();
    return [
      ...executed.map((migration) => ({ name: migration.name, appliedAt: migration.executed_at })),
      ...pending.map(({ name }) => ({ name })),
    ];
  });
}

/**
 * Writes a migration with the changes of the entities since the snapshot in the migrations' folder. Needs no database.
 * @returns the file's name, or undefined when nothing changed
 */
export function createMigration(options: DatabaseOptions, name?: string): Promise<string | undefined> {
  if (!existsSync(snapshotOf(options))) writeEmptySnapshot(options);
  return offline(options, async (orm) => {
    const { fileName } = await orm.migrator.create(undefined, false, false, name);
    return fileName || undefined;
  });
}

function snapshotOf({ migrations }: DatabaseOptions): string {
  return join(migrations, 'snapshot.json');
}

/** A new service starts from an empty schema. Without a snapshot the migrator would read the schema from a database. */
function writeEmptySnapshot(options: DatabaseOptions): void {
  const empty = { name: options.schema, namespaces: [options.schema], tables: [], views: [], nativeEnums: {} };
  mkdirSync(options.migrations, { recursive: true });
  writeFileSync(snapshotOf(options), JSON.stringify(empty, null, 2));
}

/** Leaves the schema itself out: provisioning creates it, and migrations must not create or drop it. */
class TablesOnlyGenerator extends TSMigrationGenerator {
  override generateMigrationFile(className: string, { up, down }: { up: string[]; down: string[] }) {
    const ofTables = (statements: string[]) => statements.filter((sql) => !/^(create|drop) schema /.test(sql));
    return super.generateMigrationFile(className, { up: ofTables(up), down: ofTables(down) });
  }
}

/** Whether the snapshot in the migrations' folder is up to date with the entities. Needs no database. */
export async function areMigrationsComplete(options: DatabaseOptions): Promise<boolean> {
  if (!existsSync(snapshotOf(options))) return false;
  return await offline(options, async (orm) => !(await orm.migrator.checkSchema()));
}

async function offline<Result>(options: DatabaseOptions, work: (orm: MikroORM) => Promise<Result>): Promise<Result> {
  const base = ormOptions(options);
  const orm = new MikroORM({
    ...base,
    migrations: { ...base.migrations, snapshot: true, snapshotName: 'snapshot', generator: TablesOnlyGenerator },
  });
  try {
    return await work(orm);
  } finally {
    await orm.close(true);
  }
}

async function withMigrationLock<Result>(
  options: DatabaseOptions,
  log: Logger,
  work: (orm: MikroORM) => Promise<Result>,
): Promise<Result> {
  const base = ormOptions({ ...options, poolMax: 2 }); // the lock's connection and the migrator's
  // A migration may take longer than a request.
  const timeouts = {
    statement_timeout: 0,
    query_timeout: 0,
    lock_timeout: 60_000,
    idle_in_transaction_session_timeout: 0,
  };
  const { schema: _, ...migrations } = base.migrations ?? {}; // with a schema, MikroORM runs nothing outside a transaction
  const orm = new MikroORM({ ...base, migrations, driverOptions: { ...base.driverOptions, ...timeouts } });
  try {
    const pool = await poolOf(orm);
    const client = await retryUntilAvailable(log, () => pool.connect());
    try {
      await client.query({
        text: 'select pg_advisory_lock(hashtextextended($1, 0))',
        values: [`promopulse.${options.schema}.migrations`],
      });
      return await work(orm);
    } finally {
      client.release(true);
    }
  } finally {
    await orm.close();
  }
}

/**
 * Repeats `work` while the database is unavailable, for up to 30 s. `work` must be repeatable: a failed attempt may have taken effect.
 */
export async function retryUntilAvailable<Result>(log: Logger, work: () => Promise<Result>): Promise<Result> {
  const deadline = Date.now() + databaseWaitMs;
  for (;;) {
    try {
      return await work();
    } catch (error) {
      if (!isDatabaseUnavailable(error) || Date.now() > deadline) throw error;
      log.warn({ err: error }, 'waiting for the database');
      await sleep(retryDelayMs);
    }
  }
}
