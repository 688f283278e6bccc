// Where the listeners of a service are: two, and with METRICS_PORT a third one.
import type { z } from 'zod';
import { ConfigError, processConfig } from '../config.ts';
import { internalPortOffset } from '../contracts/services.ts';

const maxPort = 65_535;

/** What is not set has the defaults of `withInternalAddress`. */
export const internalConfig = {
  /** The port for other services and for probes. By default PORT + 1000; 0 (the default when PORT is 0): a free port. */
  INTERNAL_PORT: processConfig.PORT.optional(),
  /** By default HOST. */
  INTERNAL_HOST: processConfig.HOST.unwrap().optional(),
};

/** Of the services and the gateway. */
export const metricsConfig = {
  /** The port for Prometheus. Default: no metrics. 0: a free port. */
  METRICS_PORT: processConfig.PORT.optional(),
  /** By default HOST. */
  METRICS_HOST: processConfig.HOST.unwrap().optional(),
};

export type MetricsAddress = z.infer<z.ZodObject<typeof metricsConfig>>;

/** @throws ConfigError when a listener of the process has the port already: metrics must not be on a public port */
export function checkMetricsPort<Config extends MetricsAddress & { PORT: number; INTERNAL_PORT?: number }>(
  config: Config,
): Config {
  const { METRICS_PORT } = config;
  const other = (['PORT', 'INTERNAL_PORT'] as const).find((name) => METRICS_PORT && config[name] === METRICS_PORT);
  if (!other) return config;
  throw new ConfigError(`${other} and METRICS_PORT are both ${METRICS_PORT}: set METRICS_PORT to another port.`);
}

interface Addresses {
  HOST: string;
  PORT: number;
  INTERNAL_HOST?: string | undefined;
  INTERNAL_PORT?: number | undefined;
}

/** @throws ConfigError when the internal port is the public one, or when there is no port 1000 above that */
export function withInternalAddress<Config extends Addresses>(
  config: Config,
): Config & { INTERNAL_HOST: string; INTERNAL_PORT: number } {
  const { HOST, PORT, INTERNAL_HOST, INTERNAL_PORT } = config;
  if (INTERNAL_PORT === PORT && PORT !== 0) {
    throw new ConfigError(`PORT and INTERNAL_PORT are both ${PORT}: set INTERNAL_PORT to another port.`);
  }
  const port = INTERNAL_PORT ?? (PORT === 0 ? 0 : PORT + internalPortOffset);
  if (port > maxPort) {
    throw new ConfigError(`INTERNAL_PORT is not set, and PORT + ${internalPortOffset} is no port: set INTERNAL_PORT.`);
  }
  return Object.freeze({ ...config, INTERNAL_HOST: INTERNAL_HOST ?? HOST, INTERNAL_PORT: port });
}
