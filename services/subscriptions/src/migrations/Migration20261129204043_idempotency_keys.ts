import { Migration } from '@mikro-orm/migrations';

export class Migration20261129204043_idempotency_keys extends Migration {

  override name = 'Migration20261129204043_idempotency_keys';

  override up(): void | Promise<void> {
    this.addSql(`create table "subscriptions"."idempotency_keys" ("scope" varchar(150) not null, "key" bytea not null, "fingerprint" bytea not null, "status" smallint not null, "answer" text not null, "headers" jsonb not null, "created_at" timestamptz not null default now(), primary key ("scope", "key"));`);
    this.addSql(`create index "idempotency_keys_created_at_index" on "subscriptions"."idempotency_keys" ("created_at");`);
  }

  override down(): void | Promise<void> {
    this.addSql(`drop table if exists "subscriptions"."idempotency_keys" cascade;`);
  }

}
