// The definition of the subscriptions service.
import { fileURLToPath } from 'node:url';
import { defineService } from '@promopulse/shared/service';
import { z } from 'zod';
import packageJson from '../package.json' with { type: 'json' };
import { entities } from './entities.ts';
import { projectionConsumer } from './projections/consumer.ts';
import { promotionsClient, usersClient } from './projections/owner-client.ts';
import { describeProjections, invalidateAll, Reconciliation } from './projections/reconciliation.ts';
import { internalProjectionRoutes, subscriptionRoutes } from './routes.ts';

const milliseconds = (min: number, max: number, fallback: number) =>
  z.coerce.number().int().min(min).max(max).default(fallback);
const httpUrl = z.url({ protocol: /^https?$/, error: 'must be an http:// URL' });

export const subscriptions = defineService({
  name: 'subscriptions',
  title: 'Subscriptions',
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
  parts: ({ config, database, broker, log }) => {
    const options = { timeoutMs: config.OWNER_TIMEOUT_MS, resetMs: config.BREAKER_RESET_MS };
    const owners = {
      users: usersClient({ ...options, url: config.USERS_INTERNAL_URL }),
      promotions: promotionsClient({ ...options, url: config.PROMOTIONS_INTERNAL_URL }),
    };
    const reconciliation = new Reconciliation({ database, owners, intervalMs: config.RECONCILE_INTERVAL_MS, log });
    const onInvalidated = (): void => reconciliation.wake();
    return {
      routes: subscriptionRoutes(database, { owners, leaseSeconds: config.FRESHNESS_LEASE_MS / 1000 }),
      internalRoutes: internalProjectionRoutes(database),
      consumers: [projectionConsumer({ database, broker, log, onInvalidated })],
      health: async () => ({ projections: await describeProjections(database) }),
      prepare: () => invalidateAll(database),
      start: () => reconciliation.start(),
    };
  },
});
