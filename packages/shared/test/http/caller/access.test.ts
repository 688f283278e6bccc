// Who may use a route: the check before the body is read, and the check of the body.
import { expect, test } from '@jest/globals';
import { z } from 'zod';
import { DomainError } from '../../../src/errors.ts';
import {
  type Access,
  checkAccess,
  checkAccessToBody,
  insufficientScope,
  type RouteAccess,
} from '../../../src/http/caller/access.ts';
import { anonymous, type Caller, callerOfClaims, everybody, nobody } from '../../../src/http/caller/caller.ts';
import { isScope, scopes } from '../../../src/http/caller/scopes.ts';
import { route } from '../../../src/http/routes.ts';
import { textId } from '../../../src/http/schemas.ts';

const key = (...names: string[]): Caller => callerOfClaims({ sub: 'key:1', scopes: names, exp: 1 });
const user: Caller = callerOfClaims({ sub: 'user:7', scopes: ['users:read'], user: 7, exp: 1 });

interface Sent {
  params?: Record<string, string>;
  query?: Record<string, unknown>;
  body?: unknown;
}

/** The message of the refusal, or `allowed`. */
function outcome(access: RouteAccess, caller: Caller, { params = {}, query = {}, body }: Sent = {}): string {
  try {
    checkAccess(access, caller, { params, query } as Parameters<typeof checkAccess>[2]);
    checkAccessToBody(access, caller, body);
    return 'allowed';
  } catch (error) {
    if (!(error instanceof DomainError)) throw error;
    expect([error.kind, error.code]).toEqual(['forbidden', 'insufficient_scope']);
    return error.message;
  }
}

const read: Access = { scope: 'users:read' };

test('a caller needs the scope of the route: another scope of the same service is not enough', () => {
  expect(outcome(read, key('users:read'))).toBe('allowed');
  for (const others of [[], scopes.filter((scope) => scope !== 'users:read'), ['users'], ['*'], ['USERS:READ']]) {
    expect(outcome(read, key(...others))).toBe('This needs the scope users:read.');
  }
});

test('where nobody is asked, and without a credential where none is required, everything is allowed', () => {
  for (const caller of [everybody, anonymous]) {
    expect(outcome(read, caller)).toBe('allowed');
    expect(outcome({ scope: 'users:read', endUser: 'params.id' }, caller, { params: { id: '1' } })).toBe('allowed');
  }
});

test('of whom nothing is known, nothing is allowed, and the answer is 401', () => {
  for (const access of [read, { ...read, endUser: 'params.id' }, { ...read, endUser: 'row' as const }]) {
    const check = () => checkAccess(access, nobody, { params: { id: 'null' }, query: {} } as never);
    expect(check).toThrow(expect.objectContaining({ kind: 'unauthenticated', code: 'unauthenticated' }));
  }
});

test('a route of the internal listener, and one for anyone, check nothing', () => {
  for (const access of ['internal', 'anyone'] as const) expect(outcome(access, key())).toBe('allowed');
});

test('an end user has no scopes, whatever the header says', () => {
  expect(user).toMatchObject({ actor: 'user:7', userId: 7, scopes: new Set() });
  expect(outcome(read, user)).toBe('This needs the scope users:read. It is not for end users.');
});

test.each<[string, Sent]>([
  ['params', { params: { id: '7' } }],
  ['query', { query: { id: '7' } }],
  ['body', { body: { id: 7 } }],
])('an end user may use their own id in %s, and no other', (place, own) => {
  const access: Access = { scope: 'users:read', endUser: `${place}.id` };
  const refusal = 'This needs the scope users:read. An end user may do it only with their own id in id.';
  expect(outcome(access, user, own)).toBe('allowed');
  expect(outcome(access, key('users:read'), {})).toBe('allowed');
  for (const id of [
    '8',
    '07',
    '7 ',
    '+7',
    '7.0',
    '0x7',
    '77',
    '',
    ['7'],
    ['7', '8'],
    { 7: '7' },
    null,
    undefined,
    '７',
  ]) {
    expect([id, outcome(access, user, { [place]: { id } })]).toEqual([id, refusal]);
  }
  expect(outcome(access, user, { body: place === 'body' ? undefined : { id: 7 } })).toBe(refusal);
});

test('with `row` the handler decides', () => {
  expect(outcome({ scope: 'users:read', endUser: 'row' }, user)).toBe('allowed');
  expect(outcome({ scope: 'users:read', endUser: 'row' }, key())).toBe('This needs the scope users:read.');
});

test('the refusal names the scope as RFC 6750 wants it', () => {
  expect(insufficientScope('promotions:write').headers).toEqual({
    'WWW-Authenticate': 'Bearer error="insufficient_scope", scope="promotions:write"',
  });
});

test('every service has two scopes, and keys one', () => {
  expect(scopes).toEqual([
    ...['users:read', 'users:write', 'promotions:read', 'promotions:write'],
    ...['subscriptions:read', 'subscriptions:write', 'events:read', 'events:write', 'keys:manage'],
  ]);
  expect(['users:read', 'users:delete', '', 'toString'].map(isScope)).toEqual([true, false, false, false]);
});

test('a route without an access, and an access that names no parameter, are type errors', () => {
  const base = {
    method: 'get' as const,
    path: '/things/{id}',
    operationId: 'getThing',
    summary: 'Get a thing',
    params: z.strictObject({ id: textId }),
    success: { status: 200, description: 'The thing', schema: z.object({}) },
    errors: {},
    handle: async () => ({ status: 200, body: {} }),
  };
  // @ts-expect-error: there is no access
  route(base);
  // @ts-expect-error: there is no such parameter
  route({ ...base, access: { scope: 'users:read', endUser: 'params.user_id' } });
  // @ts-expect-error: there is no such scope
  route({ ...base, access: { scope: 'users:delete' } });
  expect(route({ ...base, access: { scope: 'users:read', endUser: 'params.id' } })).toMatchObject(base);
});
