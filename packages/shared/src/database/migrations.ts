// A service's migrations, applied at its start and by command, by one process at a time (startup/migration-lock.ts) and
// with short waits for locks (startup/lock-waits.ts).
import { existsSync, mkdirSync, readdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { TSMigrationGenerator } from '@mikro-orm/migrations';
import { MikroORM } from '@mikro-orm/postgresql';
import pg from 'pg';
import { z } from 'zod';
import { sleep } from '../backoff.ts';
import { ConfigError } from '../config.ts';
import { summarizeError } from '../telemetry/describe-error.ts';
import { type Logger, warnRepeatedly } from '../telemetry/logger.ts';
import { type DatabaseOptions, ormOptions } from './database.ts';
import { explainRefusedConnection, isDatabaseUnavailable } from './sqlstate.ts';
import { defaultWaitMs } from './startup/lock-waits.ts';
import { migrationTable } from './startup/migration-lock.ts';
import { withMigrator } from './startup/migrator-session.ts';

const databaseWaitMs = 30_000;
const retryDelayMs = 1_000;
const pendingLogMs = 10_000;

export const migrationConfig = {
  /**
   * on: the service applies all migrations. expand: it leaves out those after which the release before does not work.
   * off: it applies none, and starts once the migration command has applied what `expand` applies.
   */
  MIGRATE: z.enum(['on', 'expand', 'off']).default('on'),
  /**
   * Seconds for which each migration tries to get its locks (each statement, if it runs outside a transaction). With
   * MIGRATE=off: for which the start waits until no migration is pending.
   */
  MIGRATION_WAIT_SECONDS: z.coerce
    .number()
    .int()
    .min(0)
    .max(86_400)
    .default(defaultWaitMs / 1000),
};

interface MigrateOptions {
  /** MIGRATION_WAIT_SECONDS, in milliseconds. */
  waitMs?: number;
  onApplied?: (name: string) => void;
  /** Leaves out the migrations after which the release before does not work. An empty schema gets all of them. */
  onlyExpand?: boolean;
}

/**
 * Applies the pending migrations, once for all replicas. Waits up to 30 s while the server is unavailable, also in the
 * middle, and for as long as another process migrates.
 * @returns the names of the migrations applied by this call
 * @throws ConfigError when a migration gets no lock within `waitMs`, the database's error if the server is still
 *   unavailable, or if a migration fails
 */
export async function migrate(options: DatabaseOptions, log: Logger, more: MigrateOptions = {}): Promise<string[]> {
  const applied: string[] = [];
  // A retry starts from the beginning: it skips the migrations that the attempt before it has applied.
  await retryUntilAvailable(log, () =>
    withMigrator(options, log, more.waitMs, async ({ pool, locked }) => {
      const wanted = () => pendingOn(pool, options, more.onlyExpand);
      if ((await wanted()).length === 0) return; // another process may migrate to a newer release
      await locked(async (migrator, repeat) => {
        for (const name of await wanted()) {
          await repeat(() => migrator.up({ migrations: [name] })).catch((error: unknown) => {
            if (!isDatabaseUnavailable(error)) log.error({ migration: name, err: error }, 'a migration has failed');
            throw error;
          });
          applied.push(name);
          more.onApplied?.(name);
        }
      });
    }),
  );
  return applied;
}

/** Reverts the migration that was applied last. @returns its name, or undefined when there is none */
export function revert(options: DatabaseOptions, log: Logger, more: MigrateOptions = {}): Promise<string | undefined> {
  return withMigrator(options, log, more.waitMs, async ({ pool, locked }) => {
    await retryUntilAvailable(log, () => readApplied(pool, options));
    return await locked((migrator, repeat) => repeat(async () => (await migrator.down())[0]?.name));
  });
}

/** Lists every migration, the oldest first; `appliedAt` is undefined for a pending one. Takes no lock. */
export function listMigrations(options: DatabaseOptions, log: Logger): Promise<{ name: string; appliedAt?: Date }[]> {
  return withMigrator(options, log, undefined, async ({ pool }) => {
    const applied = await retryUntilAvailable(log, () => readApplied(pool, options));
    return [...applied, ...pendingBut(applied, options).map((name) => ({ name }))];
  });
}

/**
 * For MIGRATE=off: waits until the migration command has applied the migrations of this release, but those that end the
 * support of the release before. Migrations that this release does not know may be applied as well.
 * @throws ConfigError when one is still pending after `waitMs`
 */
export function waitForMigrations(options: DatabaseOptions, log: Logger, waitMs = defaultWaitMs): Promise<void> {
  return withMigrator(options, log, undefined, async ({ pool }) => {
    const deadline = Date.now() + waitMs;
    for (let loggedAt = Number.NEGATIVE_INFINITY; ; ) {
      const pending = await retryUntilAvailable(log, () => pendingOn(pool, options, true));
      if (pending.length === 0) return;
      if (Date.now() >= deadline) throw stillPending(pending);
      if (Date.now() - loggedAt >= pendingLogMs) {
        loggedAt = Date.now();
        log.warn({ pending }, 'waiting for the migration command, because MIGRATE=off');
      }
      await sleep(Math.min(retryDelayMs, Math.max(0, deadline - Date.now())));
    }
  });
}

function stillPending(pending: readonly string[]): ConfigError {
  const count = pending.length === 1 ? '1 migration is' : `${pending.length} migrations are`;
  return new ConfigError(
    `MIGRATE=off, and ${count} pending (the first: ${pending[0]}). Run \`node src/migrate.ts up\` in this image ` +
      '(`npm run migration:up -w services/<name>`), or set MIGRATE=on.',
  );
}

async function readApplied(pool: pg.Pool, { schema }: DatabaseOptions): Promise<{ name: string; appliedAt: Date }[]> {
  const table = `${pg.escapeIdentifier(schema)}.${migrationTable}`;
  const at = `to_char(executed_at at time zone 'utc', 'YYYY-MM-DD"T"HH24:MI:SS.MS"Z"')`; // MikroORM parses no dates here
  try {
    const { rows } = await pool.query<{ name: string; at: string }>(
      `select name, ${at} as at from ${table} order by id`,
    );
    return rows.map((row) => ({ name: row.name, appliedAt: new Date(row.at) }));
  } catch (error) {
    if ((error as { code?: unknown }).code === '42P01') return []; // no such table: nothing is applied
    throw error;
  }
}

async function pendingOn(pool: pg.Pool, options: DatabaseOptions, onlyExpand = false): Promise<string[]> {
  const applied = await readApplied(pool, options);
  const pending = pendingBut(applied, options);
  const isEmpty = applied.length === 0; // no release before has used it
  return onlyExpand && !isEmpty ? pending.filter((name) => !options.contractMigrations?.includes(name)) : pending;
}

function pendingBut(applied: readonly { name: string }[], { migrations }: DatabaseOptions): string[] {
  const files = readdirSync(migrations).filter((file) => file.endsWith('.ts') && !file.endsWith('.d.ts'));
  const names = new Set(applied.map(({ name }) => name));
  return files
    .map((file) => file.replace(/\.ts$/, ''))
    .filter((name) => !names.has(name))
    .sort();
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

/**
 * Repeats `work` while the database is unavailable, for up to 30 s. `work` must be repeatable: a failed attempt may have taken effect.
 */
export async function retryUntilAvailable<Result>(log: Logger, work: () => Promise<Result>): Promise<Result> {
  for (let deadline: number | undefined; ; ) {
    try {
      return await work();
    } catch (error) {
      deadline ??= Date.now() + databaseWaitMs; // work may have taken long before it failed
      if (!isDatabaseUnavailable(error) || explainRefusedConnection(error) || Date.now() > deadline) throw error;
      warnRepeatedly(log, summarizeError(error), 'waiting for the database of DATABASE_URL');
      await sleep(retryDelayMs);
    }
  }
}
