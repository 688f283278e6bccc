// The environment variables of every service. A service adds its own (`config` of its definition).
import { z } from 'zod';
import { type Environment, loadConfig, processConfig, shutdownConfig } from '../config.ts';
import { withInternalUrls } from '../contracts/services.ts';
import { databaseConfig } from '../database/database.ts';
import { migrationConfig } from '../database/migrations.ts';
import { callerConfig, checkCallerConfig } from '../http/caller/authentication.ts';
import { responseConfig } from '../http/response-budget.ts';
import { amqpConfig } from '../messaging/rabbitmq/endpoint.ts';
import { tracingConfig } from '../telemetry/tracing.ts';
import { checkMetricsPort, internalConfig, metricsConfig, withInternalAddress } from './listener-config.ts';

const serviceConfig = {
  ...processConfig,
  ...shutdownConfig,
  ...internalConfig,
  ...metricsConfig,
  ...databaseConfig,
  ...migrationConfig,
  ...responseConfig,
  ...callerConfig,
  ...tracingConfig,
  /** Prefix of every exchange and queue name, so that several stacks can share a broker. */
  AMQP_PREFIX: z.string().default(''),
  /** Whether a change of a resource must have If-Match. */
  REQUIRE_IF_MATCH: z
    .enum(['true', 'false'])
    .default('false')
    .transform((value) => value === 'true'),
  /** Published events stay in the outbox for this time, so that people can inspect them. */
  OUTBOX_RETENTION_SECONDS: z.coerce.number().int().min(1).max(31_536_000).default(86_400),
  /** For this time at least, a request with an `Idempotency-Key` can be repeated. */
  IDEMPOTENCY_RETENTION_SECONDS: z.coerce.number().int().min(1).max(31_536_000).default(86_400),
};

type ParsedConfig = z.infer<z.ZodObject<typeof serviceConfig & typeof amqpConfig>>;
export type ServiceConfig = ReturnType<typeof withInternalAddress<ParsedConfig>>;

interface ServiceVariables {
  defaultPort: number;
  /** The service's own variables. */
  config: z.ZodRawShape;
}

/**
 * The variables of a service as one zod object.
 * @param usesRabbit false: the broker is not RabbitMQ, and its settings are not read
 */
export function serviceVariables({ defaultPort, config: own }: ServiceVariables, usesRabbit: boolean): z.ZodObject {
  const { PORT, ...common } = serviceConfig;
  return z.object({ ...common, ...(usesRabbit && amqpConfig), PORT: PORT.default(defaultPort), ...own });
}

/** @throws ConfigError naming every variable that is missing or malformed, or when production would be open to everybody */
export function loadServiceConfig(
  env: Environment,
  variables: ServiceVariables,
  { usesRabbit }: { usesRabbit: boolean },
): ServiceConfig {
  const config = loadConfig(serviceVariables(variables, usesRabbit), withInternalUrls(env)) as ParsedConfig;
  checkCallerConfig(config, {
    name: 'this service',
    wayOut: 'Set AUTH=required, or AUTH=external when a proxy in front of the gateway authenticates every request',
    others: 'the gateway',
  });
  return checkMetricsPort(withInternalAddress(config));
}
