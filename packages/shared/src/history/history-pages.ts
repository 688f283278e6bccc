// Reads a history in pages, newest first. A page is found in the primary key, at the same cost at any depth.
import { maxId } from '../contracts/ids.ts';
import type { Database } from '../database/database.ts';
import type { Statement } from '../database/prepared.ts';
import { runInLane } from '../database/statement-lane.ts';
import { costOfPage, maxPageBytes, rowsWithinPage } from '../http/pagination.ts';
import type { Change, History } from './history-table.ts';

export interface HistoryRow {
  id: number;
  version: number;
  at: Date;
  actor: string | null;
  request_id: string | null;
  reason: string | null;
  changes: readonly Change[];
}

const aboveAllIds = maxId + 1;

/** The id of the entity, and the id of the last row of the page before. */
export type Position = [entityId: number, id: number];

type PageRow = { [Column in keyof HistoryRow]: HistoryRow[Column] | null } & { bytes: number; found: number };

/**
 * One row of nulls for an entity without history, and none for an entity that is not there. Rows that do not fit into a
 * page are not fetched; `found` counts them as well.
 */
export function historyStatement({ table, historyTable, idColumn }: History): Statement {
  const text = `select page.* from (select id from ${table} where id = $1::bigint) as entity
    left join lateral (
      select * from (
        select selected.*, count(*) over ()::int as found, sum(bytes) over (order by id desc) as page_bytes
        from (
          select id, version, at, actor, request_id, reason, changes, octet_length(changes::text) as bytes
          from ${historyTable} where ${idColumn} = $1::bigint and id < $3::bigint
          order by id desc limit $2
        ) as selected
      ) as measured
      where page_bytes <= ${maxPageBytes}
    ) as page on true
    order by page.id desc`;
  return { name: historyTable, text };
}

/**
 * `next` is the position of the next page, null after the last row.
 * @returns undefined when there is no such entity
 * @throws overloaded when there are too many requests for costly pages
 */
export async function readHistory(
  database: Database,
  statement: Statement,
  { id, limit, before = aboveAllIds }: { id: number; limit: number; before?: number | undefined },
): Promise<{ items: readonly HistoryRow[]; next: Position | null } | undefined> {
  const values = [id, limit + 1, before]; // the row beyond the limit tells that there is another page
  const cost = costOfPage({ limit });
  const rows = await (cost
    ? runInLane<PageRow>(database, cost, statement, values)
    : database.run<PageRow>(statement, values));
  if (rows.length === 0) return undefined;
  const found = rows.filter((row): row is HistoryRow & PageRow => row.id !== null);
  const items = rowsWithinPage(found.slice(0, limit), maxJsonBytes);
  const last = items.at(-1);
  const hasMore = (found[0]?.found ?? 0) > items.length;
  return { items, next: last && hasMore ? [id, last.id] : null };
}

/** A character of a reason has at most 6 bytes in JSON; the columns beside `changes` and the names of all have the rest. */
function maxJsonBytes({ bytes }: { bytes: number }): number {
  return 2_000 + bytes;
}
