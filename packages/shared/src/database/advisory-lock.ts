// A lock that at most one process of all replicas holds.
import type { Connection, Database } from './database.ts';

/**
 * Tries to take a session-level advisory lock, on a connection of its own. The lock ends with that connection, which
 * the server closes after `silentMs` milliseconds without a statement: without this limit it would keep the session,
 * and its lock, for hours after the network has lost the connection.
 * @returns the connection that holds the lock; undefined when another process holds it
 */
export async function tryLock(database: Database, name: string, silentMs = 60_000): Promise<Connection | undefined> {
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
    await connection.query({ text: `select set_config('idle_session_timeout', $1, false)` }, [String(silentMs)]);
    return connection;
  } catch (error) {
    connection.end();
    throw error;
  }
}
