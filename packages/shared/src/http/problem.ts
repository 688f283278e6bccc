// Error answers: RFC 9457 problem documents. The one map from the kind of a DomainError to an HTTP status.
import type { ServerResponse } from 'node:http';
import type { DomainError, ErrorKind } from '../errors.ts';

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

/** Titles by RFC 9110; the reason phrase of 422 and 413 differs between Node releases, so they stand here. */
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

/** The body of every error answer. */
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
  sendDocument(response, status, problem(status, error.message, requestId, { code: error.code, ...errors }));
}

export function sendDocument(response: ServerResponse, status: number, document: object): void {
  sendJson(response, status, document, { 'Content-Type': 'application/problem+json; charset=utf-8' });
}

export function sendJson(
  response: ServerResponse,
  status: number,
  document: unknown,
  headers: Readonly<Record<string, string>> = {},
): void {
  const body = JSON.stringify(document);
  response.writeHead(status, {
    'Content-Type': 'application/json; charset=utf-8',
    'Content-Length': Buffer.byteLength(body),
    ...headers,
  });
  response.end(body);
}
