// The routes of API keys, which the gateway serves itself. A key can give no more than its maker has, and nothing that ends
// later: neither a new key nor the new secret of another one.
import { conflict, type DomainError, invalidInput, notFound } from '@promopulse/shared/errors';
import { invalidToken, unauthenticated } from '@promopulse/shared/http/caller/access';
import type { Caller } from '@promopulse/shared/http/caller/caller';
import { type Route, route } from '@promopulse/shared/http/routes';
import { change, checkHeld, checkOutlived, type OpenCallers, outlivesCaller } from './key-changes.ts';
import { createKey } from './key-format.ts';
import {
  idAt,
  keyCursor,
  keyId,
  keyList,
  keyListQuery,
  newKey,
  newKeyExample,
  positionOf,
  presentedKey,
  presentedSecret,
  presentKey,
  rotation,
} from './key-schemas.ts';
import { findKey, insertKey, type KeyRow, listKeys, revokeKey, rotateKey } from './key-store.ts';

const access = { scope: 'keys:manage' } as const;
const off = { 409: 'this installation asks no caller for a key' };
const noSuchKey = { 404: 'there is no such key' };
const secretHeaders = { 'Cache-Control': 'no-store' };

/** @throws authOff where nobody is asked; unauthenticated for an anonymous caller (AUTH=optional) */
type Open = (caller: Caller) => OpenCallers;

/** With undefined callers (AUTH=off and AUTH=external) every route answers 409 `auth_off`. */
export function keyRoutes(callers: OpenCallers | undefined): Route[] {
  const open: Open = ({ actor }) => {
    if (!callers) throw authOff();
    if (actor === null) throw unauthenticated();
    return callers;
  };
  return [createRoute(open), listRoute(open), getRoute(open), rotateRoute(open), revokeRoute(open)];
}

function createRoute(open: Open): Route {
  return route({
    method: 'post',
    path: '/api-keys',
    access,
    operationId: 'createApiKey',
    summary: 'Make an API key',
    description:
      'Its secret is in this answer, and cannot be read again, except by a repetition with the same `Idempotency-Key` and the same credential. The key ends when its maker does, or earlier: `expires_at` of the answer says when.',
    body: newKey,
    example: newKeyExample,
    success: {
      status: 201,
      description: 'The key, with its secret',
      schema: presentedSecret,
      headers: {
        Location: { description: 'Path of the key', example: '/api-keys/0199c0de-7a1b-7c3d-8e5f-0123456789ab' },
      },
    },
    errors: {
      ...off,
      415: 'the body is not JSON',
      422: 'a field is missing, unknown or breaks its rule',
    },
    problems: [authOff()],
    handle: async ({ body, caller, cause }) => {
      const opened = open(caller);
      checkHeld(caller, body.scopes);
      const expires_at = body.expires_at ?? null;
      return await change(opened, { caller, cause, what: 'made' }, async (database) => {
        if (expires_at && expires_at.getTime() <= Date.now()) throw inPast();
        const made = createKey();
        const row = await insertKey(database, { ...body, expires_at, created_by: caller.actor }, made);
        if (!row) throw invalidToken();
        const headers = { ...secretHeaders, Location: `/api-keys/${row.id}` };
        return { id: row.id, answer: { status: 201, body: { ...presentKey(row), secret: made.secret }, headers } };
      });
    },
  });
}

function listRoute(open: Open): Route {
  return route({
    method: 'get',
    path: '/api-keys',
    access,
    operationId: 'listApiKeys',
    summary: 'List API keys, newest first',
    description:
      'All keys, also revoked and expired ones, without their secrets. To read the whole list, send `next_cursor` back as `cursor`.',
    query: keyListQuery,
    success: { status: 200, description: 'A page of keys', schema: keyList },
    errors: { ...off, 422: 'a parameter is unknown, repeated or breaks its rule' },
    problems: [authOff()],
    handle: async ({ query, caller }) => {
      const { limit, offset, cursor } = query;
      const below = cursor && idAt(cursor.position);
      const { items, total, hasMore } = await listKeys(open(caller).database, { limit, offset, below });
      const last = hasMore ? items.at(-1) : undefined;
      const next_cursor = last ? keyCursor.write(positionOf(last.id), query) : null;
      return { status: 200, body: { items: items.map(presentKey), total, next_cursor } };
    },
  });
}

