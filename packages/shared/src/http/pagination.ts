// Lists are read in pages: by offset, or by the cursor of the previous page.
import { z } from 'zod';
import { stringifyJson } from '../values/json-text.ts';
import { count, required, textInteger } from './schemas.ts';

const maxLimit = 1_000;
/** In the OpenAPI document. No cursor is longer. */
const maxCursorLength = 256;

export const limit = textInteger(1, maxLimit)
  .default(100)
  .meta({
    override: { type: 'integer', minimum: 1, maximum: maxLimit, default: 100 },
    description: 'Maximum number of items. A page of large items has fewer, so that a response has at most 1 MiB.',
  });

const maxOffset = 2_147_483_647;

export const offset = textInteger(0, maxOffset)
  .optional()
  .meta({
    // Without a default: /docs would send it with a cursor.
    override: { type: 'integer', minimum: 0, maximum: maxOffset },
    description:
      'Number of items before the page; 0 when absent. Not together with `cursor`. Beyond 1,000, few requests at a time are answered: use `cursor`.',
  });

/**
 * The query of a list: the filters of its cursor, `limit` from 1 to 1,000 (default 100), and either `offset` from 0 or the
 * `cursor` of the previous page. A cursor is accepted only with the filters that its page was requested with: under others
 * its position would begin a page of another list.
 */
export function pageQuery<Filters extends z.ZodRawShape, Position extends number[]>(cursor: Cursor<Filters, Position>) {
  const names = Object.keys(cursor.filters);
  return z
    .strictObject({ ...cursor.filters, limit, offset, cursor: cursor.field.optional() })
    .superRefine((query: Readonly<Record<string, unknown>>, context) => {
      const read = query.cursor as ReadCursor<Position> | undefined;
      if (!read) return;
      if (query.offset !== undefined) {
        context.addIssue({ code: 'custom', path: ['cursor'], message: 'cannot be combined with offset' });
      }
      for (const [index, text] of (read.filters ?? []).entries()) {
        const name = names[index] as string;
        if (filterText(query[name]) !== text) context.addIssue({ code: 'custom', path: [name], message: filterRule });
      }
    });
}

/** The response of a list: the items of a page, the number of all items, and the cursor of the next page. */
export function pageSchema<Item extends z.ZodType>(item: Item) {
  const page = z.object({
    items: z.array(item).max(maxLimit).meta({ description: 'The items of the page.' }),
    total: count.meta({ description: 'Number of items of the whole list, with the same filters.' }),
    next_cursor: z.string().nullable().meta({
      description: 'The `cursor` of the next page; null on the last page, however many items a page has.',
      maxLength: maxCursorLength,
    }),
  });
  const examples = (item.meta()?.examples as unknown[] | undefined)?.slice(0, 1);
  return examples ? page.meta({ examples: [{ items: examples, total: 1, next_cursor: null }] }) : page;
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
    bytes += Buffer.byteLength(stringifyJson(row)) + 1;
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

/** The end of a page in its list, and the filters of that list. Opaque to callers. */
export interface Cursor<Filters extends z.ZodRawShape, Position extends number[]> {
  filters: Filters;
  /** Parses a `cursor` that a caller sends back. */
  field: z.ZodType<ReadCursor<Position>, string>;
  /** @param query of the page, with the values of its filters */
  write(position: Position, query: Readonly<Record<string, unknown>>): string;
}

export interface ReadCursor<Position extends number[]> {
  /** The sort key of the last item of the page before. */
  position: Position;
  /** The values of the filters as text, in their order. A cursor of release 0.1.0 does not have them. */
  filters: readonly string[] | undefined;
}

interface CursorDefinition<Filters extends z.ZodRawShape, Position extends number[]> {
  /** The list and the version of its cursors. It contains no dot, and changes with the number of filters. */
  list: string;
  /** `list` in release 0.1.0, whose cursors go on to be accepted, with any filters. To be removed in 0.3.0. */
  listBefore?: string;
  /** Their values are numbers, booleans, or text without a dot. */
  filters: Filters;
  position: z.ZodType<Position>;
}

export const cursorRule = 'must be the next_cursor of a page of this list';
const filterRule = 'must be the same as in the request that gave the cursor';

function filterText(value: unknown): string {
  return value === undefined ? '' : String(value);
}

/** Creates the cursor of a list, which accepts only text that it has written itself. */
export function createCursor<Filters extends z.ZodRawShape, Position extends number[]>({
  list,
  listBefore,
  filters,
  position,
}: CursorDefinition<Filters, Position>): Cursor<Filters, Position> {
  const names = Object.keys(filters);
  const encode = (parts: readonly (string | number)[]): string => Buffer.from(parts.join('.')).toString('base64url');
  const read = (text: string): ReadCursor<Position> | undefined => {
    const [name = '', ...parts] = Buffer.from(text, 'base64url').toString('latin1').split('.');
    if (name !== list && name !== listBefore) return undefined;
    const values = name === list ? parts.splice(0, names.length) : undefined;
    const { data } = position.safeParse(parts.map(Number));
    const isOwn = data && encode([name, ...(values ?? []), ...data]) === text;
    return isOwn ? { position: data, filters: values } : undefined;
  };
  const field = z
    .string({ error: required(cursorRule) })
    .transform((text, context) => {
      const cursor = read(text);
      if (cursor) return cursor;
      context.addIssue(cursorRule);
      return z.NEVER;
    })
    .meta({
      override: { type: 'string', minLength: 1, maxLength: maxCursorLength },
      description: 'Where the page begins: the `next_cursor` of the page before it, read with the same filters.',
    });
  return {
    filters,
    field,
    write: (end, query) => encode([list, ...names.map((name) => filterText(query[name])), ...end]),
  };
}

/** A time in a cursor, in milliseconds since 1970, from the years 1 to 9999. */
export const positionTime = z.int().min(-62_135_596_800_000).max(253_402_300_799_999);
