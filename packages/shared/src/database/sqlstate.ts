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

/** The certificate of the server: https://nodejs.org/docs/latest-v24.x/api/tls.html#x509-certificate-error-codes */
const untrustedCodes =
  /^((UNABLE_TO|CERT|CRL|DEPTH_ZERO|SELF_SIGNED|INVALID|PATH_LENGTH|ERROR_IN)_[A-Z_]+|HOSTNAME_MISMATCH|ERR_TLS_CERT_[A-Z_]+)$/;
const brokenTlsCodes = /^(ERR_SSL|ERR_OSSL|EPROTO)/;

/** Errors of node-postgres that have no code. */
const noTlsMessages =
  /^(The server does not support SSL connections|There was an error establishing an SSL connection)/;

/**
 * Whether an error is due to the present state of the server (down, full, locked, shutting down), and not to the
 * statement. The causes of the error are examined as well.
 */
export function isDatabaseUnavailable(error: unknown): boolean {
  return someCause(error, ({ code, message }) => {
    if (typeof code === 'string' && (transientSystemCodes.has(code) || transientStates.test(code))) {
      return code !== databaseDropped;
    }
    if (refusedTls({ code, message })) return true;
    return typeof message === 'string' && transientMessages.test(message) ? true : undefined;
  });
}

/**
 * For an error of a statement or a COMMIT that was sent to the server: whether no answer came, so that it may have been
 * executed. An error that the server reports rolls the statement back, also when it shuts down.
 */
export function isUnanswered(error: unknown): boolean {
  return someCause(error, ({ code, message }) => {
    if (typeof code === 'string') {
      return unansweredSystemCodes.has(code) || unansweredStates.test(code) || brokenTlsCodes.test(code);
    }
    return typeof message === 'string' && unansweredMessages.test(message) ? true : undefined;
  });
}

/** Whether a row belongs to no partition of its table. A check constraint has a name. */
export function isMissingPartition(error: unknown): boolean {
  return someCause(error, ({ code, constraint }) => (code === '23514' ? constraint === undefined : undefined));
}

/** Whether a statement has named a time zone that the server does not know (invalid_parameter_value). */
export function isUnknownTimeZone(error: unknown): boolean {
  return someCause(error, ({ code }) => (code === '22023' ? true : undefined));
}

interface CodedError {
  code?: unknown;
  message?: unknown;
  constraint?: unknown;
  /** The function of PostgreSQL that reported the error. */
  routine?: unknown;
}

/** Whether this side or the server did not accept the other for TLS. No statement was sent. */
function refusedTls({ code, message }: CodedError): boolean {
  if (typeof code === 'string') return untrustedCodes.test(code) || brokenTlsCodes.test(code);
  return typeof message === 'string' && noTlsMessages.test(message);
}

/**
 * Why the server does not take a connection as DATABASE_URL asks for it, in one line with the way out. Waiting does not
 * help.
 * @returns undefined for every other error
 */
export function explainRefusedConnection(error: unknown): string | undefined {
  const { code, message, cause, routine } = (error ?? {}) as CodedError & { cause?: unknown };
  // invalid_authorization_specification, from the routine of PostgreSQL that applies pg_hba.conf
  if (code === '28000' && routine === 'ClientAuthentication') {
    return (
      'The database server has no rule (pg_hba.conf) that admits this user and database from here. ' +
      'If it takes TLS only, add sslmode=verify-full to DATABASE_URL; if it wants a client certificate, sslcert and sslkey.'
    );
  }
  // PgBouncer has this one code for all its errors.
  if (code === '08P01' && /^unsupported startup parameter/.test(String(message))) {
    return 'The pooler of DATABASE_URL refuses a setting of the session: see ignore_startup_parameters in docs/operations.md, PgBouncer.';
  }
  if (refusedTls({ code, message })) return explainTls(code);
  return cause && cause !== error ? explainRefusedConnection(cause) : undefined;
}

