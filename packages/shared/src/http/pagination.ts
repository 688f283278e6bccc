// Lists are read in pages: by offset, or by the cursor of the previous page.
import { z } from 'zod';
import { required, textInteger } from './schemas.ts';

const limit = textInteger(1, 1000)
  .default(100)
  .meta({
    override: { type: 'integer', minimum: 1, maximum: 1000, default: 100 },
    description: 'Maximum number of items. A page of large items has fewer, so that a response has at most 1 MiB.',
  });

const maxOffset = 2_147_483_647;

export const offset = textInteger(0, maxOffset)
  .optional()
  .meta({
    override: { type: 'integer', minimum: 0, maximum: maxOffset, default: 0 },
    description: 'Number of items before the page. Beyond 1,000, few requests at a time are answered: use `cursor`.',
  });

/**
 * The query of a list: its filters, `limit` from 1 to 1,000 (default 100), and either `offset` from 0 or the `cursor`
 * of the previous page.
 */
export function pageQuery<Filters extends z.ZodRawShape, Position extends number[]>(
  filters: Filters,
  cursor: Cursor<Position>,
) {
  return z
    .strictObject({ ...filters, limit, offset, cursor: cursor.field.optional() })
    .refine(
      (query: { offset?: unknown; cursor?: unknown }) => query.offset === undefined || query.cursor === undefined,
      {
        path: ['cursor'],
        error: 'cannot be combined with offset',
      },
    );
}

/** The response of a list: the items of a page, the number of all items, and the cursor of the next page. */
export function pageSchema<Item extends z.ZodType>(item: Item) {
  return z.object({
    items: z.array(item),
    total: z.int(),
    next_cursor: z
      .string()
      .nullable()
      .meta({ description: 'The `cursor` of the next page; null on the last page, however many items a page has.' }),
  });
}

/**
 * Maximum size of the rows of a page as JSON, in bytes, so that a response has at most 1 MiB. A page has at least one
 * row.
 */
export const maxPageBytes = 1_048_576 - 1_024;

/**
 * The rows at the beginning that fit into a page.
 * @param maxBytesOf an upper bound of the size of a row as JSON, at a low cost: only if the sum of all is beyond
 * `maxPageBytes` is the exact size needed
 */
export function rowsWithinPage<Row>(rows: readonly Row[], maxBytesOf: (row: Row) => number): readonly Row[] {
  const atMost = rows.reduce((sum, row) => sum + maxBytesOf(row), 0);
  if (atMost <= maxPageBytes) return rows;
  let bytes = 0;
  const end = rows.findIndex((row, index) => {
    bytes += Buffer.byteLength(JSON.stringify(row)) + 1;
    return index > 0 && bytes > maxPageBytes;
  });
  return end === -1 ? rows : rows.slice(0, end);
}

const maxCheapOffset = 1_000;
const maxCheapLimit = 100;

/**
 * Why a page costs more than an ordinary one; undefined when it does not. The database passes over every row of an
 * offset. The gateway gives such requests a concurrency limit of their own, and a service lanes of their own.
 */
export function costOfPage({ limit = 0, offset = 0 }: { limit?: number; offset?: number | undefined }) {
  if (offset > maxCheapOffset) return 'deep_offset';
  return limit > maxCheapLimit ? 'long_page' : undefined;
}

/** The same for the target of any request, also of a request that its service will reject. */
export function costOfTarget(target: string): ReturnType<typeof costOfPage> {
  const query = target.indexOf('?');
  // A percent sign may encode a letter of the name.
  if (query === -1 || !/limit|offset|%/.test(target)) return undefined;
  const parameters = new URLSearchParams(target.slice(query + 1));
  return costOfPage({ limit: Number(parameters.get('limit')), offset: Number(parameters.get('offset')) });
}

/** The end of a page in its list: the sort key of its last item. Opaque to callers. */
export interface Cursor<Position extends number[]> {
  /** Parses a `cursor` that a caller sends back into the position. */
  field: z.ZodType<Position, string>;
  write(position: Position): string;
}

const cursorRule = 'must be the next_cursor of a page of this list';

/**
 * Creates the cursor of a list, which accepts only text that it has written itself.
 * @param list identifies the list and the version of its cursors; it contains no dot
 */
export function createCursor<Position extends number[]>(list: string, position: z.ZodType<Position>): Cursor<Position> {
  const write = (numbers: Position): string => Buffer.from([list, ...numbers].join('.')).toString('base64url');
  const field = z
    .string({ error: required(cursorRule, 'must be given once') })
    .transform((text, context) => {
      const [, ...numbers] = Buffer.from(text, 'base64url').toString('latin1').split('.');
      const { data } = position.safeParse(numbers.map(Number));
      if (data && write(data) === text) return data;
      context.addIssue(cursorRule);
      return z.NEVER;
    })
    .meta({ override: { type: 'string' } });
  return { field, write };
}

/** A time in a cursor, in milliseconds since 1970, from the years 1 to 9999. */
export const positionTime = z.int().min(-62_135_596_800_000).max(253_402_300_799_999);
