import { Migration } from '@mikro-orm/migrations';

export class Migration20261122181312_fewer_indexes_of_the_outbox extends Migration {

  override name = 'Migration20261122181312_fewer_indexes_of_the_outbox';

  override up(): void | Promise<void> {
    this.addSql(`drop index "promotions"."outbox_published_index";`);
    this.addSql(`drop index "promotions"."outbox_waiting_since_index";`);
  }

  override down(): void | Promise<void> {
    this.addSql(`create index "outbox_published_index" on "promotions"."outbox" ("published_at") where published_at is not null;`);
    this.addSql(`create index "outbox_waiting_since_index" on "promotions"."outbox" ("created_at") where published_at is null;`);
  }

}
