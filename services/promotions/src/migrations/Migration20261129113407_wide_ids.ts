// Ids can grow to 2^53 - 1, and so can counts. Requests go on meanwhile, also while a large table is changed.
import { Migration } from '@mikro-orm/migrations';
import { widenIds } from '@promopulse/shared/database/ids/widen-ids';

export class Migration20261129113407_wide_ids extends Migration {

  override name = 'Migration20261129113407_wide_ids';

  override isTransactional(): boolean {
    return false;
  }

  override async up(): Promise<void> {
    const schema = 'promotions';
    await widenIds(this, { schema, table: 'promotion_counts', columns: ['total'] });
    await widenIds(this, { schema, table: 'promotions', columns: ['id', 'created_by'] });
  }

  /** Rewrites the tables under locks that stop all requests. Fails when there are ids above 2147483647. */
  override down(): void | Promise<void> {
    this.addSql(`alter table "promotions"."promotions" alter column "id" type int, alter column "created_by" type int;`);
    this.addSql(`alter sequence "promotions"."promotions_id_seq" as int maxvalue 2147483647;`);
    this.addSql(`alter table "promotions"."promotion_counts" alter column "total" type int;`);
  }

}
