import { Migration } from '@mikro-orm/migrations';

export class Migration20261129165242_email_indexing extends Migration {

  override name = 'Migration20261129165242_email_indexing';

  override up(): void | Promise<void> {
    this.addSql(`create table "users"."email_indexing" ("id" int not null, "shares_former_index" boolean not null, primary key ("id"));`);
    // Where there are users, replicas of the release before may still write. A new database has only new indexes.
    this.addSql(`insert into "users"."email_indexing" ("id", "shares_former_index") select 1, exists (select from "users"."users");`);
  }

  override down(): void | Promise<void> {
    this.addSql(`drop table if exists "users"."email_indexing" cascade;`);
  }

}
