// The environment variables of every service. A service adds its own (`config` of its definition).
import { z } from 'zod';
import { type Environment, loadConfig, processConfig } from '../config.ts';
import { databaseConfig } from '../database/database.ts';
import { amqpConfig } from '../messaging/rabbitmq/endpoint.ts';

const serviceConfig = {
  ...processConfig,
  ...databaseConfig,
  /** Prefix of every exchange and queue name, so that several stacks can share a broker. */
  AMQP_PREFIX: z.string().default(''),
  /** Published events stay in the outbox for this time, so that people can inspect them. */
  OUTBOX_RETENTION_SECONDS: z.coerce.number().int().min(1).max(31_536_000).default(86_400),
};

export type ServiceConfig = z.infer<z.ZodObject<typeof serviceConfig & typeof amqpConfig>>;

interface ConfigOptions {
  defaultPort: number;
  /** The service's own variables. */
  own: z.ZodRawShape;
  /** False: the broker is not RabbitMQ, and its settings are not read. */
  usesRabbit: boolean;
}

/** @throws ConfigError naming every variable that is missing or malformed */
export function loadServiceConfig(env: Environment, { defaultPort, own, usesRabbit }: ConfigOptions): ServiceConfig {
  const { PORT, ...common } = serviceConfig;
  const schema = z.object({ ...common, ...(usesRabbit && amqpConfig), PORT: PORT.default(defaultPort), ...own });
  return loadConfig(schema, env) as ServiceConfig;
}
