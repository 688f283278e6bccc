// The error responses of an operation, each with an example of every code that it can have.
import { z } from 'zod';
import { DomainError, reachedLimitHeader, unavailableDependencyHeader } from '../../errors.ts';
import { clientNotAllowed, insufficientScope, invalidToken, unauthenticated } from '../caller/access.ts';
import { malformedJson, unsupportedEncoding, unsupportedMediaType } from '../input/read-body.ts';
import { validateInput } from '../input/validate-input.ts';
import { preconditionRequired } from '../preconditions.ts';
import { type Problem, problemOf, problemTitles, statusOf } from '../problem.ts';
import type { Route } from '../routes.ts';
import { replayedComponent, withKeyErrors } from './idempotency.ts';
import { exampleRequestId } from './problem-schema.ts';

type Json = Record<string, unknown>;

/** Of every response. */
export const requestIdHeader = namedHeader('X-Request-Id');

/** Of the success of a change. */
export const replayedHeader = namedHeader('Idempotent-Replayed');

/** Status → the further headers of its responses. */
const headersByStatus: Record<number, Json> = {
  401: namedHeader('WWW-Authenticate'),
  403: namedHeader('WWW-Authenticate'),
  409: namedHeader('Retry-After'),
  412: namedHeader('ETag'),
  415: {
    ...namedHeader('Accept'),
    ...namedHeader('Accept-Encoding'),
    ...namedHeader('Accept-Patch'),
    ...namedHeader('Accept-Post'),
  },
  429: { ...namedHeader('Retry-After'), ...namedHeader('RateLimit'), ...namedHeader('RateLimit-Policy') },
  503: {
    ...namedHeader('Retry-After'),
    ...namedHeader(reachedLimitHeader),
    ...namedHeader(unavailableDependencyHeader),
  },
};

export const headerComponents = {
  'X-Request-Id': {
    description: 'The id of the request, in the log of every service that had it: the one that was sent, or a new one.',
    schema: { type: 'string', maxLength: 128 },
    example: exampleRequestId,
  },
  'WWW-Authenticate': {
    description: 'What a caller must send (RFC 6750). With 403: the scope that the operation needs.',
    schema: { type: 'string' },
    example: 'Bearer error="insufficient_scope", scope="promotions:write"',
  },
  ETag: {
    description: 'The current entity tag of the resource. Absent when it has none: a list, or what does not exist.',
    schema: { type: 'string' },
    example: '"2"',
  },
  'Retry-After': {
    description:
      'Seconds to wait before the next attempt. Absent with the code `outcome_unknown`: then look before you repeat, or repeat with the same `Idempotency-Key`. Of a 409, only with the code `idempotency_in_progress`.',
    schema: { type: 'integer', format: 'int32', minimum: 0, maximum: 3600 },
    example: 1,
  },
  RateLimit: {
    description:
      'For each policy, the units that the caller has left (`r`) and seconds until there are more (`t`). With the code `quota_exceeded`, only of the policies that are used up. Every other answer may have it, too.',
    schema: { type: 'string' },
    example: '"burst";r=0;t=1',
  },
  'RateLimit-Policy': {
    description:
      'The policies for each caller: `q` units at once, and then `q` units in `w` seconds. A read costs one unit, a change two. Every other answer may have it, too.',
    schema: { type: 'string' },
    example: '"burst";q=100;w=1, "steady";q=3000;w=60',
  },
  Allow: {
    description: 'With the code `method_not_allowed`: the methods of the path.',
    schema: { type: 'string' },
    example: 'GET, HEAD',
  },
  Accept: {
    description: 'With the code `unsupported_media_type`: the media types of a body.',
    schema: { type: 'string' },
    example: 'application/json',
  },
  'Accept-Encoding': {
    description: 'With the code `unsupported_encoding`: the content codings of a body.',
    schema: { type: 'string' },
    example: 'gzip, deflate, br, zstd',
  },
  'Accept-Patch': {
    description: 'With the code `unsupported_media_type`, of a PATCH: the media types of its body (RFC 5789).',
    schema: { type: 'string' },
    example: 'application/json, application/merge-patch+json',
  },
  'Accept-Post': {
    description: 'With the code `unsupported_media_type`, of a POST: the media types of its body.',
    schema: { type: 'string' },
    example: 'application/json',
  },
  [reachedLimitHeader]: {
    description: 'With the code `overloaded`: the limit of the service that is reached. Absent for one of the gateway.',
    schema: { type: 'string' },
    example: 'deep_offset',
  },
  [unavailableDependencyHeader]: {
    description:
      'With the codes `dependency_unavailable` and `ids_exhausted`: what the service needs and cannot reach.',
    schema: { type: 'string' },
    example: 'promotions',
  },
  ...replayedComponent,
};

