// Whether every service's migrations say what its entities say, by the snapshot beside them; needs no database.
// With this, a changed entity without its migration fails `npm run check`.
import { offlineUrl } from '@promopulse/shared/commands/migrate';
import { areMigrationsComplete } from '@promopulse/shared/database/migrations';
import { databaseOptionsOf } from '@promopulse/shared/service';
import { loadServices } from '../local/services.ts';

for (const definition of await loadServices()) {
  if (await areMigrationsComplete(databaseOptionsOf(definition, offlineUrl))) continue;
  process.stderr.write(
    `${definition.name}: the entities have changed and no migration says so. ` +
      `Run: npm run migration:create -w services/${definition.name} -- <name>\n`,
  );
  process.exitCode = 1;
}
