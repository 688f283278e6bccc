// The meaning of a database error, read from its SQLSTATE or system code. Its message is not used: it quotes values.
import { type DomainError, idsExhausted, unavailable } from '../errors.ts';

/** SQLSTATE classes and codes of a transient state (https://www.postgresql.org/docs/current/errcodes-appendix.html). */
const transientStates = /^(08|53|57P|40|58)|^(57014|55P03|25P03|25006|26000|42P05)$/;

/** A database was dropped. It is in class 57P, but is not transient. */
const databaseDropped = '57P04';

const transientSystemCodes = new Set([
  'ECONNREFUSED',
  'ECONNRESET',
  'EPIPE',
  'ETIMEDOUT',
  'ENOTFOUND',
  'EAI_AGAIN',
  'EHOSTUNREACH',
  'ENETUNREACH',
]);

/** Errors of node-postgres that have no code. */
const transientMessages =
  /^(timeout exceeded when trying to connect|Connection terminated|Client has encountered a connection error|Cannot use a pool after|Query read timeout)/;

/** A connection ended, or the client stopped waiting. An answer of the server has a SQLSTATE of another class. */
const unansweredStates = /^(08|40003)/;
const unansweredSystemCodes = new Set(['ECONNRESET', 'EPIPE', 'ETIMEDOUT', 'EHOSTUNREACH', 'ENETUNREACH']);
const unansweredMessages = /^(Connection terminated|Query read timeout)/;

/**
 * Whether an error is due to the present state of the server (down, full, locked, shutting down), and not to the
 * statement. The causes of the error are examined as well.
 */
export function isDatabaseUnavailable(error: unknown): boolean {
  return someCause(error, ({ code, message }) => {
    if (typeof code === 'string' && (transientSystemCodes.has(code) || transientStates.test(code))) {
      return code !== databaseDropped;
    }
    return typeof message === 'string' && transientMessages.test(message) ? true : undefined;
  });
}

/**
 * For an error of a statement or a COMMIT that was sent to the server: whether no answer came, so that it may have been
 * executed. An error that the server reports rolls the statement back, also when it shuts down.
 */
export function isUnanswered(error: unknown): boolean {
  return someCause(error, ({ code, message }) => {
    if (typeof code === 'string') return unansweredSystemCodes.has(code) || unansweredStates.test(code);
    return typeof message === 'string' && unansweredMessages.test(message) ? true : undefined;
  });
}

/** @returns the first answer of `examine` along the chain of causes; false when there is none */
function someCause(
  error: unknown,
  examine: (error: { code?: unknown; message?: unknown }) => boolean | undefined,
): boolean {
  if (typeof error !== 'object' || error === null) return false;
  const { cause } = error as { cause?: unknown };
  return examine(error) ?? (cause !== error && someCause(cause, examine));
}

/** sequence_generator_limit_exceeded; numeric_value_out_of_range, when a sequence goes further than its column. */
const idsExhaustedStates = new Set<unknown>(['2200H', '22003']);

/** For `errorHandler`: a database that is unavailable, or has no more ids, leads to a 503, not to a 500. */
export function translateDatabaseError(error: unknown): DomainError | undefined {
  if (someCause(error, ({ code }) => idsExhaustedStates.has(code) || undefined)) return idsExhausted(error);
  if (!isDatabaseUnavailable(error)) return undefined;
  return unavailable('The database is unavailable. Retry after the time in Retry-After.', 1, error);
}

/** @returns the violated constraint of a unique violation (SQLSTATE 23505); undefined for any other error */
export function violatedConstraint(error: unknown): string | undefined {
  const { code, constraint } = (error ?? {}) as { code?: unknown; constraint?: unknown };
  return code === '23505' && typeof constraint === 'string' ? constraint : undefined;
}
