// MikroORM's migrator on connections of its own, with time-outs for migrations and not for requests.
import { MikroORM } from '@mikro-orm/postgresql';
import type pg from 'pg';
import type { Logger } from '../../telemetry/logger.ts';
import { type DatabaseOptions, ormOptions, poolOf } from '../database.ts';
import { defaultWaitMs, LockWaits, lockTimeoutMs } from './lock-waits.ts';
import { takeMigrationLock } from './migration-lock.ts';
import { type MigrationGuard, shortLockMigrator } from './migration-runner.ts';

type Repeat = <Result>(work: () => Promise<Result>) => Promise<Result>;

interface MigratorContext {
  pool: pg.Pool;
  /** Runs `work` under the migration lock. `repeat` repeats an attempt that fails because of a lock. */
  locked<Result>(work: (migrator: MikroORM['migrator'], repeat: Repeat) => Promise<Result>): Promise<Result>;
}

/** Opens up to 3 connections: the lock's, the migration's and, if a migration takes long, the one that watches it. */
export async function withMigrator<Result>(
  options: DatabaseOptions,
  log: Logger,
  waitMs: number | undefined,
  work: (context: MigratorContext) => Promise<Result>,
): Promise<Result> {
  const { schema } = options;
  let guard: MigrationGuard | undefined;
  const base = ormOptions({ ...options, poolMax: 3 });
  const { schema: _, ...migrations } = base.migrations ?? {}; // with a schema, MikroORM refuses to run outside a transaction
  const orm = new MikroORM({
    ...base,
    migrations,
    extensions: [shortLockMigrator(() => guard as MigrationGuard)],
    driverOptions: { ...base.driverOptions, query_timeout: 0 },
  });
  const pool = await poolOf(orm);
  const applicationName = `promopulse-${schema}-migrator`;
  pool.options.onConnect = (client) => client.query(sessionSettings, [applicationName, String(lockTimeoutMs)]);
  try {
    return await work({
      pool,
      locked: async (migrateOn) => {
        const lock = await takeMigrationLock(orm, pool, schema, log);
        const locks = new LockWaits(pool, log, waitMs ?? defaultWaitMs);
        guard = { locks, assertHeld: lock.assertHeld };
        const repeat: Repeat = (attempt) =>
          locks.repeat(() => {
            lock.assertHeld();
            return attempt();
          });
        try {
          return await locks.watch(applicationName, () => migrateOn(orm.migrator, repeat));
        } finally {
          lock.release();
        }
      },
    });
  } finally {
    await orm.close();
    if (!pool.ending) await pool.end(); // MikroORM ends the pool only if it has used it itself
  }
}

/**
 * A migration may take longer than a request. Set here and not by the startup packet, in which node-postgres sends no
 * zero, so that the time-outs of the role would hold.
 */
const sessionSettings = `
  select set_config(name, case name when 'application_name' then $1 when 'lock_timeout' then $2 else '0' end, false)
  from pg_settings
  where name in ('application_name', 'lock_timeout', 'statement_timeout', 'transaction_timeout',
    'idle_in_transaction_session_timeout', 'idle_session_timeout')`;
