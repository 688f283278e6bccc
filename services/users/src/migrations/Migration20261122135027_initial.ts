import { Migration } from '@mikro-orm/migrations';

export class Migration20261122135027_initial extends Migration {

  override name = 'Migration20261122135027_initial';

  override up(): void | Promise<void> {
    this.addSql(`create table "users"."outbox" ("id" bigserial primary key, "event_id" uuid not null, "name" varchar(100) not null, "subject" varchar(100) not null, "data" jsonb not null, "request_id" varchar(128) null, "reply_to" varchar(255) null, "created_at" timestamptz not null default now(), "published_at" timestamptz null);`);
    this.addSql(`create index "outbox_waiting_index" on "users"."outbox" ("id") where published_at is null;`);
    this.addSql(`create index "outbox_waiting_since_index" on "users"."outbox" ("created_at") where published_at is null;`);
    this.addSql(`create index "outbox_published_index" on "users"."outbox" ("published_at") where published_at is not null;`);

    this.addSql(`create table "users"."users" ("id" serial primary key, "first_name" varchar(255) not null, "last_name" varchar(255) not null, "email_encrypted" text not null, "email_index" varchar(64) not null, "phone_encrypted" text null, "version" int not null default 1, "created_at" timestamptz(3) not null default now(), "updated_at" timestamptz(3) not null default now());`);
    this.addSql(`alter table "users"."users" add constraint "users_email_index_unique" unique ("email_index");`);
  }

  override down(): void | Promise<void> {
    this.addSql(`drop table if exists "users"."outbox" cascade;`);
    this.addSql(`drop table if exists "users"."users" cascade;`);

  }

}
