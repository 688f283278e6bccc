import { Migration } from '@mikro-orm/migrations';

export class Migration20261129202934_who_asked extends Migration {

  override name = 'Migration20261129202934_who_asked';

  override up(): void | Promise<void> {
    this.addSql(`alter table "subscriptions"."outbox" add "actor" varchar(150) null, add "trace_parent" varchar(55) null;`);
  }

  override down(): void | Promise<void> {
    this.addSql(`alter table "subscriptions"."outbox" drop column "actor", drop column "trace_parent";`);
  }

}
