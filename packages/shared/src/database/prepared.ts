// Prepared statements.
import pg from 'pg';

/** With a name, unique per service, the server prepares it once per connection. */
export interface Statement {
  name?: string;
  text: string;
}

/** MikroORM's pool leaves times as text for its own hydration; here the driver's own types are wanted. */
export function queryOf(statement: Statement, values: readonly unknown[]): pg.QueryConfig {
  return { ...statement, values: [...values], types: pg.types };
}
