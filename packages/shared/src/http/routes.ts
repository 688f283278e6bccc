// A service's routes as a table. Express's routes (here) and the OpenAPI document (openapi.ts) are both made from it,
// so that they cannot differ. A handler gets input that its schemas have accepted; app.ts answers what it throws.
import type { Express, Request, RequestHandler } from 'express';
import { z } from 'zod';
import type { Cause } from '../contracts/cause.ts';
import { DomainError } from '../errors.ts';
import { traceparentOf } from '../telemetry/trace-context.ts';
import type { JsonFault, ParsedJson } from '../values/parse-json.ts';
import { methodNotAllowed } from './app.ts';
import { checkAccess, checkAccessToBody, maySeeResource, type RouteAccess, readScopeOf } from './caller/access.ts';
import { type Caller, callerOf } from './caller/caller.ts';
import { idempotentRequest, readIdempotencyKey, takesIdempotencyKey } from './idempotency-key.ts';
import { hasBody, type ReadBody, readBody, unexpectedBody } from './input/read-body.ts';
import { readReason } from './input/reason.ts';
import { validateInput } from './input/validate-input.ts';
import { announceDeprecation, type Deprecation } from './openapi/deprecation.ts';
import {
  checkTag,
  checkVersion,
  findFalseCondition,
  type Preconditions,
  preconditionRequired,
  readPreconditions,
} from './preconditions.ts';
import { sendJson } from './problem.ts';
import { requestIdOf } from './request-log.ts';
import type { ResponseBudget } from './response-budget.ts';

interface Input<Params, Query, Body> {
  params: Params;
  query: Query;
  body: Body;
  cause: Cause;
  caller: Caller;
  /** With `itemsMayFail`: what the parser of the body has found. Else it is empty. */
  faults: readonly JsonFault[];
  /** Of If-Match and If-None-Match. A route with `currentVersion` evaluates them in its change. */
  conditions: Preconditions;
}

export interface HandlerResult {
  status: number;
  /** Absent with 204. */
  body?: unknown;
  headers?: Record<string, string>;
}

type Method = 'get' | 'post' | 'patch' | 'delete';

interface HeaderDefinition {
  description: string;
  values?: readonly string[];
  example?: string;
}

/** Where a request can name a user: `params.id`. */
type Place<Params extends z.ZodType, Query extends z.ZodType, Body extends z.ZodType> =
  | `params.${string & keyof z.infer<Params>}`
  | `query.${string & keyof z.infer<Query>}`
  | `body.${string & keyof z.infer<Body>}`;

interface RouteDefinition<Params extends z.ZodType, Query extends z.ZodType, Body extends z.ZodType> {
  method: Method;
  path: string; // in OpenAPI notation: `/users/{id}`
  /** Who may use it. It is checked before the body is read, as far as no body is needed. */
  access: RouteAccess<Place<Params, Query, Body>>;
  operationId: string;
  summary: string;
  description?: string;
  /** Its answers and the document then say so. */
  deprecated?: Deprecation;
  /** Default: no parameters are accepted, and no body but an empty one or an empty object. */
  params?: Params;
  query?: Query;
  body?: Body;
  /** The handler judges the items of the body one by one: what the parser has found in them is its business, too. */
  itemsMayFail?: boolean;
  /** What the document shows of the body. Default: `body`. */
  describedBody?: z.ZodType;
  /** A repetition changes nothing, whatever header it has: `Idempotency-Key` has no effect. */
  isRepeatable?: boolean;
  /** Its answer tells what has become of what the caller has sent, and nothing else. It needs no scope to read. */
  showsOnlySent?: boolean;
  /** Whether the change goes into a history: then `X-Reason` is read. */
  takesReason?: boolean;
  /** An example body, shown in the interactive docs. */
  example?: unknown;
  success: {
    status: number;
    description: string;
    /** Absent with 204: there is no body. */
    schema?: z.ZodType;
    /** Name → its description, or also its only values and an example. */
    headers?: Record<string, string | HeaderDefinition>;
    /** Default: the first of the schema's `examples`. */
    example?: unknown;
  };
  /** The status of every error that the route answers with → its meaning there. */
  errors: Record<number, string>;
  /** One error of each code that the route answers with, beside those of malformed input: the document's examples. */
  problems?: readonly DomainError[];
  /**
   * Of a route that changes one resource: the version that it has. It is read when the content of a request with a
   * condition is rejected, because the condition comes first (RFC 9110 13.2.1). @throws notFound
   */
  currentVersion?(params: z.infer<Params>, caller: Caller): Promise<number>;
  /**
   * For a read only. Whether the response may be large: then the request is rejected before the work while no large one
   * has room. With or without: every response of the route is counted, and rejected when it has no room.
   */
  mayBeLarge?(query: z.infer<Query>): boolean;
  handle(input: Input<z.infer<Params>, z.infer<Query>, z.infer<Body>>): Promise<HandlerResult>;
}

type NoInput = z.ZodObject<Record<never, never>, z.core.$strict>;

export type Route = Omit<RouteDefinition<z.ZodType, z.ZodType, z.ZodType>, 'access'> & { access: RouteAccess };

/** Declares a route with the types of its parsed input. */
export function route<
  Params extends z.ZodType = NoInput,
  Query extends z.ZodType = NoInput,
  Body extends z.ZodType = z.ZodUndefined,
>(definition: RouteDefinition<Params, Query, Body>): Route {
  return definition as unknown as Route;
}

