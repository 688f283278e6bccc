// The one error that code throws deliberately. Its kind is mapped to a status in http/problem.ts; its code is part of
// the API and does not change.

/** `invalid`: the request breaks a rule. `unavailable`: the server cannot answer now. */
export type ErrorKind =
  | 'bad_request'
  | 'unauthenticated'
  | 'forbidden'
  | 'not_found'
  | 'method_not_allowed'
  | 'conflict'
  | 'precondition_failed'
  | 'too_large'
  | 'unsupported_media_type'
  | 'expectation_failed'
  | 'misdirected'
  | 'invalid'
  | 'precondition_required'
  | 'rate_limited'
  | 'unavailable'
  | 'timeout';

/** One broken rule: `field` as the caller wrote it, escaped (`start_at`, `metadata.source`), `rule` completing "field …". */
export interface FieldError {
  field: string;
  rule: string;
}

/** More members of the problem document (RFC 9457, 3.2). Each is declared in `problemSchema` (http/openapi/problem-schema.ts). */
type ProblemMembers = Readonly<Record<string, string | number | readonly string[]>>;

interface DomainErrorOptions {
  /** The URI of a problem type that a specification defines. Without one, the meaning is that of the status and `code`. */
  type?: string;
  errors?: readonly FieldError[];
  members?: ProblemMembers | undefined;
  /** The Retry-After header, in whole seconds. */
  retryAfter?: number;
  /** More headers of the response. */
  headers?: Readonly<Record<string, string>>;
  cause?: unknown;
}

export class DomainError extends Error {
  readonly kind: ErrorKind;
  readonly code: string;
  readonly type: string | undefined;
  readonly errors: readonly FieldError[] | undefined;
  readonly members: ProblemMembers | undefined;
  readonly retryAfter: number | undefined;
  readonly headers: Readonly<Record<string, string>>;

  constructor(kind: ErrorKind, code: string, message: string, options: DomainErrorOptions = {}) {
    super(message, { cause: options.cause });
    this.name = 'DomainError';
    this.kind = kind;
    this.code = code;
    this.type = options.type;
    this.errors = options.errors;
    this.members = options.members;
    this.retryAfter = options.retryAfter;
    this.headers = options.headers ?? {};
  }
}

export function notFound(message: string, code = 'not_found'): DomainError {
  return new DomainError('not_found', code, message);
}

export function conflict(code: string, message: string, members?: ProblemMembers): DomainError {
  return new DomainError('conflict', code, message, { members });
}

/** A business rule is broken. `errors` is empty when the rule concerns no single field. */
export function ruleViolation(
  code: string,
  message: string,
  errors: readonly FieldError[] = [],
  members?: ProblemMembers,
): DomainError {
  return new DomainError('invalid', code, message, { errors, members });
}

/** The input is malformed. The message lists the broken rules, separated by semicolons. */
export function invalidInput(errors: readonly FieldError[]): DomainError {
  const message = errors.map(({ field, rule }) => `${field} ${rule}`).join('; ');
  return new DomainError('invalid', 'validation_failed', message, { errors });
}

/**
 * The header of a 503 response that names the unavailable dependency. It says that the responding service itself is
 * healthy, so that the gateway's circuit breaker does not count the response as a failure.
 */
export const unavailableDependencyHeader = 'Promopulse-Unavailable-Dependency';

/** A service that this request depends on does not answer. `retryAfter` is in whole seconds. */
export function dependencyUnavailable(
  dependency: string,
  message: string,
  retryAfter: number,
  cause?: unknown,
): DomainError {
  const headers = { [unavailableDependencyHeader]: dependency };
  return new DomainError('unavailable', 'dependency_unavailable', message, { retryAfter, headers, cause });
}

/** By these codes of the system, of DNS and of undici, a connection was not made, or was lost. */
const connectionErrorCodes = new Set([
  'ECONNABORTED',
  'ECONNREFUSED',
  'ECONNRESET',
  'EAI_AGAIN',
  'EHOSTUNREACH',
  'ENETUNREACH',
  'ENOTFOUND',
  'EPIPE',
  'ETIMEDOUT',
  'UND_ERR_CONNECT_TIMEOUT',
  'UND_ERR_SOCKET',
]);

