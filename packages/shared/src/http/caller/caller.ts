// Who has sent a request, as far as it is known, and what they may do.
import type { IncomingMessage } from 'node:http';
import type { ActorClaims } from './actor-token.ts';
import { isScope, type Scope } from './scopes.ts';

export interface Caller {
  /** The actor's id, `<kind>:<id>` with a kind of `key`, `subject`, `user` or `system`. Null: nobody is known. */
  actor: string | null;
  scopes: ReadonlySet<Scope> | 'all';
  /** Of an end user: the user that the caller is. An end user has no scopes; what is their own decides. */
  userId: number | null;
}

/** With AUTH=off and AUTH=external nobody is asked. */
export const everybody: Caller = { actor: null, scopes: 'all', userId: null };
/** Without a credential, with AUTH=optional. */
export const anonymous: Caller = { actor: null, scopes: 'all', userId: null };
/** Of a request that nothing has authenticated. With AUTH=required also of a path that needs no credential. */
export const nobody: Caller = { actor: null, scopes: new Set(), userId: null };

const property = Symbol('caller');
type WithCaller = IncomingMessage & { [property]?: Caller };

export function setCaller(request: IncomingMessage, caller: Caller): void {
  (request as WithCaller)[property] = caller;
}

/** The caller that `setCaller` has stored, else one that may do nothing. */
export function callerOf(request: IncomingMessage): Caller {
  return (request as WithCaller)[property] ?? nobody;
}

/** The actor for a line of the log: absent where nobody is asked, null when the caller has sent no credential. */
export function loggedActor(request: IncomingMessage): { actor?: string | null } {
  const caller = (request as WithCaller)[property];
  return caller === undefined || caller === everybody ? {} : { actor: caller.actor };
}

export function callerOfClaims({ sub, scopes, user }: ActorClaims): Caller {
  return user === undefined
    ? { actor: sub, scopes: new Set(scopes.filter(isScope)), userId: null }
    : { actor: sub, scopes: new Set(), userId: user };
}
