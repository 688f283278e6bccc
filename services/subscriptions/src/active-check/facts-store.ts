// What the projections say about a subscription: as SQL conditions for the statements that decide, and as facts that
// explain why such a statement wrote nothing.
import type { Database } from '@promopulse/shared/database/database';
import { joinSource, reliance } from '@promopulse/shared/projections/rows/reliance';
import { type ClockReading, clockSql } from '@promopulse/shared/projections/rows/source-store';
import type { SubscriptionFacts } from '../rules.ts';

/** Joins that give `us` and `ps`: how far the projections of users and of promotions can be relied on. */
export const sources = `${joinSource('users', 'us')}
           ${joinSource('promotions', 'ps')}`;

/**
 * Conditions on the rows `u` (of a user) and `p` (of a promotion), beside `sources`.
 * @param lease the parameter that holds the lease in seconds, such as `$3`
 */
export function relianceConditions(lease: string) {
  const { believed: promotionBelieved, fresh } = reliance({ row: 'p', source: 'ps', lease });
  return { userBelieved: reliance({ row: 'u', source: 'us', lease }).believed, promotionBelieved, fresh };
}

/** @param asked selects user_id and promotion_id */
function factsText(asked: string, { userBelieved, promotionBelieved, fresh }: ReturnType<typeof relianceConditions>) {
  return `select asked.user_id, asked.promotion_id, s.id as subscription_id, s.is_active, s.version,
                 case when u.user_id is null or not ${userBelieved} then 'unknown'
                      when u.deleted then 'deleted' else 'known' end as "user",
                 coalesce(case when ${promotionBelieved} then p.status end, 'unknown') as promotion,
                 coalesce(${fresh}, false) as fresh,
                 ${clockSql} as read_at
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

export type ReadFacts = SubscriptionFacts & { read_at: ClockReading };

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
