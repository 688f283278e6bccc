// The environment variables of every service. A service adds its own (`config` of its definition).
import { z } from 'zod';
import { ConfigError, type Environment, loadConfig, processConfig, shutdownConfig } from '../config.ts';
import { internalPortOffset, withInternalUrls } from '../contracts/services.ts';
import { databaseConfig } from '../database/database.ts';
import { migrationConfig } from '../database/migrations.ts';
import { amqpConfig } from '../messaging/rabbitmq/endpoint.ts';

const serviceConfig = {
  ...processConfig,
  ...shutdownConfig,
  ...databaseConfig,
  ...migrationConfig,
  /** The port for other services and for probes. By default PORT + 1000; 0 (the default when PORT is 0): a free port. */
  INTERNAL_PORT: processConfig.PORT,
  /** By default HOST. */
  INTERNAL_HOST: processConfig.HOST,
  /** Prefix of every exchange and queue name, so that several stacks can share a broker. */
  AMQP_PREFIX: z.string().default(''),
  /** Published events stay in the outbox for this time, so that people can inspect them. */
  OUTBOX_RETENTION_SECONDS: z.coerce.number().int().min(1).max(31_536_000).default(86_400),
};

export type ServiceConfig = z.infer<z.ZodObject<typeof serviceConfig & typeof amqpConfig>>;

const maxPort = 65_535;

interface ConfigOptions {
  defaultPort: number;
  /** The service's own variables. */
  own: z.ZodRawShape;
  /** False: the broker is not RabbitMQ, and its settings are not read. */
  usesRabbit: boolean;
}

/** @throws ConfigError naming every variable that is missing or malformed */
export function loadServiceConfig(env: Environment, { defaultPort, own, usesRabbit }: ConfigOptions): ServiceConfig {
  const { PORT, INTERNAL_PORT, INTERNAL_HOST, ...common } = serviceConfig;
  const optional = { INTERNAL_PORT: INTERNAL_PORT.optional(), INTERNAL_HOST: INTERNAL_HOST.unwrap().optional() };
  const shape = { ...common, ...optional, PORT: PORT.default(defaultPort), ...(usesRabbit && amqpConfig), ...own };
  const config = loadConfig(z.object(shape), withInternalUrls(env));
  const withDefaults = { ...config, INTERNAL_HOST: config.INTERNAL_HOST ?? config.HOST, ...internalPort(config) };
  return Object.freeze(withDefaults) as unknown as ServiceConfig;
}

/** @throws ConfigError when it is the port of the public listener, or when there is no port 1000 above that */
function internalPort({ PORT, INTERNAL_PORT }: { PORT: number; INTERNAL_PORT?: number | undefined }) {
  if (INTERNAL_PORT === PORT && PORT !== 0) {
    throw new ConfigError(`PORT and INTERNAL_PORT are both ${PORT}: set INTERNAL_PORT to another port.`);
  }
  const port = INTERNAL_PORT ?? (PORT === 0 ? 0 : PORT + internalPortOffset);
  if (port > maxPort) {
    throw new ConfigError(`INTERNAL_PORT is not set, and PORT + ${internalPortOffset} is no port: set INTERNAL_PORT.`);
  }
  return { INTERNAL_PORT: port };
}
