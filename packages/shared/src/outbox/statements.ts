// The SQL of the relay.

/** How many waiting rows a statement inspects for their number and age. A backlog can have millions. */
const maxInspectedRows = 10_000;

const pruneBatchSize = 1_000;

const waitingRows = `from (select created_at from outbox where published_at is null order by id limit ${maxInspectedRows}) as waiting_rows`;

export const statements = {
  /** $1: limit, $2: ids to leave out. */
  readBatch: {
    name: 'outbox_waiting',
    text: `select id, event_id, name, subject, data, request_id, reply_to, created_at
           from outbox where published_at is null and id not in (select unnest($2::bigint[])) order by id limit $1`,
  },
  /** $1: ids. */
  mark: { name: 'outbox_mark', text: 'update outbox set published_at = now() where id = any($1::bigint[])' },
  /** `complete` is false when more rows wait than are inspected. */
  watermark: {
    name: 'outbox_watermark',
    text: `select now() as now, coalesce(min(created_at), now()) as watermark, count(*) < ${maxInspectedRows} as complete ${waitingRows}`,
  },
  backlog: {
    name: 'outbox_backlog',
    text: `select count(*)::int as waiting,
                  coalesce(extract(epoch from now() - min(created_at)), 0)::float as oldest_seconds ${waitingRows}`,
  },
  /**
   * $1: how long published rows are kept, in seconds. Rows are published roughly in id order, so the rows to prune have
   * the lowest ids. Behind a backlog longer than `maxInspectedRows` nothing is pruned, but little is published then.
   */
  prune: {
    name: 'outbox_prune',
    text: `delete from outbox where id in (
             select id from (select id, published_at from outbox order by id limit ${maxInspectedRows}) as first
             where published_at < now() - make_interval(secs => $1) limit ${pruneBatchSize})
           returning 1`,
  },
};
