import { Migration } from '@mikro-orm/migrations';

export class Migration20261125123628_reliance extends Migration {

  override name = 'Migration20261125123628_reliance';

  override up(): void | Promise<void> {
    this.addSql(`alter table "subscriptions"."cached_promotions" drop constraint "cached_promotions_status_check";`);
    this.addSql(`alter table "subscriptions"."cached_promotions" add "changed_at" timestamptz not null default now(), add "doubted_at" timestamptz null, add "lost_at" timestamptz null;`);
    this.addSql(`create index "cached_promotions_doubted_index" on "subscriptions"."cached_promotions" ("promotion_id") where doubted_at is not null;`);
    this.addSql(`create index "cached_promotions_lost_index" on "subscriptions"."cached_promotions" ("promotion_id") where lost_at is not null;`);

    this.addSql(`alter table "subscriptions"."known_users" add "verified_at" timestamptz null, add "changed_at" timestamptz not null default now(), add "doubted_at" timestamptz null, add "lost_at" timestamptz null;`);
    this.addSql(`create index "known_users_doubted_index" on "subscriptions"."known_users" ("user_id") where doubted_at is not null;`);
    this.addSql(`create index "known_users_lost_index" on "subscriptions"."known_users" ("user_id") where lost_at is not null;`);

    this.addSql(`alter table "subscriptions"."projection_sources" add "invalidated_at" timestamptz null, add "complete_needed" boolean not null default true, add "compared_at" timestamptz null, add "read_to" timestamptz(6) null, add "epoch" varchar(50) null, add "position" bigint not null default '0', add "session" varchar(50) null, add "beats" int not null default 0, add "corrected" int not null default 0;`);
  }

  override down(): void | Promise<void> {
    this.addSql(`drop index "subscriptions"."cached_promotions_doubted_index";`);
    this.addSql(`drop index "subscriptions"."cached_promotions_lost_index";`);
    this.addSql(`alter table "subscriptions"."cached_promotions" drop column "changed_at", drop column "doubted_at", drop column "lost_at";`);
    this.addSql(`alter table "subscriptions"."cached_promotions" add constraint "cached_promotions_status_check" check ("status" in ('draft', 'active', 'ended'));`);

    this.addSql(`drop index "subscriptions"."known_users_doubted_index";`);
    this.addSql(`drop index "subscriptions"."known_users_lost_index";`);
    this.addSql(`alter table "subscriptions"."known_users" drop column "verified_at", drop column "changed_at", drop column "doubted_at", drop column "lost_at";`);

    this.addSql(`alter table "subscriptions"."projection_sources" drop column "invalidated_at", drop column "complete_needed", drop column "compared_at", drop column "read_to", drop column "epoch", drop column "position", drop column "session", drop column "beats", drop column "corrected";`);
  }

}
