// One process at a time migrates a schema. The lock is a table lock in the schema itself, so no role can take it that may
// not write there. It is held by an idle transaction that has no snapshot and no transaction id: it keeps neither VACUUM
// nor CREATE INDEX CONCURRENTLY waiting. For the same reason nobody waits for it inside a statement: each asks again.
import type { MikroORM } from '@mikro-orm/postgresql';
import pg from 'pg';
import { sleep } from '../../backoff.ts';
import type { Logger } from '../../telemetry/logger.ts';
import { oldReleaseLockName, takeOldReleaseLock } from './old-release-lock.ts';

export const migrationTable = 'mikro_orm_migrations';

const pollMs = 100;
const logIntervalMs = 10_000;

export interface MigrationLock {
  /** @throws if the connection that held the lock was lost */
  assertHeld(): void;
  release(): void;
}

/** Waits until no other process migrates the schema. Creates the table of the applied migrations if it is missing. */
export async function takeMigrationLock(
  orm: MikroORM,
  pool: pg.Pool,
  schema: string,
  log: Logger,
): Promise<MigrationLock> {
  await ensureTable(orm);
  const client = await pool.connect();
  let lost: Error | undefined;
  client.on('error', (error: Error) => {
    lost = error;
  });
  try {
    await poll(log, () => excludeOldRelease(client, schema));
    await poll(log, () => tryTableLock(client, schema));
  } catch (error) {
    client.release(true);
    throw error;
  }
  return {
    assertHeld: () => {
      if (lost) throw lost;
    },
    release: () => client.release(true),
  };
}

async function poll(log: Logger, take: () => Promise<boolean>): Promise<void> {
  let loggedAt = Date.now();
  while (!(await take())) {
    if (Date.now() - loggedAt >= logIntervalMs) {
      loggedAt = Date.now();
      log.warn('waiting for another process, which migrates this schema');
    }
    await sleep(pollMs * (0.5 + Math.random()));
  }
}

async function tryTableLock(client: pg.PoolClient, schema: string): Promise<boolean> {
  await client.query('begin');
  try {
    const table = `${pg.escapeIdentifier(schema)}.${migrationTable}`;
    await client.query(`lock table ${table} in share update exclusive mode nowait`);
    return true;
  } catch (error) {
    if ((error as { code?: unknown }).code !== '55P03') throw error;
    await client.query('rollback');
    return false;
  }
}

/** What one of two sessions gets when both create the same table: the table, its type or a catalog's row exists. */
const alreadyCreated = new Set(['42P07', '42710', '23505']);

async function ensureTable(orm: MikroORM): Promise<void> {
  for (let attempt = 1; ; attempt++) {
    try {
      return await (orm.migrator.getStorage() as { ensureTable(): Promise<void> }).ensureTable();
    } catch (error) {
      if (attempt >= 5 || !alreadyCreated.has(String((error as { code?: unknown }).code))) throw error;
      await sleep(pollMs * Math.random());
    }
  }
}

/**
 * 0.1.0 migrates under a session advisory lock. It is taken as well, so that a replica of 0.1.0 does not migrate at the
 * same time. Another role can take it, too: then it is ignored.
 * @returns false while a session of this role holds it
 */
async function excludeOldRelease(client: pg.PoolClient, schema: string): Promise<boolean> {
  const { rows } = await client.query<{ free: boolean }>({
    text: takeOldReleaseLock,
    values: [oldReleaseLockName(schema, 'migrations')],
  });
  return rows[0]?.free === true;
}
