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
