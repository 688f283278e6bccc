// Where a connection goes, how it is protected, and the limits that it has: from DATABASE_URL, which is read here and
// nowhere else. The parameters mean what they mean to libpq (https://www.postgresql.org/docs/current/libpq-connect.html).
// Each is applied to every connection or refused: a parameter that is ignored, such as `sslmode`, opens a door.
import { X509Certificate } from 'node:crypto';
import { readFileSync } from 'node:fs';
import tls from 'node:tls';
import type pg from 'pg';
import { z } from 'zod';
import { ConfigError } from '../config.ts';
import { lockWaitMs } from './single-statements/lock-waiters.ts';

/** What a database URL says. Part of the configuration of node-postgres. */
export interface DatabaseAddress {
  /** A host name, an IP address, or the absolute path of the folder with the server's socket. */
  host: string;
  port: number;
  /** Empty: node-postgres takes the name from PGUSER or the system. */
  user: string;
  /** Empty: node-postgres takes it from PGPASSWORD. */
  password: string;
  /** Undefined: the URL names none. */
  database: string | undefined;
  /** `false`: without TLS. An object of its own for each caller, because node-postgres changes it. */
  ssl: false | tls.ConnectionOptions;
  application_name?: string;
  options?: string;
}

const parameterNames = ['application_name', 'host', 'options', 'ssl', 'sslcert', 'sslkey', 'sslmode', 'sslrootcert'];
type Parameters = Partial<Record<string, string>>;

const sslModes = ['disable', 'require', 'verify-ca', 'verify-full'] as const;
type SslMode = (typeof sslModes)[number];

/** Its message completes "DATABASE_URL is not valid: …", and contains no value of the URL. */
class UrlProblem extends Error {}

/** For a zod object of settings: the URL of a database, which it names. */
export const databaseUrl = z.string().superRefine((text, context) => {
  try {
    if (!read(text).database) throw new UrlProblem('names no database: write its name after the host, as in host/name');
  } catch (error) {
    context.addIssue({ code: 'custom', message: messageOf(error) });
  }
});

/** Reads the certificates that the URL names, too. @throws ConfigError without the user, the password or a value */
export function readDatabaseUrl(text: string): DatabaseAddress {
  return explained(() => read(text));
}

/** A database URL with other parts, which are given without percent-encoding. @throws ConfigError */
export function changeDatabaseUrl(
  text: string,
  { database, user, password }: Partial<Pick<DatabaseAddress, 'database' | 'user' | 'password'>>,
): string {
  const url = explained(() => parse(text));
  if (database !== undefined) url.pathname = `/${encodeURIComponent(database)}`;
  if (user !== undefined) url.username = encodeURIComponent(user);
  if (password !== undefined) url.password = encodeURIComponent(password);
  return url.href;
}

/** For every connection of a service: the same address, TLS and limits. @throws ConfigError */
export function connectionOptions({ url, schema }: { url: string; schema: string }): pg.ClientConfig {
  const { options, ...address } = readDatabaseUrl(url);
  // The keep-alive settings are the server's: it closes a dead connection after about a minute.
  const own = `-c search_path="${schema}" -c tcp_keepalives_idle=30 -c tcp_keepalives_interval=10 -c tcp_keepalives_count=3`;
  return {
    application_name: `promopulse-${schema}`,
    ...address,
    options: options === undefined ? own : `${options} ${own}`, // of two values of a setting, the server takes the last
    connectionTimeoutMillis: 2_000,
    statement_timeout: 2_000,
    query_timeout: 3_000, // the client's own limit, for a server that no longer answers
    lock_timeout: lockWaitMs,
    idle_in_transaction_session_timeout: 5_000,
    keepAlive: true,
  };
}

function explained<Result>(work: () => Result): Result {
  try {
    return work();
  } catch (error) {
    throw new ConfigError(`DATABASE_URL is not valid: ${messageOf(error)}`);
  }
}

function messageOf(error: unknown): string {
  if (error instanceof UrlProblem) return error.message;
  throw error;
}

function read(text: string): DatabaseAddress {
  const url = parse(text);
  const { application_name, options, ...parameters } = readParameters(url);
  const host = readHost(url, parameters);
  return {
    host,
    port: Number(url.port) || 5432,
    user: decode(url.username, 'user'),
    password: decode(url.password, 'password'),
    database: decode(url.pathname.slice(1), 'database') || undefined,
    ssl: readTls(parameters, host),
    ...(application_name !== undefined && { application_name }),
    ...(options !== undefined && { options }),
  };
}

const notEncoded = 'in the user and the password, write each of / ? # @ : % , as %2F %3F %23 %40 %3A %25 %2C';

