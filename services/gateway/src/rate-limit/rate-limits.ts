// The limits of a gateway, as its configuration says, and where they are counted.
import type { Database } from '@promopulse/shared/database/database';
import type { ActorKey } from '@promopulse/shared/http/caller/actor-token';
import type { Logger } from '@promopulse/shared/telemetry/logger';
import type { GatewayConfig } from '../config.ts';
import type { Failures } from '../edge/authenticate.ts';
import { AddressQuota } from './address-quota.ts';
import { SharedBuckets } from './bucket-store.ts';
import type { BucketStore } from './buckets.ts';
import type { Policy } from './gcra.ts';
import { freeLimitOf, policiesOf } from './policies.ts';
import { RefusalLog } from './refusal-log.ts';

export interface RateLimits {
  /** Of each caller. */
  policies: readonly Policy[];
  /** Undefined: this gateway counts alone. */
  store: BucketStore | undefined;
  /** Whether all gateways count together now; undefined when they are not to. */
  isShared(): boolean | undefined;
  /** Of callers beyond their policies. */
  refusals: RefusalLog;
  /** Failed authentications of each address. */
  failures: Failures;
  /** Requests of each address that need no credential, or have none. */
  free: AddressQuota;
  /** To be called before the database is closed. */
  close(): void;
}

/** @param callers undefined when nobody is asked, and there is no database */
export function openRateLimits(
  config: Pick<GatewayConfig, 'RATE_LIMITS' | 'AUTH_FAILURE_LIMIT' | 'FREE_LIMIT'>,
  callers: { database: Database; actorKey: ActorKey } | undefined,
  log: Logger,
): RateLimits {
  const policies = policiesOf(config.RATE_LIMITS, callers !== undefined);
  const isShared = callers !== undefined && policies.length > 0;
  const store = isShared
    ? new SharedBuckets({ database: callers.database, policies, key: callers.actorKey, log })
    : undefined;
  const failuresQuota = () =>
    new AddressQuota(callers && config.AUTH_FAILURE_LIMIT.policy, log, 'too many failed authentications');
  return {
    policies,
    store,
    isShared: () => store && !store.isAway,
    refusals: new RefusalLog(log, 'rate limited'),
    failures: { key: failuresQuota(), token: failuresQuota() },
    free: new AddressQuota(freeLimitOf(config.FREE_LIMIT, callers !== undefined), log, 'too many free requests'),
    close: () => store?.close(),
  };
}
