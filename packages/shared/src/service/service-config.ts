// The environment variables of every service. A service adds its own (`config` of its definition).
import { z } from 'zod';
import { type Environment, loadConfig, processConfig, shutdownConfig } from '../config.ts';
import { withInternalUrls } from '../contracts/services.ts';
import { databaseConfig } from '../database/database.ts';
import { migrationConfig } from '../database/migrations.ts';
import { responseConfig } from '../http/response-budget.ts';
import { amqpConfig } from '../messaging/rabbitmq/endpoint.ts';
import { internalConfig, withInternalAddress } from './listener-config.ts';

const serviceConfig = {
  ...processConfig,
  ...shutdownConfig,
  ...internalConfig,
  ...databaseConfig,
  ...migrationConfig,
  ...responseConfig,
  /** Prefix of every exchange and queue name, so that several stacks can share a broker. */
  AMQP_PREFIX: z.string().default(''),
  /** Published events stay in the outbox for this time, so that people can inspect them. */
  OUTBOX_RETENTION_SECONDS: z.coerce.number().int().min(1).max(31_536_000).default(86_400),
};

type ParsedConfig = z.infer<z.ZodObject<typeof serviceConfig & typeof amqpConfig>>;
export type ServiceConfig = ReturnType<typeof withInternalAddress<ParsedConfig>>;

interface ServiceVariables {
  defaultPort: number;
  /** The service's own variables. */
  config: z.ZodRawShape;
}

/**
 * @param usesRabbit false: the broker is not RabbitMQ, and its settings are not read
 * @throws ConfigError naming every variable that is missing or malformed
 */
export function loadServiceConfig(
  env: Environment,
  { defaultPort, config: own }: ServiceVariables,
  { usesRabbit }: { usesRabbit: boolean },
): ServiceConfig {
  const { PORT, ...common } = serviceConfig;
  const schema = z.object({ ...common, ...(usesRabbit && amqpConfig), PORT: PORT.default(defaultPort), ...own });
  return withInternalAddress(loadConfig(schema, withInternalUrls(env)) as ParsedConfig);
}
