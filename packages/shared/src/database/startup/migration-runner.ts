// MikroORM's migrator, with short waits for locks also in migrations outside a transaction. Such a migration
// (`isTransactional` returns false) is executed statement by statement, each in a transaction of its own. If one fails,
// the migration begins again at the next start: each of its statements must be repeatable.
import { type Migration, MigrationRunner, Migrator } from '@mikro-orm/migrations';
import type { AbstractSqlDriver, EntityManager } from '@mikro-orm/postgresql';
import type pg from 'pg';
import { type LockWaits, lockTimeoutMs } from './lock-waits.ts';

/** What a migration waits with, once its lock and its connections are there. */
export interface MigrationGuard {
  locks: LockWaits;
  /** @throws if another process may migrate now */
  assertHeld(): void;
}

/** MikroORM's extension, whose runner asks `guard` for each statement outside a transaction. */
export function shortLockMigrator(guard: () => MigrationGuard): Pick<typeof Migrator, 'register'> {
  class ShortLockMigrator extends Migrator {
    protected override createRunner(): MigrationRunner {
      return new ShortLockRunner(guard, [this.driver, this.options, this.config]);
    }
  }
  return {
    register: (orm) =>
      orm.config.registerExtension('@mikro-orm/migrator', () => new ShortLockMigrator(orm.em as EntityManager)),
  };
}

class ShortLockRunner extends MigrationRunner {
  readonly #guard: () => MigrationGuard;

  constructor(guard: () => MigrationGuard, options: ConstructorParameters<typeof MigrationRunner>) {
    super(...options);
    this.#guard = guard;
  }

  /** Inside a transaction the migration is repeated as a whole, by the caller. */
  override async run(
    migration: Migration,
    method: 'up' | 'down',
    afterRun?: Parameters<MigrationRunner['run']>[2],
  ): Promise<void> {
    if (migration.isTransactional()) return await super.run(migration, method, afterRun);
    migration.reset();
    const execute = migration.execute.bind(migration);
    migration.execute = (sql, params) => this.#repeat(() => execute(sql, params));
    await migration[method]();
    for (const sql of migration.getQueries()) {
      await this.#repeat<unknown>(() =>
        typeof sql === 'string' && /\bconcurrently\b/i.test(sql)
          ? runConcurrently(this.driver, sql)
          : this.driver.execute(sql),
      );
    }
    await afterRun?.();
  }

  #repeat<Result>(work: () => Promise<Result>): Promise<Result> {
    const { locks, assertHeld } = this.#guard();
    return locks.repeat(() => {
      assertHeld();
      return work();
    });
  }
}

const createdIndex = /\bcreate\s+(?:unique\s+)?index\s+concurrently\s+(?:if\s+not\s+exists\s+)?("[^"]+"|\w+)\s+on\s/i;

/**
 * A statement with CONCURRENTLY waits for old transactions, and nobody waits behind it: it needs no time-out. One that
 * failed leaves an invalid index, which `if not exists` would take for the index. So an invalid one is dropped first.
 */
async function runConcurrently(driver: AbstractSqlDriver, sql: string): Promise<void> {
  const client = await ((await driver.getConnection().getNativeClient()) as pg.Pool).connect();
  try {
    await client.query('set lock_timeout = 0');
    const name = createdIndex.exec(sql)?.[1];
    const invalid = name ? (await client.query<{ name: string }>(invalidIndex, [name])).rows : [];
    for (const index of invalid) await client.query(`drop index concurrently if exists ${index.name}`);
    await client.query(sql);
    await client.query(`set lock_timeout = ${lockTimeoutMs}`);
    client.release();
  } catch (error) {
    client.release(true);
    throw error;
  }
}

const invalidIndex = `
  select indexrelid::regclass::text as name from pg_index where indexrelid = to_regclass($1) and not indisvalid`;
