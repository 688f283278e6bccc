// Counts that triggers keep, exact in every snapshot: docs/decisions/0011-counts-and-cursors.md.
import { Migration } from '@mikro-orm/migrations';

export class Migration20261122151434_counts extends Migration {

  override name = 'Migration20261122151434_counts';

  // Rows are updated in place for as long as their page has room: hence the fill factor.
  override up(): void | Promise<void> {
    this.addSql(`create table "subscriptions"."subscription_counts" ("id" bigserial primary key, "promotion_id" int not null, "total" int not null, "active" int not null) with (fillfactor = 50);`);
    this.addSql(`create index "subscription_counts_promotion_index" on "subscriptions"."subscription_counts" ("promotion_id");`);

    // Writers at once each take a row that nobody holds and make one where there is none, so none waits for another,
    // whatever its transaction does besides: no queue on a hot promotion, no deadlock. Found by id, which an update keeps.
    this.addSql(`create function "subscriptions"."add_to_subscription_count"("of" int, "more" bigint, "more_active" bigint) returns void language plpgsql as $$
      begin
        update "subscriptions"."subscription_counts" set total = total + more, active = active + more_active
        where id = (select id from "subscriptions"."subscription_counts" where promotion_id = "of" limit 1 for no key update skip locked);
        if not found then
          insert into "subscriptions"."subscription_counts" (promotion_id, total, active) values ("of", more, more_active);
        end if;
      end $$;`);
    this.addSql(`create function "subscriptions"."count_subscriptions"() returns trigger language plpgsql as $$
      begin
        if tg_op = 'INSERT' then
          perform "subscriptions"."add_to_subscription_count"(promotion_id, count(*), count(*) filter (where is_active))
          from added group by promotion_id;
        elsif tg_op = 'UPDATE' then
          perform "subscriptions"."add_to_subscription_count"(promotion_id, sum(total)::bigint, sum(active)::bigint)
          from (select promotion_id, 1 as total, is_active::int as active from added
                union all select promotion_id, -1, -is_active::int from removed) as changes
          group by promotion_id having sum(total) <> 0 or sum(active) <> 0;
        elsif tg_op = 'DELETE' then
          perform "subscriptions"."add_to_subscription_count"(promotion_id, -count(*), -count(*) filter (where is_active))
          from removed group by promotion_id;
        else
          delete from "subscriptions"."subscription_counts";
        end if;
        return null;
      end $$;`);
    // Once per statement, so that a bulk load costs little more than without.
    this.addSql(`create trigger subscriptions_count_insert after insert on "subscriptions"."subscriptions"
      referencing new table as added for each statement execute function "subscriptions"."count_subscriptions"();`);
    this.addSql(`create trigger subscriptions_count_update after update on "subscriptions"."subscriptions"
      referencing old table as removed new table as added for each statement execute function "subscriptions"."count_subscriptions"();`);
    this.addSql(`create trigger subscriptions_count_delete after delete on "subscriptions"."subscriptions"
      referencing old table as removed for each statement execute function "subscriptions"."count_subscriptions"();`);
    this.addSql(`create trigger subscriptions_count_truncate after truncate on "subscriptions"."subscriptions"
      for each statement execute function "subscriptions"."count_subscriptions"();`);

    // Adds by how much the counts are off in this snapshot: writers at the same time need not stop, because what they
    // commit later is in neither side of the difference and counts itself. The lock keeps two from adding it twice.
    this.addSql(`create function "subscriptions"."recount_subscriptions"() returns bigint language plpgsql as $$
      declare
        mended bigint;
      begin
        perform pg_advisory_xact_lock(hashtextextended('promopulse.subscriptions.recount', 0));
        insert into "subscriptions"."subscription_counts" (promotion_id, total, active)
        select promotion_id, sum(total), sum(active) from (
          select promotion_id, count(*) as total, count(*) filter (where is_active) as active from "subscriptions"."subscriptions" group by promotion_id
          union all select promotion_id, -sum(total), -sum(active) from "subscriptions"."subscription_counts" group by promotion_id
        ) as difference
        group by promotion_id having sum(total) <> 0 or sum(active) <> 0;
        get diagnostics mended = row_count;
        return mended;
      end $$;`);
  }

  override down(): void | Promise<void> {
    this.addSql(`drop function "subscriptions"."recount_subscriptions"();`);
    this.addSql(`drop function "subscriptions"."count_subscriptions"() cascade;`);
    this.addSql(`drop function "subscriptions"."add_to_subscription_count";`);
    this.addSql(`drop table "subscriptions"."subscription_counts";`);
  }

}
