// A gateway that asks its callers for a credential, with a database of its own and stub services.
import { randomBytes } from 'node:crypto';
import { setTimeout as sleep } from 'node:timers/promises';
import { type ActorClaims, actorHeader, parseActorKeys, verifyActor } from '@promopulse/shared/http/caller/actor-token';
import { scopes } from '@promopulse/shared/http/caller/scopes';
import { createLogger } from '@promopulse/shared/telemetry/logger';
import { type Client, client, type Wire } from '@promopulse/testing/client';
import { createTestDatabase, type TestDatabase } from '@promopulse/testing/servers';
import { makeKey } from '../src/callers/first-key.ts';
import { type StubService, startTestGateway, type TestGateway } from './stubs.ts';

export const silent = createLogger({ service: 'test', level: 'silent' });

export interface AskingGateway extends TestGateway {
  database: TestDatabase;
  env: Record<string, string>;
  /** A key with all scopes. */
  firstKey: string;
  /** The API with that key. */
  api: Client;
  /** The claims that a stub has received with its last request. */
  claimsAt(stub: StubService): ActorClaims | undefined;
  /** Makes a key through the API. */
  newKey(fields?: object): Promise<{ id: string; secret: string }>;
}

export const bearer = (credential: string): Record<string, string> => ({ Authorization: `Bearer ${credential}` });

export async function startAskingGateway(env: Record<string, string> = {}): Promise<AskingGateway> {
  const database = await createTestDatabase(['gateway']);
  const ACTOR_KEYS = randomBytes(32).toString('base64url');
  // Their limits are tested in rate-limits.test.ts.
  const unlimited = { RATE_LIMITS: 'off', AUTH_FAILURE_LIMIT: 'off', FREE_LIMIT: 'off' };
  const own = { ...unlimited, AUTH: 'required', ACTOR_KEYS, DATABASE_URL: database.urlFor('gateway'), ...env };
  const first = { name: 'first', scopes: [...scopes], expires_at: null };
  const made = await makeKey({ DATABASE_URL: database.urlFor('gateway') }, silent, first, { onlyFirst: true });
  const firstKey = String(made?.secret);
  const gateway = await startTestGateway(own);
  const api = client(gateway.url, bearer(firstKey));
  return {
    ...gateway,
    ...{ database, firstKey, api, env: own },
    claimsAt: (stub) => {
      const sent = stub.received.at(-1)?.headers[actorHeader];
      return verifyActor(String(sent), parseActorKeys(ACTOR_KEYS), Date.now() / 1_000);
    },
    newKey: async (fields = {}) => {
      const body = { name: 'Shop', scopes: ['users:read'], ...fields };
      const { status, body: key } = await api.post('/api-keys', body);
      if (status !== 201) throw new Error(`no key: ${JSON.stringify(key)}`);
      return key as Wire as { id: string; secret: string };
    },
    close: async () => {
      await gateway.close();
      await database.drop();
    },
  };
}

/** The statuses of a request that is repeated until it has the wanted one. @throws Error after `timeoutMs` */
export async function statusWithin(send: () => Promise<number>, wanted: number, timeoutMs: number): Promise<number> {
  const start = performance.now();
  for (;;) {
    const status = await send();
    const elapsed = performance.now() - start;
    if (status === wanted) return elapsed;
    if (elapsed > timeoutMs) throw new Error(`still ${status} after ${timeoutMs} ms, not ${wanted}`);
    await sleep(20);
  }
}
