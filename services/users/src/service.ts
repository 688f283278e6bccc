// The definition of the users service.
import { fileURLToPath } from 'node:url';
import { retryUntilAvailable } from '@promopulse/shared/database/migrations';
import { defineService } from '@promopulse/shared/service';
import packageJson from '../package.json' with { type: 'json' };
import { entities } from './entities.ts';
import { isIndexShared } from './personal-data/email-index-store.ts';
import { checkKeys } from './personal-data/key-fingerprints.ts';
import { createPersonalData, personalDataConfig } from './personal-data/personal-data.ts';
import { internalUserRoutes, userRoutes } from './routes.ts';

export const users = defineService({
  name: 'users',
  title: 'Users',
  description: 'People who can subscribe. Their email and phone are encrypted before they are stored.',
  version: packageJson.version,
  defaultPort: packageJson.config.port,
  config: personalDataConfig,
  entities,
  migrations: fileURLToPath(new URL('migrations', import.meta.url)),
  contractMigrations: ['Migration20261129113403_wide_ids'],
  parts: ({ config, database, log }) => {
    const personalData = createPersonalData(config);
    return {
      routes: userRoutes(database, personalData),
      internalRoutes: internalUserRoutes(database),
      prepare: async () => {
        await retryUntilAvailable(log, () => checkKeys(database, config));
        if (await retryUntilAvailable(log, () => isIndexShared(database))) {
          log.warn('emails are still indexed for the release before: npm run emails:reindex when none of it runs');
        }
      },
    };
  },
});
