// The promise: whatever is sent to a route, its answer has a status and a body that the OpenAPI document declares, and is
// never a 5xx. Requests are generated from the document: about half are valid, the others are invalid in forms that have
// broken similar services.
import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';
import { type Client, client, type Wire } from '@promopulse/testing/client';
import { fullScale } from '@promopulse/testing/scale';
import { Ajv2020 } from 'ajv/dist/2020.js';
import formatsPlugin from 'ajv-formats';
import fc from 'fast-check';
import { type RunningStack, startFreshStack } from './support/stack.ts';

/** Number of requests per operation. More of them, or another seed, test more cases. */
const runs = Number(process.env.OPENAPI_RUNS ?? (fullScale ? 1_000 : 150));
const seed = Number(process.env.OPENAPI_SEED ?? 20261122);

let stack: RunningStack;
let api: Client;
let document: Wire;
let ajv: Ajv2020;

beforeAll(async () => {
  stack = await startFreshStack('memory');
  api = client(stack.url);
  document = (await api.get('/openapi.json')).body;
  ajv = new Ajv2020({ strict: false, allErrors: true });
  formatsPlugin.default(ajv);
  ajv.addSchema(document, 'openapi');
  // Rows to find, so that not every answer is 404.
  await api.post('/users', { first_name: 'Ada', last_name: 'L', email: 'ada@example.com' });
  for (const status of ['active', 'ended', 'draft']) {
    const { body } = await api.post('/promotions', {
      name: 'P',
      start_at: '2026-06-01T00:00:00Z',
      end_at: '2026-07-01T00:00:00Z',
    });
    if (status !== 'draft') await api.post(`/promotions/${body.id}/status`, { status: 'active' });
    if (status === 'ended') await api.post(`/promotions/${body.id}/status`, { status: 'ended' });
  }
}, 60_000);
afterAll(() => stack?.close());

const operations = [
  ['post', '/users'],
  ['get', '/users'],
  ['get', '/users/{id}'],
  ['patch', '/users/{id}'],
  ['post', '/promotions'],
  ['get', '/promotions'],
  ['get', '/promotions/{id}'],
  ['patch', '/promotions/{id}'],
  ['post', '/promotions/{id}/status'],
  ['post', '/subscriptions'],
  ['get', '/subscriptions'],
  ['patch', '/subscriptions/{id}/deactivate'],
] as const;

test('the document has these operations and /health, and no others', () => {
  const found = Object.entries<Wire>(document.paths).flatMap(([path, item]) =>
    Object.keys(item).map((method) => `${method} ${path}`),
  );
  expect(found.sort()).toEqual([...operations.map(([method, path]) => `${method} ${path}`), 'get /health'].sort());
});

test('every operation has an id and a summary, and its example is valid by its schema', () => {
  for (const [method, path] of operations) {
    const operation = document.paths[path][method];
    expect(operation).toMatchObject({ operationId: expect.any(String), summary: expect.any(String) });
    const content = operation.requestBody?.content['application/json'];
    if (content)
      expect([path, ajv.validate(inDocument(content.schema), content.example), ajv.errors]).toEqual([path, true, null]);
  }
});

describe.each(operations)('%s %s', (method, path) => {
  test('answers anything with a declared status and shape, never a 5xx', async () => {
    const operation = document.paths[path][method];
    await fc.assert(
      fc.asyncProperty(requestFor(operation), async ({ params, query, body, contentType }) => {
        const filled = path.replaceAll(/\{(\w+)\}/g, (_whole, name: string) => encodeURIComponent(params[name] ?? '1'));
        const search = query
          .map(([name, value]) => `${encodeURIComponent(name)}=${encodeURIComponent(value)}`)
          .join('&');
        const answer = await api.request(method.toUpperCase(), `${filled}${search && `?${search}`}`, {
          ...(body !== undefined && { body, headers: { 'content-type': contentType } }),
        });
        expectDeclared(operation, answer);
      }),
      { numRuns: runs, seed, endOnFailure: true },
    );
    expect((Object.prototype as Wire).polluted).toBeUndefined(); // the services run in this process
  }, 600_000);
});