/** Runs `work` on connections of DIRECT_DATABASE_URL, which the reason of a failed start then names. @throws its error */
export async function onDirectConnections<Result>(work: () => Promise<Result>): Promise<Result> {
  try {
    return await work();
  } catch (error) {
    throw Object.assign(Object(error), { variable: 'DIRECT_DATABASE_URL' });
  }
}

function explainTls(code: unknown): string {
  if (typeof code !== 'string') return 'The database server offers no TLS, and DATABASE_URL asks for it (sslmode).';
  if (!untrustedCodes.test(code)) {
    return `The TLS handshake with the database server failed: check sslcert and sslkey in DATABASE_URL (${code}).`;
  }
  const reasons: Record<string, string> = {
    ERR_TLS_CERT_ALTNAME_INVALID: 'is for another host than that of DATABASE_URL',
    CERT_HAS_EXPIRED: 'has expired',
    CERT_NOT_YET_VALID: 'is not valid yet',
  };
  const reason = reasons[code] ?? 'is not signed by a trusted CA: name its CA by sslrootcert in DATABASE_URL';
  return `The certificate of the database server ${reason} (${code}).`;
}

/** Whether a statement got no lock in time, or was chosen to end a deadlock. Its transaction is rolled back. */
export function isLockConflict(error: unknown): boolean {
  return someCause(error, ({ code }) => (code === '55P03' || code === '40P01' ? true : undefined));
}

/** Whether the wait for a lock took longer than `lock_timeout`. The server has rolled the transaction back. */
export function isLockTimeout(error: unknown): boolean {
  return someCause(error, ({ code }) => (typeof code === 'string' ? code === '55P03' : undefined));
}

/** Whether the statement took longer than `statement_timeout`. The server has rolled its transaction back. */
export function isStatementTimeout(error: unknown): boolean {
  return someCause(error, ({ code }) => (typeof code === 'string' ? code === '57014' : undefined));
}

/**
 * Whether a named statement was not executed because of its plan: a column of its result has another type since it was
 * prepared (0A000, which has other meanings, hence the server's routine), or the session does not have it (26000) or has
 * it already (42P05). The session was reset, or it is not always the same one behind a pooler.
 */
export function isPlanInvalid(error: unknown): boolean {
  const { code, routine } = (error ?? {}) as { code?: unknown; routine?: unknown };
  return code === '26000' || code === '42P05' || (code === '0A000' && routine === 'RevalidateCachedQuery');
}

/** @returns the first answer of `examine` along the chain of causes; false when there is none */
function someCause(error: unknown, examine: (error: CodedError) => boolean | undefined): boolean {
  if (typeof error !== 'object' || error === null) return false;
  const { cause } = error as { cause?: unknown };
  return examine(error) ?? (cause !== error && someCause(cause, examine));
}

/**
 * sequence_generator_limit_exceeded; numeric_value_out_of_range from PostgreSQL's cast of bigint to integer, when a
 * sequence goes further than its column.
 */
const hasNoMoreIds = ({ code, routine }: CodedError): boolean =>
  code === '2200H' || (code === '22003' && routine === 'int84');

/** For `errorHandler`: a database that is unavailable, or has no more ids, leads to a 503, not to a 500. */
export function translateDatabaseError(error: unknown): DomainError | undefined {
  if (someCause(error, (cause) => hasNoMoreIds(cause) || undefined)) return idsExhausted(error);
  if (!isDatabaseUnavailable(error)) return undefined;
  return unavailable('The database is unavailable. Retry after the time in Retry-After.', 1, error);
}

/** @returns the violated constraint of a unique violation (SQLSTATE 23505); undefined for any other error */
export function violatedConstraint(error: unknown): string | undefined {
  const { code, constraint } = (error ?? {}) as { code?: unknown; constraint?: unknown };
  return code === '23505' && typeof constraint === 'string' ? constraint : undefined;
}
