// A run with AUTH=required: the gateways ask every caller for an API key, and the services for the gateway's signed header.
import { scopes } from '@promopulse/shared/http/caller/scopes';
import { createLogger } from '@promopulse/shared/telemetry/logger';
import { makeKey } from '../../services/gateway/src/callers/first-key.ts';

/** The shortest that the gateway takes: a gateway without its database accepts known keys for this time. */
export const staleSeconds = 5;

/** The limit counts every request, in the database too, and refuses none. */
export const gatewayCallerEnvironment = {
  KEYS_STALE_SECONDS: String(staleSeconds),
  RATE_LIMITS: 'chaos=1000000/10s',
  AUTH_FAILURE_LIMIT: 'off',
};

/** @returns a new key for everything that the load does */
export async function createLoadKey(gatewayDatabaseUrl: string): Promise<string> {
  const made = await makeKey(
    { DATABASE_URL: gatewayDatabaseUrl },
    createLogger({ service: 'chaos', level: 'warn' }),
    { name: 'chaos', scopes, expires_at: null },
    { onlyFirst: false },
  );
  if (!made) throw new Error('no key was made');
  return made.secret;
}
