// A service's routes as a table. Express's routes (here) and the OpenAPI document (openapi.ts) are both made from it,
// so that they cannot differ. A handler gets input that its schemas have accepted; app.ts answers what it throws.
import { isUtf8 } from 'node:buffer';
import express, { type Express, type Request, type RequestHandler } from 'express';
import { z } from 'zod';
import { DomainError } from '../errors.ts';
import { maxBodyBytes } from './app.ts';
import { sendJson } from './problem.ts';
import { requestIdOf } from './request-log.ts';
import type { ResponseBudget } from './response-budget.ts';
import { validateInput } from './validate-input.ts';

interface Input<Params, Query, Body> {
  params: Params;
  query: Query;
  body: Body;
  requestId: string;
}

export interface HandlerResult {
  status: number;
  body: unknown;
  headers?: Record<string, string>;
}

type Method = 'get' | 'post' | 'patch';

interface RouteDefinition<Params extends z.ZodType, Query extends z.ZodType, Body extends z.ZodType> {
  method: Method;
  /** In OpenAPI notation: `/users/{id}`. */
  path: string;
  operationId: string;
  summary: string;
  description?: string;
  /** Default: no parameters are accepted. Without `body`, the body is not read. */
  params?: Params;
  query?: Query;
  body?: Body;
  /** An example body, shown in the interactive docs. */
  example?: unknown;
  success: { status: number; description: string; schema: z.ZodType; headers?: Record<string, string> };
  /** The status of every error that the route answers with → its meaning there. */
  errors: Record<number, string>;
  /**
   * For a read only. Whether the response may be large: then the request is rejected before the work while no large one
   * has room. With or without: every response of the route is counted, and rejected when it has no room.
   */
  mayBeLarge?(query: z.infer<Query>): boolean;
  handle(input: Input<z.infer<Params>, z.infer<Query>, z.infer<Body>>): Promise<HandlerResult>;
}

type NoInput = z.ZodObject<Record<never, never>, z.core.$strict>;

export type Route = RouteDefinition<z.ZodType, z.ZodType, z.ZodType>;

/** Declares a route with the types of its parsed input. */
export function route<
  Params extends z.ZodType = NoInput,
  Query extends z.ZodType = NoInput,
  Body extends z.ZodType = z.ZodUndefined,
>(definition: RouteDefinition<Params, Query, Body>): Route {
  return definition as unknown as Route;
}

/** Adds a table of routes to an app. A known path with another method is answered with 405 and `Allow`. */
export function addRoutes(app: Express, routes: readonly Route[], budget?: ResponseBudget): void {
  for (const definition of routes) {
    const bodySteps = definition.body ? [requireJson, parseJson] : [];
    app[definition.method](expressPath(definition.path), ...bodySteps, handlerOf(definition, budget));
  }
  for (const [path, methods] of methodsByPath(routes)) {
    app.all(expressPath(path), () => {
      throw methodNotAllowed(methods);
    });
  }
}

const noInput = z.strictObject({});

function handlerOf(
  { params = noInput, query = noInput, body, mayBeLarge, handle }: Route,
  budget: ResponseBudget | undefined,
): RequestHandler {
  const counted = mayBeLarge && { budget };
  return async (request, response) => {
    const input = {
      params: validateInput(params, request.params, 'request'),
      query: validateInput(query, request.url.includes('?') ? { ...request.query } : {}, 'request'),
      body: body && validateInput(body, hasBody(request) ? request.body : undefined, 'body'),
      requestId: requestIdOf(request),
    };
    if (mayBeLarge?.(input.query)) budget?.checkRoomForLarge();
    const result = await handle(input);
    sendJson(response, result.status, result.body, { headers: result.headers, ...counted });
  };
}

function requireJson(request: Request, _response: unknown, next: () => void): void {
  if (hasBody(request) && !request.is(['application/json', 'application/*+json'])) {
    throw new DomainError('unsupported_media_type', 'unsupported_media_type', 'Content-Type must be application/json');
  }
  next();
}

const parseJson = express.json({
  limit: maxBodyBytes,
  strict: false, // the schema rejects a body that is JSON but not an object, and names the rule
  type: () => true, // requireJson has checked it
  verify: (_request, _response, buffer) => {
    if (!isUtf8(buffer)) throw new Error('not UTF-8');
  },
});

/** Express's parser turns an empty body into an empty object, so the headers must be checked. */
function hasBody({ headers }: Request): boolean {
  return headers['transfer-encoding'] !== undefined || Number(headers['content-length'] ?? 0) > 0;
}

function methodNotAllowed(methods: readonly Method[]): DomainError {
  const Allow = methods.map((method) => (method === 'get' ? 'GET, HEAD' : method.toUpperCase())).join(', ');
  return new DomainError('method_not_allowed', 'method_not_allowed', 'Method Not Allowed', { headers: { Allow } });
}

function methodsByPath(routes: readonly Route[]): Map<string, Method[]> {
  const paths = new Map<string, Method[]>();
  for (const { path, method } of routes) paths.set(path, [...(paths.get(path) ?? []), method]);
  return paths;
}

function expressPath(path: string): string {
  return path.replaceAll(/\{(\w+)\}/g, ':$1');
}
