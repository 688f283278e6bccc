// The statements that are asked most, prepared once per connection.
import type { PromotionStatus } from '@promopulse/shared/contracts/promotions';
import type { Database } from '@promopulse/shared/database/database';
import { recordEventSql } from '@promopulse/shared/outbox/outbox';
import { presentTimeSql } from '@promopulse/shared/outbox/payload';

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

/**
 * A page and its total in one round trip, by offset ($2) or below an id ($3), found in the index at the same cost at any
 * depth; an empty page is one row of nulls that still carries the total, which triggers keep (migration "counts").
 */
function pageText(filter: string): string {
  return `select counted.total, page.*
    from (select coalesce(sum(total), 0)::int as total from promotion_counts where ${filter}) as counted
    left join lateral (
      select ${columns} from promotions where ${filter} and id < $3::bigint order by id desc limit $1 offset $2
    ) as page on true
    order by page.id desc`;
}

/** A changed row for its event, the same as `promotionState` makes. */
const times = ['start_at', 'end_at', 'created_at', 'updated_at'].map((time) => `'${time}', ${presentTimeSql(time)}`);
const state = `jsonb_build_object('id', id, 'name', name, 'description', description, 'status', status,
  ${times.join(', ')}, 'created_by', created_by, 'version', version)`;
const cause = { requestId: '$4', eventId: '$5', replyTo: '$6' };

const statements = {
  move: {
    name: 'promotion_move',
    text: `with moved as (
        update promotions set status = $2, updated_at = greatest(updated_at, now()), version = version + 1
        where id = $1 and status = any($3::text[])
        returning ${columns}
      ), announced as (${recordEventSql('promotion.status_changed', 'moved', state, cause)})
      select ${columns} from moved`,
  },
  get: { name: 'promotion_get', text: `select ${columns} from promotions where id = $1` },
  list: { name: 'promotion_list', text: pageText('true') },
  listByStatus: { name: 'promotion_list_by_status', text: pageText('status = $4') },
};

export async function findPromotion(database: Database, id: number): Promise<PromotionRow | undefined> {
  return (await database.run<PromotionRow>(statements.get, [id]))[0];
}

/** What a status change tells its event: see propagation.ts. */
export interface StatusEvent {
  requestId: string;
  eventId: string;
  replyTo: string | undefined;
}

/** Moves it, and records that, if and only if it has one of the statuses `from`. */
export async function transitionStatus(
  database: Database,
  id: number,
  to: PromotionStatus,
  from: readonly PromotionStatus[],
  { requestId, eventId, replyTo }: StatusEvent,
): Promise<PromotionRow | undefined> {
  const values = [id, to, from, requestId, eventId, replyTo ?? null];
  return (await database.write<PromotionRow>(statements.move, values))[0];
}

interface Filter {
  status?: PromotionStatus | undefined;
  limit: number;
  offset?: number | undefined;
  cursor?: Position | undefined;
}

/** Where a page ends: its last row's id. */
export type Position = [id: number];

const aboveAllIds = 2_147_483_648;

/** Newest first. `next` is where to go on, null after the last row. */
export async function listPromotions(
  database: Database,
  { status, limit, offset = 0, cursor: [below] = [aboveAllIds] }: Filter,
): Promise<{ items: PromotionRow[]; total: number; next: Position | null }> {
  const values = [limit + 1, offset, below]; // one more than asked for tells whether another page follows
  const rows = await (status
    ? database.run<PromotionRow & { total: number }>(statements.listByStatus, [...values, status])
    : database.run<PromotionRow & { total: number }>(statements.list, values));
  const items = rows.filter(({ id }) => id !== null).slice(0, limit);
  const last = items.at(-1);
  return { items, total: rows[0]?.total ?? 0, next: last && rows.length > limit ? [last.id] : null };
}
