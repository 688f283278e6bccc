// A row of an entity as a contract shows it, in SQL and in JavaScript: both make the same JSON. Which fields, and which
// of them are times, is read from the contract alone.
import { z } from 'zod';
import { columnsOf, type Table } from '../database/prepared.ts';
import { presentTime } from '../http/schemas.ts';

/** What a row must have to be shown by a contract. A time is a `Date` in the row and text in the contract. */
export type RowFor<Data> = {
  [Key in keyof Data]:
    | Data[Key]
    | (string extends NonNullable<Data[Key]> ? Date : never)
    | (null extends Data[Key] ? undefined : never);
};

/** A row as the contract shows it: only the contract's fields, times as ISO 8601 text in UTC, null for what is absent. */
export function presentRow<Data extends object>(
  contract: z.ZodObject & z.ZodType<Data>,
  row: RowFor<NoInfer<Data>>,
): Data {
  const presented: Record<string, unknown> = {};
  for (const key of fieldsOf(contract)) {
    const value = (row as Record<string, unknown>)[key];
    presented[key] = value instanceof Date ? presentTime(value) : (value ?? null);
  }
  return presented as Data;
}

/** Cached: to list them for each row of a page costs half as much again as to present the page. */
const fieldLists = new WeakMap<z.ZodObject, readonly string[]>();

function fieldsOf(contract: z.ZodObject): readonly string[] {
  let fields = fieldLists.get(contract);
  if (!fields) {
    fields = Object.keys(contract.shape);
    fieldLists.set(contract, fields);
  }
  return fields;
}

/**
 * `presentRow` as an SQL expression of type jsonb over the columns of the entity's table.
 * @throws Error when the contract has a field that the entity has not (which is also a type error)
 */
export function payloadSql<Data extends object>(
  contract: z.ZodObject & z.ZodType<Data>,
  entity: Table<RowFor<NoInfer<Data>>>,
): string {
  const columns: string[] = columnsOf(entity);
  const members = fieldsOf(contract).map((field) => {
    if (!columns.includes(field)) {
      throw new Error(`The contract has the field "${field}", and the entity ${entity.meta.className} has not.`);
    }
    return `'${field}', ${fieldSql(contract, field)}`;
  });
  return `jsonb_build_object(${members.join(', ')})`;
}

/** One field of `payloadSql`. @param column has its value */
export function fieldSql(contract: z.ZodObject, field: string, column = field): string {
  return isTime(contract.shape[field]) ? presentTimeSql(`"${column}"`) : `"${column}"`;
}

function isTime(type: unknown): boolean {
  return type instanceof z.ZodNullable ? isTime(type.unwrap()) : type instanceof z.ZodISODateTime;
}

/** `presentTime` as an SQL expression, of a column of milliseconds. */
function presentTimeSql(column: string): string {
  return `replace(to_char(${column} at time zone 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.MS"Z"'), '.000Z', 'Z')`;
}
