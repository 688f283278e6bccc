import { Migration } from '@mikro-orm/migrations';

export class Migration20261129203615_api_keys extends Migration {

  override name = 'Migration20261129203615_api_keys';

  override up(): void | Promise<void> {
    this.addSql(`create table "gateway"."api_keys" ("id" uuid not null default uuidv7(), "name" varchar(100) not null, "hint" varchar(8) not null, "scopes" text[] not null, "digest" bytea not null, "former_digest" bytea null, "former_expires_at" timestamptz(3) null, "expires_at" timestamptz(3) null, "revoked_at" timestamptz(3) null, "last_used_at" timestamptz(3) null, "created_by" varchar(200) null, "created_at" timestamptz(3) not null default now(), "updated_at" timestamptz(3) not null default now(), primary key ("id"));`);
    this.addSql(`alter table "gateway"."api_keys" add constraint "api_keys_digest_unique" unique ("digest");`);
    this.addSql(`create index "api_keys_updated_at_index" on "gateway"."api_keys" ("updated_at");`);
  }

  override down(): void | Promise<void> {
    this.addSql(`drop table if exists "gateway"."api_keys" cascade;`);

  }

}
