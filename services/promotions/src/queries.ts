// The prepared statements of promotions. MikroORM compiles them when this module is loaded. The lists are written by
// hand: its QueryBuilder has no lateral join.
import { raw } from '@mikro-orm/postgresql';
import { maxId } from '@promopulse/shared/contracts/ids';
import type { PromotionStatus } from '@promopulse/shared/contracts/promotions';
import type { Database } from '@promopulse/shared/database/database';
import {
  columnsOf,
  compileStatement,
  offlineEntityManager,
  type RowOf,
  versionIsAllowed,
} from '@promopulse/shared/database/prepared';
import { runInLane } from '@promopulse/shared/database/statement-lane';
import { recordCreation, recordUpdate } from '@promopulse/shared/history/record-history';
import { costOfPage, maxPageBytes, rowsWithinPage } from '@promopulse/shared/http/pagination';
import { type TargetResource, versionsOf } from '@promopulse/shared/http/preconditions';
import { causeValues, type EventCause, recordingStatement } from '@promopulse/shared/outbox/outbox';
import { entities, Promotion, promotionHistory } from './entities.ts';
import { type Field, fields } from './rules.ts';

export type PromotionRow = RowOf<typeof Promotion>;

const offline = offlineEntityManager('promotions', entities);
const columns = columnsOf(Promotion);

const insert = compileStatement('promotion_create', fields, (parameters) =>
  offline.createQueryBuilder(Promotion).insert(parameters).returning(columns),
);

/** MikroORM adds `version = version + 1` to every update of an entity with a version. */
const transition = compileStatement(
  'promotion_transition',
  ['id', 'to', 'from', 'only', 'except'],
  ({ id, to, from, only, except }) =>
    offline
      .createQueryBuilder(Promotion)
      .update({ status: to, updated_at: raw('greatest(updated_at, now())') })
      .where({ id })
      .andWhere('status = any(?::text[])', [from])
      .andWhere(versionIsAllowed('?', '?'), [only, except])
      .returning(columns),
);

/**
 * A page and its total in one round trip, by offset ($2) or below an id ($3). The page below an id is found in the index
 * at the same cost at any depth. An empty page is one row of nulls that still has the total, which triggers maintain (migration
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

/** The same for a page that costs more: rows that do not fit into it are not fetched. `found` counts them as well. */
function costlyListText(filter: string): string {
  return `select counted.total, page.*
    from (select coalesce(sum(total), 0)::bigint as total from promotion_counts where ${filter}) as counted
    left join lateral (
      select * from (
        select selected.*, count(*) over ()::int as found,
          sum(octet_length(name) + coalesce(octet_length(description), 0)) over (order by id desc) as bytes
        from (
          select ${columns.join(', ')} from promotions where ${filter} and id < $3::bigint
          order by id desc limit $1 offset $2
        ) as selected
      ) as measured
      where bytes <= ${maxPageBytes}
    ) as page on true
    order by page.id desc`;
}

const statements = {
  create: recordingStatement('promotion_create', insert, {
    event: 'promotion.created',
    entity: Promotion,
    beside: recordCreation(promotionHistory, Promotion),
  }),
  transition: recordingStatement('promotion_transition', transition, {
    event: 'promotion.status_changed',
    entity: Promotion,
    row: ['id'],
    beside: recordUpdate(promotionHistory, ['status']),
    withReply: true,
  }),
  get: compileStatement('promotion_get', ['id'], ({ id }) =>
    offline.createQueryBuilder(Promotion).select(columns).where({ id }),
  ),
  list: { name: 'promotion_list', text: listText('true') },
  listByStatus: { name: 'promotion_list_by_status', text: listText('status = $4') },
  costlyList: { name: 'promotion_list_costly', text: costlyListText('true') },
  costlyListByStatus: { name: 'promotion_list_by_status_costly', text: costlyListText('status = $4') },
};

type NullableField = { [Name in Field]: null extends PromotionRow[Name] ? Name : never }[Field];

/** The fields that callers decide; an absent one is null. */
export type NewPromotion = Pick<PromotionRow, Exclude<Field, NullableField>> & {
  [Name in NullableField]?: PromotionRow[Name] | undefined;
};

/** Inserts a draft, and records `promotion.created` and the history, in one statement. */
export async function insertPromotion(
  database: Database,
  promotion: NewPromotion,
  cause: EventCause,
): Promise<PromotionRow> {
  const ofFields = fields.map((field) => toParameter(promotion[field]));
  const values = [...ofFields, ...causeValues(cause), cause.reason ?? null];
  return (await database.write<PromotionRow>(statements.create, values))[0] as PromotionRow;
}

/** The driver sends a `Date` in local time with an offset in minutes, which loses the seconds of historical offsets. */
function toParameter(value: unknown): unknown {
  return value instanceof Date ? value.toISOString() : (value ?? null);
}

export async function findPromotion(database: Database, id: number): Promise<PromotionRow | undefined> {
  return (await database.run<PromotionRow>(statements.get, [id]))[0];
}

/**
 * Sets the status and records `promotion.status_changed` and the history, if and only if the promotion has one of the
 * statuses `from` and the conditions are true.
 */
export async function transitionStatus(
  database: Database,
  { id, conditions }: TargetResource,
  { to, from }: { to: PromotionStatus; from: readonly PromotionStatus[] },
  cause: EventCause,
): Promise<PromotionRow | undefined> {
  const causes = [...causeValues(cause), cause.reason ?? null, cause.replyTo ?? null];
  const values = [id, to, from, ...versionsOf(conditions), ...causes];
  return (await database.write<PromotionRow>(statements.transition, values))[0];
}

export interface PromotionFilter {
  status?: PromotionStatus | undefined;
  limit: number;
  offset?: number | undefined;
  cursor?: { position: Position } | undefined;
}

/** The end of a page: the id of its last row. */
export type Position = [id: number];

const aboveAllIds = maxId + 1;

type ListRow = PromotionRow & { total: number; found?: number };

/**
 * Newest first. `next` is the position of the next page, null after the last row. A page may have fewer than `limit`
 * rows before the end of the list, because of `maxPageBytes`.
 * @throws overloaded when there are too many requests for costly pages
 */
export async function listPromotions(
  database: Database,
  { status, limit, offset = 0, cursor }: PromotionFilter,
): Promise<{ items: readonly PromotionRow[]; total: number; next: Position | null }> {
  const below = cursor?.position[0] ?? aboveAllIds;
  const values = [limit + 1, offset, below, ...(status ? [status] : [])]; // the row beyond the limit tells that there is another page
  const cost = costOfPage({ limit, offset });
  const rows = await (cost
    ? runInLane<ListRow>(database, cost, status ? statements.costlyListByStatus : statements.costlyList, values)
    : database.run<ListRow>(status ? statements.listByStatus : statements.list, values));
  const found = rows.filter(({ id }) => id !== null);
  const items = rowsWithinPage(found.slice(0, limit), maxJsonBytes);
  const last = items.at(-1);
  const hasMore = (rows[0]?.found ?? found.length) > items.length;
  return { items, total: rows[0]?.total ?? 0, next: last && hasMore ? [last.id] : null };
}

/** A character has at most 6 bytes in JSON; the other columns and the names of all have fewer than 400. */
function maxJsonBytes({ name, description }: PromotionRow): number {
  return 400 + 6 * (name.length + (description?.length ?? 0));
}
