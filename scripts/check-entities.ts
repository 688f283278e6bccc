// Whether every service's migrations say what its entities say, by the snapshot beside them; needs no database.
// With this, a changed entity without its migration fails `npm run check`.
import { existsSync, readdirSync } from 'node:fs';
import { join } from 'node:path';
import { offlineUrl } from '@promopulse/shared/migration-command';
import { areMigrationsComplete } from '@promopulse/shared/migrations';
import { databaseOptionsOf, type ServiceDefinition } from '@promopulse/shared/service';

const services = join(import.meta.dirname, '../services');

/** Every folder of services/ that has a service.ts which defines one; the gateway has no database. */
export async function definitions(): Promise<ServiceDefinition[]> {
  const files = readdirSync(services)
    .map((name) => join(services, name, 'src/service.ts'))
    .filter((file) => existsSync(file));
  const modules: Record<string, ServiceDefinition>[] = await Promise.all(files.map((file) => import(file)));
  return modules.flatMap((module) => Object.values(module).filter((each) => typeof each?.migrations === 'string'));
}

if (import.meta.main) {
  for (const definition of await definitions()) {
    if (await areMigrationsComplete(databaseOptionsOf(definition, offlineUrl))) continue;
    process.stderr.write(
      `${definition.name}: the entities have changed and no migration says so. ` +
        `Run: npm run migration:create -w services/${definition.name} -- <name>\n`,
    );
    process.exitCode = 1;
  }
}
