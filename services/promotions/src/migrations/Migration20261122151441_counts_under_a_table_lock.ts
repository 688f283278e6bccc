// Its time is that of the migration before it, which creates the function: the next one calls it, and would wait for the
// advisory lock. A schema that has both already gets this one as well.
import { Migration } from '@mikro-orm/migrations';

export class Migration20261122151441_counts_under_a_table_lock extends Migration {

  override name = 'Migration20261122151441_counts_under_a_table_lock';

  override up(): void | Promise<void> {
    // Adds by how much the counts are off in this snapshot: writers at the same time need not stop, because what they
    // commit later is in neither side of the difference and counts itself. The lock keeps two from adding it twice. It
    // lets writers pass, and no other role can take it; an advisory lock has a name that every role may take.
    this.addSql(`create or replace function "promotions"."recount_promotions"() returns bigint language plpgsql as $$
      declare
        mended bigint;
      begin
        lock table "promotions"."promotion_counts" in share update exclusive mode;
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
    this.addSql(`create or replace function "promotions"."recount_promotions"() returns bigint language plpgsql as $$
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

}
