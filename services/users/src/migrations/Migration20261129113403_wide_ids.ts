// Ids can grow to 2^53 - 1. Requests go on meanwhile, also while a large table is changed.
import { Migration } from '@mikro-orm/migrations';
import { widenIds } from '@promopulse/shared/database/ids/widen-ids';

export class Migration20261129113403_wide_ids extends Migration {

  override name = 'Migration20261129113403_wide_ids';

  override isTransactional(): boolean {
    return false;
  }

  override async up(): Promise<void> {
    await widenIds(this, { schema: 'users', table: 'users', columns: ['id'] });
  }

  /** Rewrites the table under a lock that stops all requests. Fails when there are ids above 2147483647. */
  override down(): void | Promise<void> {
    this.addSql(`alter table "users"."users" alter column "id" type int;`);
    this.addSql(`alter sequence "users"."users_id_seq" as int maxvalue 2147483647;`);
  }

}
