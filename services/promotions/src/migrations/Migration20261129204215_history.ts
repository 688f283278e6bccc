import { Migration } from '@mikro-orm/migrations';

export class Migration20261129204215_history extends Migration {

  override name = 'Migration20261129204215_history';

  override up(): void | Promise<void> {
    this.addSql(`create table "promotions"."promotion_history" ("promotion_id" bigint not null, "id" bigserial not null, "version" int not null, "at" timestamptz(3) not null, "actor" varchar(150) null, "request_id" varchar(128) null, "reason" varchar(200) null, "changes" jsonb not null, primary key ("promotion_id", "id"));`);
    this.addSql(`alter sequence "promotions"."promotion_history_id_seq" maxvalue 9007199254740991;`);
  }

  override down(): void | Promise<void> {
    this.addSql(`drop table if exists "promotions"."promotion_history" cascade;`);
  }

}
