// The one error a service throws on purpose: a kind, which the HTTP edge maps to a status, and a code, which is part
// of the API and stable.

/** `invalid` names fields; `unavailable` means "try again", and carries after how many seconds. */
export type ErrorKind =
  | 'bad_request'
  | 'not_found'
  | 'method_not_allowed'
  | 'conflict'
  | 'too_large'
  | 'unsupported_media_type'
  | 'invalid'
  | 'unavailable'
  | 'timeout';

/** One broken rule: `field` as the caller wrote it (`start_at`, `metadata.source`), `rule` completing "field …". */
export interface FieldError {
  field: string;
  rule: string;
}

interface DomainErrorOptions {
  errors?: readonly FieldError[];
  /** Whole seconds, for `unavailable`. */
  retryAfter?: number;
  headers?: Readonly<Record<string, string>>;
  cause?: unknown;
}

export class DomainError extends Error {
  readonly kind: ErrorKind;
  readonly code: string;
  readonly errors: readonly FieldError[] | undefined;
  readonly retryAfter: number | undefined;
  readonly headers: Readonly<Record<string, string>>;

  constructor(kind: ErrorKind, code: string, message: string, options: DomainErrorOptions = {}) {
    super(message, { cause: options.cause });
    this.name = 'DomainError';
    this.kind = kind;
    this.code = code;
    this.errors = options.errors;
    this.retryAfter = options.retryAfter;
    this.headers = options.headers ?? {};
  }
}

export function notFound(message: string, code = 'not_found'): DomainError {
  return new DomainError('not_found', code, message);
}

export function conflict(code: string, message: string): DomainError {
  return new DomainError('conflict', code, message);
}

/** A rule of the business refuses; `errors` defaults to none because no single field is to blame. */
export function ruleViolation(code: string, message: string, errors: readonly FieldError[] = []): DomainError {
  return new DomainError('invalid', code, message, { errors });
}

/** The input itself is wrong: the message is the broken rules, one after the other. */
export function invalidInput(errors: readonly FieldError[]): DomainError {
  const message = errors.map(({ field, rule }) => `${field} ${rule}`).join('; ');
  return new DomainError('invalid', 'validation_failed', message, { errors });
}

/**
 * A header of a 503 that names the neighbour which is away. It tells the gateway that the service which answers is
 * well itself, so that its circuit breaker does not count the answer against it.
 */
export const unavailableDependencyHeader = 'Promopulse-Unavailable-Dependency';

/** A neighbour cannot be asked. `retryAfter` in whole seconds. */
export function dependencyUnavailable(
  neighbour: string,
  message: string,
  retryAfter: number,
  cause?: unknown,
): DomainError {
  const headers = { [unavailableDependencyHeader]: neighbour };
  return new DomainError('unavailable', 'dependency_unavailable', message, { retryAfter, headers, cause });
}

/** Nobody can tell right now. `retryAfter` in whole seconds. */
export function unavailable(message: string, retryAfter = 1, cause?: unknown): DomainError {
  return new DomainError('unavailable', 'unavailable', message, { retryAfter, cause });
}
