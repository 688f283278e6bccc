// What the projections say about a subscription: as SQL conditions for the statements that decide, and as facts that
// explain why such a statement wrote nothing. When a row can be relied on: decision 0015.
import type { Database } from '@promopulse/shared/database/database';
import type { SubscriptionFacts } from '../rules.ts';

/** Joins that give `us` and `ps`: how far the projections of users and of promotions can be relied on. */
export const sources = `left join projection_sources us on us.service = 'users'
           left join projection_sources ps on ps.service = 'promotions'`;

/** Neither an event nor a reading contradicts the row. */
const undisputed = (row: string) => `${row}.doubted_at is null and ${row}.lost_at is null`;

/**
 * Conditions on the rows `u` (of a user) and `p` (of a promotion), beside `sources`.
 * @param lease the parameter that holds the lease in seconds, such as `$3`
 */
export function relianceConditions(lease: string) {
  /** A time within the lease. A time ahead by more than a second comes from a clock that is not believed. */
  const withinLease = (time: string) =>
    `${time} > now() - make_interval(secs => ${lease}) and ${time} < now() + interval '1 second'`;
  /** The owner was asked about the row within the lease, and after its source was last invalidated. */
  const verified = (row: string, source: string) =>
    `(${withinLease(`${row}.verified_at`)} and ${row}.verified_at >= coalesce(${source}.invalidated_at, '-infinity'))`;
  /** The row can be relied on: its source is reconciled, or its owner was asked. */
  const believed = (row: string, source: string) =>
    `coalesce(${undisputed(row)} and (${source}.reconciled_at is not null or ${verified(row, source)}), false)`;
  return {
    userBelieved: believed('u', 'us'),
    promotionBelieved: believed('p', 'ps'),
    /** The status of the promotion was confirmed within the lease: by a heartbeat or by its owner. */
    fresh: `(${undisputed('p')} and (${verified('p', 'ps')}
      or ps.reconciled_at is not null and ${withinLease('ps.watermark')}))`,
  };
}

/** @param asked selects user_id and promotion_id */
function factsText(asked: string, { userBelieved, promotionBelieved, fresh }: ReturnType<typeof relianceConditions>) {
  return `select asked.user_id, asked.promotion_id, s.id as subscription_id, s.is_active, s.version,
                 case when u.user_id is null or not ${userBelieved} then 'unknown'
                      when u.deleted then 'deleted' else 'known' end as "user",
                 coalesce(case when ${promotionBelieved} then p.status end, 'unknown') as promotion,
                 coalesce(${fresh}, false) as fresh,
                 now() as read_at
          from (${asked}) as asked
          left join subscriptions s on s.user_id = asked.user_id and s.promotion_id = asked.promotion_id
          left join known_users u on u.user_id = asked.user_id
          left join cached_promotions p on p.promotion_id = asked.promotion_id
          ${sources}`;
}

const statements = {
  ofPair: {
    name: 'facts_of_pair',
    text: factsText('select $1::bigint as user_id, $2::bigint as promotion_id', relianceConditions('$3')),
  },
  ofSubscription: {
    name: 'facts_of_subscription',
    text: factsText('select user_id, promotion_id from subscriptions where id = $1', relianceConditions('$2')),
  },
};

/** `read_at`: the database's clock when they were read. */
export type ReadFacts = SubscriptionFacts & { read_at: Date };

export async function readFacts(
  database: Database,
  { user_id, promotion_id }: { user_id: number; promotion_id: number },
  leaseSeconds: number,
): Promise<ReadFacts> {
  return (await database.run<ReadFacts>(statements.ofPair, [user_id, promotion_id, leaseSeconds]))[0] as ReadFacts;
}

/** @returns undefined when there is no such subscription; else its version, too */
export async function readFactsOfSubscription(
  database: Database,
  id: number,
  leaseSeconds: number,
): Promise<(ReadFacts & { version: number }) | undefined> {
  return (await database.run<ReadFacts & { version: number }>(statements.ofSubscription, [id, leaseSeconds]))[0];
}
