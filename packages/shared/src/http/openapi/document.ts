// The OpenAPI 3.1 document of a table of routes (routes.ts).
import { z } from 'zod';
import { createDocument, type ZodOpenApiPathsObject } from 'zod-openapi';
import { type RouteAccess, readScopeOf } from '../caller/access.ts';
import { takesIdempotencyKey } from '../idempotency-key.ts';
import { bodyTypesOf } from '../input/read-body.ts';
import { reasonParameter } from '../input/reason.ts';
import { type Route, showsChanged } from '../routes.ts';
import { deprecationText, describedDeprecation } from './deprecation.ts';
import { idempotencyParameter } from './idempotency.ts';
import { headerComponents, problemResponses, replayedHeader, requestIdHeader } from './problem-responses.ts';
import { problemSchema } from './problem-schema.ts';
import { tidySchemas } from './tidy-schemas.ts';

export type DescribedRoute = Omit<Route, 'handle' | 'mayBeLarge'>;

interface ApiInfo {
  /** Also the tag of every operation. */
  title: string;
  version: string;
  /** Of the tag: what the operations are about. */
  description?: string | undefined;
}

export function describeApi(routes: readonly DescribedRoute[], { title, version, description }: ApiInfo): object {
  const paths: ZodOpenApiPathsObject = {};
  for (const route of routes) {
    paths[route.path] = { ...paths[route.path], [route.method]: operationOf(route, title) };
  }
  const document = createDocument(
    {
      openapi: '3.1.1',
      info: { title, version },
      tags: [{ name: title, ...(description && { description }) }],
      paths,
      components: { schemas: { Problem: problemSchema }, ...(routes.some(needsScope) && { securitySchemes }) },
    },
    { allowEmptySchema: { custom: true }, override: acceptMoreInResponses },
  );
  const { components, ...rest } = JSON.parse(JSON.stringify(document));
  return tidySchemas({ ...rest, components: { ...components, headers: headerComponents } });
}

/** The one way to say who calls: an API key or an access token. */
const securitySchemes = {
  bearer: {
    type: 'http' as const,
    scheme: 'bearer',
    description:
      'An API key (`ppk_…`) or an access token of the identity provider. Each operation names the scope that it needs.',
  },
};

/** A later release may add members to a response, and a client must not refuse them. */
function acceptMoreInResponses({ jsonSchema, zodSchema, io }: Parameters<Override>[0]): void {
  if (io !== 'output' || !(zodSchema instanceof z.ZodObject)) return;
  if (zodSchema.def.catchall === undefined) delete jsonSchema.additionalProperties;
}

type Override = NonNullable<NonNullable<Parameters<typeof createDocument>[1]>['override']>;

function operationOf(route: DescribedRoute, tag: string) {
  const { operationId, summary, params, query, success, deprecated } = route;
  const texts = [route.description, deprecated && deprecationText(deprecated), accessText(route.access)];
  const description = texts.filter(Boolean).join(' ');
  const header = headerParameters(route);
  return {
    operationId,
    summary,
    ...(description && { description }),
    ...(deprecated && { deprecated: true }),
    ...security(route),
    tags: [tag],
    ...((params || query || header) && {
      requestParams: {
        ...(params && { path: params as z.ZodObject }),
        ...(query && { query: query as z.ZodObject }),
        ...(header && { header }),
      },
    }),
    ...(route.body && { requestBody: requestBody(route) }),
    responses: {
      [success.status]: successResponse(success, {
        ...(takesIdempotencyKey(route) && replayedHeader),
        ...(deprecated && describedDeprecation(deprecated)),
      }),
      ...(showsChanged(route) && { 204: unseenChange(route) }),
      ...(isTaggedRead(route) && { 304: notModified(success) }),
      ...problemResponses(route, tag),
    },
  };
}

