// The definition of the users service.
import { fileURLToPath } from 'node:url';
import { retryUntilAvailable } from '@promopulse/shared/database/migrations';
import { defineService } from '@promopulse/shared/service';
import packageJson from '../package.json' with { type: 'json' };
import { entities } from './entities.ts';
import { checkKeys } from './personal-data/key-fingerprints.ts';
import { createPersonalData, personalDataConfig } from './personal-data/personal-data.ts';
import { internalUserRoutes, userRoutes } from './routes.ts';

export const users = defineService({
  name: 'users',
  title: 'Users',
  version: packageJson.version,
  defaultPort: packageJson.config.port,
  config: personalDataConfig,
  entities,
  migrations: fileURLToPath(new URL('migrations', import.meta.url)),
  parts: ({ config, database, log }) => {
    const personalData = createPersonalData(config);
    return {
      routes: userRoutes(database, personalData),
      internalRoutes: internalUserRoutes(database),
      prepare: () => retryUntilAvailable(log, () => checkKeys(database, config)),
    };
  },
});
