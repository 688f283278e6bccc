// The prepared statements of promotions. MikroORM compiles them when this module is loaded. The lists are written by
// hand: its QueryBuilder has no lateral join.
import { raw } from '@mikro-orm/postgresql';
import type { PromotionStatus } from '@promopulse/shared/contracts/promotions';
import type { Database } from '@promopulse/shared/database/database';
import { columnsOf, compileStatement, offlineEntityManager, type RowOf } from '@promopulse/shared/database/prepared';
import { causeValues, type EventCause, recordingStatement } from '@promopulse/shared/outbox/outbox';
import { entities, Promotion } from './entities.ts';
import { type Field, fields } from './rules.ts';

export type PromotionRow = RowOf<typeof Promotion>;

const offline = offlineEntityManager('promotions', entities);
const columns = columnsOf(Promotion);

const insert = compileStatement('promotion_create', fields, (parameters) =>
  offline.createQueryBuilder(Promotion).insert(parameters).returning(columns),
);

/** MikroORM adds `version = version + 1` to every update of an entity with a version. */
const transition = compileStatement('promotion_transition', ['id', 'to', 'from'], ({ id, to, from }) =>
  offline
    .createQueryBuilder(Promotion)
    .update({ status: to, updated_at: raw('greatest(updated_at, now())') })
    .where({ id })
    .andWhere('status = any(?::text[])', [from])
    .returning(columns),
);

/**
 * A page and its total in one round trip, by offset ($2) or below an id ($3). The page is found in the index at the same
 * cost at any depth. An empty page is one row of nulls that still has the total, which triggers maintain (migration
 * "counts").
 */
function listText(filter: string): string {
  return `select counted.total, page.*
    from (select coalesce(sum(total), 0)::bigint as total from promotion_counts where ${filter}) as counted
    left join lateral (
      select ${columns.join(', ')} from promotions where ${filter} and id < $3::bigint
      order by id desc limit $1 offset $2
    ) as page on true
    order by page.id desc`;
}

const statements = {
  create: recordingStatement('promotion_create', insert, { event: 'promotion.created', entity: Promotion }),
  transition: recordingStatement('promotion_transition', transition, {
    event: 'promotion.status_changed',
    entity: Promotion,
    withReply: true,
  }),
  get: compileStatement('promotion_get', ['id'], ({ id }) =>
    offline.createQueryBuilder(Promotion).select(columns).where({ id }),
  ),
  list: { name: 'promotion_list', text: listText('true') },
  listByStatus: { name: 'promotion_list_by_status', text: listText('status = $4') },
};

type NullableField = { [Name in Field]: null extends PromotionRow[Name] ? Name : never }[Field];

/** The fields that callers decide; an absent one is null. */
export type NewPromotion = Pick<PromotionRow, Exclude<Field, NullableField>> & {
  [Name in NullableField]?: PromotionRow[Name] | undefined;
};

/** Inserts a draft and records `promotion.created` in one statement. */
export async function insertPromotion(
  database: Database,
  promotion: NewPromotion,
  cause: EventCause,
): Promise<PromotionRow> {
  const values = fields.map((field) => toParameter(promotion[field]));
  return (await database.write<PromotionRow>(statements.create, [...values, ...causeValues(cause)]))[0] as PromotionRow;
}

/** The driver sends a `Date` in local time with an offset in minutes, which loses the seconds of historical offsets. */
function toParameter(value: unknown): unknown {
  return value instanceof Date ? value.toISOString() : (value ?? null);
}

export async function findPromotion(database: Database, id: number): Promise<PromotionRow | undefined> {
  return (await database.run<PromotionRow>(statements.get, [id]))[0];
}

/** Sets the status and records `promotion.status_changed`, if and only if the promotion has one of the statuses `from`. */
export async function transitionStatus(
  database: Database,
  id: number,
  { to, from }: { to: PromotionStatus; from: readonly PromotionStatus[] },
  cause: EventCause,
): Promise<PromotionRow | undefined> {
  const values = [id, to, from, ...causeValues(cause), cause.replyTo ?? null];
  return (await database.write<PromotionRow>(statements.transition, values))[0];
}

export interface PromotionFilter {
  status?: PromotionStatus | undefined;
  limit: number;
  offset?: number | undefined;
  cursor?: Position | undefined;
}

/** The end of a page: the id of its last row. */
export type Position = [id: number];

const aboveAllIds = Number.MAX_SAFE_INTEGER + 1;

/** Newest first. `next` is the position of the next page, null after the last row. */
export async function listPromotions(
  database: Database,
  { status, limit, offset = 0, cursor: [below] = [aboveAllIds] }: PromotionFilter,
): Promise<{ items: PromotionRow[]; total: number; next: Position | null }> {
  const values = [limit + 1, offset, below]; // the row beyond the limit tells that there is another page
  const rows = await (status
    ? database.run<PromotionRow & { total: number }>(statements.listByStatus, [...values, status])
    : database.run<PromotionRow & { total: number }>(statements.list, values));
  const items = rows.filter(({ id }) => id !== null).slice(0, limit);
  const last = items.at(-1);
  return { items, total: rows[0]?.total ?? 0, next: last && rows.length > limit ? [last.id] : null };
}
