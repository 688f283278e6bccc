import { Migration } from '@mikro-orm/migrations';

export class Migration20261129112920_leases extends Migration {

  override name = 'Migration20261129112920_leases';

  override up(): void | Promise<void> {
    this.addSql(`create table "promotions"."leases" ("name" varchar(100) not null, "holder" uuid not null, "expires_at" timestamptz not null, "backend_pid" int not null, "backend_start" timestamptz not null, primary key ("name"));`);
  }

  override down(): void | Promise<void> {
    this.addSql(`drop table if exists "promotions"."leases" cascade;`);
  }

}
