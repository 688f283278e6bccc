// Gives every service its own role and schema in one database (the rules are in provision.sql), so that a service
// cannot read its neighbour's tables. For development and tests; repeatable, and safe when several processes do it
// at once.
import { createHmac, randomBytes } from 'node:crypto';
import { readFileSync } from 'node:fs';
import pg from 'pg';

interface ProvisionOptions {
  /** Created if it is missing. Roles are of the whole cluster, so its name is the first part of theirs. */
  database: string;
  services: readonly string[];
}

export interface Provisioned {
  /** The administrator's URL of that database. */
  adminUrl: string;
  /** One URL per service. */
  urls: Record<string, string>;
  /** False: the administrator may not create roles, so every service has the administrator's URL. */
  ownRoles: boolean;
}

/** @throws if the database neither exists nor may be created, or a schema belongs to somebody else */
export async function provision(adminUrl: string, { database, services }: ProvisionOptions): Promise<Provisioned> {
  return withClient(adminUrl, async (cluster) => {
    // Roles and databases are of the cluster, so the lock is taken in the one database that all come through.
    await cluster.query(`select pg_advisory_lock(hashtext('promopulse.provision'))`);
    const { rowCount } = await cluster.query('select from pg_database where datname = $1', [database]);
    if (rowCount === 0) {
      await cluster.query(`create database ${pg.escapeIdentifier(database)} template template0`);
    }
    const inDatabase = replaced(adminUrl, { pathname: `/${encodeURIComponent(database)}` });
    const mayCreateRoles = await cluster.query<{ yes: boolean }>(
      'select rolsuper or rolcreaterole as yes from pg_roles where rolname = current_user',
    );
    if (!mayCreateRoles.rows[0]?.yes) {
      const urls = Object.fromEntries(services.map((service) => [service, inDatabase]));
      return { adminUrl: inDatabase, urls, ownRoles: false };
    }
    const urls: Record<string, string> = {};
    await withClient(inDatabase, async (client) => {
      await client.query(readFileSync(new URL('provision.sql', import.meta.url), 'utf8'));
      for (const service of services) {
        const role = roleOf(database, service);
        const password = passwordOf(role, adminUrl);
        await client.query('select pg_temp.provision_service($1, $2, $3)', [service, role, password]);
        urls[service] = replaced(inDatabase, { username: role, password });
      }
    });
    return { adminUrl: inDatabase, urls, ownRoles: true };
  });
}

/** Drops the database, whoever is connected, and the roles. */
export async function unprovision(adminUrl: string, { database, services }: ProvisionOptions): Promise<void> {
  await withClient(adminUrl, async (cluster) => {
    await cluster.query(`drop database if exists ${pg.escapeIdentifier(database)} with (force)`);
    for (const service of services) {
      await cluster.query(`drop role if exists ${pg.escapeIdentifier(roleOf(database, service))}`);
    }
  });
}

function roleOf(database: string, service: string): string {
  return `${database}_${service}`;
}

/** The same at every call, so that those who run at the same time do not change it under each other. */
function passwordOf(role: string, adminUrl: string): string {
  const secret = new URL(adminUrl).password;
  return secret === ''
    ? randomBytes(24).toString('base64url')
    : createHmac('sha256', secret).update(role).digest('base64url');
}

function replaced(url: string, parts: Partial<Pick<URL, 'pathname' | 'username' | 'password'>>): string {
  return Object.assign(new URL(url), parts).href;
}

/** One connection, for the length of `work`. */
export async function withClient<Result>(url: string, work: (client: pg.Client) => Promise<Result>): Promise<Result> {
  const client = new pg.Client({ connectionString: url, connectionTimeoutMillis: 5_000 });
  client.on('error', () => undefined); // a cut connection also fails the query that is waiting on it
  await client.connect();
  try {
    return await work(client);
  } finally {
    await client.end();
  }
}
