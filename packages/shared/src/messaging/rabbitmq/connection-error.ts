// Why there is no connection to RabbitMQ, in words for an operator. Never a user's password, and nothing of a message.

/** By error code of the socket or of OpenSSL (https://nodejs.org/docs/latest-v24.x/api/tls.html#x509-certificate-error-codes). */
const reasons: Record<string, string> = {
  ECONNREFUSED: 'nothing listens at the host and port of AMQP_URL',
  ENOTFOUND: 'the host of AMQP_URL is unknown',
  EAI_AGAIN: 'the name server does not answer for the host of AMQP_URL',
  ETIMEDOUT: 'the host of AMQP_URL does not answer',
  EHOSTUNREACH: 'there is no route to the host of AMQP_URL',
  ENETUNREACH: 'there is no route to the host of AMQP_URL',
  ECONNRESET: 'the other side closed the connection',
  EPIPE: 'the other side closed the connection',
  UNABLE_TO_VERIFY_LEAF_SIGNATURE: 'the server certificate is not signed by a trusted authority: set AMQP_TLS_CA',
  UNABLE_TO_GET_ISSUER_CERT: 'the server certificate is not signed by a trusted authority: set AMQP_TLS_CA',
  UNABLE_TO_GET_ISSUER_CERT_LOCALLY: 'the server certificate is not signed by a trusted authority: set AMQP_TLS_CA',
  SELF_SIGNED_CERT_IN_CHAIN: 'the server certificate is not signed by a trusted authority: set AMQP_TLS_CA',
  DEPTH_ZERO_SELF_SIGNED_CERT: 'the server certificate is self-signed: set AMQP_TLS_CA',
  CERT_SIGNATURE_FAILURE: 'the server certificate is not signed by the authority in AMQP_TLS_CA',
  CERT_HAS_EXPIRED: 'the server certificate has expired',
  CERT_NOT_YET_VALID: 'the server certificate is not valid yet',
  ERR_TLS_CERT_ALTNAME_INVALID:
    'the server certificate is for another host name than that of AMQP_URL: see AMQP_TLS_SERVER_NAME',
  ERR_SSL_WRONG_VERSION_NUMBER: 'the port of AMQP_URL does not speak TLS: use amqp:// or the port for TLS',
  ERR_SSL_TLSV13_ALERT_CERTIFICATE_REQUIRED:
    'the server demands a client certificate: set AMQP_TLS_CERT and AMQP_TLS_KEY',
  ERR_SSL_TLSV1_ALERT_UNKNOWN_CA: 'the server does not trust the authority of the client certificate (AMQP_TLS_CERT)',
  ERR_SSL_SSLV3_ALERT_CERTIFICATE_UNKNOWN: 'the server refuses the client certificate (AMQP_TLS_CERT)',
  ERR_SSL_SSLV3_ALERT_BAD_CERTIFICATE: 'the server refuses the client certificate (AMQP_TLS_CERT)',
  ERR_SSL_SSLV3_ALERT_CERTIFICATE_EXPIRED: 'the client certificate has expired (AMQP_TLS_CERT)',
};

/** What a server says of a rejected account or virtual host, in amqplib's error message. */
const replies: readonly [pattern: RegExp, reason: string][] = [
  [/ACCESS[_-]REFUSED.*(Login|login)|PLAIN login refused/, 'RabbitMQ refuses the user or the password of AMQP_URL'],
  [/access to vhost .*refused/, 'the user of AMQP_URL has no access to the virtual host'],
  // RabbitMQ closes the connection. What it says of the reason may come later, and amqplib does not read it.
  [
    /vhost .*not found|Expected ConnectionOpenOk; got <ConnectionClose/,
    'the virtual host of AMQP_URL does not exist, or is closed to its user',
  ],
  [/closed abruptly during opening/, 'the other side closed the connection: it may expect amqps://, or be no RabbitMQ'],
];

/** @returns the reason, with the code or the server's words in parentheses; at most 300 characters */
export function describeConnectionError(error: unknown): string {
  const { message = '', code } = (error ?? {}) as { message?: string; code?: unknown };
  const byCode = typeof code === 'string' ? reasons[code] : undefined;
  const reason = byCode ?? replies.find(([pattern]) => pattern.test(message))?.[1];
  const detail = byCode ? String(code) : message.replaceAll(/\s+/g, ' ') || String(code);
  return (reason ? `${reason} (${detail})` : detail).slice(0, 300);
}
