// Lists in pages: by offset, or by the cursor of the page before.
import { z } from 'zod';
import { maxId, required, textInteger } from './schemas.ts';

const limit = textInteger(1, 1000)
  .default(100)
  .meta({ override: { type: 'integer', minimum: 1, maximum: 1000, default: 100 } });

export const offset = textInteger(0, maxId)
  .optional()
  .meta({ override: { type: 'integer', minimum: 0, maximum: maxId, default: 0 } });

/**
 * The query of a list: its filters, `limit` 1 to 1,000 (default 100), and either `offset` from 0 or the `cursor` of the
 * page before.
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

/** The answer of a list: a page, how many there are in all, and the cursor of the next page, if there is one. */
export function pageSchema<Item extends z.ZodType>(item: Item) {
  return z.object({
    items: z.array(item),
    total: z.int(),
    next_cursor: z.string().nullable().meta({ description: 'For `cursor`, to get the next page; null on the last.' }),
  });
}

/** Where a page ends in its list: the sort key of its last item. Opaque to callers. */
export interface Cursor<Position extends number[]> {
  /** A `cursor` as a caller sends it back, parsed into the position. */
  field: z.ZodType<Position, string>;
  write(position: Position): string;
}

const cursorRule = 'must be the next_cursor of a page of this list';

/** @param list names the list and the version of its cursors, without a dot: those of another are refused */
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

/** A moment in a cursor, in milliseconds since 1970, of the years 1 to 9999. */
export const positionTime = z.int().min(-62_135_596_800_000).max(253_402_300_799_999);
