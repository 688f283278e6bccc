// Error responses: RFC 9457 problem documents, and the one map from the kind of a DomainError to an HTTP status.
import type { ServerResponse } from 'node:http';
import type { DomainError, ErrorKind } from '../errors.ts';
import { stringifyJson } from '../values/json-text.ts';
import type { ResponseBudget } from './response-budget.ts';

const statusByKind: Record<ErrorKind, number> = {
  bad_request: 400,
  unauthenticated: 401,
  forbidden: 403,
  not_found: 404,
  method_not_allowed: 405,
  conflict: 409,
  precondition_failed: 412,
  too_large: 413,
  unsupported_media_type: 415,
  expectation_failed: 417,
  misdirected: 421,
  invalid: 422,
  precondition_required: 428,
  rate_limited: 429,
  unavailable: 503,
  timeout: 504,
};

/** The reason phrases of RFC 9110. Node's phrases of 413 and 422 are older, and differ between its releases. */
export const problemTitles: Record<number, string> = {
  400: 'Bad Request',
  401: 'Unauthorized',
  403: 'Forbidden',
  404: 'Not Found',
  405: 'Method Not Allowed',
  408: 'Request Timeout',
  409: 'Conflict',
  412: 'Precondition Failed',
  413: 'Content Too Large',
  415: 'Unsupported Media Type',
  417: 'Expectation Failed',
  421: 'Misdirected Request',
  422: 'Unprocessable Content',
  428: 'Precondition Required',
  429: 'Too Many Requests',
  431: 'Request Header Fields Too Large',
  500: 'Internal Server Error',
  502: 'Bad Gateway',
  503: 'Service Unavailable',
  504: 'Gateway Timeout',
};

/** URI of a problem type that a specification defines → its title. */
const titlesByType: Readonly<Record<string, string>> = {
  'https://iana.org/assignments/http-problem-types#quota-exceeded': 'Quota Exceeded',
};

/** The body of an error response (RFC 9457). It may have more members than these. */
export interface Problem {
  type: string;
  title: string;
  status: number;
  detail: string;
  code: string;
  request_id: string;
}

interface ProblemExtras {
  code: string;
  /** The URI of a problem type that a specification defines. */
  type?: string | undefined;
}

/** @param extras more members, such as `errors` */
export function problem(status: number, detail: string, requestId: string, extras: ProblemExtras): Problem {
  const { type = 'about:blank', ...members } = extras;
  return {
    type,
    title: titlesByType[type] ?? problemTitles[status] ?? 'Error',
    status,
    detail,
    ...members,
    request_id: requestId,
  };
}

export function statusOf({ kind }: DomainError): number {
  return statusByKind[kind];
}

/** The body of the response to an error. */
export function problemOf(error: DomainError, requestId: string): Problem {
  const errors = error.errors?.length ? { errors: error.errors } : {};
  const { code, type, members } = error;
  return problem(statusOf(error), error.message, requestId, { code, type, ...members, ...errors });
}

export function sendProblem(response: ServerResponse, error: DomainError, requestId: string): void {
  if (error.retryAfter !== undefined) response.setHeader('Retry-After', String(error.retryAfter));
  for (const [name, value] of Object.entries(error.headers)) response.setHeader(name, value);
  sendProblemDocument(response, statusOf(error), problemOf(error, requestId));
}

/** The response to an error that no code foresaw. It reveals nothing about the error. */
export function sendInternalError(response: ServerResponse, requestId: string): void {
  sendProblemDocument(response, 500, internalProblemOf(requestId));
}

export function internalProblemOf(requestId: string): Problem {
  return problem(500, 'The server failed. Report the request_id.', requestId, { code: 'internal_error' });
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
  const body = stringifyJson(document);
  const bytes = Buffer.byteLength(body);
  budget?.add(response, bytes);
  const reason = problemTitles[status];
  if (reason) response.statusMessage = reason;
  response.writeHead(status, {
    'Content-Type': 'application/json; charset=utf-8',
    'Content-Length': bytes,
    ...headers,
  });
  // As a buffer, a large body occupies a third of the memory while its client reads slowly.
  response.end(bytes > maxTextBytes ? Buffer.from(body) : body);
}
