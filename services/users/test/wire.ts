// Test frame: the requests of users in one word each.
import { setTimeout as sleep } from 'node:timers/promises';
import { type Client, type ClientResponse, problem } from '@promopulse/testing/client';
import { testKeys } from '@promopulse/testing/service';

export const keys = {
  PII_ENCRYPTION_KEYS: `${testKeys[0]},${testKeys[1]}`,
  PII_INDEX_KEY: testKeys[2],
};

interface User {
  id: number;
  full_name: string;
  first_name: string;
  last_name: string;
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

/** Repeats a request that is answered with 503, after its Retry-After: a busy machine may have no free connection. */
export async function retryOn503<Body>(send: () => Promise<ClientResponse<Body>>): Promise<ClientResponse<Body>> {
  const answer = await send();
  if (answer.status !== 503) return answer;
  await sleep(Number(answer.headers.get('retry-after')) * 1_000);
  return retryOn503(send);
}

export const notFound = problem(404, 'not_found', 'User not found');
export const taken = problem(409, 'email_taken', 'User with this email already exists');
