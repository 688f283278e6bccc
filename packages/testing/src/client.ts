// A small HTTP client, and what an error answer should be.

export interface ClientResponse<Body> {
  status: number;
  headers: Headers;
  /** Parsed if it is JSON, else text. */
  body: Body;
}

export interface RequestOptions {
  /** Sent as JSON; a string is sent as it is. */
  body?: unknown;
  headers?: Record<string, string>;
}

// biome-ignore lint/suspicious/noExplicitAny: a test reads the wire, whose shape is what it checks
export type Wire = any;

export interface Client {
  get<Body = Wire>(path: string, headers?: Record<string, string>): Promise<ClientResponse<Body>>;
  post<Body = Wire>(path: string, body?: unknown, headers?: Record<string, string>): Promise<ClientResponse<Body>>;
  patch<Body = Wire>(path: string, body?: unknown, headers?: Record<string, string>): Promise<ClientResponse<Body>>;
  request<Body = Wire>(method: string, path: string, options?: RequestOptions): Promise<ClientResponse<Body>>;
}

/** Redirects are answers too and not followed. */
export function client(baseUrl: string): Client {
  const request: Client['request'] = async (method, path, { body, headers = {} } = {}) => {
    const response = await fetch(new URL(path, baseUrl), {
      method,
      redirect: 'manual',
      headers: { ...(body !== undefined && { 'content-type': 'application/json' }), ...headers },
      ...(body !== undefined && { body: typeof body === 'string' ? body : JSON.stringify(body) }),
    });
    const text = await response.text();
    const isJson = /[/+]json\b/.test(response.headers.get('content-type') ?? '');
    return { status: response.status, headers: response.headers, body: isJson ? JSON.parse(text) : text };
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
  404: 'Not Found',
  405: 'Method Not Allowed',
  409: 'Conflict',
  422: 'Unprocessable Content',
  500: 'Internal Server Error',
};

/** The body of an error response without its `request_id`. */
export function problem(status: number, code: string, detail: string, errors?: object[]) {
  return { type: 'about:blank', title: titles[status], status, detail, code, ...(errors && { errors }) };
}

/** The body of a 422 response that lists these broken rules. */
export function invalid(...broken: (readonly [field: string, rule: string])[]) {
  const detail = broken.map(([field, rule]) => `${field} ${rule}`).join('; ');
  const errors = broken.map(([field, rule]) => ({ field, rule }));
  return problem(422, 'validation_failed', detail, errors);
}

/** A problem's body without its request id, once that has been found to be the one of the header. */
export function bodyOf({ body, headers }: ClientResponse<Record<string, unknown>>): object {
  const { request_id, ...rest } = body;
  if (request_id !== headers.get('x-request-id')) throw new Error('the body names another request than the header');
  if (headers.get('content-type') !== 'application/problem+json; charset=utf-8') throw new Error('not a problem');
  return rest;
}
