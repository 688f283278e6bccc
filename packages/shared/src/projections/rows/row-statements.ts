// The statements that change the rows of a projection. What they promise: store.ts.
import { maxIdsOfPage } from '../../contracts/snapshot.ts';
import { oncePerProjection, type Projection } from '../definition.ts';

export const statementsOf = oncePerProjection((projection) => {
  const text = eventText(projection);
  return {
    event: { name: nameOf(projection, 'event'), row: rowOf(projection), text },
    events: { name: nameOf(projection, 'events'), failsWhenLocked: true, text },
    ...answerStatements(projection),
    ...rowStatements(projection),
  };
});

const nameOf = ({ owner }: Projection, statement: string): string => `projection_${owner}_${statement}`;

/** $1 of the statement is an array with one id. */
function rowOf({ table }: Projection): (values: readonly unknown[]) => string {
  return ([ids]) => `${table} ${ids}`;
}

/** What the statements of rows are made of. The rows are given as arrays: their ids, each content, and the versions. */
function partsOf({ table, id, contents }: Projection) {
  const columns = contents.map(({ column }) => column);
  const types = ['bigint', ...contents.map(({ type }) => type), 'int'];
  const values = (row: string): string => [...columns, 'version'].map((column) => `${row}.${column}`).join(', ');
  return {
    columns: [id, ...columns, 'version'].join(', '),
    rows: `unnest(${types.map((type, index) => `$${index + 1}::${type}[]`).join(', ')})`,
    /** The parameter after those of the rows. */
    next: `$${types.length + 1}`,
    same: `(${values('held')}) = (${values('excluded')})`,
    insert: `insert into ${table} as held`,
    /** Assignments of the contents. */
    set: (value: (column: string) => string): string =>
      columns.map((column) => `${column} = ${value(column)}, `).join(''),
  };
}

/**
 * For different rows. The last parameter: epoch. A version that contradicts its row makes it doubtful: an owner's versions
 * never go back. It answers one row when all are applied or none is, and otherwise the ids of those that are not.
 */
function eventText(projection: Projection): string {
  const { owner, id } = projection;
  const { columns, rows, next: epoch, same, insert, set } = partsOf(projection);
  const isNewer = 'held.version < excluded.version';
  return `with source as (
        select coalesce((select epoch from projection_sources where service = '${owner}'), ${epoch}) = ${epoch} as current
      ), changed as (
        ${insert} (${columns})
        select given.* from ${rows} as given, source where source.current
        on conflict (${id}) do update set
          ${set((column) => `case when ${isNewer} then excluded.${column} else held.${column} end`)}
          version = greatest(held.version, excluded.version),
          changed_at = case when ${isNewer} then now() else held.changed_at end,
          doubted_at = case when ${isNewer} and held.lost_at is null then held.doubted_at else now() end
        where held.lost_at is not null or not (${same})
        returning ${id} as id, doubted_at is null as applied
      )
      select source.current, changed.id as superseded from source left join changed on not changed.applied`;
}

/** The last parameter: when the owner was asked, by this database's clock. */
function answerStatements(projection: Projection) {
  const { id } = projection;
  const { columns, rows, next: readAt, same, insert, set } = partsOf(projection);
  const outranked = `held.version < excluded.version or held.changed_at < ${readAt}`;
  const replace = `on conflict (${id}) do update set
      ${set((column) => `excluded.${column}`)} version = excluded.version,
      changed_at = case when ${same} and held.lost_at is null then held.changed_at else now() end,
      verified_at = greatest(held.verified_at, excluded.verified_at),
      doubted_at = case when held.doubted_at > ${readAt} then held.doubted_at end,
      lost_at = null`;
  const text = `${insert} (${columns}, verified_at)
        select *, ${readAt}::timestamptz from ${rows} ${replace}
        where ${outranked} or ${same} and held.lost_at is null`;
  return {
    answer: { name: nameOf(projection, 'answer'), row: rowOf(projection), text },
    answers: { name: nameOf(projection, 'answers'), text },
    /** Writes no row that is the same. */
    page: {
      name: nameOf(projection, 'page'),
      text: `${insert} (${columns})
        select * from ${rows} ${replace}
        where case when ${same} and held.lost_at is null then held.doubted_at <= ${readAt} else ${outranked} end
        returning changed_at = now() as corrected`,
    },
  };
}

function rowStatements(projection: Projection) {
  const { table, id } = projection;
  return {
    doubt: {
      name: nameOf(projection, 'doubt'),
      text: `update ${table} set doubted_at = now() where ${id} = $1`,
    },
    doubted: {
      name: nameOf(projection, 'doubted'),
      text: `select ${id} as id from ${table} where doubted_at is not null order by ${id} limit ${maxIdsOfPage}`,
    },
    /** $1: ids. $2: when the owner was asked. The rows are locked in the order of their ids, as events lock them. */
    lost: {
      name: nameOf(projection, 'lost_ids'),
      text: lostText(
        projection,
        `in (select ${id} from ${table} where ${id} = any($1::bigint[]) order by 1 for update)`,
        '$2',
      ),
    },
    /** $1 to $2: ids, inclusive. $3: those that the owner has. $4: when it was asked. */
    lostInRange: {
      name: nameOf(projection, 'lost'),
      text: lostText(projection, `between $1 and $2 and ${id} not in (select unnest($3::bigint[]))`, '$4'),
    },
  };
}

/**
 * The owner's answer that it has no such rows ends every doubt that is older, also about a row that is known to be lost or
 * deleted.
 * @param which condition on the id
 */
function lostText({ table, id, present }: Projection, which: string, readAt: string): string {
  return `update ${table} set
          lost_at = case when ${present} then now() else lost_at end,
          changed_at = case when ${present} then now() else changed_at end,
          doubted_at = case when doubted_at > ${readAt} then doubted_at end
        where ${id} ${which} and changed_at < ${readAt} and (${present} or doubted_at <= ${readAt})
        returning ${id} as id, coalesce(lost_at = now(), false) as newly_lost`;
}
