// The gateway's database: opened only when callers are asked for a credential. This module loads MikroORM and pg, so the
// gateway imports it when it needs it and not before.
import { type Environment, loadConfig } from '@promopulse/shared/config';
import { type Database, databaseConfig } from '@promopulse/shared/database/database';
import { migrationConfig } from '@promopulse/shared/database/migrations';
import { databaseOptionsOf } from '@promopulse/shared/service/schema-definition';
import { openPreparedDatabase } from '@promopulse/shared/service/service-database';
import type { Logger } from '@promopulse/shared/telemetry/logger';
import { z } from 'zod';
import { gatewaySchema } from './schema.ts';

/** Fewer connections than a service has: the gateway asks twice a second, and not for each request. */
export const gatewayDatabaseVariables = z.object({
  ...databaseConfig,
  ...migrationConfig,
  /** Read by loadConfig: in production the URL needs a password of its own. */
  ENVIRONMENT: z.string().default('development'),
  DATABASE_POOL_MAX: databaseConfig.DATABASE_POOL_MAX.unwrap().default(3),
  DATABASE_PIPELINED_CONNECTIONS: databaseConfig.DATABASE_PIPELINED_CONNECTIONS.unwrap().default(2),
});

/** @throws ConfigError naming what is missing or malformed */
export function loadGatewayDatabaseConfig(env: Environment): Readonly<z.infer<typeof gatewayDatabaseVariables>> {
  return loadConfig(gatewayDatabaseVariables, env);
}

/** @throws ConfigError, or the database's error after 30 s without a database */
export function openGatewayDatabase(env: Environment, log: Logger): Promise<Database> {
  const config = loadGatewayDatabaseConfig(env);
  return openPreparedDatabase(databaseOptionsOf(gatewaySchema, config.DATABASE_URL), log, config);
}
