// A digest of rows, to compare tables of two services without reading them.

/**
 * SQL for two columns: `count`, and `digest`, which is equal for equal rows in any order. It depends only on the values, so
 * both sides must name the same columns in the same order.
 */
export function digestSql(columns: readonly string[]): string {
  const row = `concat_ws(' ', ${columns.join(', ')})`;
  return `count(*)::int as count, coalesce(bit_xor(hashtextextended(${row}, 0)), 0)::text as digest`;
}
