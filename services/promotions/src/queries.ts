// The statements that are asked most, prepared once per connection.
import type { Database } from '@promopulse/shared/database';
import type { PromotionStatus } from '@promopulse/shared/events';

export interface PromotionRow {
  id: number;
  name: string;
  description?: string | null | undefined;
  status: PromotionStatus;
  start_at: Date;
  end_at: Date;
  created_at: Date;
  updated_at: Date;
  created_by?: number | null | undefined;
  version: number;
}

const columns = 'id, name, description, status, start_at, end_at, created_at, updated_at, created_by, version';

/** A page and its total in one round trip; an empty page is one row of nulls that still carries the total. */
function pageText(where: string, limit: string, offset: string): string {
  return `select counted.total, page.*
    from (select count(*)::int as total from promotions ${where}) as counted
    left join lateral (
      select ${columns} from promotions ${where} order by id desc limit ${limit} offset ${offset}
    ) as page on true
    order by page.id desc`;
}

const statements = {
  get: { name: 'promotion_get', text: `select ${columns} from promotions where id = $1` },
  list: { name: 'promotion_list', text: pageText('', '$1', '$2') },
  listByStatus: { name: 'promotion_list_by_status', text: pageText('where status = $3', '$1', '$2') },
};

export async function findPromotion(database: Database, id: number): Promise<PromotionRow | undefined> {
  return (await database.run<PromotionRow>(statements.get, [id]))[0];
}

interface Filter {
  status?: PromotionStatus | undefined;
  limit: number;
  offset: number;
}

/** Newest first. */
export async function listPromotions(
  database: Database,
  { status, limit, offset }: Filter,
): Promise<{ items: PromotionRow[]; total: number }> {
  const rows = await (status
    ? database.run<PromotionRow & { total: number }>(statements.listByStatus, [limit, offset, status])
    : database.run<PromotionRow & { total: number }>(statements.list, [limit, offset]));
  return { items: rows.filter(({ id }) => id !== null), total: rows[0]?.total ?? 0 };
}