export interface RouteOptions {
  budget?: ResponseBudget | undefined;
  /** Whether a change of a resource without If-Match is rejected. */
  requireIfMatch?: boolean;
  /** Runs when a body is complete: what was true of the caller at its beginning may have ended. @throws DomainError */
  confirm?(request: Request): Promise<void>;
}

/** Adds a table of routes to an app. A known path with another method is answered with 405 and `Allow`. */
export function addRoutes(app: Express, routes: readonly Route[], options: RouteOptions = {}): void {
  for (const definition of routes) {
    const { method, path, deprecated } = definition;
    if (deprecated) app[method](expressPath(path), announceDeprecation(deprecated));
    app[method](expressPath(path), handlerOf(definition, options));
  }
  for (const [path, methods] of methodsByPath(routes)) {
    app.all(expressPath(path), () => {
      throw methodNotAllowed(allowOf(methods));
    });
  }
}

const noInput = z.strictObject({});

function handlerOf(definition: Route, { budget, requireIfMatch = false, confirm }: RouteOptions): RequestHandler {
  const { method, access, currentVersion, takesReason, mayBeLarge, handle } = definition;
  const counted = mayBeLarge && { budget };
  return async (request, response) => {
    const caller = callerOf(request);
    checkAccess(access, caller, request);
    const key = takesIdempotencyKey(definition) ? readIdempotencyKey(request) : undefined;
    const conditions = readPreconditions(request.headers);
    if (requireIfMatch && currentVersion && conditions.match === undefined) throw preconditionRequired();
    let sent: ReadBody | undefined;
    let input: ReturnType<typeof parseInput>;
    try {
      if (hasBody(request)) {
        sent = await readBody(request, response, definition.body !== undefined);
        await confirm?.(request);
      }
      input = parseInput(definition, request, sent);
    } catch (error) {
      throw (await findEarlierError({ definition, request, caller, conditions }, error)) ?? error;
    }
    checkAccessToBody(access, caller, input.body);
    const rejection = method === 'get' || currentVersion ? undefined : checkTag(conditions, undefined);
    if (rejection) throw rejection;
    if (mayBeLarge?.(input.query)) budget?.checkRoomForLarge();
    const { status, body, headers } = await handle({
      ...input,
      cause: {
        requestId: requestIdOf(request),
        actor: caller.actor,
        traceparent: traceparentOf(request),
        ...(takesReason && { reason: readReason(request) }),
        ...(key !== undefined && { idempotency: idempotentRequest(key, request, sent?.bytes) }),
      },
      caller,
      conditions,
    });
    const falseCondition = method === 'get' ? findFalseCondition(conditions, headers?.ETag) : undefined;
    if (falseCondition === 'If-Match') throw checkTag(conditions, headers?.ETag);
    if (falseCondition) response.writeHead(304, headers).end();
    else if (status === 204 || (showsChanged(definition) && !maySeeResource(access, caller)))
      response.writeHead(204, headers).end();
    else sendJson(response, status, body, { headers, ...counted });
  };
}

/**
 * Whether the route answers a resource that was there before, with values of others. It is 204 to a caller who may not
 * read it. A creation shows what the caller has sent.
 */
export function showsChanged({
  access,
  success,
  showsOnlySent = false,
}: Pick<Route, 'access' | 'success' | 'showsOnlySent'>): boolean {
  const isChange = typeof access !== 'string' && readScopeOf(access.scope) !== access.scope;
  return isChange && success.status === 200 && !showsOnlySent;
}

function parseInput(definition: Route, request: Request, sent: ReadBody | undefined) {
  const { params = noInput, query = noInput, body, itemsMayFail = false } = definition;
  const faults = sent?.faults ?? [];
  return {
    faults: itemsMayFail ? faults : [],
    params: validateInput(params, request.params, 'request'),
    query: validateInput(query, request.url.includes('?') ? { ...request.query } : {}, 'request'),
    body: body ? validateInput(body, sent?.value, 'body', itemsMayFail ? [] : faults) : sent && rejectMembers(sent),
  };
}

interface ReceivedRequest {
  definition: Route;
  request: Request;
  caller: Caller;
  conditions: Preconditions;
}

/**
 * Of a request whose content is rejected: what must be answered instead, because it comes before the content (RFC 9110
 * 13.2.1). @returns undefined when its conditions are true, or it has none @throws notFound
 */
async function findEarlierError(
  { definition, request, caller, conditions }: ReceivedRequest,
  error: unknown,
): Promise<DomainError | undefined> {
  const { params = noInput, currentVersion } = definition;
  const hasConditions = conditions.match !== undefined || conditions.noneMatch !== undefined;
  const isContent = error instanceof DomainError && error.kind === 'invalid';
  if (!currentVersion || !hasConditions || !isContent) return undefined;
  const { success, data } = params.safeParse(request.params);
  return success ? checkVersion(conditions, await currentVersion(data, caller)) : undefined;
}

/** Of a route without a body. @throws DomainError unless it is an empty object */
function rejectMembers({ value, faults }: ParsedJson): undefined {
  if (typeof value !== 'object' || value === null || Array.isArray(value)) throw unexpectedBody();
  validateInput(noInput, value, 'body', faults);
}

function allowOf(methods: readonly Method[]): string {
  return methods.map((method) => (method === 'get' ? 'GET, HEAD' : method.toUpperCase())).join(', ');
}

function methodsByPath(routes: readonly Route[]): Map<string, Method[]> {
  const paths = new Map<string, Method[]>();
  for (const { path, method } of routes) paths.set(path, [...(paths.get(path) ?? []), method]);
  return paths;
}

function expressPath(path: string): string {
  return path.replaceAll(/\{(\w+)\}/g, ':$1');
}
