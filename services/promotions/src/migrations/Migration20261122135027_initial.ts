import { Migration } from '@mikro-orm/migrations';

export class Migration20261122135027_initial extends Migration {

  override name = 'Migration20261122135027_initial';

  override up(): void | Promise<void> {
    this.addSql(`create table "promotions"."outbox" ("id" bigserial primary key, "event_id" uuid not null, "name" varchar(100) not null, "subject" varchar(100) not null, "data" jsonb not null, "request_id" varchar(128) null, "reply_to" varchar(255) null, "created_at" timestamptz not null default now(), "published_at" timestamptz null);`);
    this.addSql(`create index "outbox_waiting_index" on "promotions"."outbox" ("id") where published_at is null;`);
    this.addSql(`create index "outbox_waiting_since_index" on "promotions"."outbox" ("created_at") where published_at is null;`);
    this.addSql(`create index "outbox_published_index" on "promotions"."outbox" ("published_at") where published_at is not null;`);

    this.addSql(`create table "promotions"."promotions" ("id" serial primary key, "name" varchar(255) not null, "description" text null, "status" text not null default 'draft', "start_at" timestamptz(3) not null, "end_at" timestamptz(3) not null, "created_at" timestamptz(3) not null default now(), "updated_at" timestamptz(3) not null default now(), "created_by" int null, "version" int not null default 1);`);
    this.addSql(`create index "promotions_status_id_index" on "promotions"."promotions" ("status", "id");`);

    this.addSql(`alter table "promotions"."promotions" add constraint "promotions_status_check" check ("status" in ('draft', 'active', 'ended'));`);
  }

  override down(): void | Promise<void> {
    this.addSql(`drop table if exists "promotions"."outbox" cascade;`);
    this.addSql(`drop table if exists "promotions"."promotions" cascade;`);

  }

}
