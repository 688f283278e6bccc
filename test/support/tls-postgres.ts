// A PostgreSQL of its own that takes connections by TLS only, and the certificates for it, made by openssl.
import { execFileSync } from 'node:child_process';
import { chmodSync, chownSync, copyFileSync, mkdtempSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { withClient } from '@promopulse/shared/database/provision';
import { freePort } from '../../local/ports.ts';
import { startLocalPostgres } from '../../local/postgres.ts';

export interface TlsPostgres {
  /** The superuser's URL, with these parameters. */
  url(parameters?: string): string;
  /** Path of a file: `ca.crt` has signed the server's certificate, `other.crt` has not. */
  file(name: string): string;
  /** Rows of pg_stat_ssl and pg_stat_activity of the clients of a database. */
  sessions(database: string): Promise<Session[]>;
  stop(): Promise<void>;
}

interface Session {
  pid: number;
  role: string;
  application: string;
  query: string;
  ssl: boolean;
}

/** The host of the server's certificate. The server's address, 127.0.0.1, is not in it. */
const host = 'localhost';

export async function startTlsPostgres(): Promise<TlsPostgres> {
  const folder = mkdtempSync(join(tmpdir(), 'promopulse-tls-'));
  chmodSync(folder, 0o755);
  createCertificates(folder);
  const server = await startLocalPostgres({
    dataDir: join(folder, 'postgres'),
    port: await freePort(),
    durable: false,
    print: () => undefined,
  });
  await requireTls(server.url, server.dataDir, folder);
  const base = new URL(server.url);
  base.hostname = host;
  const url = (parameters = `sslmode=verify-full&sslrootcert=${join(folder, 'ca.crt')}`): string =>
    Object.assign(new URL(base), { search: parameters }).href;
  return {
    url,
    file: (name) => join(folder, name),
    sessions: (database) => sessionsOf(url(), database),
    stop: async () => {
      await server.stop();
      for (const path of [dirname(server.dataDir), folder]) rmSync(path, { recursive: true, force: true });
    },
  };
}

function createCertificates(folder: string): void {
  for (const ca of ['ca', 'other']) {
    openssl(folder, ['-x509', '-subj', `/CN=${ca}`, '-addext', 'keyUsage=keyCertSign'], ca);
  }
  const signed = ['-x509', '-CA', 'ca.crt', '-CAkey', 'ca.key', '-addext', 'basicConstraints=critical,CA:false'];
  openssl(folder, [...signed, '-subj', `/CN=${host}`, '-addext', `subjectAltName=DNS:${host}`], 'server');
  openssl(folder, [...signed, '-subj', '/CN=postgres'], 'client');
}

/** Writes `<name>.crt` and `<name>.key`. */
function openssl(folder: string, options: string[], name: string): void {
  const key = ['-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:P-256', '-nodes', '-keyout', `${name}.key`];
  execFileSync('openssl', ['req', ...options, ...key, '-out', `${name}.crt`, '-days', '2'], {
    cwd: folder,
    stdio: 'pipe',
  });
}

async function requireTls(url: string, dataDir: string, folder: string): Promise<void> {
  const { uid, gid } = statSync(dataDir);
  for (const name of ['server.crt', 'server.key', 'ca.crt']) {
    copyFileSync(join(folder, name), join(dataDir, name));
    chmodSync(join(dataDir, name), 0o600);
    chownSync(join(dataDir, name), uid, gid);
  }
  const rules = [
    'hostssl with_certificate all all scram-sha-256 clientcert=verify-ca',
    'hostssl all all all scram-sha-256',
  ];
  await withClient(url, async (client) => {
    for (const setting of ['ssl = on', `ssl_ca_file = 'ca.crt'`]) await client.query(`alter system set ${setting}`);
    writeFileSync(join(dataDir, 'pg_hba.conf'), `${rules.join('\n')}\n`);
    await client.query('select pg_reload_conf()');
  });
}

function sessionsOf(url: string, database: string): Promise<Session[]> {
  return withClient(url, async (client) => {
    const { rows } = await client.query<Session>(
      `select pid, usename as role, application_name as application, query, ssl
       from pg_stat_activity join pg_stat_ssl using (pid) where datname = $1`,
      [database],
    );
    return rows;
  });
}
