// A lock that at most one process of all replicas holds.
import type { Connection, Database } from './database.ts';

/**
 * Tries to take a session-level advisory lock, on a connection of its own. The lock ends with that session.
 * The server ends the session after `idleTimeoutMs` without a statement. Otherwise a lost connection would hold the
 * lock for hours.
 * @returns the connection that holds the lock; undefined when another process holds it
 */
export async function tryLock(
  database: Database,
  name: string,
  idleTimeoutMs = 60_000,
): Promise<Connection | undefined> {
  const connection = await database.connect();
  try {
    const rows = await connection.query<{ locked: boolean }>(
      { text: 'select pg_try_advisory_lock(hashtextextended($1, 0)) as locked' },
      [`promopulse.${database.schema}.${name}`],
    );
    if (!rows[0]?.locked) {
      connection.release();
      return undefined;
    }
    await connection.query({ text: `select set_config('idle_session_timeout', $1, false)` }, [String(idleTimeoutMs)]);
    return connection;
  } catch (error) {
    connection.end();
    throw error;
  }
}
