// The definition of the engagement service.
import { fileURLToPath } from 'node:url';
import { projectionConfig, projectionParts } from '@promopulse/shared/projections/service-parts';
import { defineService } from '@promopulse/shared/service';
import { z } from 'zod';
import packageJson from '../package.json' with { type: 'json' };
import { entities, projections } from './entities.ts';
import { eventRoutes } from './routes.ts';
import { statisticsRoutes } from './statistics/statistics-routes.ts';
import { addDays } from './upkeep/partition-store.ts';
import { measureUpkeep, startUpkeep } from './upkeep/upkeep.ts';

export const engagement = defineService({
  name: 'engagement',
  title: 'Engagement',
  description: 'What users do with promotions, counted once.',
  version: packageJson.version,
  defaultPort: packageJson.config.port,
  config: {
    ...projectionConfig(projections),
    /** How long events are stored beyond the days in which they are accepted. */
    EVENT_RETENTION_DAYS: z.coerce.number().int().min(0).max(365).default(90),
    ROLLUP_INTERVAL_SECONDS: z.coerce.number().int().min(1).max(86_400).default(60),
  },
  entities,
  migrations: fileURLToPath(new URL('migrations', import.meta.url)),
  parts: (context) => {
    const { config, database, log, metrics } = context;
    const { clients, leaseSeconds, parts } = projectionParts(projections, context);
    if (metrics) measureUpkeep(metrics, database);
    return {
      ...parts,
      routes: [...eventRoutes({ database, owners: clients, leaseSeconds }), ...statisticsRoutes(database)],
      prepare: async () => {
        await addDays(database);
        await parts.prepare?.();
      },
      start: () => {
        const stops = [
          parts.start?.(),
          startUpkeep({
            ...{ database, log, retentionDays: config.EVENT_RETENTION_DAYS },
            rollupSeconds: config.ROLLUP_INTERVAL_SECONDS,
          }),
        ];
        return async () => {
          await Promise.all(stops.map((stop) => stop?.()));
        };
      },
    };
  },
});
