// The definition of the subscriptions service.
import { fileURLToPath } from 'node:url';
import { projectionConsumer } from '@promopulse/shared/projections/events/consumer';
import { measureProjections, ProjectionCounts } from '@promopulse/shared/projections/projection-metrics';
import { internalProjectionRoutes } from '@promopulse/shared/projections/projection-routes';
import { promotionsClient, usersClient } from '@promopulse/shared/projections/reading/owner-client';
import {
  describeProjections,
  invalidateAll,
  Reconciliation,
} from '@promopulse/shared/projections/reading/reconciliation';
import { defineService } from '@promopulse/shared/service';
import { measureClientRequests } from '@promopulse/shared/telemetry/request-durations';
import { z } from 'zod';
import packageJson from '../package.json' with { type: 'json' };
import { entities } from './entities.ts';
import { subscriptionRoutes } from './routes.ts';

const milliseconds = (min: number, max: number, fallback: number) =>
  z.coerce.number().int().min(min).max(max).default(fallback);
const httpUrl = z.url({ protocol: /^https?$/, error: 'must be an http:// URL' });

export const subscriptions = defineService({
  name: 'subscriptions',
  title: 'Subscriptions',
  description: 'Who takes part in which promotion. A user subscribes to a promotion once, and only while it is active.',
  version: packageJson.version,
  defaultPort: packageJson.config.port,
  config: {
    /** The internal listeners of the owners. */
    USERS_INTERNAL_URL: httpUrl,
    PROMOTIONS_INTERNAL_URL: httpUrl,
    /** How long, in milliseconds, a confirmed status of a promotion is relied on: the bound of invariant 4. */
    FRESHNESS_LEASE_MS: milliseconds(1_000, 60_000, 5_000),
    OWNER_TIMEOUT_MS: milliseconds(10, 10_000, 500),
    BREAKER_RESET_MS: milliseconds(100, 60_000, 2_000),
    RECONCILE_INTERVAL_MS: milliseconds(1_000, 86_400_000, 3_600_000),
  },
  entities,
  migrations: fileURLToPath(new URL('migrations', import.meta.url)),
  contractMigrations: ['Migration20261129113411_wide_ids'],
  parts: ({ config, database, broker, log, metrics }) => {
    const { OWNER_TIMEOUT_MS: timeoutMs, BREAKER_RESET_MS: resetMs } = config;
    const options = { timeoutMs, resetMs, onAnswer: metrics && measureClientRequests(metrics) };
    const owners = {
      users: usersClient({ ...options, url: config.USERS_INTERNAL_URL }),
      promotions: promotionsClient({ ...options, url: config.PROMOTIONS_INTERNAL_URL }),
    };
    const counts = new ProjectionCounts();
    if (metrics) measureProjections(metrics, { database, owners, counts });
    const intervalMs = config.RECONCILE_INTERVAL_MS;
    const reconciliation = new Reconciliation({ database, owners, intervalMs, log, counts });
    const onInvalidated = (): void => reconciliation.wake();
    return {
      routes: subscriptionRoutes(database, { owners, leaseSeconds: config.FRESHNESS_LEASE_MS / 1000 }),
      internalRoutes: internalProjectionRoutes(database),
      consumers: [projectionConsumer({ database, broker, log, counts, onInvalidated })],
      health: async () => ({ projections: await describeProjections(database) }),
      prepare: () => invalidateAll(database),
      start: () => reconciliation.start(),
    };
  },
});