/** Whether the other end could not be reached. It says nothing about what was sent before. */
export function isConnectionError(error: unknown): error is { code: string } {
  return connectionErrorCodes.has(String((error as { code?: unknown } | undefined)?.code));
}

/**
 * The header of a 503 response that names the limit of the service that is reached. It says that the service itself is
 * healthy, so that the gateway's circuit breaker does not count the response as a failure.
 */
export const reachedLimitHeader = 'Promopulse-Reached-Limit';

/** The request is beyond a limit of this service. It has changed nothing, and may be sent again after a second. */
export function overloaded(limit: string, cause?: unknown): DomainError {
  const message = 'The service is overloaded. Retry after the time in Retry-After.';
  const headers = { [reachedLimitHeader]: limit };
  return new DomainError('unavailable', 'overloaded', message, { retryAfter: 1, headers, cause });
}

/** The request cannot be answered now. `retryAfter` is in whole seconds. */
export function unavailable(message: string, retryAfter = 1, cause?: unknown): DomainError {
  return new DomainError('unavailable', 'unavailable', message, { retryAfter, cause });
}

/** A sequence of the database is at its end. A repetition is useless until an operator has acted. */
export function idsExhausted(cause?: unknown): DomainError {
  const message = 'Nothing was created, because the database has no more ids for it. The operator must act first.';
  // The service itself is healthy: all that creates nothing is answered.
  const headers = { [unavailableDependencyHeader]: 'database' };
  return new DomainError('unavailable', 'ids_exhausted', message, { retryAfter: 60, headers, cause });
}

/**
 * A change was sent, and its answer did not come. It has no `retryAfter`: a repetition could make the change twice.
 * @param kind `timeout` when the gateway's own time-out ended the wait
 */
export function outcomeUnknown(cause?: unknown, kind: 'unavailable' | 'timeout' = 'unavailable'): DomainError {
  const message =
    'The change was sent, and its answer did not come. The change may or may not have been made. Look before you repeat it. If it was sent with an Idempotency-Key, repeat it with the same key.';
  return new DomainError(kind, 'outcome_unknown', message, { cause });
}

/** The name of the field of the errors below, as it is in the request. */
const idempotencyKey = 'Idempotency-Key';

export function malformedIdempotencyKey(): DomainError {
  const rule =
    'must be given once, as 1 to 255 characters in double quotes, or without quotes of A-Z a-z 0-9 . _ : ~ -';
  return new DomainError('bad_request', 'malformed_idempotency_key', `${idempotencyKey} ${rule}`, {
    errors: [{ field: idempotencyKey, rule }],
  });
}

/** Another request with the same key is being worked on. It ends within seconds, and never leaves the key taken. */
export function idempotencyInProgress(cause?: unknown): DomainError {
  const message = `A request with this ${idempotencyKey} is in progress. Repeat it after the time in Retry-After.`;
  return new DomainError('conflict', 'idempotency_in_progress', message, { retryAfter: 1, cause });
}

export function idempotencyKeyReused(): DomainError {
  const rule = 'belongs to a request with another method, path, Content-Type or body';
  return ruleViolation('idempotency_key_reused', `${idempotencyKey} ${rule}. Nothing was changed.`, [
    { field: idempotencyKey, rule },
  ]);
}

/**
 * The change was made, and its answer was encrypted with a key that the service does not have any more.
 * @param location the path of what was created; undefined: the request itself names what it has changed
 */
export function idempotentAnswerLost(location?: string): DomainError {
  const message =
    'The change was made, and its answer cannot be decrypted any more. Read what was changed. A secret that was in it is ' +
    'lost: make or rotate the key again.';
  const headers = location === undefined ? {} : { Location: location };
  return new DomainError('conflict', 'idempotent_answer_lost', message, { headers });
}
