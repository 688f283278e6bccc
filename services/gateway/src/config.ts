// The gateway's environment variables, their bounds and defaults. The README has them as a table.
import { ConfigError, type Environment, loadConfig, processConfig, shutdownConfig } from '@promopulse/shared/config';
import { withInternalUrls } from '@promopulse/shared/contracts/services';
import { isProduction } from '@promopulse/shared/published-secrets';
import { z } from 'zod';
import packageJson from '../package.json' with { type: 'json' };
import { breakerConfig } from './proxy/breaker.ts';
import { upstreamConfig } from './proxy/upstreams.ts';

const milliseconds = z.coerce.number().int().min(10).max(600_000);

const gatewayConfig = z.object({
  ...processConfig,
  ...shutdownConfig,
  ...upstreamConfig,
  ...breakerConfig,
  PORT: processConfig.PORT.default(packageJson.config.port),
  /** Who authenticates requests: nobody, or a proxy in front of the gateway, for every request. */
  AUTH: z.enum(['off', 'external']).default('off'),
  /** From the request to the headers of the service's response. */
  UPSTREAM_TIMEOUT_MS: milliseconds.default(5_000),
  /** The gateway keeps a body in memory until its service has received it. */
  MAX_BODY_BYTES: z.coerce.number().int().min(0).max(16_777_216).default(65_536),
  /** For each service: the upper bound of its concurrency limit. */
  MAX_IN_FLIGHT: z.coerce.number().int().min(1).max(100_000).default(50),
  MAX_CONNECTIONS: z.coerce.number().int().min(1).max(1_000_000).default(1_000),
  /** For a client to send the headers of a request. */
  HEADERS_TIMEOUT_MS: milliseconds.default(5_000),
  /** For a client to send a whole request. */
  REQUEST_TIMEOUT_MS: milliseconds.default(10_000),
  /** A connection without traffic for this long during a request or a response is closed. */
  IDLE_TIMEOUT_MS: milliseconds.default(30_000),
});

export type GatewayConfig = z.infer<typeof gatewayConfig>;

/** @throws ConfigError naming what is missing or malformed, or when production would be open to everybody */
export function loadGatewayConfig(env: Environment): Readonly<GatewayConfig> {
  const config = loadConfig(gatewayConfig, withInternalUrls(env));
  if (config.AUTH === 'off' && isProduction(config.ENVIRONMENT)) {
    throw new ConfigError(
      'AUTH=off is refused with ENVIRONMENT=production, because everyone who reaches the gateway may do everything. ' +
        'Put a proxy in front that authenticates every request, and set AUTH=external',
    );
  }
  return config;
}
