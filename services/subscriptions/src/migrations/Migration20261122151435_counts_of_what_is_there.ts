// Counts the rows that were there before their triggers. Apart from the migration that makes those, so that replicas of
// the version before, which write all the while, are stopped for a moment only, and not until all is counted.
import { Migration } from '@mikro-orm/migrations';

export class Migration20261122151435_counts_of_what_is_there extends Migration {

  override name = 'Migration20261122151435_counts_of_what_is_there';

  override up(): void | Promise<void> {
    this.addSql(`select "subscriptions"."recount_subscriptions"();`);
  }

  /** Nothing to take back: the counts go with their table. */
  override down(): void | Promise<void> {}

}
