// The environment variables of every service. A service adds its own (`config` of its definition).
import { z } from 'zod';
import { type Environment, loadConfig, processConfig } from '../config.ts';
import { databaseConfig } from '../database/database.ts';
import { responseConfig } from '../http/response-budget.ts';

const serviceConfig = {
  ...processConfig,
  ...databaseConfig,
  ...responseConfig,
  AMQP_URL: z.url({ protocol: /^amqps?$/, error: 'must be an amqp:// URL' }),
  /** Prefix of every exchange and queue name, so that several stacks can share a broker. */
  AMQP_PREFIX: z.string().default(''),
  /** Published events stay in the outbox for this time, so that people can inspect them. */
  OUTBOX_RETENTION_SECONDS: z.coerce.number().int().min(1).max(31_536_000).default(86_400),
};

export type ServiceConfig = z.infer<z.ZodObject<typeof serviceConfig>>;

interface ConfigOptions {
  defaultPort: number;
  /** The service's own variables. */
  own: z.ZodRawShape;
  /** False: the broker is not RabbitMQ, and AMQP_URL is not read. */
  usesRabbit: boolean;
}

/** @throws ConfigError naming every variable that is missing or malformed */
export function loadServiceConfig(env: Environment, { defaultPort, own, usesRabbit }: ConfigOptions): ServiceConfig {
  const { PORT, AMQP_URL, ...common } = serviceConfig;
  const schema = z.object({ ...common, PORT: PORT.default(defaultPort), ...(usesRabbit && { AMQP_URL }), ...own });
  return loadConfig(schema, env) as ServiceConfig;
}
