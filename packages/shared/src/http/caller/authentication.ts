// How a service learns who calls: from the header that the gateway has signed (actor-token.ts).
import type { IncomingMessage, ServerResponse } from 'node:http';
import { z } from 'zod';
import { ConfigError } from '../../config.ts';
import { isProduction } from '../../published-secrets.ts';
import { type Logger, warnRepeatedly } from '../../telemetry/logger.ts';
import { RecentMap } from '../../values/recent-map.ts';
import { unauthenticated } from './access.ts';
import { type ActorKey, actorHeader, actorKeysRule, parseActorKeys, verifyActor } from './actor-token.ts';
import { anonymous, type Caller, callerOfClaims, everybody, setCaller } from './caller.ts';

/**
 * `off`: nobody is asked, and everything is allowed. `external`: the same, and a proxy in front of the gateway
 * authenticates every request. `optional`: a credential is checked when one is sent; without one everything is allowed.
 * `required`: without a credential nothing is allowed.
 */
export const authModes = ['off', 'external', 'optional', 'required'] as const;

export const callerConfig = {
  AUTH: z.enum(authModes).default('off'),
  /** Of the gateway's header, separated by commas. The first one signs, all verify. */
  ACTOR_KEYS: z
    .string()
    .default('')
    .refine((text) => text === '' || areActorKeys(text), actorKeysRule),
};

interface CallerConfig {
  AUTH: (typeof authModes)[number];
  ACTOR_KEYS: string;
}

/** Whether callers are asked for a credential. */
export function asksCallers({ AUTH }: Pick<CallerConfig, 'AUTH'>): boolean {
  return AUTH === 'optional' || AUTH === 'required';
}

/** Of the process that is configured, for the messages. */
interface ConfiguredProcess {
  name: string;
  /** What to set in production in place of a mode that lets everyone in. */
  wayOut: string;
  /** Whose ACTOR_KEYS must be the same. */
  others: string;
}

/** @throws ConfigError when production would be open to everybody, or callers are asked and there is no ACTOR_KEYS */
export function checkCallerConfig(
  { AUTH, ACTOR_KEYS, ENVIRONMENT }: CallerConfig & { ENVIRONMENT: string },
  { name, wayOut, others }: ConfiguredProcess,
): void {
  if ((AUTH === 'off' || AUTH === 'optional') && isProduction(ENVIRONMENT)) {
    const reason = `because everyone who reaches ${name} may do everything`;
    throw new ConfigError(`AUTH=${AUTH} is refused with ENVIRONMENT=production, ${reason}. ${wayOut}`);
  }
  if (asksCallers({ AUTH }) && ACTOR_KEYS === '') {
    throw new ConfigError(`ACTOR_KEYS is not set, and AUTH=${AUTH} needs it: the same keys as in ${others}`);
  }
}

/** How far the clocks of the gateway and of a service may differ. */
const clockToleranceSeconds = 30;
/** Maximum number of verified headers that are kept. The gateway makes one for each caller and half a minute. */
const maxVerified = 1_000;
const notValid = `${actorHeader} is not valid: compare AUTH, ACTOR_KEYS and the clocks of the gateway and of this service`;

const callerWithoutHeader: Readonly<Record<(typeof authModes)[number], Caller | undefined>> = {
  off: everybody,
  external: everybody,
  optional: anonymous,
  required: undefined,
};

/**
 * Stores the caller of each request. It throws `unauthenticated` for a header that is not valid, and with AUTH=required
 * also without a header. A header counts in every mode: only a gateway that asks its callers writes one, so a service
 * whose AUTH is still off refuses the scopes that the caller lacks. OPTIONS is free: it is answered by the methods of the
 * path, and no route has it.
 */
export function authenticate({ AUTH, ACTOR_KEYS }: CallerConfig, log: Logger) {
  const actors = new VerifiedActors(ACTOR_KEYS === '' ? [] : parseActorKeys(ACTOR_KEYS));
  const unknown = callerWithoutHeader[AUTH];
  return (request: IncomingMessage, _response: ServerResponse, next: () => void): void => {
    const sent = request.headers[actorHeader];
    if (sent === undefined && request.method === 'OPTIONS') {
      next();
      return;
    }
    const caller = sent === undefined ? unknown : actors.find(String(sent));
    if (sent !== undefined && !caller) warnRepeatedly(log, {}, notValid);
    if (!caller) throw unauthenticated();
    setCaller(request, caller);
    next();
  };
}

function areActorKeys(text: string): boolean {
  try {
    return parseActorKeys(text).length > 0;
  } catch {
    return false;
  }
}

/** The callers of the headers that were verified lately: a header is verified once. */
class VerifiedActors {
  readonly #keys: readonly ActorKey[];
  /** `until` is in seconds since 1970. */
  readonly #verified = new RecentMap<string, { caller: Caller; until: number }>(maxVerified);

  constructor(keys: readonly ActorKey[]) {
    this.#keys = keys;
  }

  /** @returns undefined when the header is not valid, or not valid any more */
  find(sent: string): Caller | undefined {
    const now = Date.now() / 1_000;
    const known = this.#verified.get(sent);
    if (known) return known.until > now ? known.caller : undefined;
    const claims = verifyActor(sent, this.#keys, now - clockToleranceSeconds);
    if (!claims) return undefined;
    const caller = callerOfClaims(claims);
    this.#verified.set(sent, { caller, until: claims.exp + clockToleranceSeconds });
    return caller;
  }
}
