import { Migration } from '@mikro-orm/migrations';

export class Migration20261125121816_epoch_and_parked_rows extends Migration {

  override name = 'Migration20261125121816_epoch_and_parked_rows';

  override up(): void | Promise<void> {
    this.addSql(`create table "users"."publication" ("id" int not null, "epoch" uuid not null default gen_random_uuid(), "system_identifier" text null, "timeline" text null, primary key ("id"));`);
    this.addSql(`insert into "users"."publication" ("id") values (1);`);

    this.addSql(`drop index "users"."outbox_waiting_index";`);
    this.addSql(`alter table "users"."outbox" add "parked_at" timestamptz null;`);
    this.addSql(`create index "outbox_parked_index" on "users"."outbox" ("name", "id") where published_at is null and parked_at is not null;`);
    this.addSql(`create index "outbox_waiting_index" on "users"."outbox" ("id") where published_at is null and parked_at is null;`);
  }

  override down(): void | Promise<void> {
    this.addSql(`drop table if exists "users"."publication" cascade;`);

    this.addSql(`drop index "users"."outbox_parked_index";`);
    this.addSql(`drop index "users"."outbox_waiting_index";`);
    this.addSql(`alter table "users"."outbox" drop column "parked_at";`);
    this.addSql(`create index "outbox_waiting_index" on "users"."outbox" ("id") where published_at is null;`);
  }

}
