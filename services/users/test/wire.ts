// Test frame: the requests of users in one word each.
import { setTimeout as sleep } from 'node:timers/promises';
import { type Answer, type Client, testKeys } from '@promopulse/shared/testing';

export const keys = {
  PII_ENCRYPTION_KEYS: `${testKeys[0]},${testKeys[1]}`,
  PII_INDEX_KEY: testKeys[2],
};

interface User {
  id: number;
  full_name: string;
  email: string;
  phone?: string;
}

export const ada = { first_name: 'Ada', last_name: 'Lovelace', email: 'Ada@Example.com' };

let made = 0;

/** Of an email that no other test has. @throws Error when the answer is not 201 */
export async function createUser(api: Client, fields: object = {}): Promise<User> {
  made += 1;
  const answer = await api.post<User>('/users', { ...ada, email: `Ada.${made}@example.com`, ...fields });
  if (answer.status !== 201) throw new Error(`${answer.status} ${JSON.stringify(answer.body)}`);
  return answer.body;
}

/** Sends again what was answered with 503, as its Retry-After asks to: a busy machine may have no connection to spare. */
export async function patiently<Body>(send: () => Promise<Answer<Body>>): Promise<Answer<Body>> {
  const answer = await send();
  if (answer.status !== 503) return answer;
  await sleep(Number(answer.headers.get('retry-after')) * 1_000);
  return patiently(send);
}

/** The whole answer of an error, but for its request id. */
export function problem(status: number, title: string, code: string, detail: string, errors?: object[]) {
  return { type: 'about:blank', title, status, detail, code, ...(errors && { errors }) };
}

export const notFound = problem(404, 'Not Found', 'not_found', 'User not found');
export const taken = problem(409, 'Conflict', 'email_taken', 'User with this email already exists');

/** What a 422 says that is about these fields. */
export function invalid(...broken: (readonly [field: string, rule: string])[]) {
  const detail = broken.map(([field, rule]) => `${field} ${rule}`).join('; ');
  const errors = broken.map(([field, rule]) => ({ field, rule }));
  return problem(422, 'Unprocessable Content', 'validation_failed', detail, errors);
}

/** A problem's body without its request id, once that has been found to be the one of the header. */
export function bodyOf({ body, headers }: Answer<Record<string, unknown>>): object {
  const { request_id, ...rest } = body;
  if (request_id !== headers.get('x-request-id')) throw new Error('the body names another request than the header');
  if (headers.get('content-type') !== 'application/problem+json; charset=utf-8') throw new Error('not a problem');
  return rest;
}
