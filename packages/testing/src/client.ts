// A small HTTP client, and the error responses that tests expect.

export interface ClientResponse<Body> {
  status: number;
  headers: Headers;
  /** Parsed if its type is JSON; otherwise text, as after HEAD. */
  body: Body;
}

export interface RequestOptions {
  /** Sent as JSON. A string is sent unchanged. */
  body?: unknown;
  headers?: Record<string, string>;
}

// biome-ignore lint/suspicious/noExplicitAny: the shape of a response is what a test checks
export type Wire = any;

export interface Client {
  get<Body = Wire>(path: string, headers?: Record<string, string>): Promise<ClientResponse<Body>>;
  post<Body = Wire>(path: string, body?: unknown, headers?: Record<string, string>): Promise<ClientResponse<Body>>;
  patch<Body = Wire>(path: string, body?: unknown, headers?: Record<string, string>): Promise<ClientResponse<Body>>;
  request<Body = Wire>(method: string, path: string, options?: RequestOptions): Promise<ClientResponse<Body>>;
}

/**
 * Creates a client that does not follow redirects: a test checks them like any response.
 * @param common headers of every request
 */
export function client(baseUrl: string, common: Readonly<Record<string, string>> = {}): Client {
  const request: Client['request'] = async (method, path, { body, headers = {} } = {}) => {
    const response = await fetch(new URL(path, baseUrl), {
      method,
      redirect: 'manual',
      headers: { ...(body !== undefined && { 'content-type': 'application/json' }), ...common, ...headers },
      ...(body !== undefined && { body: typeof body === 'string' ? body : JSON.stringify(body) }),
    });
    const text = await response.text();
    const isJson = /[/+]json\b/.test(response.headers.get('content-type') ?? '');
    return {
      status: response.status,
      headers: response.headers,
      body: isJson && method !== 'HEAD' ? JSON.parse(text) : text,
    };
  };
  return {
    request,
    get: (path, headers = {}) => request('GET', path, { headers }),
    post: (path, body, headers = {}) => request('POST', path, { body, headers }),
    patch: (path, body, headers = {}) => request('PATCH', path, { body, headers }),
  };
}

/** The titles of RFC 9110, listed here so that the tests do not read them from the code under test. */
const titles: Record<number, string> = {
  400: 'Bad Request',
  401: 'Unauthorized',
  403: 'Forbidden',
  404: 'Not Found',
  405: 'Method Not Allowed',
  409: 'Conflict',
  422: 'Unprocessable Content',
  500: 'Internal Server Error',
  503: 'Service Unavailable',
};

/** The body of an error response without its `request_id`. */
export function problem(status: number, code: string, detail: string, errors?: object[]) {
  return { type: 'about:blank', title: titles[status], status, detail, code, ...(errors && { errors }) };
}

/** The body of a 422 response that lists these broken rules. */
export function invalid(...brokenRules: (readonly [field: string, rule: string])[]) {
  const detail = brokenRules.map(([field, rule]) => `${field} ${rule}`).join('; ');
  const errors = brokenRules.map(([field, rule]) => ({ field, rule }));
  return problem(422, 'validation_failed', detail, errors);
}

/**
 * @returns the body of a problem without its `request_id` @throws if that differs from the header's, or it is no
 * problem
 */
export function bodyOf({ body, headers }: ClientResponse<Record<string, unknown>>): object {
  const { request_id, ...rest } = body;
  if (request_id !== headers.get('x-request-id')) throw new Error('the request_id of the body differs from the header');
  if (headers.get('content-type') !== 'application/problem+json; charset=utf-8')
    throw new Error('the response is not a problem document');
  return rest;
}
