// Prepared statements.
import pg from 'pg';

/** A statement with a name, unique per service, is prepared once per connection. */
export interface Statement {
  name?: string;
  text: string;
}

/** Sets the type parsers of the driver. MikroORM's pool returns times as text, for its own hydration. */
export function queryOf(statement: Statement, values: readonly unknown[]): pg.QueryConfig {
  return { ...statement, values: [...values], types: pg.types };
}
