import { Migration } from '@mikro-orm/migrations';

export class Migration20261129113648_key_fingerprints extends Migration {

  override name = 'Migration20261129113648_key_fingerprints';

  override up(): void | Promise<void> {
    this.addSql(`create table "users"."key_fingerprints" ("purpose" varchar(20) not null, "fingerprint" varchar(64) not null, "created_at" timestamptz(3) not null default now(), primary key ("purpose", "fingerprint"));`);
  }

  override down(): void | Promise<void> {
    this.addSql(`drop table if exists "users"."key_fingerprints" cascade;`);
  }

}
