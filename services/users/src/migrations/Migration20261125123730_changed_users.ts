import { Migration } from '@mikro-orm/migrations';

export class Migration20261125123730_changed_users extends Migration {

  override name = 'Migration20261125123730_changed_users';

  override up(): void | Promise<void> {
    this.addSql(`create index "users_updated_at_index" on "users"."users" using brin ("updated_at") with (autosummarize = on);`);
  }

  override down(): void | Promise<void> {
    this.addSql(`drop index "users"."users_updated_at_index";`);
  }

}
