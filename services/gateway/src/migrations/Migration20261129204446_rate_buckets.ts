import { Migration } from '@mikro-orm/migrations';

export class Migration20261129204446_rate_buckets extends Migration {

  override name = 'Migration20261129204446_rate_buckets';

  // Unlogged: what it holds is worth no disk access. Half of each page is free, so that a change needs no new index entry.
  override up(): void | Promise<void> {
    this.addSql(`create unlogged table "gateway"."rate_buckets" ("key" bytea not null, "tats" double precision[] not null, primary key ("key")) with (fillfactor = 50);`);
  }

  override down(): void | Promise<void> {
    this.addSql(`drop table if exists "gateway"."rate_buckets" cascade;`);
  }

}
