// Who may use a route. It stands in the table of routes (routes.ts), so the check, the OpenAPI document and the tests of
// every route are made from the same value.
import type { Request } from 'express';
import { DomainError } from '../../errors.ts';
import type { Caller } from './caller.ts';
import type { Scope } from './scopes.ts';

/** @typeParam Place where a request can name a user, such as `params.id` */
export interface Access<Place extends string = string> {
  /** A caller with this scope may use the route for everything. */
  scope: Scope;
  /**
   * For end users. A place: they may use the route with their own id there. `row`: the handler decides by the row that
   * it finds, with `caller.userId`, and answers as if nothing else were there. Absent: the route is not for end users.
   */
  endUser?: Place | 'row';
}

/**
 * `internal`: of the internal listener. Who reaches that port may use its routes (decision 18). `anyone`: also without a
 * credential.
 */
export type RouteAccess<Place extends string = string> = Access<Place> | 'internal' | 'anyone';

/**
 * The check before the body of a request is read: everything but `body.…` and `row`.
 * @param request its raw parameters; they are compared as text, in the only form in which an id is accepted
 * @throws unauthenticated for a caller of whom nothing is known; insufficientScope
 */
export function checkAccess(access: RouteAccess, caller: Caller, request: Pick<Request, 'params' | 'query'>): void {
  if (typeof access === 'string' || caller.scopes === 'all') return;
  if (caller.actor === null) throw unauthenticated();
  const { scope, endUser } = access;
  const { userId } = caller;
  if (userId === null) {
    if (!caller.scopes.has(scope)) throw insufficientScope(scope);
    return;
  }
  if (endUser === undefined) throw insufficientScope(scope, 'It is not for end users.');
  const [part, name = ''] = endUser.split('.');
  if (part !== 'params' && part !== 'query') return;
  if (request[part][name] !== String(userId)) throw notOwn(scope, name);
}

/**
 * Whether a caller who may use the route may also see the resource that it answers. The scope to write is none to read: a
 * change may leave a value that the caller has never sent.
 */
export function maySeeResource(access: RouteAccess, { scopes, userId }: Caller): boolean {
  const mayReadAll = typeof access === 'string' || scopes === 'all' || scopes.has(readScopeOf(access.scope));
  return mayReadAll || userId !== null;
}

/** The scope that reads what a scope writes: any other scope is its own. */
export function readScopeOf(scope: Scope): Scope {
  return scope.replace(/:write$/, ':read') as Scope;
}

/** @param body as its schema has read it @throws insufficientScope when it names another user than the end user */
export function checkAccessToBody(access: RouteAccess, { userId }: Caller, body: unknown): void {
  if (typeof access === 'string' || userId === null) return;
  const [part, name = ''] = access.endUser?.split('.') ?? [];
  if (part !== 'body') return;
  if ((body as Readonly<Record<string, unknown>> | undefined)?.[name] !== userId) throw notOwn(access.scope, name);
}

function notOwn(scope: Scope, name: string): DomainError {
  return insufficientScope(scope, `An end user may do it only with their own id in ${name}.`);
}

/** RFC 6750 3.1. @param more a sentence */
export function insufficientScope(scope: Scope, more?: string): DomainError {
  const message = `This needs the scope ${scope}.${more ? ` ${more}` : ''}`;
  const headers = { 'WWW-Authenticate': `Bearer error="insufficient_scope", scope="${scope}"` };
  return new DomainError('forbidden', 'insufficient_scope', message, { headers });
}

const realm = 'Bearer realm="promopulse"';

/** RFC 6750 3: without a credential there is no `error`. */
export function unauthenticated(challenge = realm): DomainError {
  const headers = { 'WWW-Authenticate': challenge };
  const message = 'Send a credential in the Authorization header: Bearer, and an API key or an access token.';
  return new DomainError('unauthenticated', 'unauthenticated', message, { headers });
}

/** Of the gateway only: the token is valid, and more rights are needed than it has (RFC 6750 3.1). */
export function clientNotAllowed(challenge = `${realm}, error="insufficient_scope"`): DomainError {
  const message = 'The access token names no user, and its client may not act without one (OIDC_CLIENTS).';
  return new DomainError('forbidden', 'client_not_allowed', message, { headers: { 'WWW-Authenticate': challenge } });
}

/** Of the gateway only: a service sees no credential. */
export function invalidToken(challenge = `${realm}, error="invalid_token"`): DomainError {
  const headers = { 'WWW-Authenticate': challenge };
  const message =
    'The API key or the access token is not valid here: it is unknown, revoked or expired, or for another API.';
  return new DomainError('unauthenticated', 'invalid_token', message, { headers });
}
