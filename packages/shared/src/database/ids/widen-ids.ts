// Makes columns of type integer bigint while requests go on. `alter column type` would rewrite the table under a lock that
// stops every request. So a large table gets new columns beside the old ones: a trigger fills them in new rows, batches
// fill them in the others, indexes are built concurrently, and one short transaction exchanges the columns.
// For a migration that is not transactional. A migration that was stopped in the middle goes on where it was.
import type { Migration } from '@mikro-orm/migrations';
import type pg from 'pg';
import { sleep } from '../../backoff.ts';
import { maxId } from '../../contracts/ids.ts';
import { isLockConflict } from '../sqlstate.ts';
import { readWideTable, type WideTable, wideName } from './wide-table.ts';

/** A table with fewer rows is rewritten in a fraction of a second. */
const defaultSmallRows = 10_000;

/** How long a lock is waited for that stops requests. The requests behind it wait as long. */
const lockTimeoutMs = 250;
/** The pause before a lock is tried again, so that the requests in between are answered. */
const lockPauseMs = { min: 300, max: 1_200 };
const lockDeadlineMs = 1_800_000;

/** A request that wants a row of a batch waits as long as the batch takes. */
const batchMs = 100;
const batchRows = { first: 1_000, min: 100, max: 10_000 };

interface WidenOptions {
  schema: string;
  table: string;
  columns: readonly string[];
  /** Number of rows from which the table is too large to be rewritten at once. */
  smallRows?: number;
}

/**
 * Makes the columns bigint, and lets the sequence of an id among them go on to 2^53 - 1. Columns that are bigint already
 * are left. The table's primary key is one column. No foreign key refers to the columns.
 * @throws the database's error, also when a lock was not available for half an hour
 */
export async function widenIds(migration: Pick<Migration, 'getEntityManager'>, options: WidenOptions): Promise<void> {
  // A session of its own: its settings must hold for every statement.
  const pool = (await migration.getEntityManager().getDriver().getConnection().getNativeClient()) as pg.Pool;
  const session = await pool.connect();
  try {
    await session.query('set statement_timeout = 0; set lock_timeout = 0; set idle_in_transaction_session_timeout = 0');
    // A batch finds its rows by the primary key. Without statistics, as in a table that was just filled, PostgreSQL would
    // read the whole table for each batch.
    await session.query('set enable_seqscan = off; set enable_hashjoin = off; set enable_mergejoin = off');
    await widenOn(session, options);
  } finally {
    session.release(true);
  }
}

async function widenOn(
  session: pg.ClientBase,
  { schema, table, columns, smallRows = defaultSmallRows }: WidenOptions,
): Promise<void> {
  const wide = await readWideTable(session, { schema, table, columns });
  if (wide.columns.length > 0) {
    if (!wide.isBegun && (await isSmall(session, wide.name, smallRows))) await alterTypes(session, wide);
    else await exchangeColumns(session, wide);
  }
  for (const sequence of wide.sequences) {
    await withShortLock(session, wide.name, [`alter sequence ${sequence} as bigint maxvalue ${maxId}`]);
  }
}

async function isSmall(session: pg.ClientBase, name: string, smallRows: number): Promise<boolean> {
  const { rowCount } = await session.query(`select from ${name} limit ${smallRows}`);
  return Number(rowCount) < smallRows;
}

async function alterTypes(session: pg.ClientBase, { name, columns }: WideTable): Promise<void> {
  const changes = columns.map((column) => `alter column "${column.name}" type bigint`);
  await withShortLock(session, name, [`alter table ${name} ${changes.join(', ')}`]);
}

async function exchangeColumns(session: pg.ClientBase, wide: WideTable): Promise<void> {
  await addColumns(session, wide);
  await fillColumns(session, wide);
  for (const { name, definition } of wide.indexes) await buildIndex(session, wide.schema, wideName(name), definition);
  for (const column of wide.columns.filter(({ isRequired }) => isRequired)) {
    const constraint = `"${wideName(column.name)}_check"`;
    await withShortLock(session, wide.name, [
      `alter table ${wide.name} drop constraint if exists ${constraint}`,
      `alter table ${wide.name} add constraint ${constraint} check ("${wideName(column.name)}" is not null) not valid`,
    ]);
    await session.query(`alter table ${wide.name} validate constraint ${constraint}`); // stops no reader or writer
  }
  await session.query(`analyze ${wide.name}`); // else the plans of the new columns are made without statistics
  await withShortLock(session, wide.name, exchangeStatements(wide));
}

