// The gateway's environment variables, their bounds and defaults. The README explains them.
import { processConfig } from '@promopulse/shared/config';
import { z } from 'zod';
import packageJson from '../package.json' with { type: 'json' };
import { breakerConfig } from './proxy/breaker.ts';
import { upstreamConfig } from './proxy/upstreams.ts';

const milliseconds = z.coerce.number().int().min(10).max(600_000);

export const gatewayConfig = z.object({
  ...processConfig,
  ...upstreamConfig,
  ...breakerConfig,
  PORT: processConfig.PORT.default(packageJson.config.port),
  /** From a request sent (or its body's end) to the response's headers. */
  UPSTREAM_TIMEOUT_MS: milliseconds.default(5_000),
  /** A body is in memory until its service has it. */
  MAX_BODY_BYTES: z.coerce.number().int().min(0).max(16_777_216).default(65_536),
  /** Per service: requests that wait for its answer, as long as it is quick. */
  MAX_IN_FLIGHT: z.coerce.number().int().min(1).max(100_000).default(50),
  MAX_CONNECTIONS: z.coerce.number().int().min(1).max(1_000_000).default(1_000),
  HEADERS_TIMEOUT_MS: milliseconds.default(5_000),
  REQUEST_TIMEOUT_MS: milliseconds.default(10_000),
  /** A connection on which nothing moves during a request or a response is cut. */
  IDLE_TIMEOUT_MS: milliseconds.default(30_000),
  /** From "not ready" to taking no more connections: time for a load balancer to notice. */
  SHUTDOWN_DELAY_MS: z.coerce.number().int().min(0).max(300_000).default(0),
});
