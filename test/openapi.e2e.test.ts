// The promise: whatever is sent to a route, its answer has a status and a body that the OpenAPI document declares, and is
// never a 5xx. Requests are generated from the document: about half are valid, the others are invalid in forms that have
// broken similar services.
import { readFileSync } from 'node:fs';
import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';
import { type Client, client, type Wire } from '@promopulse/testing/client';
import { fullScale } from '@promopulse/testing/scale';
import { Ajv2020 } from 'ajv/dist/2020.js';
import formatsPlugin from 'ajv-formats';
import fc from 'fast-check';
import { closeSchemas, operationsOf, resolveRef } from './support/openapi-document.ts';
import { type RunningStack, startFreshStack } from './support/stack.ts';

/** Number of requests per operation. More of them, or another seed, test more cases. */
const runs = Number(process.env.OPENAPI_RUNS ?? (fullScale ? 1_000 : 150));
const seed = Number(process.env.OPENAPI_SEED ?? 20261122);

let stack: RunningStack;
let api: Client;
let document: Wire;
let ajv: Ajv2020;

/** The file is compared with the served document below, so its operations are those of the stack. */
const file: Wire = JSON.parse(readFileSync(new URL('../docs/openapi.json', import.meta.url), 'utf8'));
const operations = operationsOf(file).map(({ method, path, operation }) => ({ method, path, operation }));

beforeAll(async () => {
  stack = await startFreshStack('memory');
  api = client(stack.url);
  document = (await api.get('/openapi.json')).body;
  ajv = new Ajv2020({ strict: false, allErrors: true });
  formatsPlugin.default(ajv);
  ajv.addFormat('idn-email', /^[^@]+@[^@]+$/u);
  ajv.addSchema(closeSchemas(document), 'openapi');
}, 60_000);
afterAll(() => stack?.close());

test('docs/openapi.json is the document that the gateway serves (npm run openapi writes it)', () => {
  expect(document).toEqual(file);
});

