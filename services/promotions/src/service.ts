// The definition of the promotions service.
import { fileURLToPath } from 'node:url';
import { createAppliedReplies } from '@promopulse/shared/messaging/applied-reply';
import { defineService } from '@promopulse/shared/service';
import { z } from 'zod';
import packageJson from '../package.json' with { type: 'json' };
import { entities } from './entities.ts';
import { internalPromotionRoutes, promotionRoutes } from './routes.ts';

export const promotions = defineService({
  name: 'promotions',
  title: 'Promotions',
  description: 'Campaigns with a period. A promotion is a draft, then active, then ended, and never goes back.',
  version: packageJson.version,
  defaultPort: packageJson.config.port,
  config: {
    /** Longest time, in milliseconds, that a status change waits for the subscriptions service to apply it. */
    APPLIED_REPLY_TIMEOUT_MS: z.coerce.number().int().min(0).max(10_000).default(1_000),
  },
  entities,
  migrations: fileURLToPath(new URL('migrations', import.meta.url)),
  contractMigrations: ['Migration20261129113407_wide_ids'],
  parts: ({ config, database, broker }) => {
    const expectReply = createAppliedReplies(broker, 'subscriptions.projections', config.APPLIED_REPLY_TIMEOUT_MS);
    return { routes: promotionRoutes(database, expectReply), internalRoutes: internalPromotionRoutes(database) };
  },
});
