// `npm run check:entities`: fails when the entities of a service or of the gateway differ from the snapshot of its migrations, so that no
// changed entity goes without its migration. Needs no database.
import { offlineUrl } from '@promopulse/shared/commands/migrate';
import { areMigrationsComplete } from '@promopulse/shared/database/migrations';
import { databaseOptionsOf } from '@promopulse/shared/service/schema-definition';
import { loadSchemas } from '../local/services.ts';

for (const definition of await loadSchemas()) {
  if (await areMigrationsComplete(databaseOptionsOf(definition, offlineUrl))) continue;
  process.stderr.write(
    `${definition.name}: the entities have changed, and no migration contains the change. ` +
      `Run: npm run migration:create -w services/${definition.name} -- <name>\n`,
  );
  process.exitCode = 1;
}
