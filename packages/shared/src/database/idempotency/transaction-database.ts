// A Database whose every statement is part of one open transaction: a use case runs in it as it runs by itself. What
// would be a transaction of its own is a savepoint, so that a use case may go on after a statement that has failed.
import type { EntityManager } from '@mikro-orm/postgresql';
import type { QueryConfig } from 'pg';
import type { Database } from '../database.ts';
import { queryOf, type Statement } from '../prepared.ts';

/**
 * What MikroORM has of a transaction: Kysely passes both on to `pg`'s `client.query`, which also takes a QueryConfig in
 * the place of a text (test/database/pg-assumptions.test.ts).
 */
interface TransactionContext {
  executeQuery(query: { sql: QueryConfig; parameters: readonly unknown[] }): Promise<{ rows: unknown[] }>;
}

/**
 * @param em of the transaction
 * @param onRow called with the name of each row whose lock a statement may wait for (`rowName`)
 * @returns a database of the same schema; `connect`, `onCommit` and `close` are those of `database`
 */
export function withinTransaction(
  database: Database,
  em: EntityManager,
  onRow: (row: string) => void = () => undefined,
): Database {
  const run = async <Row>(statement: Statement, values: readonly unknown[] = []): Promise<Row[]> => {
    const context = em.getTransactionContext<TransactionContext>();
    if (!context) throw new Error('there is no transaction any more');
    // Without a name: a plan that no longer fits would end the transaction.
    const sql = queryOf({ text: statement.text }, values);
    return (await context.executeQuery({ sql, parameters: [...values] })).rows as Row[];
  };
  let savepoints = 0;
  /**
   * Each savepoint has a name of its own: of two with one name, a rollback goes back to the inner one, and would leave what
   * the outer work has done before. None is released, which would be one more round trip: the commit does so.
   */
  const nest = async <Result>(work: () => Promise<Result>): Promise<Result> => {
    savepoints += 1;
    const name = `work_${savepoints}`;
    await run({ text: `savepoint ${name}` });
    try {
      return await work();
    } catch (error) {
      em.clear(); // what was not flushed must not be flushed with the commit
      // The connection may be lost: then the first error says why.
      await run({ text: `rollback to savepoint ${name}` }).catch(() => undefined);
      throw error;
    }
  };
  return {
    ...database,
    em: () => em,
    run,
    write: (statement, values) => {
      if (statement.row) onRow(statement.row(values));
      return nest(() => run(statement, values));
    },
    transaction: (work, row) => {
      if (typeof row === 'string') onRow(row);
      return nest(async () => {
        const result = await work(em);
        await em.flush();
        return result;
      });
    },
  };
}
