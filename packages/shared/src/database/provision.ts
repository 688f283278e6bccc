// Gives every service its own role and schema in one database, so that no service can read another's tables. The rules
// are in provision.sql. For development and tests: it can be repeated, also by several processes at once.
import { createHmac, randomBytes } from 'node:crypto';
import { readFileSync } from 'node:fs';
import pg from 'pg';
import { changeDatabaseUrl, readDatabaseUrl } from './connection-settings.ts';
import { typeParsers } from './prepared.ts';

interface ProvisionOptions {
  /** Created if it is missing. Its name is a prefix of the role names, because roles belong to the whole cluster. */
  database: string;
  services: readonly string[];
  /** Maximum number of connections of each service's role. Default 40, as in provision.sql. */
  connectionLimit?: number;
  /** Adds a role per service that owns its schema. The service's own role can then only read and change rows. */
  migrators?: boolean;
  /** Whether the server has other users, who may need to connect to `postgres` and `template1`. Default false. */
  isShared?: boolean;
}

export interface Provisioned {
  /** The administrator's URL of that database. */
  adminUrl: string;
  /** One URL per service. */
  urls: Record<string, string>;
  /** With `migrators`: one URL per service, for its migrations. Otherwise those of `urls`. */
  migratorUrls: Record<string, string>;
  /** False: the administrator may not create roles, so every service has the administrator's URL. */
  ownRoles: boolean;
}

/** @throws if the database neither exists nor may be created, or a schema belongs to another role */
export async function provision(adminUrl: string, options: ProvisionOptions): Promise<Provisioned> {
  const { database, services } = options;
  return withClient(adminUrl, async (cluster) => {
    // Roles and databases belong to the cluster. The lock is taken in the one database that every process connects to.
    await cluster.query(`select pg_advisory_lock(hashtext('promopulse.provision'))`);
    await createIfMissing(cluster, database);
    const databaseUrl = changeDatabaseUrl(adminUrl, { database });
    const ownRoles = await mayCreateRoles(cluster);
    if (ownRoles) return { adminUrl: databaseUrl, ...(await provisionServices(databaseUrl, options)), ownRoles };
    const urls = Object.fromEntries(services.map((service) => [service, databaseUrl]));
    return { adminUrl: databaseUrl, urls, migratorUrls: urls, ownRoles };
  });
}

async function createIfMissing(cluster: pg.Client, database: string): Promise<void> {
  const { rowCount } = await cluster.query('select from pg_database where datname = $1', [database]);
  if (rowCount === 0) await cluster.query(`create database ${pg.escapeIdentifier(database)} template template0`);
}

async function mayCreateRoles(cluster: pg.Client): Promise<boolean> {
  const { rows } = await cluster.query<{ allowed: boolean }>(
    'select rolsuper or rolcreaterole as allowed from pg_roles where rolname = current_user',
  );
  return rows[0]?.allowed === true;
}

function provisionServices(
  adminUrl: string,
  { database, services, connectionLimit = 40, migrators = false, isShared = false }: ProvisionOptions,
): Promise<Pick<Provisioned, 'urls' | 'migratorUrls'>> {
  return withClient(adminUrl, async (client) => {
    await client.query(readFileSync(new URL('provision.sql', import.meta.url), 'utf8'));
    const accountOf = (role: string) => {
      const password = passwordOf(role, adminUrl);
      return { role, password, url: changeDatabaseUrl(adminUrl, { user: role, password }) };
    };
    const urls: Record<string, string> = {};
    const migratorUrls: Record<string, string> = {};
    for (const service of services) {
      const own = accountOf(roleOf(database, service));
      const migrator = migrators ? accountOf(migratorOf(database, service)) : undefined;
      const values = [service, own.role, own.password, connectionLimit, migrator?.role, migrator?.password];
      await client.query('select pg_temp.provision_service($1, $2, $3, $4, $5, $6)', values);
      urls[service] = own.url;
      migratorUrls[service] = (migrator ?? own).url;
    }
    if (!isShared) await client.query('select pg_temp.close_maintenance_databases()');
    return { urls, migratorUrls };
  });
}

/** Drops the database, with its connections, and the roles. */
export async function unprovision(adminUrl: string, { database, services }: ProvisionOptions): Promise<void> {
  await withClient(adminUrl, async (cluster) => {
    await cluster.query(`drop database if exists ${pg.escapeIdentifier(database)} with (force)`);
    for (const service of services) {
      for (const role of [roleOf(database, service), migratorOf(database, service)]) {
        await cluster.query(`drop role if exists ${pg.escapeIdentifier(role)}`);
      }
    }
  });
}

function roleOf(database: string, service: string): string {
  return `${database}_${service}`;
}

function migratorOf(database: string, service: string): string {
  return `${roleOf(database, service)}_migrator`;
}

/**
 * Derived from the administrator's password: every call computes the same one, so that processes which run at the same
 * time do not change each other's passwords. Random when the administrator has no password.
 */
function passwordOf(role: string, adminUrl: string): string {
  const secret = readDatabaseUrl(adminUrl).password;
  return secret === ''
    ? randomBytes(24).toString('base64url')
    : createHmac('sha256', secret).update(role).digest('base64url');
}

/**
 * Connects for the duration of `work`. A URL without a database means `postgres`, which every server has, and not the
 * default of PostgreSQL: a database with the name of the user, which few have.
 */
export async function withClient<Result>(url: string, work: (client: pg.Client) => Promise<Result>): Promise<Result> {
  const { database = 'postgres', ...address } = readDatabaseUrl(url);
  const client = new pg.Client({ ...address, database, connectionTimeoutMillis: 5_000, types: typeParsers });
  client.on('error', () => undefined); // the query in flight fails with the same error
  await client.connect();
  try {
    return await work(client);
  } finally {
    await client.end();
  }
}
