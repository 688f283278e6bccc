// Callers for tests of services with AUTH=required: the header that the gateway would send.
import { randomBytes } from 'node:crypto';
import { actorHeader, parseActorKeys, signActor } from '@promopulse/shared/http/caller/actor-token';

const actorKeys = randomBytes(32).toString('base64url');
const [key] = parseActorKeys(actorKeys);

/** The environment of a service that believes `asCaller`. */
export const authRequired = { AUTH: 'required', ACTOR_KEYS: actorKeys };

interface CallerOptions {
  sub?: string;
  scopes?: readonly string[];
  /** The user that the caller is. */
  user?: number;
  /** Seconds from now. */
  expiresIn?: number;
}

/** The headers of a request by this caller. */
export function asCaller({ sub, scopes = [], user, expiresIn = 30 }: CallerOptions): Record<string, string> {
  if (!key) throw new Error('there is no key');
  const exp = Math.floor(Date.now() / 1_000) + expiresIn;
  const actor = sub ?? (user === undefined ? 'key:0199c0de-7a3b-7000-8000-000000000001' : `user:${user}`);
  return { [actorHeader]: signActor({ sub: actor, scopes, user, exp }, key) };
}
