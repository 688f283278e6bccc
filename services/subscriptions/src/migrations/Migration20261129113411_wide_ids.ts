// Ids can grow to 2^53 - 1, and so can counts. Requests go on meanwhile, also while a large table is changed.
import { Migration } from '@mikro-orm/migrations';
import { widenIds } from '@promopulse/shared/database/ids/widen-ids';

export class Migration20261129113411_wide_ids extends Migration {

  override name = 'Migration20261129113411_wide_ids';

  override isTransactional(): boolean {
    return false;
  }

  override async up(): Promise<void> {
    const schema = 'subscriptions';
    // First: as soon as the ids of promotions are bigint, the triggers call this one.
    await this.execute(addToSubscriptionCount('bigint'));
    await widenIds(this, { schema, table: 'subscription_counts', columns: ['promotion_id', 'total', 'active'] });
    await widenIds(this, { schema, table: 'cached_promotions', columns: ['promotion_id'] });
    await widenIds(this, { schema, table: 'known_users', columns: ['user_id'] });
    await widenIds(this, { schema, table: 'subscriptions', columns: ['id', 'user_id', 'promotion_id'] });
    this.addSql(`drop function if exists "subscriptions"."add_to_subscription_count"(int, bigint, bigint);`);
  }

  /** Rewrites the tables under locks that stop all requests. Fails when there are ids above 2147483647. */
  override down(): void | Promise<void> {
    this.addSql(addToSubscriptionCount('int'));
    this.addSql(`alter table "subscriptions"."subscriptions" alter column "id" type int, alter column "user_id" type int, alter column "promotion_id" type int;`);
    this.addSql(`alter sequence "subscriptions"."subscriptions_id_seq" as int maxvalue 2147483647;`);
    this.addSql(`alter table "subscriptions"."known_users" alter column "user_id" type int;`);
    this.addSql(`alter table "subscriptions"."cached_promotions" alter column "promotion_id" type int;`);
    this.addSql(`alter table "subscriptions"."subscription_counts" alter column "promotion_id" type int, alter column "total" type int, alter column "active" type int;`);
    this.addSql(`drop function "subscriptions"."add_to_subscription_count"(bigint, bigint, bigint);`);
  }

}

/** As in the migration "counts". */
function addToSubscriptionCount(idType: 'int' | 'bigint'): string {
  return `create or replace function "subscriptions"."add_to_subscription_count"("of" ${idType}, "more" bigint, "more_active" bigint) returns void language plpgsql as $$
    begin
      update "subscriptions"."subscription_counts" set total = total + more, active = active + more_active
      where id = (select id from "subscriptions"."subscription_counts" where promotion_id = "of" limit 1 for no key update skip locked);
      if not found then
        insert into "subscriptions"."subscription_counts" (promotion_id, total, active) values ("of", more, more_active);
      end if;
    end $$;`;
}
