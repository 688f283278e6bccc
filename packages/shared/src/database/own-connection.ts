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

/** For a statement that takes long: on a connection that is shared, the statements of requests would wait behind it. */
export function runApart<Row>(database: Database, statement: Statement, values: readonly unknown[]): Promise<Row[]> {
  return withOwnConnection(database, (connection) => connection.query<Row>(statement, values));
}
