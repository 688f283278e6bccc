// Counts that triggers keep, exact in every snapshot: docs/decisions/0011-counts-and-cursors.md.
import { Migration } from '@mikro-orm/migrations';

export class Migration20261122151441_counts extends Migration {

  override name = 'Migration20261122151441_counts';

  // Rows are updated in place for as long as their page has room: hence the fill factor.
  override up(): void | Promise<void> {
    this.addSql(`create table "promotions"."promotion_counts" ("id" bigserial primary key, "status" text not null, "total" int not null) with (fillfactor = 50);`);
    this.addSql(`create index "promotion_counts_status_index" on "promotions"."promotion_counts" ("status");`);

    this.addSql(`alter table "promotions"."promotion_counts" add constraint "promotion_counts_status_check" check ("status" in ('draft', 'active', 'ended'));`);

    // Writers at once each take a row that nobody holds and make one where there is none, so none waits for another,
    // whatever its transaction does besides: no queue on a hot status, no deadlock. Found by id, which an update keeps.
    this.addSql(`create function "promotions"."add_to_promotion_count"("of" text, "more" bigint) returns void language plpgsql as $$
      begin
        update "promotions"."promotion_counts" set total = total + more
        where id = (select id from "promotions"."promotion_counts" where status = "of" limit 1 for no key update skip locked);
        if not found then
          insert into "promotions"."promotion_counts" (status, total) values ("of", more);
        end if;
      end $$;`);
    this.addSql(`create function "promotions"."count_promotions"() returns trigger language plpgsql as $$
      begin
        if tg_op = 'INSERT' then
          perform "promotions"."add_to_promotion_count"(status, count(*))
          from added group by status;
        elsif tg_op = 'UPDATE' then
          perform "promotions"."add_to_promotion_count"(status, sum(total)::bigint)
          from (select status, 1 as total from added
                union all select status, -1 from removed) as changes
          group by status having sum(total) <> 0;
        elsif tg_op = 'DELETE' then
          perform "promotions"."add_to_promotion_count"(status, -count(*))
          from removed group by status;
        else
          delete from "promotions"."promotion_counts";
        end if;
        return null;
      end $$;`);
    // Once per statement, so that a bulk load costs little more than without.
    this.addSql(`create trigger promotions_count_insert after insert on "promotions"."promotions"
      referencing new table as added for each statement execute function "promotions"."count_promotions"();`);
    this.addSql(`create trigger promotions_count_update after update on "promotions"."promotions"
      referencing old table as removed new table as added for each statement execute function "promotions"."count_promotions"();`);
    this.addSql(`create trigger promotions_count_delete after delete on "promotions"."promotions"
      referencing old table as removed for each statement execute function "promotions"."count_promotions"();`);
    this.addSql(`create trigger promotions_count_truncate after truncate on "promotions"."promotions"
      for each statement execute function "promotions"."count_promotions"();`);

    // Adds by how much the counts are off in this snapshot: writers at the same time need not stop, because what they
    // commit later is in neither side of the difference and counts itself. The lock keeps two from adding it twice.
    this.addSql(`create function "promotions"."recount_promotions"() returns bigint language plpgsql as $$
      declare
        mended bigint;
      begin
        perform pg_advisory_xact_lock(hashtextextended('promopulse.promotions.recount', 0));
        insert into "promotions"."promotion_counts" (status, total)
        select status, sum(total) from (
          select status, count(*) as total from "promotions"."promotions" group by status
          union all select status, -sum(total) from "promotions"."promotion_counts" group by status
        ) as difference
        group by status having sum(total) <> 0;
        get diagnostics mended = row_count;
        return mended;
      end $$;`);
  }

  override down(): void | Promise<void> {
    this.addSql(`drop function "promotions"."recount_promotions"();`);
    this.addSql(`drop function "promotions"."count_promotions"() cascade;`);
    this.addSql(`drop function "promotions"."add_to_promotion_count";`);
    this.addSql(`drop table "promotions"."promotion_counts";`);
  }

}