describe('the document', () => {
  test('says of every operation what it is, by an id of its own, a summary, a description and a known tag', () => {
    const tags = file.tags.map(({ name }: Wire) => name);
    for (const { operation } of operations) {
      expect(operation).toMatchObject({
        operationId: expect.any(String),
        summary: expect.any(String),
        description: expect.any(String),
        tags: [expect.any(String)],
      });
      expect(tags).toContain(operation.tags[0]);
    }
    const ids = operations.map(({ operation }) => operation.operationId);
    expect(new Set(ids).size).toBe(ids.length);
    for (const tag of file.tags) expect(tag.description).toEqual(expect.any(String));
  });

  test('describes every parameter, every header and every property, also those of lists and of named schemas', () => {
    const undescribed: string[] = [];
    visit(file, (path, node) => {
      const isNamed = typeof node.in === 'string' && 'schema' in node;
      if (isNamed && !node.description) undescribed.push(path);
      for (const [name, property] of Object.entries<Wire>(isSchema(node) ? (node.properties ?? {}) : {})) {
        if (!resolveRef(file, property).description) undescribed.push(`${path}/${name}`);
      }
      for (const [name, header] of Object.entries<Wire>(path.endsWith('/headers') ? node : {})) {
        if (!resolveRef(file, header).description) undescribed.push(`${path}/${name}`);
      }
    });
    expect(undescribed).toEqual([]);
  });

  test('shows the entity tag of every answer that is a user, a promotion or a subscription, and no list has one', () => {
    const tagged = operations.filter(({ path }) => /^\/(users|promotions|subscriptions)\b/.test(path));
    expect(tagged.length).toBeGreaterThan(10);
    for (const { method, path, operation } of tagged) {
      const statuses = Object.keys(operation.responses);
      const headers = statuses.flatMap((status) =>
        Number(status) < 300 ? Object.keys(operation.responses[status].headers) : [],
      );
      const isResource = method !== 'get' || path.endsWith('/{id}');
      expect([method, path, headers.includes('ETag')]).toEqual([method, path, isResource]);
      expect([method, path, headers.includes('Content-Location')]).toEqual([method, path, method !== 'get']);
      expect(statuses.includes('304')).toBe(isResource && method === 'get');
      const isChange = method !== 'get' && path.includes('{id}');
      const names = (operation.parameters ?? []).map((parameter: Wire) => resolveRef(file, parameter).name);
      expect([method, path, names.includes('If-Match')]).toEqual([method, path, isChange]);
      expect([method, path, statuses.includes('428')]).toEqual([method, path, isChange]);
    }
  });

  test('gives every integer a width and bounds, no pattern to integers and times, and forbids no named field', () => {
    const faults: string[] = [];
    visit(file, (path, node) => {
      if (!isSchema(node)) return;
      const isInteger = [node.type].flat().includes('integer');
      if (isInteger && !['int32', 'int64'].includes(node.format)) faults.push(`${path} has no width`);
      if (isInteger && !(node.minimum >= 0 && node.maximum <= Number.MAX_SAFE_INTEGER))
        faults.push(`${path} has no bounds`);
      if ('pattern' in node && (isInteger || node.format === 'date-time')) faults.push(`${path} has a pattern`);
      if ('not' in node) faults.push(`${path} is never valid`);
    });
    expect(faults).toEqual([]);
  });

  test('names every body of a request, and every list and item of a response', () => {
    for (const { operation } of operations) {
      const media = [operation.requestBody, ...Object.values<Wire>(operation.responses)].flatMap((each) =>
        Object.values<Wire>(each?.content ?? {}),
      );
      for (const { schema } of media)
        expect(schema).toEqual({ $ref: expect.stringContaining('#/components/schemas/') });
    }
  });

  test('declares 400, 429, 500 and 503 everywhere, and X-Request-Id in every response', () => {
    for (const { operation } of operations) {
      expect(Object.keys(operation.responses)).toEqual(expect.arrayContaining(['400', '429', '500', '503']));
      for (const [status, response] of Object.entries<Wire>(operation.responses)) {
        expect(Object.keys(response.headers)).toContain('X-Request-Id');
        if (['429', '503'].includes(status)) expect(Object.keys(response.headers)).toContain('Retry-After');
      }
    }
  });

  test('declares the errors of no operation as the default, the headers of a 415, and the types that Accept-Patch offers', () => {
    for (const { method, operation } of operations) {
      const { default: other, 415: unsupported } = operation.responses;
      const statuses = Object.values<Wire>(other.content['application/problem+json'].examples).map(
        ({ value }) => value.status,
      );
      expect(statuses).toEqual(expect.arrayContaining([404, 405, 408, 417, 421, 431]));
      expect(Object.keys(other.headers)).toContain('Allow');
      if (unsupported) {
        const names = ['Accept', 'Accept-Encoding', 'Accept-Patch', 'Accept-Post'];
        expect(Object.keys(unsupported.headers)).toEqual(expect.arrayContaining(names));
      }
      if (!operation.requestBody) continue;
      const types = ['application/json', ...(method === 'patch' ? ['application/merge-patch+json'] : [])];
      expect(Object.keys(operation.requestBody.content).sort()).toEqual(types);
    }
    expect(file.components.headers['Accept-Patch'].example).toBe('application/json, application/merge-patch+json');
  });

  test('has examples of every body and every response, valid by their schemas, and one for each code of an error', () => {
    for (const { method, path, operation } of operations) {
      const responses = Object.entries<Wire>(operation.responses);
      const bodies: [string, Wire][] = operation.requestBody ? [['body', operation.requestBody]] : [];
      for (const [part, { content = {} }] of [...bodies, ...responses]) {
        for (const { schema, example, examples } of Object.values<Wire>(content)) {
          const values = examples ? Object.values<Wire>(examples).map(({ value }) => value) : [example];
          const place = `${method} ${path} ${part}`;
          expect([place, values.length > 0 && values.every((value) => value !== undefined)]).toEqual([place, true]);
          for (const value of values) {
            expect([place, value, ajv.validate(inDocument(schema), value), ajv.errors]).toEqual([
              place,
              value,
              true,
              null,
            ]);
          }
          for (const [code, { value }] of Object.entries<Wire>(examples ?? {})) {
            // `default` is for every status that the operation does not declare.
            const status = part === 'default' ? expect.any(Number) : Number(part);
            expect(value).toMatchObject({ code, status, title: expect.any(String) });
          }
        }
      }
    }
  });
});

/** This installation asks nobody for a key. services/gateway/test/api-keys.test.ts sends the examples of these. */
const isOfKeys = (path: string): boolean => path.startsWith('/api-keys');