function getRoute(open: Open): Route {
  return route({
    method: 'get',
    path: '/api-keys/{id}',
    access,
    operationId: 'getApiKey',
    summary: 'Get an API key',
    description: 'Reads the key with this id, without its secret, also a revoked one.',
    params: keyId,
    success: { status: 200, description: 'The key', schema: presentedKey },
    errors: { ...noSuchKey, ...off, 422: 'the id is invalid' },
    problems: [authOff(), noKey()],
    handle: async ({ params, caller }) => ({
      status: 200,
      body: presentKey(existing(await findKey(open(caller).database, params.id))),
    }),
  });
}

function rotateRoute(open: Open): Route {
  return route({
    method: 'post',
    path: '/api-keys/{id}/rotate',
    access,
    operationId: 'rotateApiKey',
    summary: 'Give an API key a new secret',
    description:
      'The new secret is in this answer, and cannot be read again. The former one stays valid for the overlap, so that its program can be changed without a gap; one before that ends at once. The caller needs all scopes of the key, and a key of the caller must not end before it.',
    params: keyId,
    body: rotation,
    example: { overlap_seconds: 3_600 },
    success: { status: 200, description: 'The key, with its new secret', schema: presentedSecret },
    errors: {
      ...noSuchKey,
      409: 'the key is revoked or has expired, or this installation asks no caller for a key',
      415: 'the body is not JSON',
      422: 'the id or a field breaks its rule',
    },
    problems: [authOff(), keyEnded(), noKey(), outlivesCaller()],
    handle: async ({ params, body, caller, cause }) => {
      const opened = open(caller);
      const { actor } = caller;
      const key = existing(await findKey(opened.database, params.id));
      checkHeld(caller, key.scopes);
      await checkOutlived(opened, actor, key);
      return await change(opened, { caller, cause, what: 'rotated' }, async (database) => {
        const made = createKey();
        const row = await rotateKey(database, params.id, made, { overlapSeconds: body.overlap_seconds, actor });
        if (!row) throw keyEnded();
        const shown = { ...presentKey(row), secret: made.secret };
        return { id: row.id, answer: { status: 200, body: shown, headers: secretHeaders } };
      });
    },
  });
}

function revokeRoute(open: Open): Route {
  return route({
    method: 'delete',
    path: '/api-keys/{id}',
    access,
    operationId: 'revokeApiKey',
    summary: 'Revoke an API key',
    description:
      'Every gateway refuses the key within 2 seconds. It cannot be taken back. The key stays in the list. A revoked key stays revoked, and the answer is the same.',
    params: keyId,
    success: { status: 204, description: 'The key is revoked' },
    errors: { ...noSuchKey, ...off, 422: 'the id is invalid' },
    problems: [authOff(), noKey()],
    handle: async ({ params, caller, cause }) => {
      const opened = open(caller);
      const { revoked_at: revokedBefore } = existing(await findKey(opened.database, params.id));
      return await change(opened, { caller, cause, what: 'revoked', ends: params.id }, async (database) => {
        if (!(await revokeKey(database, params.id, caller.actor))) throw invalidToken();
        return { id: revokedBefore ? undefined : params.id, answer: { status: 204, body: null } };
      });
    },
  });
}

function existing(row: KeyRow | undefined): KeyRow {
  if (row) return row;
  throw noKey();
}

function noKey(): DomainError {
  return notFound('API key not found');
}

function keyEnded(): DomainError {
  return conflict('key_ended', 'The key is revoked or has expired. Make another one.');
}

function authOff(): DomainError {
  return conflict('auth_off', 'This installation asks no caller for a key (AUTH is off or external).');
}

function inPast(): DomainError {
  return invalidInput([{ field: 'expires_at', rule: 'must be in the future' }]);
}
