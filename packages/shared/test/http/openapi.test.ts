// What the OpenAPI document makes of zod's schemas, and its examples of errors. test/openapi.e2e.test.ts has the whole.
import { describe, expect, test } from '@jest/globals';
import { z } from 'zod';
import { conflict } from '../../src/errors.ts';
import { type DescribedRoute, describeApi } from '../../src/http/openapi/document.ts';
import { describedVersion } from '../../src/http/preconditions.ts';
import { bodyId, count, moment, presentedTime, textId } from '../../src/http/schemas.ts';

// biome-ignore lint/suspicious/noExplicitAny: the shape of the document is what is checked
type Json = any;

const thing = z.object({ id: bodyId, at: presentedTime }).meta({ id: 'Thing', examples: [{ id: 1, at: 'now' }] });

const update: DescribedRoute = {
  method: 'patch',
  path: '/things/{id}',
  access: { scope: 'promotions:write' },
  operationId: 'updateThing',
  summary: 'Update a thing',
  params: z.strictObject({ id: textId.meta({ description: 'Which thing.', param: { example: 7 } }) }),
  query: z.strictObject({
    deep: z
      .stringbool()
      .optional()
      .meta({ override: { type: 'boolean' } }),
  }),
  body: z.strictObject({
    at: moment,
    note: z.string().regex(/x/).nullable(),
    owner: bodyId.nullable(),
    size: z.int().positive().max(10),
    forbidden: z.never().optional(),
  }),
  success: { status: 200, description: 'The thing', schema: thing },
  errors: { 404: 'there is no such thing', 409: 'it is taken', 415: 'the body is not JSON', 422: 'a rule is broken' },
  problems: [conflict('thing_taken', 'This thing is taken')],
};

function describeRoute(changes: Partial<DescribedRoute> = {}): Json {
  const document = describeApi([{ ...update, ...changes }], { title: 'Things', version: '1.0.0', description: 'All.' });
  return JSON.parse(JSON.stringify(document));
}

const operationOf = (document: Json) => document.paths['/things/{id}'].patch;
const propertiesOf = (document: Json) => {
  return operationOf(document).requestBody.content['application/json'].schema.properties;
};
const examplesOf = (status: number, document: Json = describeRoute()) => {
  return operationOf(document).responses[status].content['application/problem+json'].examples;
};

describe('schemas', () => {
  const properties = propertiesOf(describeRoute());

  test('an integer has a width and inclusive bounds, and no pattern', () => {
    expect(properties.size).toEqual({ type: 'integer', format: 'int32', minimum: 1, maximum: 10 });
    const [{ schema }] = operationOf(describeRoute()).parameters;
    expect(schema).toEqual({ type: 'integer', format: 'int64', minimum: 1, maximum: Number.MAX_SAFE_INTEGER });
    const total = describeRoute({ body: z.strictObject({ total: count }) });
    expect(propertiesOf(total).total).toMatchObject({ format: 'int64', minimum: 0 });
  });

  test('a time has its format and no pattern', () => {
    expect(properties.at).toEqual({ type: 'string', format: 'date-time' });
  });

  test('what may be null has two types, and keeps its bounds', () => {
    expect(properties.note).toEqual({ type: ['string', 'null'], pattern: 'x' });
    expect(properties.owner).toEqual({
      type: ['integer', 'null'],
      format: 'int64',
      minimum: 1,
      maximum: Number.MAX_SAFE_INTEGER,
    });
    const status = z.enum(['on', 'off']).nullable();
    expect(propertiesOf(describeRoute({ body: z.strictObject({ status }) })).status).toEqual({
      type: ['string', 'null'],
      enum: ['on', 'off', null],
    });
  });

  test('a field that is never accepted is not shown', () => {
    expect(properties).not.toHaveProperty('forbidden');
  });

  test('a request refuses unknown fields, and a response may get more in a later release', () => {
    const { requestBody } = operationOf(describeRoute());
    expect(requestBody.content['application/json'].schema.additionalProperties).toBe(false);
    expect(describeRoute().components.schemas.Thing).not.toHaveProperty('additionalProperties');
  });

  test('a parameter has its description and example beside its schema', () => {
    const [id] = operationOf(describeRoute()).parameters;
    expect(id).toMatchObject({ name: 'id', description: 'Which thing.', example: 7 });
    expect(id.schema).not.toHaveProperty('description');
  });
});

