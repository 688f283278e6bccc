import { Migration } from '@mikro-orm/migrations';

export class Migration20261122135028_initial extends Migration {

  override name = 'Migration20261122135028_initial';

  override up(): void | Promise<void> {
    this.addSql(`create table "subscriptions"."cached_promotions" ("promotion_id" int not null, "status" text not null, "version" int not null, "verified_at" timestamptz null, primary key ("promotion_id"));`);

    this.addSql(`create table "subscriptions"."known_users" ("user_id" int not null, "version" int not null, "deleted" boolean not null default false, primary key ("user_id"));`);

    this.addSql(`create table "subscriptions"."outbox" ("id" bigserial primary key, "event_id" uuid not null, "name" varchar(100) not null, "subject" varchar(100) not null, "data" jsonb not null, "request_id" varchar(128) null, "reply_to" varchar(255) null, "created_at" timestamptz not null default now(), "published_at" timestamptz null);`);
    this.addSql(`create index "outbox_waiting_index" on "subscriptions"."outbox" ("id") where published_at is null;`);
    this.addSql(`create index "outbox_waiting_since_index" on "subscriptions"."outbox" ("created_at") where published_at is null;`);
    this.addSql(`create index "outbox_published_index" on "subscriptions"."outbox" ("published_at") where published_at is not null;`);

    this.addSql(`create table "subscriptions"."projection_sources" ("service" varchar(50) not null, "horizon" timestamptz null, "reconciled_at" timestamptz null, "distrusts" int not null default 0, primary key ("service"));`);

    this.addSql(`create table "subscriptions"."subscriptions" ("id" serial primary key, "user_id" int not null, "promotion_id" int not null, "is_active" boolean not null default true, "metadata" json null, "created_at" timestamptz(3) not null default now(), "version" int not null default 1);`);
    this.addSql(`create index "subscriptions_user_index" on "subscriptions"."subscriptions" ("user_id", "created_at", "id");`);
    this.addSql(`create index "subscriptions_promotion_index" on "subscriptions"."subscriptions" ("promotion_id", "created_at", "id");`);
    this.addSql(`create index "subscriptions_user_active_index" on "subscriptions"."subscriptions" ("user_id", "is_active", "created_at", "id");`);
    this.addSql(`create index "subscriptions_promotion_active_index" on "subscriptions"."subscriptions" ("promotion_id", "is_active", "created_at", "id");`);
    this.addSql(`alter table "subscriptions"."subscriptions" add constraint "subscriptions_user_promotion_unique" unique ("user_id", "promotion_id");`);

    this.addSql(`alter table "subscriptions"."cached_promotions" add constraint "cached_promotions_status_check" check ("status" in ('draft', 'active', 'ended'));`);
  }

  override down(): void | Promise<void> {
    this.addSql(`drop table if exists "subscriptions"."cached_promotions" cascade;`);
    this.addSql(`drop table if exists "subscriptions"."known_users" cascade;`);
    this.addSql(`drop table if exists "subscriptions"."outbox" cascade;`);
    this.addSql(`drop table if exists "subscriptions"."projection_sources" cascade;`);
    this.addSql(`drop table if exists "subscriptions"."subscriptions" cascade;`);

  }

}