function parse(text: string): URL {
  const [, authority = '', rest = ''] = /^postgres(?:ql)?:\/\/([^/?#]*)(.*)$/is.exec(text) ?? [];
  if (!/^postgres(ql)?:\/\//i.test(text)) throw new UrlProblem('must be a postgres:// URL');
  if (/[@#]/.test(rest)) throw new UrlProblem(`has a @ or a # behind the host: ${notEncoded}`);
  const host = authority.slice(authority.lastIndexOf('@') + 1);
  if (host.includes(','))
    throw new UrlProblem('names several hosts: name one, such as a proxy or a DNS name of them all');
  if (host === '' && !/[?&]host=/.test(rest)) throw new UrlProblem('names no host');
  try {
    // A URL with a user needs a host, also where the parameter `host` names a folder instead.
    return new URL(host === '' ? `postgres://${authority}localhost${rest}` : text);
  } catch {
    throw new UrlProblem(`must be a postgres:// URL: ${notEncoded}`);
  }
}

function readParameters(url: URL): Parameters {
  const parameters: Parameters = {};
  for (const pair of url.search.slice(1).split('&').filter(Boolean)) {
    const [name = '', ...value] = pair.split('=');
    // A name of another form may be a part of a password.
    const shown = /^[a-z_]{1,40}$/i.test(name) ? ` ${name}` : '';
    if (!parameterNames.includes(name)) {
      throw new UrlProblem(
        `has the parameter${shown}, which is not supported. Supported: ${parameterNames.join(', ')}`,
      );
    }
    if (parameters[name] !== undefined) throw new UrlProblem(`has the parameter ${name} twice`);
    parameters[name] = decode(value.join('='), name);
  }
  return parameters;
}

function decode(text: string, part: string): string {
  let decoded: string;
  try {
    decoded = decodeURIComponent(text);
  } catch {
    throw new UrlProblem(`has a % in its ${part} that begins no %XX: write it as %25`);
  }
  // The protocol ends each text by a zero byte: what follows would be another parameter.
  if (decoded.includes('\0')) throw new UrlProblem(`has a zero byte in its ${part}`);
  return decoded;
}

function readHost({ hostname }: URL, { host: folder }: Parameters): string {
  if (folder === undefined) return decode(hostname, 'host').replace(/^\[(.*)\]$/, '$1');
  if (!folder.startsWith('/')) throw new UrlProblem('has a host that is no folder: write a host name behind the user');
  return folder;
}

function readTls(parameters: Parameters, host: string): false | tls.ConnectionOptions {
  const { sslrootcert, sslcert, sslkey } = parameters;
  const mode = readMode(parameters);
  if (mode === 'disable') return false;
  if (host.startsWith('/')) throw new UrlProblem('asks for TLS on a socket in a folder, which has none: remove ssl…');
  if (mode === 'verify-ca' && sslrootcert === undefined) {
    throw new UrlProblem('has sslmode=verify-ca without sslrootcert: name the file of the CA, or use verify-full');
  }
  if (mode !== 'verify-full' && sslrootcert === 'system') {
    throw new UrlProblem('has sslrootcert=system with a weaker sslmode: use sslmode=verify-full');
  }
  if ((sslcert === undefined) !== (sslkey === undefined)) {
    throw new UrlProblem('has only one of sslcert and sslkey: a client certificate needs both');
  }
  return {
    ...(sslrootcert !== undefined && { ca: readAuthorities(sslrootcert) }),
    ...(sslcert !== undefined && sslkey !== undefined && readClientCertificate(sslcert, sslkey)),
    // As with libpq, `require` verifies the CA if one is given.
    rejectUnauthorized: mode !== 'require' || sslrootcert !== undefined,
    checkServerIdentity: (_name, certificate) =>
      // Not the name that Node.js gives: for an IP address, node-postgres lets it be "localhost".
      mode === 'verify-full' ? tls.checkServerIdentity(host, certificate) : undefined,
  };
}

function readMode({ ssl, sslmode, sslrootcert, sslcert }: Parameters): SslMode {
  if (ssl !== undefined && sslmode !== undefined) throw new UrlProblem('has both ssl and sslmode: keep sslmode');
  if (ssl !== undefined) {
    if (ssl !== 'true' && ssl !== 'false') throw new UrlProblem('has an ssl that is neither true nor false');
    return ssl === 'true' ? 'require' : 'disable';
  }
  // Who names a CA or a certificate wants TLS. libpq would also do without.
  if (sslmode === undefined) return sslrootcert === undefined && sslcert === undefined ? 'disable' : 'verify-full';
  const mode = sslModes.find((each) => each === sslmode);
  if (mode) return mode;
  const reason = ['allow', 'prefer'].includes(sslmode)
    ? `has sslmode=${sslmode}, which falls back to no TLS and is not supported`
    : 'has an unknown sslmode';
  throw new UrlProblem(`${reason}. Use one of ${sslModes.join(', ')}`);
}

function readAuthorities(sslrootcert: string): string | string[] {
  const authorities = sslrootcert === 'system' ? tls.getCACertificates('system') : readFile(sslrootcert, 'sslrootcert');
  if (authorities.length === 0) throw new UrlProblem('has sslrootcert=system, and this system has no certificates');
  try {
    new X509Certificate([authorities].flat()[0] ?? '');
    return authorities;
  } catch {
    throw new UrlProblem('has an sslrootcert that is no certificate (PEM)');
  }
}

function readClientCertificate(sslcert: string, sslkey: string): { cert: string; key: string } {
  const pair = { cert: readFile(sslcert, 'sslcert'), key: readFile(sslkey, 'sslkey') };
  try {
    tls.createSecureContext(pair);
    return pair;
  } catch {
    throw new UrlProblem(
      'has an sslcert and an sslkey that are no certificate and its key (PEM, without a passphrase)',
    );
  }
}

function readFile(path: string, parameter: string): string {
  try {
    return readFileSync(path, 'utf8');
  } catch (error) {
    throw new UrlProblem(`has an ${parameter} that cannot be read (${(error as NodeJS.ErrnoException).code})`);
  }
}
