// A service's routes as data: one table makes express's routes and the OpenAPI document, so that neither can
// say something the other does not do. Input is checked by zod before a handler runs; what it throws is answered
// by http.ts.
import { isUtf8 } from 'node:buffer';
import express, { type Express, type Request, type Response } from 'express';
import { z } from 'zod';
import { DomainError, type FieldError, invalidInput } from '../errors.ts';
import { sendJson } from './problem.ts';
import { requestIdOf } from './request-log.ts';

interface Input<Params, Query, Body> {
  params: Params;
  query: Query;
  body: Body;
  requestId: string;
}

export interface Answer {
  status: number;
  body: unknown;
  headers?: Record<string, string>;
}

type Method = 'get' | 'post' | 'patch';

interface RouteDefinition<Params extends z.ZodType, Query extends z.ZodType, Body extends z.ZodType> {
  method: Method;
  /** OpenAPI notation: `/users/{id}`. */
  path: string;
  operationId: string;
  summary: string;
  description?: string;
  params?: Params;
  query?: Query;
  body?: Body;
  /** An example body, shown in the interactive docs. */
  example?: unknown;
  success: { status: number; description: string; schema: z.ZodType; headers?: Record<string, string> };
  /** Status of every error the route answers → what it means there. */
  errors: Record<number, string>;
  handle(input: Input<z.infer<Params>, z.infer<Query>, z.infer<Body>>): Promise<Answer>;
}

type Nothing = z.ZodObject<Record<never, never>, z.core.$strict>;

export type Route = RouteDefinition<z.ZodType, z.ZodType, z.ZodType>;

/** Declares a route with the types of its parsed input. */
export function route<
  Params extends z.ZodType = Nothing,
  Query extends z.ZodType = Nothing,
  Body extends z.ZodType = z.ZodUndefined,
>(definition: RouteDefinition<Params, Query, Body>): Route {
  return definition as unknown as Route;
}

const nothing = z.strictObject({});

const jsonBody = express.json({
  limit: 65_536,
  strict: false, // a body that is JSON but no object is told so by its schema
  type: () => true, // requireJson has looked
  verify: (_request, _response, buffer) => {
    if (!isUtf8(buffer)) throw new Error('not UTF-8');
  },
});

/** Puts a table of routes into an app; a known path with another method answers 405 with `Allow`. */
export function addRoutes(app: Express, routes: readonly Route[]): void {
  for (const definition of routes) {
    const { params = nothing, query = nothing, body } = definition;
    const steps = body ? [requireJson, jsonBody] : [];
    app[definition.method](expressPath(definition.path), ...steps, async (request: Request, response: Response) => {
      const answer = await definition.handle({
        params: parse(params, request.params),
        query: parse(query, request.url.includes('?') ? { ...request.query } : {}),
        body: body ? parse(body, hasBody(request) ? request.body : undefined, 'body') : undefined,
        requestId: requestIdOf(request),
      });
      sendJson(response, answer.status, answer.body, answer.headers);
    });
  }
  for (const [path, methods] of methodsByPath(routes)) {
    app.all(expressPath(path), () => {
      throw new DomainError('method_not_allowed', 'method_not_allowed', 'Method Not Allowed', {
        headers: { Allow: methods.map((method) => (method === 'get' ? 'GET, HEAD' : method.toUpperCase())).join(', ') },
      });
    });
  }
}

/** Express's parser makes an object of a body of no bytes. */
function hasBody({ headers }: Request): boolean {
  return headers['transfer-encoding'] !== undefined || Number(headers['content-length'] ?? 0) > 0;
}

function requireJson(request: Request, _response: unknown, next: () => void): void {
  if (hasBody(request) && !request.is(['application/json', 'application/*+json'])) {
    throw new DomainError('unsupported_media_type', 'unsupported_media_type', 'Content-Type must be application/json');
  }
  next();
}

/**
 * Checks input against a schema.
 * @throws DomainError of kind `invalid` that names every field and the rule it breaks
 */
function parse<Schema extends z.ZodType>(schema: Schema, input: unknown, whole = 'request'): z.infer<Schema> {
  const result = schema.safeParse(input, { reportInput: true });
  if (result.success) return result.data;
  const broken = result.error.issues.flatMap((issue) => explain(issue, whole));
  // Two checks of one field may say the same.
  throw invalidInput([...new Map(broken.map((error) => [`${error.field} ${error.rule}`, error])).values()]);
}

function explain(issue: z.core.$ZodIssue, whole: string): FieldError[] {
  const path = issue.path.map(shownName).join('.');
  if (issue.code === 'unrecognized_keys') {
    return issue.keys.map((key) => ({
      field: [...issue.path, key].map(shownName).join('.'),
      rule: 'is not a known field',
    }));
  }
  if (path === '' && issue.code === 'invalid_type') {
    return [{ field: whole, rule: issue.input === undefined ? 'is required' : 'must be a JSON object' }];
  }
  return [{ field: path || whole, rule: issue.message }];
}

/** A caller's own name for a field may be an address or a phone put in the wrong place, and errors carry neither. */
function shownName(name: PropertyKey): string {
  const text = String(name);
  return typeof name === 'number' || (/^[\w$.[\]-]{1,64}$/.test(text) && !/\d{5}/.test(text)) ? text : '(not shown)';
}

function expressPath(path: string): string {
  return path.replaceAll(/\{(\w+)\}/g, ':$1');
}

function methodsByPath(routes: readonly Route[]): Map<string, Method[]> {
  const paths = new Map<string, Method[]>();
  for (const { path, method } of routes) paths.set(path, [...(paths.get(path) ?? []), method]);
  return paths;
}
