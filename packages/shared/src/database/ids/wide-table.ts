// What the catalog says of a table whose columns become bigint (widen-ids.ts).
import type pg from 'pg';

interface WideColumn {
  name: string;
  isRequired: boolean;
  /** As SQL; null when the column has none. */
  default: string | null;
  /** The sequence that the column owns, quoted. */
  sequence: string | null;
}

interface WideIndex {
  name: string;
  /** Of a primary key or a unique constraint; else null. */
  constraint: 'primary key' | 'unique' | null;
  /** Builds the same index over the new columns, concurrently, under `wideName` of its name. */
  definition: string;
}

export interface WideTable {
  schema: string;
  /** Quoted, with its schema. */
  name: string;
  /** The column of the primary key. */
  key: string;
  trigger: { name: string; function: string };
  /** The columns that are not bigint yet. */
  columns: WideColumn[];
  /** The indexes that have one of these columns. */
  indexes: WideIndex[];
  /** The sequences of all the columns, also of those that are bigint already. */
  sequences: string[];
  /** Whether the new columns are there. */
  isBegun: boolean;
}

/** The name of what takes the place of a column or of an index. */
export function wideName(name: string): string {
  return `${name}_wide`;
}

/** @throws Error when the table or a column is not there */
export async function readWideTable(
  session: pg.ClientBase,
  { schema, table, columns }: { schema: string; table: string; columns: readonly string[] },
): Promise<WideTable> {
  const name = `"${schema}"."${table}"`;
  const found = await rowsOf<WideColumn & { type: string }>(session, columnsSql(name));
  const wanted = columns.map((column) => {
    const each = found.find((row) => row.name === column);
    if (!each) throw new Error(`There is no column ${column} in ${schema}.${table}`);
    return each;
  });
  const narrow = wanted.filter(({ type }) => type === 'integer');
  const indexes = await rowsOf<Omit<WideIndex, 'definition'> & { columns: string[]; definition: string }>(
    session,
    indexesSql(name),
  );
  const [key] = indexes.find(({ constraint }) => constraint === 'primary key')?.columns ?? [];
  if (!key) throw new Error(`${schema}.${table} has no primary key`);
  const names = narrow.map((column) => column.name);
  return {
    schema,
    name,
    key,
    trigger: { name: `"${table}_wide_ids"`, function: `"${schema}"."${table}_wide_ids"` },
    columns: narrow,
    indexes: indexes
      .filter((index) => index.columns.some((column) => names.includes(column)))
      .map((index) => ({ ...index, definition: wideDefinition(index, names) })),
    sequences: wanted.flatMap(({ sequence }) => sequence ?? []),
    isBegun: found.some((row) => names.some((column) => row.name === wideName(column))),
  };
}

async function rowsOf<Row>(session: pg.ClientBase, sql: string): Promise<Row[]> {
  return (await session.query(sql)).rows as Row[];
}

function columnsSql(name: string): string {
  return `select attname as name, format_type(atttypid, null) as type, attnotnull as "isRequired",
      pg_get_expr(adbin, adrelid) as default, pg_get_serial_sequence('${name}', attname) as sequence
    from pg_attribute left join pg_attrdef on adrelid = attrelid and adnum = attnum
    where attrelid = '${name}'::regclass and attnum > 0 and not attisdropped`;
}

/** Without those that the exchange has built itself. */
function indexesSql(name: string): string {
  return `select pg_class.relname as name, pg_get_indexdef(indexrelid) as definition,
      case contype when 'p' then 'primary key' when 'u' then 'unique' end as constraint,
      (select json_agg(attname) from pg_attribute where attrelid = indrelid and attnum = any(indkey)) as columns
    from pg_index join pg_class on pg_class.oid = indexrelid
      left join pg_constraint on conindid = indexrelid and contype in ('p', 'u')
    where indrelid = '${name}'::regclass and pg_class.relname not like '%\\_wide'
    order by indexrelid`;
}

/** @param names of the columns that become bigint */
function wideDefinition({ name, definition }: { name: string; definition: string }, names: readonly string[]): string {
  const [head = '', tail = ''] = definition.split(' USING ');
  const renamed = names.reduce(
    (text, column) => text.replaceAll(new RegExp(`\\b${column}\\b`, 'g'), wideName(column)),
    tail,
  );
  const [create, on = ''] = head.split(` INDEX ${name} ON `);
  return `${create} INDEX CONCURRENTLY "${wideName(name)}" ON ${on} USING ${renamed}`;
}