export function examplesOf(errors: readonly DomainError[]): Problem[] {
  return errors.map((error) => problemOf(error, exampleRequestId));
}

/** @param problems examples: one for each code */
export function problemResponse(status: number, text: string, problems: readonly Problem[]): Json {
  return problemsResponse(`${problemTitles[status]}: ${text}`, problems, headersByStatus[status]);
}

/** Of one status or of several. @param headers beyond `X-Request-Id` */
export function problemsResponse(description: string, problems: readonly Problem[], headers: Json = {}): Json {
  const examples = problems.map((value) => [value.code, { value }]);
  return {
    description,
    headers: { ...requestIdHeader, ...headers },
    content: {
      'application/problem+json': {
        schema: { $ref: '#/components/schemas/Problem' },
        ...(examples.length > 0 && { examples: Object.fromEntries(examples) }),
      },
    },
  };
}

/** The responses that the route declares. */
export function problemResponses(route: Omit<Route, 'handle' | 'mayBeLarge'>, tag: string): Record<string, Json> {
  const refusals = typeof route.access === 'string' ? [] : accessProblems;
  const withKey = withKeyErrors(route);
  const examples = [...withKey.problems, ...refusals, ...inputProblems(route), preconditionRequired()];
  const errors = {
    ...(refusals.length > 0 && accessErrors),
    ...withKey.errors,
    ...(route.currentVersion && { 428: ifMatchMissing }),
  };
  return Object.fromEntries(
    Object.entries(errors).map(([status, text]) => {
      const ofStatus = examples.filter((error) => statusOf(error) === Number(status));
      const shown = examplesOf(ofStatus.length > 0 ? ofStatus : usual(status, tag));
      return [status, problemResponse(Number(status), text, shown)];
    }),
  );
}

const accessErrors = {
  401: 'the caller has sent no valid credential, and the installation requires one',
  403: 'the caller does not have the scope, or is an end user and what is asked for is not their own; or the client of the token may not act without a user',
};
const accessProblems = [unauthenticated(), invalidToken(), insufficientScope('promotions:write'), clientNotAllowed()];
const ifMatchMissing = 'the request has no `If-Match`, and the service requires it (`REQUIRE_IF_MATCH`)';

/** When the route names no error of this status. */
function usual(status: string, tag: string): DomainError[] {
  return status === '404' ? [new DomainError('not_found', 'not_found', `${tag.replace(/s$/, '')} not found`)] : [];
}

/** What validation answers to this route's malformed input. */
function inputProblems({
  method,
  params,
  query,
  body,
}: Pick<Route, 'method' | 'params' | 'query' | 'body'>): DomainError[] {
  const attempts: [z.ZodType | undefined, unknown, 'request' | 'body'][] = [
    [body, {}, 'body'],
    [body, [], 'body'],
    [params, namesOf(params, 'abc'), 'request'],
    [query, {}, 'request'],
    [query, { limit: '0' }, 'request'],
    [query, { page: '1' }, 'request'],
  ];
  const invalid = attempts.map(([schema, input, name]) => schema && rejectionOf(schema, input, name)).find(Boolean);
  return [...(invalid ? [invalid] : []), ...(body ? bodyProblems(method.toUpperCase()) : [])];
}

function namesOf(params: z.ZodType | undefined, value: string): Record<string, string> {
  const names = params instanceof z.ZodObject ? Object.keys(params.shape) : [];
  return Object.fromEntries(names.map((name) => [name, value]));
}

function rejectionOf(schema: z.ZodType, input: unknown, name: 'request' | 'body'): DomainError | undefined {
  try {
    validateInput(schema, input, name);
    return undefined;
  } catch (error) {
    if (error instanceof DomainError) return error;
    throw error;
  }
}

const bodyProblems = (method: string) => [malformedJson(), unsupportedMediaType(method), unsupportedEncoding()];

export function namedHeader(name: string): Json {
  return { [name]: { $ref: `#/components/headers/${name}` } };
}