function expectDeclared(operation: Wire, answer: { status: number; headers: Headers; body: unknown }): void {
  expect(answer.status).toBeLessThan(500);
  const declared = operation.responses[answer.status];
  expect([answer.status, declared !== undefined]).toEqual([answer.status, true]);
  const type = String(answer.headers.get('content-type')).split(';')[0] as string;
  const content = declared.content[type];
  expect([type, content !== undefined]).toEqual([type, true]);
  expect([answer.body, ajv.validate(inDocument(content.schema), answer.body), ajv.errors]).toEqual([
    answer.body,
    true,
    null,
  ]);
  if (answer.status === 422) expect((answer.body as { detail: string }).detail).not.toBe('');
}

/** The schema with its references resolved in the document. */
function inDocument(schema: Wire): object {
  return JSON.parse(JSON.stringify(schema).replaceAll('"#/', '"openapi#/'));
}

function resolve(schema: Wire): Wire {
  return schema?.$ref ? document.components.schemas[schema.$ref.split('/').at(-1)] : schema;
}

/** Text that services often handle wrongly: NUL, lone surrogates, operators, numbers at limits, traversal, emails. */
const hostileText = fc.oneof(
  fc.string({ unit: 'grapheme', maxLength: 40 }),
  fc.string({ unit: 'binary', maxLength: 40 }),
  fc.constantFrom(
    '',
    ' ',
    '\0',
    'a\0b',
    '\ud800',
    '../..',
    '%00',
    '%2e%2e%2f',
    '__proto__',
    '{"__proto__":{"polluted":true}}',
    '{"constructor":{"prototype":{"polluted":true}}}',
    '{"$gt":0}',
    "'; drop table users; --",
    'x'.repeat(5_000),
    '-1',
    '0',
    '1',
    '2',
    '3',
    '2147483647',
    '2147483648',
    '99999999999',
    '1e20',
    'NaN',
    'null',
    'true',
    'ada@example.com',
    'ADA@EXAMPLE.COM',
    'a@localhost',
    'draft',
    'active',
    'ended',
    '2026-06-01T00:00:00Z',
    '2026-06-01T00:00:00',
    '+300000-01-01T00:00:00Z',
    '9999-12-31T23:59:59-14:00',
    '0000-01-01T00:00:00Z',
  ),
);
const hostileValue: fc.Arbitrary<unknown> = fc.oneof(
  hostileText,
  fc.jsonValue({ maxDepth: 4 }),
  fc.constantFrom(null, true, [], {}, { $gt: 0 }, 0, -1, 1, 2, 1.5, 2147483648, 1e20),
);

/** A value that is valid by the schema. */
function valueFor(schema: Wire): fc.Arbitrary<unknown> {
  const {
    type,
    enum: choices,
    format,
    minimum,
    maximum,
    properties,
    required = [],
    anyOf,
    maxLength,
  } = resolve(schema) ?? {};
  if (anyOf) return fc.oneof(...anyOf.map(valueFor));
  if (choices) return fc.constantFrom(...choices);
  const types = [type].flat();
  if (types.includes('null') && types.length > 1) {
    return fc.oneof(
      fc.constant(null),
      valueFor({ ...resolve(schema), type: types.filter((each) => each !== 'null')[0] }),
    );
  }
  if (types[0] === 'integer')
    return fc.oneof(fc.integer({ min: 1, max: 4 }), fc.integer({ min: minimum ?? 0, max: maximum ?? 4 }));
  if (types[0] === 'boolean') return fc.boolean();
  if (types[0] === 'null') return fc.constant(null);
  if (format === 'date-time') {
    return fc
      .date({ min: new Date('2000-01-01'), max: new Date('2100-01-01'), noInvalidDate: true })
      .map((date) => date.toISOString());
  }
  if (format === 'email') return fc.emailAddress();
  if (types[0] === 'object' && properties) {
    const members = Object.entries(properties).filter(([, member]) => (member as Wire).not === undefined);
    return fc.record(Object.fromEntries(members.map(([name, member]) => [name, valueFor(member)])), {
      requiredKeys: required,
    });
  }
  if (types[0] === 'object')
    return fc.dictionary(fc.string({ maxLength: 10 }), fc.jsonValue({ maxDepth: 2 }), { maxKeys: 4 });
  return fc.string({ unit: 'grapheme', minLength: 1, maxLength: Math.min(maxLength ?? 40, 40) });
}

