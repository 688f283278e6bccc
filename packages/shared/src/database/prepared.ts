// Prepared statements, and how MikroORM compiles them. The server plans a named statement once per connection. MikroORM
// itself sends every query as a text with its values inlined, which the server parses and plans again each time. So the
// QueryBuilder is used as a compiler: once, when a module is loaded, and never per request.
import { type EntityManager, type EntitySchema, isRaw, MikroORM, type Opt } from '@mikro-orm/postgresql';
import pg from 'pg';
import { JsonText } from '../values/json-text.ts';

// biome-ignore lint/suspicious/noExplicitAny: MikroORM's own type for a list of entities of any kind
export type Entities = EntitySchema<any>[];

/** A statement with a name, unique per service, is prepared once per connection. */
export interface Statement {
  name?: string;
  text: string;
  /** @returns the name (`rowName`) of the row whose lock the statement may wait for */
  row?(values: readonly unknown[]): string;
  /**
   * Of several rows, whose locks it must not hold while it waits for one more: the wait ends after `lockProbeMs` by
   * SQLSTATE 55P03, and the statement is not repeated. Default false.
   */
  failsWhenLocked?: boolean;
  /** Longest time, in milliseconds, where `runApart` runs it. Default: that of every statement. */
  timeoutMs?: number;
}

/** Names a row of an entity for lock-waiters.ts, by the values of a unique key. */
export function rowName({ meta }: Pick<Table, 'meta'>, ...key: readonly unknown[]): string {
  return [meta.className, ...key].join(' ');
}

/** `parameters[0]` names the value of `$1`, and so on. */
export interface CompiledStatement extends Statement {
  name: string;
  parameters: readonly string[];
}

/** pg's own type parsers, because MikroORM's pool returns times as text. But a bigint is a number, and not text. */
export const typeParsers = new pg.TypeOverrides();
typeParsers.setTypeParser(pg.types.builtins.INT8, (text: string) => {
  const value = Number(text);
  if (!Number.isSafeInteger(value)) throw new RangeError('a bigint is beyond the integers that a number holds exactly');
  return value;
});

/** The same, and JSON (not jsonb) as the text that is stored. */
const rowParsers = new pg.TypeOverrides({ getTypeParser: typeParsers.getTypeParser.bind(typeParsers) });
rowParsers.setTypeParser(pg.types.builtins.JSON, (text: string) => new JsonText(text));

/** The server ends a statement at its limit. This is how much longer the client waits for the answer. */
const answerMarginMs = 1_000;

export function queryOf({ name, text, timeoutMs }: Statement, values: readonly unknown[]): pg.QueryConfig {
  const limit = timeoutMs !== undefined && { query_timeout: timeoutMs + answerMarginMs };
  return { ...(name !== undefined && { name }), text, values: [...values], types: rowParsers, ...limit };
}

/**
 * An SQL condition on the version of a row, for the parameters that `versionsOf` (http/preconditions.ts) makes.
 * @param only of the versions of which it must have one, such as `$2`; null means any
 * @param except of the versions of which it must have none; null means no such version
 */
export function versionIsAllowed(only: string, except: string, version = 'version'): string {
  return `(${version} = any(${only}::int[])) is not false and (${version} = any(${except}::int[])) is not true`;
}

/** An entity as `defineEntity` returns it. `~entity` exists only for the compiler. */
export interface Table<Entity = object> {
  readonly '~entity': Entity;
  readonly meta: { readonly className: string; readonly properties: object };
}

type ColumnOf<Entity extends Table> = keyof Entity['~entity'] & string;
type WithoutOpt<Value> = Value extends Opt<infer Plain> ? Plain : Value;

/** A row of an entity's table as the driver returns it: every column is there, and an absent value is null. */
export type RowOf<Entity extends Table> = {
  [Column in ColumnOf<Entity>]: WithoutOpt<Exclude<Entity['~entity'][Column], undefined>>;
};

/** The columns of an entity's table, in the order of the entity. Properties are named as their columns are. */
export function columnsOf<Entity extends Table>({ meta }: Entity): ColumnOf<Entity>[] {
  return Object.keys(meta.properties) as ColumnOf<Entity>[];
}

/** An entity manager without a database: it knows the entities, and its query builders compile for their tables. */
export function offlineEntityManager(schema: string, entities: Entities): EntityManager {
  return new MikroORM({ dbName: 'offline', schema, entities, ensureDatabase: false }).em.fork();
}

/** What MikroORM's QueryBuilder has of a query. */
interface Query {
  getQuery(): string;
  getParams(): readonly unknown[];
}

/**
 * Compiles a query of MikroORM's QueryBuilder to a named prepared statement. `build` puts the parameters where the query
 * has values; the first of `parameters` becomes `$1`. Numbers, booleans, nulls and raw fragments are inlined.
 * @throws Error when the query leaves a parameter out, or has a literal value that cannot be inlined
 */
export function compileStatement<const Name extends string>(
  name: string,
  parameters: readonly Name[],
  build: (parameter: Record<Name, never>) => Query,
): CompiledStatement {
  const markers = parameters.map((parameter) => `\0${parameter}`);
  const used = new Set<number>();

  function sqlOf(value: unknown): string {
    if (isRaw(value)) return fill(value.sql, value.params);
    if (value === null || typeof value === 'boolean' || Number.isFinite(value)) return String(value);
    const position = markers.indexOf(value as string) + 1;
    if (position === 0) throw new Error(`${name} holds a value that is no parameter: ${JSON.stringify(value)}`);
    used.add(position);
    return `$${position}`;
  }

  function fill(text: string, values: readonly unknown[]): string {
    const [first, ...rest] = text.split('?');
    if (rest.length !== values.length) throw new Error(`${name} has a question mark that is no placeholder: ${text}`);
    return [first, ...rest.map((piece, index) => sqlOf(values[index]) + piece)].join('');
  }

  const marked = Object.fromEntries(parameters.map((parameter, index) => [parameter, markers[index]]));
  const query = build(marked as Record<Name, never>);
  const text = fill(query.getQuery(), query.getParams());
  const unused = parameters.filter((_, index) => !used.has(index + 1));
  if (unused.length > 0) throw new Error(`${name} does not use its parameter ${unused.join(', ')}`);
  return { name, text, parameters };
}
