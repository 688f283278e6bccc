// Work on a connection of the pool that nothing else uses meanwhile.
import type { Connection, Database } from './database.ts';
import type { Statement } from './prepared.ts';

/** Ends the connection when `work` fails, because its session may be in any state. */
export async function withOwnConnection<Result>(
  database: Database,
  work: (connection: Connection) => Promise<Result>,
): Promise<Result> {
  const connection = await database.connect();
  try {
    const result = await work(connection);
    connection.release();
    return result;
  } catch (error) {
    connection.end();
    throw error;
  }
}

/**
 * For a statement that takes long: on a connection that is shared, the statements of requests would wait behind it. It is
 * planned each time, for its values: no plan of a former time can be invalid after a change of its tables.
 */
export function runApart<Row>(
  database: Database,
  { text, timeoutMs }: Statement,
  values: readonly unknown[],
): Promise<Row[]> {
  return withOwnConnection(database, async (connection) => {
    if (timeoutMs === undefined) return await connection.query<Row>({ text }, values);
    await connection.query({ text: `set statement_timeout = ${timeoutMs}` });
    const rows = await connection.query<Row>({ text, timeoutMs }, values);
    await connection.query({ text: 'reset statement_timeout' });
    return rows;
  });
}
