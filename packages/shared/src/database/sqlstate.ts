// The meaning of a database error, read from its SQLSTATE or system code. Its message is not used: it quotes values.
import { type DomainError, unavailable } from '../errors.ts';

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

/**
 * Whether an error is due to the present state of the server (down, full, locked, shutting down), and not to the
 * statement. The causes of the error are examined as well.
 */
export function isDatabaseUnavailable(error: unknown): boolean {
  if (typeof error !== 'object' || error === null) return false;
  const { code, message, cause } = error as { code?: unknown; message?: unknown; cause?: unknown };
  if (typeof code === 'string' && (transientSystemCodes.has(code) || transientStates.test(code))) {
    return code !== databaseDropped;
  }
  if (typeof message === 'string' && transientMessages.test(message)) return true;
  return cause !== undefined && cause !== error && isDatabaseUnavailable(cause);
}

/** For `errorHandler`: a database that is unavailable leads to a 503, not to a 500. */
export function translateDatabaseError(error: unknown): DomainError | undefined {
  if (!isDatabaseUnavailable(error)) return undefined;
  return unavailable('The database is unavailable. Retry after the time in Retry-After.', 1, error);
}

/** @returns the violated constraint of a unique violation (SQLSTATE 23505); undefined for any other error */
export function violatedConstraint(error: unknown): string | undefined {
  const { code, constraint } = (error ?? {}) as { code?: unknown; constraint?: unknown };
  return code === '23505' && typeof constraint === 'string' ? constraint : undefined;
}
