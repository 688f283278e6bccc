// The OpenAPI 3.1 document of a table of routes (routes.ts).
import { z } from 'zod';
import { createDocument, type ZodOpenApiPathsObject } from 'zod-openapi';
import { problemTitles } from './problem.ts';
import type { Route } from './routes.ts';

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

export function describeApi(
  routes: readonly Route[],
  info: { title: string; version: string; description?: string },
): object {
  const paths: ZodOpenApiPathsObject = {};
  for (const route of routes) {
    paths[route.path] = { ...paths[route.path], [route.method]: operationOf(route, info.title) };
  }
  return createDocument({ openapi: '3.1.1', info, paths }, { allowEmptySchema: { custom: true } });
}

function operationOf({ operationId, summary, description, params, query, ...route }: Route, tag: string) {
  return {
    operationId,
    summary,
    ...(description && { description }),
    tags: [tag],
    requestParams: {
      ...(params && { path: params as z.ZodObject }),
      ...(query && { query: query as z.ZodObject }),
    },
    ...(route.body && { requestBody: requestBody(route.body, route.example) }),
    responses: { [route.success.status]: successResponse(route.success), ...problemResponses(route.errors) },
  };
}

function requestBody(schema: z.ZodType, example: unknown) {
  return { required: true, content: { 'application/json': { schema, ...(example !== undefined && { example }) } } };
}

function successResponse({ description, schema, headers }: Route['success']) {
  return {
    description,
    content: { 'application/json': { schema } },
    ...(headers && {
      headers: mapValues(headers, (text) => ({ description: text, schema: { type: 'string' as const } })),
    }),
  };
}

function problemResponses(errors: Route['errors']) {
  return mapValues(errors, (description, status) => ({
    description: `${problemTitles[Number(status)]}: ${description}`,
    content: { 'application/problem+json': { schema: problemSchema } },
  }));
}

function mapValues<Value, Result>(
  object: Readonly<Record<string, Value>>,
  map: (value: Value, key: string) => Result,
): Record<string, Result> {
  return Object.fromEntries(Object.entries(object).map(([key, value]) => [key, map(value, key)]));
}
