// What breaks clients of the HTTP API is found, and nothing else is.
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, test } from '@jest/globals';
import { listBreaks } from '../openapi-breaks.ts';

// biome-ignore lint/suspicious/noExplicitAny: a document may have any shape
type Json = any;

const root = join(import.meta.dirname, '../../..');
const document: Json = JSON.parse(readFileSync(join(root, 'docs/openapi.json'), 'utf8'));

/** The breaks of a copy that `change` has changed. */
function breaksOf(change: (copy: Json) => void): string[] {
  const copy = structuredClone(document);
  change(copy);
  return listBreaks(document, copy);
}

const user = (copy: Json) => copy.components.schemas.User;
const createUser = (copy: Json) => copy.components.schemas.CreateUser;
const promotionStatus = (copy: Json) => copy.components.schemas.PromotionStatus;
const limit = (copy: Json) => copy.components.parameters.Limit;

describe('a change that breaks clients is named', () => {
  test.each<[string, (copy: Json) => void, string]>([
    ['an operation is gone', (copy) => delete copy.paths['/users'].get, 'GET /users is gone'],
    ['a path is gone', (copy) => delete copy.paths['/users/{id}'], 'PATCH /users/{id} is gone'],
    [
      'a response is gone',
      (copy) => delete copy.paths['/users'].post.responses[201],
      'POST /users: the response 201 is gone',
    ],
    [
      'a header of a response is gone',
      (copy) => delete copy.paths['/users'].post.responses[201].headers.Location,
      'POST /users: the response 201 has no header Location any more',
    ],
    [
      'a field of a response is gone',
      (copy) => delete user(copy).properties.full_name,
      'User in responses: full_name is gone',
    ],
    [
      'a field of a response may be absent',
      (copy) => user(copy).required.pop(),
      'User in responses: email may be absent now',
    ],
    [
      'a field of a response may be null',
      (copy) => (user(copy).properties.email.type = ['string', 'null']),
      'User in responses: email: null may come now',
    ],
    [
      'a field of a response has another type',
      (copy) => (user(copy).properties.id = { type: 'string' }),
      'User in responses: id: string may come now',
    ],
    [
      'a number of a response may be larger',
      (copy) => (user(copy).properties.id.maximum *= 2),
      'User in responses: id: maximum has become wider',
    ],
    [
      'a value may come that never came',
      (copy) => promotionStatus(copy).enum.push('paused'),
      'PromotionStatus in responses: the value paused may come now',
    ],
    [
      'a value is not accepted any more',
      (copy) => promotionStatus(copy).enum.pop(),
      'PromotionStatus in requests: the value ended is not accepted any more',
    ],
    [
      'a field of a request is required',
      (copy) => createUser(copy).required.push('phone'),
      'CreateUser in requests: phone has become required',
    ],
    [
      'a field of a request is gone',
      (copy) => delete createUser(copy).properties.phone,
      'CreateUser in requests: phone is gone',
    ],
    [
      'a field of a request must not be null',
      (copy) => (createUser(copy).properties.phone.type = 'string'),
      'CreateUser in requests: phone: null is not accepted any more',
    ],
    [
      'a text of a request must be shorter',
      (copy) => (createUser(copy).properties.first_name.maxLength = 100),
      'CreateUser in requests: first_name: maxLength has become narrower',
    ],
    [
      'a text of a request has a pattern',
      (copy) => (createUser(copy).properties.first_name.pattern = '^A'),
      'CreateUser in requests: first_name: pattern was absent and is ^A',
    ],
    [
      'a parameter is gone',
      (copy) => copy.paths['/promotions'].get.parameters.pop(),
      'GET /promotions: the parameter query cursor is gone',
    ],
    [
      'a parameter is required',
      (copy) => (limit(copy).required = true),
      'GET /promotions: the parameter query limit has become required',
    ],
    [
      'a new parameter is required',
      (copy) => copy.paths['/users/{id}'].get.parameters.push({ in: 'query', name: 'x', required: true, schema: {} }),
      'GET /users/{id}: the new parameter query x is required',
    ],
    [
      'a parameter has a lower maximum',
      (copy) => (limit(copy).schema.maximum = 500),
      'GET /promotions: the parameter query limit: maximum has become narrower',
    ],
    [
      'an operation without a body requires one',
      (copy) => (copy.paths['/users/{id}'].get.requestBody = { required: true, content: {} }),
      'GET /users/{id}: a body has become required',
    ],
    [
      'an item of a list loses a field',
      (copy) => delete copy.components.schemas.Subscription.properties.metadata,
      'Subscription in responses: metadata is gone',
    ],
  ])('%s', (_title, change, expected) => {
    expect(breaksOf(change)).toContain(expected);
  });
});

describe('a change that breaks nobody is not named', () => {
  test.each<[string, (copy: Json) => void]>([
    ['none', () => undefined],
    ['a new operation', (copy) => (copy.paths['/new'] = { get: { responses: {} } })],
    ['a new field of a response', (copy) => (user(copy).properties.nick = { type: 'string' })],
    ['a new optional field of a request', (copy) => (createUser(copy).properties.nick = { type: 'string' })],
    ['a request may be larger', (copy) => (createUser(copy).properties.first_name.maxLength = 999)],
    ['a response has narrower bounds', (copy) => (user(copy).properties.full_name.maxLength = 99)],
    ['a new code of problems', (copy) => copy.components.schemas.Problem.properties.code.enum.push('new_code')],
    ['other descriptions and examples', (copy) => Object.assign(user(copy), { description: 'Another.', examples: [] })],
    ['a new error response', (copy) => (copy.paths['/users'].get.responses[418] = { description: 'Tea' })],
  ])('%s', (_title, change) => {
    expect(breaksOf(change)).toEqual([]);
  });
});
