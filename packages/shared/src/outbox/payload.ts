// The values of an event as SQL expressions, for statements that record an event themselves.

/** `presentTime` as an SQL expression, of a column of milliseconds. */
export function presentTimeSql(column: string): string {
  return `replace(to_char(${column} at time zone 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.MS"Z"'), '.000Z', 'Z')`;
}
