// Digests of ranges of ids. Two databases compare large tables by them without sending the rows.
import { bucketSize } from '../contracts/snapshot.ts';

/** SQL expressions of the values that a digest covers. */
export interface DigestedColumns {
  id: string;
  version: string;
  status?: string;
}

/**
 * An aggregate of type bigint over the rows of a bucket. It depends only on the values, not on the names or the types
 * of the columns. The hash takes its second value as its seed, which is one call for both.
 */
export function digestSql({ id, version, status }: DigestedColumns): string {
  const idAndVersion = `hashint8extended(${id}, ${version})`;
  return `bit_xor(${status === undefined ? idAndVersion : `hashtextextended(${status}, ${idAndVersion})`})`;
}

/** The bucket of an id. */
export function bucketSql(id: string): string {
  return `${id} / ${bucketSize}`;
}
