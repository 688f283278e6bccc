// The typed client: openapi-fetch with the types of docs/openapi.json, and requests that are repeated when the server asks
// for it.
import createFetchClient, { type Client, type ClientOptions } from 'openapi-fetch';
import type { components, paths } from './api.ts';
import { idempotencyKeyHeader, type RetryOptions, retryingFetch } from './retry.ts';

/** The forms of requests and responses by their names in the document, such as `Schemas['Promotion']`. */
export type Schemas = components['schemas'];

export type PromoPulse = Client<paths>;

export interface PromoPulseOptions extends Omit<ClientOptions, 'baseUrl' | 'fetch'> {
  /** `false` sends every request once, and adds no key to it. */
  retry?: RetryOptions | false;
}

const safeMethods: readonly string[] = ['GET', 'HEAD', 'OPTIONS'];

/**
 * A change is sent with an `Idempotency-Key`, so that it can be repeated whatever happens to its answer.
 * @param baseUrl of the gateway, such as `http://localhost:8000`
 * @returns a client whose methods never reject for a status: an answer is in `data` or in `error`, which is a problem document
 */
export function createPromoPulse(baseUrl: string, { retry = {}, ...options }: PromoPulseOptions = {}): PromoPulse {
  return createFetchClient<paths>({
    ...options,
    baseUrl,
    ...(retry && { fetch: withKeys(retryingFetch(retry)) }),
  });
}

/** Gives a change a key, unless the caller has. */
function withKeys(send: (request: Request) => Promise<Response>): typeof send {
  return async (request) => {
    const { method, headers } = request;
    if (!safeMethods.includes(method) && !headers.has(idempotencyKeyHeader)) {
      headers.set(idempotencyKeyHeader, randomKey());
    }
    return await send(request);
  };
}

/** 32 hexadecimal digits. A page without TLS has no `crypto.randomUUID`. */
function randomKey(): string {
  const bytes = crypto.getRandomValues(new Uint8Array(16));
  return Array.from(bytes, (byte) => byte.toString(16).padStart(2, '0')).join('');
}
