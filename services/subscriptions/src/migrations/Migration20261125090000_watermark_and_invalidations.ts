// The columns of a projection's source get the field's terms: docs/glossary.md.
import { Migration } from '@mikro-orm/migrations';

export class Migration20261125090000_watermark_and_invalidations extends Migration {

  override name = 'Migration20261125090000_watermark_and_invalidations';

  override up(): void | Promise<void> {
    this.addSql(`alter table "subscriptions"."projection_sources" rename column "horizon" to "watermark";`);
    this.addSql(`alter table "subscriptions"."projection_sources" rename column "distrusts" to "invalidations";`);
  }

  override down(): void | Promise<void> {
    this.addSql(`alter table "subscriptions"."projection_sources" rename column "watermark" to "horizon";`);
    this.addSql(`alter table "subscriptions"."projection_sources" rename column "invalidations" to "distrusts";`);
  }

}
