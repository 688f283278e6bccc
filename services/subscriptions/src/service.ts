// The definition of the subscriptions service.
import { fileURLToPath } from 'node:url';
import { projectionConfig, projectionParts } from '@promopulse/shared/projections/service-parts';
import { defineService } from '@promopulse/shared/service';
import packageJson from '../package.json' with { type: 'json' };
import { projections } from './active-check/projections.ts';
import { entities } from './entities.ts';
import { internalSubscriptionRoutes, subscriptionRoutes } from './routes.ts';

export const subscriptions = defineService({
  name: 'subscriptions',
  title: 'Subscriptions',
  description: 'Who takes part in which promotion. A user subscribes to a promotion once, and only while it is active.',
  version: packageJson.version,
  defaultPort: packageJson.config.port,
  config: projectionConfig(projections),
  entities,
  migrations: fileURLToPath(new URL('migrations', import.meta.url)),
  contractMigrations: ['Migration20261129113411_wide_ids'],
  parts: (context) => {
    const { clients, leaseSeconds, parts } = projectionParts(projections, context);
    return {
      ...parts,
      routes: subscriptionRoutes(context.database, { owners: clients, leaseSeconds }),
      internalRoutes: [...parts.internalRoutes, ...internalSubscriptionRoutes(context.database)],
    };
  },
});