/** A body that is valid by the schema, is valid except for one property, is any JSON, or is not JSON. */
function bodyFor(schema: Wire): fc.Arbitrary<string> {
  const valid = valueFor(schema) as fc.Arbitrary<Record<string, unknown>>;
  const names = [...Object.keys(resolve(schema).properties ?? {}), 'unknown', '__proto__', 'constructor'];
  const withInvalidProperty = fc.tuple(valid, fc.constantFrom(...names), hostileValue).map(([value, name, bad]) => {
    return JSON.stringify(Object.fromEntries([...Object.entries(value), [name, bad]]));
  });
  return fc.oneof(
    { weight: 4, arbitrary: valid.map((value) => JSON.stringify(value)) },
    { weight: 4, arbitrary: withInvalidProperty },
    { weight: 1, arbitrary: hostileValue.map((value) => JSON.stringify(value) ?? '') },
    {
      weight: 1,
      arbitrary: fc.oneof(
        hostileText,
        fc.constantFrom('{', '[[[', '{"a":1e400}', '{"a":"\\ud800"}', '[]', '""', '{"__proto__":{"polluted":1}}'),
      ),
    },
  );
}

interface GeneratedRequest {
  params: Record<string, string>;
  query: [string, string][];
  body: string | undefined;
  contentType: string;
}

function requestFor(operation: Wire): fc.Arbitrary<GeneratedRequest> {
  const parameters: Wire[] = operation.parameters ?? [];
  const wellFormed = (text: string): boolean => text.isWellFormed(); // a URL can only contain well-formed text
  const segment = hostileText.filter((text) => wellFormed(text) && !['', '.', '..'].includes(text));
  const inPath = parameters.filter((parameter) => parameter.in === 'path');
  const inQuery = parameters.filter((parameter) => parameter.in === 'query');
  const params = Object.fromEntries(
    inPath.map(({ name, schema }) => [
      name,
      fc.oneof({ weight: 3, arbitrary: valueFor(schema).map(String) }, { weight: 1, arbitrary: segment }),
    ]),
  );
  const oneParameter = fc.oneof(
    ...inQuery.map(({ name, schema }) =>
      fc.tuple(
        fc.constant(name as string),
        fc.oneof(
          { weight: 3, arbitrary: valueFor(schema).map(String) },
          { weight: 1, arbitrary: hostileText.filter(wellFormed) },
        ),
      ),
    ),
    fc.tuple(fc.constantFrom('page', 'user_id[$gt]', '__proto__'), fc.constant('1')),
  );
  const known = fc.record(Object.fromEntries(inQuery.map(({ name, schema }) => [name, valueFor(schema).map(String)])), {
    requiredKeys: [],
  });
  const query = fc.oneof(
    known.map((values) => Object.entries(values) as [string, string][]),
    fc.array(oneParameter, { maxLength: 3 }),
  );
  const schema = operation.requestBody?.content['application/json'].schema;
  return fc.record({
    params: fc.record(params) as fc.Arbitrary<Record<string, string>>,
    query: inQuery.length > 0 || !schema ? query : fc.constant([]),
    body: schema ? bodyFor(schema) : fc.constant(undefined),
    contentType: fc.oneof(
      { weight: 9, arbitrary: fc.constant('application/json') },
      {
        weight: 1,
        arbitrary: fc.constantFrom('text/plain', 'application/json; charset=utf-8', 'application/problem+json'),
      },
    ),
  });
}