const tagList = (description: string) => z.string().optional().meta({ description });
const ifMatch = tagList(
  'Entity tags (the `ETag` of a response), separated by commas, or `*`. The change is made only while one of them is the current one.',
);
const ifNoneMatch = tagList(
  'Entity tags, separated by commas, or `*`. When one of them is the current one, a read is answered with 304, and a change with 412.',
);

/** The conditions that the route evaluates. They have no examples: the page /docs would send them. */
function headerParameters(route: DescribedRoute): z.ZodObject | undefined {
  const shape = {
    ...(route.currentVersion && { 'If-Match': ifMatch }),
    ...((route.currentVersion || isTaggedRead(route)) && { 'If-None-Match': ifNoneMatch }),
    ...(route.takesReason && reasonParameter.shape),
    ...(takesIdempotencyKey(route) && idempotencyParameter.shape),
  };
  return Object.keys(shape).length > 0 ? z.object(shape) : undefined;
}

function isTaggedRead({ method, success }: DescribedRoute): boolean {
  return method === 'get' && success.headers?.ETag !== undefined;
}

function notModified({ headers = {} }: Route['success']) {
  return {
    description: 'Not Modified: the current entity tag is in `If-None-Match`; there is no body',
    headers: { ...requestIdHeader, ...headerObjects(headers) },
  };
}

/** Of a caller who may change the resource, and not read it. */
function unseenChange({ access, success: { headers = {} } }: DescribedRoute) {
  const scope = typeof access === 'string' ? '' : readScopeOf(access.scope);
  return {
    description: `The same, to a caller without the scope \`${scope}\`; there is no body`,
    headers: { ...requestIdHeader, ...replayedHeader, ...headerObjects(headers) },
  };
}

function needsScope({ access }: Pick<DescribedRoute, 'access'>): boolean {
  return typeof access !== 'string';
}

/** OpenAPI 3.0, and programs that were written for it, know no scopes of a bearer scheme: its list stays empty. */
function security({ access }: Pick<DescribedRoute, 'access'>) {
  return typeof access === 'string' ? {} : { security: [{ bearer: [] }], 'x-required-scope': access.scope };
}

function accessText(access: RouteAccess): string | undefined {
  if (typeof access === 'string') return undefined;
  const { scope, endUser } = access;
  const needs = `Needs the scope \`${scope}\`.`;
  if (endUser === undefined) return needs;
  if (endUser === 'row') return `${needs} An end user may use it and finds only what is for them.`;
  return `${needs} An end user may use it with their own id in \`${endUser.split('.')[1]}\`.`;
}

function requestBody({ method, body, describedBody = body, example }: DescribedRoute) {
  const media = { schema: describedBody as z.ZodType, ...(example !== undefined && { example }) };
  const content = Object.fromEntries([...bodyTypesOf(method.toUpperCase())].map((type) => [type, media]));
  return { required: true, content };
}

function successResponse(
  { description, schema, headers = {}, example = schema && exampleOf(schema) }: Route['success'],
  moreHeaders: object,
) {
  if (!schema) return { description, headers: { ...requestIdHeader, ...moreHeaders } };
  return {
    description,
    headers: { ...requestIdHeader, ...moreHeaders, ...headerObjects(headers) },
    content: { 'application/json': { schema, ...(example !== undefined && { example }) } },
  };
}

/** The first of the schema's own `examples`. */
function exampleOf(schema: z.ZodType | undefined): unknown {
  const { examples } = schema?.meta() ?? {};
  return Array.isArray(examples) ? examples[0] : undefined;
}

function headerObjects(headers: NonNullable<Route['success']['headers']>) {
  return Object.fromEntries(
    Object.entries(headers).map(([name, header]) => {
      const { description, values, example } =
        typeof header === 'string' ? { description: header } : { values: undefined, example: undefined, ...header };
      const schema = { type: 'string' as const, ...(values && { enum: [...values] }) };
      return [name, { description, schema, ...(example !== undefined && { example }) }];
    }),
  );
}