describe('examples', () => {
  test("a response has the schema's own example, or that of the route", () => {
    const shown = (document: Json) => operationOf(document).responses[200].content['application/json'].example;
    expect(shown(describeRoute())).toEqual({ id: 1, at: 'now' });
    const success = { ...update.success, example: { id: 2, at: 'then' } };
    expect(shown(describeRoute({ success }))).toEqual({ id: 2, at: 'then' });
  });

  test('malformed input is answered as validation answers it', () => {
    expect(examplesOf(422)).toMatchObject({
      validation_failed: {
        value: { status: 422, errors: expect.arrayContaining([{ field: 'size', rule: expect.any(String) }]) },
      },
      malformed_json: { value: { code: 'malformed_json', title: 'Unprocessable Content' } },
    });
    expect(Object.keys(examplesOf(415))).toEqual(['unsupported_media_type', 'unsupported_encoding']);
    const { body: _body, ...withoutBody } = update;
    const document = describeRoute({ ...withoutBody, body: undefined as never });
    expect(examplesOf(422, document)).toMatchObject({
      validation_failed: { value: { errors: [{ field: 'id', rule: expect.stringContaining('must be an integer') }] } },
    });
  });

  test('every error that the route names is an example of its status', () => {
    expect(examplesOf(409)).toEqual({
      thing_taken: {
        value: expect.objectContaining({ status: 409, title: 'Conflict', detail: 'This thing is taken' }),
      },
      idempotency_in_progress: { value: expect.objectContaining({ status: 409 }) }, // of every change
    });
  });

  test('a 404 that the route does not name has the usual words', () => {
    expect(examplesOf(404)).toMatchObject({ not_found: { value: { detail: 'Thing not found' } } });
  });
});

describe('entity tags', () => {
  const headersOf = (operation: Json) =>
    (operation.parameters ?? []).flatMap(({ in: place, name, required, example }: Json) =>
      place === 'header' ? [{ name, required: required ?? false, example }] : [],
    );
  const optional = (name: string) => ({ name, required: false, example: undefined });
  const tagged = { ...update.success, headers: describedVersion(2, '/things/7') };

  test('a change of a resource has both conditions, without an example that a page would send, and 428', () => {
    const document = describeRoute({ success: tagged, currentVersion: async () => 1 });
    expect(headersOf(operationOf(document))).toEqual([
      optional('If-Match'),
      optional('If-None-Match'),
      optional('Idempotency-Key'),
    ]);
    expect(Object.keys(examplesOf(428, document))).toEqual(['precondition_required']);
    expect(operationOf(document).responses[200].headers).toMatchObject({
      ETag: { schema: { type: 'string' }, example: '"2"' },
      'Content-Location': { example: '/things/7' },
    });
    expect(operationOf(document).responses).not.toHaveProperty('304');
  });

  test('a read of a resource has If-None-Match, and a 304 with the same headers and without a body', () => {
    const { body: _body, ...withoutBody } = update;
    const success = { ...update.success, headers: describedVersion(2) };
    const document = describeRoute({ ...withoutBody, body: undefined as never, method: 'get', success });
    const { get } = document.paths['/things/{id}'];
    expect(headersOf(get)).toEqual([optional('If-None-Match')]);
    expect(get.responses[304].headers.ETag).toEqual(get.responses[200].headers.ETag);
    expect(get.responses[304]).not.toHaveProperty('content');
    expect(get.responses).not.toHaveProperty('428');
  });

  test('any other operation has neither', () => {
    const operation = operationOf(describeRoute());
    expect(headersOf(operation)).toEqual([optional('Idempotency-Key')]);
    for (const status of ['304', '428']) expect(operation.responses).not.toHaveProperty(status);
  });
});

test('the tag of the operations is described', () => {
  expect(describeRoute().tags).toEqual([{ name: 'Things', description: 'All.' }]);
});

describe('who may use an operation', () => {
  test('stands in its security, its description and its responses', () => {
    const document = describeRoute();
    expect(document.components.securitySchemes).toMatchObject({ bearer: { type: 'http', scheme: 'bearer' } });
    const operation = operationOf(document);
    expect(operation).toMatchObject({
      description: 'Needs the scope `promotions:write`.',
      security: [{ bearer: [] }],
      'x-required-scope': 'promotions:write',
    });
    for (const [status, code] of [
      [401, 'unauthenticated'],
      [403, 'insufficient_scope'],
    ] as const) {
      expect(examplesOf(status, document)).toMatchObject({ [code]: { value: { status, code } } });
      expect(operation.responses[status].headers).toMatchObject({
        'WWW-Authenticate': { $ref: '#/components/headers/WWW-Authenticate' },
      });
    }
  });

  test.each([
    ['body.at', 'Needs the scope `users:write`. An end user may use it with their own id in `at`.'],
    ['row', 'Needs the scope `users:write`. An end user may use it and finds only what is for them.'],
  ])('says what an end user may do: %s', (endUser, text) => {
    const { description } = operationOf(describeRoute({ access: { scope: 'users:write', endUser } }));
    expect(description).toBe(text);
  });

  test('is not said of what anyone may use', () => {
    const document = describeRoute({ access: 'anyone' });
    const operation = operationOf(document);
    expect(document.components).not.toHaveProperty('securitySchemes');
    for (const member of ['description', 'security', 'x-required-scope']) expect(operation).not.toHaveProperty(member);
    expect(Object.keys(operation.responses)).toEqual(['200', '404', '409', '415', '422']);
  });
});
