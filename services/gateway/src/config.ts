// The gateway's environment variables, their bounds and defaults. The README has them as a table.
import { type Environment, loadConfig, processConfig, shutdownConfig } from '@promopulse/shared/config';
import { withInternalUrls } from '@promopulse/shared/contracts/services';
import { asksCallers, callerConfig, checkCallerConfig } from '@promopulse/shared/http/caller/authentication';
import { checkMetricsPort, metricsConfig } from '@promopulse/shared/service/listener-config';
import { tracingConfig } from '@promopulse/shared/telemetry/tracing';
import { z } from 'zod';
import packageJson from '../package.json' with { type: 'json' };
import { oidcConfig, oidcSettingsOf } from './callers/oidc-config.ts';
import { corsConfig } from './edge/cors.ts';
import { forwardingConfig } from './edge/forwarding.ts';
import { publicUrlConfig } from './edge/public-url.ts';
import { breakerConfig } from './proxy/breaker.ts';
import { upstreamConfig } from './proxy/upstreams.ts';
import { rateLimitConfig } from './rate-limit/policies.ts';

const milliseconds = z.coerce.number().int().min(10).max(600_000);

export const gatewayVariables = z.object({
  ...processConfig,
  ...shutdownConfig,
  ...metricsConfig,
  ...upstreamConfig,
  ...breakerConfig,
  /** The proxies whose forwarding headers are believed. */
  ...forwardingConfig,
  /** Where clients find the API. */
  ...publicUrlConfig,
  ...corsConfig,
  /** How much of the API one caller may use. */
  ...rateLimitConfig,
  PORT: processConfig.PORT.default(packageJson.config.port),
  /** Who authenticates requests, and the keys of the header by which services learn the caller. */
  ...callerConfig,
  ...oidcConfig,
  ...tracingConfig,
  /** Whether a client's `traceparent` is continued. Otherwise each request begins a trace with a link to it. */
  TRACE_TRUST_INCOMING: z
    .enum(['true', 'false'])
    .default('false')
    .transform((value) => value === 'true'),
  /** For this time after the last poll of the database, the API keys that are known are accepted. */
  KEYS_STALE_SECONDS: z.coerce.number().int().min(5).max(86_400).default(300),
  /** How long the answer to a change of API keys is kept for its Idempotency-Key. As in the services. */
  IDEMPOTENCY_RETENTION_SECONDS: z.coerce.number().int().min(1).max(31_536_000).default(86_400),
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

export type GatewayConfig = z.infer<typeof gatewayVariables>;

/** @throws ConfigError naming what is missing or malformed, or when production would be open to everybody */
export function loadGatewayConfig(env: Environment): Readonly<GatewayConfig> {
  const config = loadConfig(gatewayVariables, withInternalUrls(env));
  checkCallerConfig(config, {
    name: 'the gateway',
    wayOut: 'Set AUTH=required, or put a proxy in front that authenticates every request, and set AUTH=external',
    others: 'the services',
  });
  if (asksCallers(config)) oidcSettingsOf(config);
  return checkMetricsPort(config);
}