// The examples are the first requests of a new installation, so their ids are those of its first rows.
test('every example is true: sent in the order of the document, each is answered as the document shows', async () => {
  for (const { method, path, operation } of operations.filter((each) => !isOfKeys(each.path))) {
    const [status, response] = Object.entries<Wire>(operation.responses).find(([each]) => Number(each) < 300) as [
      string,
      Wire,
    ];
    const examplesIn = (place: string) =>
      operation.parameters.flatMap(({ in: where, name, example }: Wire) =>
        where === place && example !== undefined ? [[name, String(example)]] : [],
      );
    const inPath = new Map<string, string>(examplesIn('path'));
    const url = path.replaceAll(/\{(\w+)\}/g, (_whole, name: string) => inPath.get(name) ?? '');
    const query = new URLSearchParams(examplesIn('query')).toString();
    const body = operation.requestBody?.content['application/json'].example;
    const answer = await api.request(method.toUpperCase(), `${url}${query && `?${query}`}`, body && { body });
    const { example } = response.content['application/json'];
    // Services add members to their health, and the environment of this stack is another one.
    const shown =
      path === '/health'
        ? expect.objectContaining({ status: example.status, version: example.version })
        : withoutTimes(example);
    expect([method, path, answer.status, withoutTimes(answer.body)]).toEqual([method, path, Number(status), shown]);
    for (const [name, header] of Object.entries<Wire>(response.headers)) {
      const shownHeader = resolveRef(file, header).example;
      if (name !== 'X-Request-Id') expect([name, answer.headers.get(name)]).toEqual([name, shownHeader ?? null]);
    }
  }
});

/** The moments at which rows were written depend on the clock, and the ids of requests are random. */
function withoutTimes(value: Wire): Wire {
  const text = JSON.stringify(value, (key, member) =>
    /^((created|updated)_)?at$|^request_id$/.test(key) ? 'varies' : member,
  );
  return JSON.parse(text);
}

test('there are promotions in every status to find', async () => {
  for (const status of ['active', 'ended', 'draft']) {
    const { body } = await api.post('/promotions', {
      name: 'P',
      start_at: '2026-06-01T00:00:00Z',
      end_at: '2026-07-01T00:00:00Z',
    });
    if (status !== 'draft') await api.post(`/promotions/${body.id}/status`, { status: 'active' });
    if (status === 'ended') await api.post(`/promotions/${body.id}/status`, { status: 'ended' });
  }
  expect((await api.get('/promotions?status=draft')).body.total).toBe(1);
});

describe.each(operations.filter(({ path }) => path !== '/health'))('$method $path', ({ method, path, operation }) => {
  test('answers anything with a declared status, shape and code, never a 5xx', async () => {
    await fc.assert(
      fc.asyncProperty(requestFor(operation), async ({ params, query, body, contentType, ifMatch }) => {
        const filled = path.replaceAll(/\{(\w+)\}/g, (_whole, name: string) => encodeURIComponent(params[name] ?? '1'));
        const search = query
          .map(([name, value]) => `${encodeURIComponent(name)}=${encodeURIComponent(value)}`)
          .join('&');
        const answer = await api.request(method.toUpperCase(), `${filled}${search && `?${search}`}`, {
          ...(body !== undefined && { body }),
          headers: {
            ...(body !== undefined && { 'content-type': contentType }),
            ...(ifMatch !== undefined && { 'if-match': ifMatch }),
          },
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
  if (answer.status < 400) return;
  const { code, detail } = answer.body as { code: string; detail: string };
  expect(detail).not.toBe('');
  expect([answer.status, Object.keys(content.examples)]).toEqual([answer.status, expect.arrayContaining([code])]);
}

/** Calls `look` with every object of the document but its examples, and the path to it. */
function visit(node: Wire, look: (path: string, node: Wire) => void, path = ''): void {
  if (typeof node !== 'object' || node === null) return;
  if (!Array.isArray(node)) look(path, node);
  for (const [key, value] of Object.entries(node)) {
    if (!['example', 'examples', 'value'].includes(key)) visit(value, look, `${path}/${key}`);
  }
}

/** Not the map of properties, in which a name may be `type` too. */
function isSchema({ type }: Wire): boolean {
  return typeof type === 'string' || Array.isArray(type);
}

/** The schema with its references resolved in the document. */
function inDocument(schema: Wire): object {
  return JSON.parse(JSON.stringify(schema).replaceAll('"#/', '"openapi#/'));
}

function resolve(schema: Wire): Wire {
  return resolveRef(file, schema);
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
  if (format === 'idn-email') return fc.emailAddress();
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
  ifMatch: string | undefined;
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
    ifMatch: fc.oneof(
      { weight: 9, arbitrary: fc.constant(undefined) },
      { weight: 1, arbitrary: fc.constantFrom('*', '"1"', '"2", "3"', 'W/"1"', '"99999999999"', '"x"', '1', '"', '') },
    ),
    contentType: fc.oneof(
      { weight: 9, arbitrary: fc.constant('application/json') },
      {
        weight: 1,
        arbitrary: fc.constantFrom('text/plain', 'application/json; charset=utf-8', 'application/problem+json'),
      },
    ),
  });
}
