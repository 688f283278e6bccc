// What the gateway needs to know its callers: its database with the API keys, and the OpenID provider. The gateway imports
// this module only with AUTH=optional or AUTH=required, because it loads MikroORM, pg and jose.
import type { Environment } from '@promopulse/shared/config';
import type { Database } from '@promopulse/shared/database/database';
import { type CommitOnce, createCommitOnce } from '@promopulse/shared/database/idempotency/commit-once';
import { startKeyPruning } from '@promopulse/shared/database/idempotency/prune-keys';
import { retryUntilAvailable } from '@promopulse/shared/database/migrations';
import { type ActorKey, parseActorKeys } from '@promopulse/shared/http/caller/actor-token';
import type { Caller } from '@promopulse/shared/http/caller/caller';
import { measureDatabase } from '@promopulse/shared/service/metrics/database-metrics';
import type { Logger } from '@promopulse/shared/telemetry/logger';
import type { Metrics } from '@promopulse/shared/telemetry/metrics';
import type { GatewayConfig } from '../config.ts';
import { openGatewayDatabase } from '../gateway-database.ts';
import { AccessTokens } from './access-tokens.ts';
import { KeyRing } from './key-ring.ts';
import { oidcSettingsOf } from './oidc-config.ts';
import { ProviderKeys } from './provider-keys.ts';
import { sealedFor } from './sealed-answers.ts';

export interface Callers {
  /** The gateway's own. */
  database: Database;
  keys: KeyRing;
  /** For the changes of API keys. Only a caller with the same credential can get a kept answer. */
  commitOnceFor(caller: Caller): CommitOnce;
  /** Of those changes. */
  log: Logger;
  /** Undefined: no access tokens are accepted. */
  tokens: AccessTokens | undefined;
  /** Of the access tokens. */
  issuer: string | undefined;
  /** Signs the header by which services learn the caller. */
  actorKey: ActorKey;
  /** Declares the metrics of the keys and of the database. */
  measure(metrics: Metrics): void;
  /** Whether a request without a credential is refused. */
  isRequired: boolean;
  close(): Promise<void>;
}

/** @throws ConfigError; the database's error after 30 s without a database */
export async function openCallers(config: GatewayConfig, env: Environment, log: Logger): Promise<Callers> {
  const [actorKey] = parseActorKeys(config.ACTOR_KEYS) as [ActorKey];
  const oidc = oidcSettingsOf(config);
  const database = await openGatewayDatabase(env, log);
  const keys = new KeyRing({ database, log, staleSeconds: config.KEYS_STALE_SECONDS });
  try {
    await retryUntilAvailable(log, () => keys.start());
  } catch (error) {
    await database.close();
    throw error;
  }
  const providerKeys = oidc && new ProviderKeys({ issuer: oidc.issuer, jwksUrl: oidc.jwksUrl, log });
  providerKeys?.start();
  const stopPruning = startKeyPruning({ database, log, retentionSeconds: config.IDEMPOTENCY_RETENTION_SECONDS });
  return {
    ...{ database, keys, actorKey, log },
    commitOnceFor: (caller) => createCommitOnce(database, sealedFor(caller)),
    tokens: oidc && providerKeys && new AccessTokens({ settings: oidc, keys: providerKeys }),
    issuer: oidc?.issuer,
    measure: (metrics) => {
      measureDatabase(database, metrics);
      measureKeys(metrics, keys, providerKeys);
    },
    isRequired: config.AUTH === 'required',
    async close() {
      providerKeys?.stop();
      await Promise.all([keys.stop(), stopPruning()]);
      await database.close();
    },
  };
}

function measureKeys(metrics: Metrics, keys: KeyRing, providerKeys: ProviderKeys | undefined): void {
  metrics.gauge(
    { name: 'promopulse_gateway_api_keys_age_seconds', help: 'Time since the API keys were last read, in seconds.' },
    () => keys.ageSeconds(),
  );
  metrics.gauge(
    {
      name: 'promopulse_gateway_token_keys_age_seconds',
      help: "Time since the token issuer's keys were fetched, in seconds; +Inf when they never were.",
    },
    () => providerKeys?.ageSeconds(),
  );
}