/** From here on the trigger copies the old columns in every row that is written. */
async function addColumns(session: pg.ClientBase, { name, trigger, columns }: WideTable): Promise<void> {
  const added = columns.map((column) => `add column if not exists "${wideName(column.name)}" bigint`);
  const copies = columns.map((column) => `new."${wideName(column.name)}" := new."${column.name}";`);
  await withShortLock(session, name, [
    `alter table ${name} ${added.join(', ')}`,
    `create or replace function ${trigger.function}() returns trigger language plpgsql as $$
       begin ${copies.join(' ')} return new; end $$`,
    `create or replace trigger ${trigger.name} before insert or update on ${name}
       for each row execute function ${trigger.function}()`,
  ]);
}

/** Goes through the table by its primary key, in batches that commit, and rests between them for half of its time. */
async function fillColumns(session: pg.ClientBase, { name, key, columns }: WideTable): Promise<void> {
  const assignments = columns.map((column) => `"${wideName(column.name)}" = filled."${column.name}"`);
  const differences = columns.map(
    (column) => `filled."${wideName(column.name)}" is distinct from filled."${column.name}"`,
  );
  let after: string | null = String(-(2 ** 31));
  let size = batchRows.first;
  while (after !== null) {
    const startedAt = performance.now();
    const batch = `with batch as materialized (
        select "${key}" as key from ${name} where "${key}" > ${after} order by "${key}" limit ${size}
      ), updated as (
        update ${name} as filled set ${assignments.join(', ')} from batch
        where filled."${key}" = batch.key and (${differences.join(' or ')})
      ) select max(key)::text as last from batch`;
    const { rows } = await withShortLock(session, name, [batch]);
    after = (rows[0] as { last: string | null }).last;
    const tookMs = performance.now() - startedAt;
    size = Math.min(batchRows.max, Math.max(batchRows.min, Math.round((size * batchMs) / tookMs)));
    await sleep(tookMs / 2);
  }
}

/** An index whose building was stopped is invalid, and is built again. */
async function buildIndex(session: pg.ClientBase, schema: string, name: string, definition: string): Promise<void> {
  const index = `"${schema}"."${name}"`;
  const state = 'select indisvalid as "isValid" from pg_index where indexrelid = to_regclass($1)';
  const { rows } = await session.query<{ isValid: boolean }>(state, [index]);
  if (rows[0]?.isValid) return;
  // Both wait for the transactions that are older, and stop nobody meanwhile.
  if (rows[0]) await session.query(`drop index concurrently ${index}`);
  await session.query(definition);
}

/** In one transaction. A check that was validated makes `set not null` read no row. */
function exchangeStatements({ schema, name, trigger, columns, indexes }: WideTable): string[] {
  const perColumn = columns.flatMap((column) => {
    const added = wideName(column.name);
    return [
      ...(column.sequence ? [`alter sequence ${column.sequence} owned by ${name}."${added}"`] : []),
      ...(column.default ? [`alter table ${name} alter column "${added}" set default ${column.default}`] : []),
      ...(column.isRequired
        ? [
            `alter table ${name} alter column "${added}" set not null`,
            `alter table ${name} drop constraint "${added}_check"`,
          ]
        : []),
      `alter table ${name} drop column "${column.name}"`,
      `alter table ${name} rename column "${added}" to "${column.name}"`,
    ];
  });
  const perIndex = indexes.map((index) =>
    index.constraint
      ? `alter table ${name} add constraint "${index.name}" ${index.constraint} using index "${wideName(index.name)}"`
      : `alter index "${schema}"."${wideName(index.name)}" rename to "${index.name}"`,
  );
  return [
    `lock table ${name} in access exclusive mode`,
    `drop trigger ${trigger.name} on ${name}`,
    `drop function ${trigger.function}()`,
    ...perColumn,
    ...perIndex,
  ];
}

/**
 * Runs the statements in one transaction. When a lock is not available in time, or in a deadlock, nothing was done, and
 * all are repeated after a pause.
 * @returns the result of the last statement
 */
async function withShortLock(
  session: pg.ClientBase,
  table: string,
  statements: readonly string[],
): Promise<pg.QueryResult> {
  const deadline = Date.now() + lockDeadlineMs;
  // The first lock stops no request, so it may be waited for. It ends an autovacuum of the table and keeps off another,
  // which would outlast all attempts to get the lock after it. One message is one transaction, and one round trip.
  const message = [
    `lock table ${table} in share update exclusive mode`,
    `set local lock_timeout = ${lockTimeoutMs}`,
    ...statements,
  ].join(';\n');
  for (;;) {
    try {
      const results = (await session.query(message)) as unknown as pg.QueryResult[];
      return results.at(-1) as pg.QueryResult;
    } catch (error) {
      if (!isLockConflict(error) || Date.now() > deadline) throw error;
      await sleep(lockPauseMs.min + Math.random() * (lockPauseMs.max - lockPauseMs.min));
    }
  }
}
