// Where the two listeners of a service are.
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
