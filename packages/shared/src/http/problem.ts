// Error responses: RFC 9457 problem documents, and the one map from the kind of a DomainError to an HTTP status.
import type { ServerResponse } from 'node:http';
import type { DomainError, ErrorKind } from '../errors.ts';
import type { ResponseBudget } from './response-budget.ts';

const statusByKind: Record<ErrorKind, number> = {
  bad_request: 400,
  not_found: 404,
  method_not_allowed: 405,
  conflict: 409,
  too_large: 413,
  unsupported_media_type: 415,
  invalid: 422,
  unavailable: 503,
  timeout: 504,
};

/**
 * The reason phrases of RFC 9110. They are listed here because Node's phrases of 413 and 422 differ between releases.
 */
export const problemTitles: Record<number, string> = {
  400: 'Bad Request',
  404: 'Not Found',
  405: 'Method Not Allowed',
  408: 'Request Timeout',
  409: 'Conflict',
  413: 'Content Too Large',
  415: 'Unsupported Media Type',
  422: 'Unprocessable Content',
  431: 'Request Header Fields Too Large',
  500: 'Internal Server Error',
  502: 'Bad Gateway',
  503: 'Service Unavailable',
  504: 'Gateway Timeout',
};

/** The body of an error response. `extras` are more members, such as `code` and `errors`. */
export function problem(status: number, detail: string, requestId: string, extras: object = {}): object {
  return {
    type: 'about:blank',
    title: problemTitles[status] ?? 'Error',
    status,
    detail,
    ...extras,
    request_id: requestId,
  };
}

export function sendProblem(response: ServerResponse, error: DomainError, requestId: string): void {
  const status = statusByKind[error.kind];
  if (error.retryAfter !== undefined) response.setHeader('Retry-After', String(error.retryAfter));
  for (const [name, value] of Object.entries(error.headers)) response.setHeader(name, value);
  const errors = error.errors?.length ? { errors: error.errors } : {};
  sendProblemDocument(response, status, problem(status, error.message, requestId, { code: error.code, ...errors }));
}

/** The response to an error that no code foresaw. It reveals nothing about the error. */
export function sendInternalError(response: ServerResponse, requestId: string): void {
  const detail = 'The server failed. Report the request_id.';
  sendProblemDocument(response, 500, problem(500, detail, requestId, { code: 'internal_error' }));
}

function sendProblemDocument(response: ServerResponse, status: number, document: object): void {
  sendJson(response, status, document, { headers: { 'Content-Type': 'application/problem+json; charset=utf-8' } });
}

/** Node writes a string together with the head, which is faster for a small body. */
const maxTextBytes = 65_536;

/** @throws overloaded when the budget has no room for the response */
export function sendJson(
  response: ServerResponse,
  status: number,
  document: unknown,
  {
    headers = {},
    budget,
  }: { headers?: Readonly<Record<string, string>> | undefined; budget?: ResponseBudget | undefined } = {},
): void {
  const body = JSON.stringify(document);
  const bytes = Buffer.byteLength(body);
  budget?.add(response, bytes);
  response.writeHead(status, {
    'Content-Type': 'application/json; charset=utf-8',
    'Content-Length': bytes,
    ...headers,
  });
  // As a buffer, a large body occupies a third of the memory while its client reads slowly.
  response.end(bytes > maxTextBytes ? Buffer.from(body) : body);
}
