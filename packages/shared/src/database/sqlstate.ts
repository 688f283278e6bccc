// What a database error means, by its SQLSTATE or system code. Never by its message, which quotes values.
import { type DomainError, unavailable } from '../errors.ts';

/** SQLSTATE classes and codes that say "not now" (https://www.postgresql.org/docs/current/errcodes-appendix.html). */
const passingStates = /^(08|53|57P|40|58)|^(57014|55P03|25P03|25006|26000|42P05)$/;

const passingSystemCodes = new Set([
  'ECONNREFUSED',
  'ECONNRESET',
  'EPIPE',
  'ETIMEDOUT',
  'ENOTFOUND',
  'EAI_AGAIN',
  'EHOSTUNREACH',
  'ENETUNREACH',
]);

/** node-postgres gives these no code. */
const passingMessages =
  /^(timeout exceeded when trying to connect|Connection terminated|Client has encountered a connection error|Cannot use a pool after|Query read timeout)/;

/** Whether a database error is about the server's state at the moment (down, full, locked, shutting down), not about the statement. */
export function isDatabaseUnavailable(error: unknown): boolean {
  if (typeof error !== 'object' || error === null) return false;
  const { code, message, cause } = error as { code?: unknown; message?: unknown; cause?: unknown };
  if (typeof code === 'string' && (passingSystemCodes.has(code) || passingStates.test(code))) return code !== '57P04';
  if (typeof message === 'string' && passingMessages.test(message)) return true;
  return cause !== undefined && cause !== error && isDatabaseUnavailable(cause);
}

/** For `answerErrors`: a database that cannot answer now is a 503, not a 500. */
export function translateDatabaseError(error: unknown): DomainError | undefined {
  return isDatabaseUnavailable(error) ? unavailable('The database cannot answer right now', 1, error) : undefined;
}

/** The constraint a unique violation hit (SQLSTATE 23505), else undefined. Never look at the message: it quotes values. */
export function violatedConstraint(error: unknown): string | undefined {
  const { code, constraint } = (error ?? {}) as { code?: unknown; constraint?: unknown };
  return code === '23505' && typeof constraint === 'string' ? constraint : undefined;
}
