// A lock that one process of all replicas can hold.
import type { Connection, Database } from './database.ts';

/**
 * Takes a session-level advisory lock that only one process of all replicas can hold, on a connection of its own.
 * It is held until that connection ends or dies, or the server has heard nothing on it for `silentMs`: the server
 * keeps a session whose network has forgotten it for hours, and its lock with it.
 * @returns undefined when another holds it
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
