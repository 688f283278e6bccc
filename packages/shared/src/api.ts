// A service's routes as data: one table answers requests and makes the OpenAPI document, so that neither can
// say something the other does not do. Input is checked by zod before a handler runs; what it throws is answered
// by http.ts.
import type { IncomingMessage, ServerResponse } from 'node:http';
import { parse as parseQuery } from 'node:querystring';
import { z } from 'zod';
import { createDocument, type ZodOpenApiPathsObject } from 'zod-openapi';
import { readJson } from './body.ts';
import { DomainError, type FieldError, invalidInput } from './errors.ts';
import { problemTitles, requestIdOf, sendJson } from './http.ts';

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

/** Express's, or a server's own. */
type Handler = (request: IncomingMessage, response: ServerResponse, next: (error?: unknown) => void) => void;

/**
 * Answers by a table of routes; a known path with another method answers 405 with `Allow`. What a route throws goes to
 * `next`, and so does a path that is not in the table. It needs nothing of express, whose router, parser and answer
 * together cost as much as the rest of a request.
 */
export function createRouter(routes: readonly Route[]): Handler {
  const paths = pathsOf(routes);
  return (request, response, next) => {
    const { pathname, query } = targetOf(request.url as string);
    for (const path of paths) {
      const values = path.pattern.exec(pathname)?.slice(1);
      if (!values) continue;
      answerRoute(path, values, query, request, response).catch(next);
      return;
    }
    next();
  };
}

interface Path {
  pattern: RegExp;
  /** Of its parameters. */
  names: string[];
  byMethod: Map<string, Route>;
}

function pathsOf(routes: readonly Route[]): Path[] {
  return [...Map.groupBy(routes, ({ path }) => path)].map(([path, alike]) => ({
    pattern: new RegExp(`^${path.replaceAll(/\{\w+\}/g, '([^/]+)')}/?$`),
    names: Array.from(path.matchAll(/\{(\w+)\}/g), ([, name]) => name as string),
    byMethod: new Map(
      alike.flatMap((route): [string, Route][] =>
        route.method === 'get'
          ? [
              ['GET', route],
              ['HEAD', route],
            ]
          : [[route.method.toUpperCase(), route]],
      ),
    ),
  }));
}

/** A target is a path or, to a proxy's way, a whole URL (RFC 9112, 3.2). */
function targetOf(url: string): { pathname: string; query: string } {
  const target = url.startsWith('/') ? url : url.replace(/^https?:\/\/[^/?]*/i, '');
  const mark = target.indexOf('?');
  return mark < 0
    ? { pathname: target, query: '' }
    : { pathname: target.slice(0, mark), query: target.slice(mark + 1) };
}

async function answerRoute(
  { names, byMethod }: Path,
  values: readonly string[],
  query: string,
  request: IncomingMessage,
  response: ServerResponse,
): Promise<void> {
  const params = Object.fromEntries(values.map((value, index) => [names[index], decode(value)]));
  const definition = byMethod.get(request.method as string);
  if (!definition) {
    throw new DomainError('method_not_allowed', 'method_not_allowed', 'Method Not Allowed', {
      headers: { Allow: [...byMethod.keys()].join(', ') },
    });
  }
  const sent = definition.body && (await readJson(request));
  const { status, headers, body } = await definition.handle({
    params: parse(definition.params ?? nothing, params),
    query: parse(definition.query ?? nothing, { ...parseQuery(query) }),
    body: definition.body && parse(definition.body, sent, 'body'),
    requestId: requestIdOf(request),
  });
  sendJson(response, status, body, headers);
}

function decode(value: string): string {
  try {
    return decodeURIComponent(value);
  } catch {
    throw new DomainError('bad_request', 'bad_request', 'The request could not be read');
  }
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

export const problemSchema = z
  .object({
    type: z.string(),
    title: z.string(),
    status: z.int(),
    detail: z.string(),
    code: z.string(),
    errors: z.array(z.object({ field: z.string(), rule: z.string() })).optional(),
    request_id: z.string(),
  })
  .meta({ id: 'Problem', description: 'RFC 9457 problem details' });

/** The OpenAPI 3.1 document of a table of routes. */
export function describeApi(
  routes: readonly Route[],
  info: { title: string; version: string; description?: string },
): object {
  const paths: ZodOpenApiPathsObject = {};
  for (const definition of routes) {
    const { success } = definition;
    paths[definition.path] = {
      ...paths[definition.path],
      [definition.method]: {
        operationId: definition.operationId,
        summary: definition.summary,
        ...(definition.description && { description: definition.description }),
        tags: [info.title],
        requestParams: {
          ...(definition.params && { path: definition.params as z.ZodObject }),
          ...(definition.query && { query: definition.query as z.ZodObject }),
        },
        ...(definition.body && {
          requestBody: {
            required: true,
            content: {
              'application/json': {
                schema: definition.body,
                ...(definition.example !== undefined && { example: definition.example }),
              },
            },
          },
        }),
        responses: {
          [success.status]: {
            description: success.description,
            content: { 'application/json': { schema: success.schema } },
            ...(success.headers && {
              headers: Object.fromEntries(
                Object.entries(success.headers).map(([name, description]) => [
                  name,
                  { description, schema: { type: 'string' as const } },
                ]),
              ),
            }),
          },
          ...Object.fromEntries(
            Object.entries(definition.errors).map(([status, description]) => [
              status,
              problemResponse(status, description),
            ]),
          ),
        },
      },
    };
  }
  return createDocument({ openapi: '3.1.1', info, paths }, { allowEmptySchema: { custom: true } });
}

function problemResponse(status: string, description: string) {
  return {
    description: `${problemTitles[Number(status)]}: ${description}`,
    content: { 'application/problem+json': { schema: problemSchema } },
  };
}
