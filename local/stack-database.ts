// The database of `npm start`: PostgreSQL from npm in the data folder, or the server of DATABASE_URL, with a role and a
// schema for each service and for the gateway.
import { join } from 'node:path';
import { schemaOwners } from '@promopulse/shared/contracts/services';
import { readDatabaseUrl } from '@promopulse/shared/database/connection-settings';
import { provision } from '@promopulse/shared/database/provision';
import { openKeptPorts } from './kept-ports.ts';
import { findLocalPostgres, type LocalPostgres, startLocalPostgres } from './postgres.ts';
import { keysFileName } from './postgres-cluster.ts';

interface Options {
  env: NodeJS.ProcessEnv;
  dataDir: string;
  print: (line: string) => void;
}

interface ProvisionedDatabase {
  /** The administrator's URL. */
  adminUrl: string;
  /** One per service, and that of the gateway. */
  urls: Record<string, string>;
  /** Stops the server if it was started here. */
  stop(): Promise<void>;
}

export interface StackDatabase extends ProvisionedDatabase {
  /** Where the keys of its personal data are. */
  keysFile: string;
}

const database = 'promopulse';
const usualPort = 5432;

/** For the data in a database of DATABASE_URL. Former releases kept the keys of every database there. */
export function externalKeysFile(dataDir: string): string {
  return join(dataDir, 'keys.json');
}

/** For `npm start`. Prints where the database is. */
export async function startStackDatabase(options: Options): Promise<StackDatabase> {
  const { env, dataDir, print } = options;
  if (env.DATABASE_URL) {
    return { ...(await useExternalDatabase(env.DATABASE_URL, print)), keysFile: externalKeysFile(dataDir) };
  }
  const server = await startServer(options);
  const provisioned = await provisionOn(server);
  print(`PostgreSQL    127.0.0.1:${server.port}, data in ${server.dataDir}`);
  return { ...provisioned, keysFile: join(server.dataDir, keysFileName) };
}

/** For commands: uses the server of a running `npm start`, and starts it for the time of the command if none runs. */
export async function useStackDatabase(options: Options): Promise<ProvisionedDatabase> {
  const { env, dataDir, print } = options;
  if (env.DATABASE_URL) return await useExternalDatabase(env.DATABASE_URL, print);
  const url = findLocalPostgres(join(dataDir, 'postgres'), print);
  return await provisionOn(url === undefined ? await startServer(options) : { url, stop: async () => undefined });
}

async function provisionOn({ url, stop }: Pick<LocalPostgres, 'url' | 'stop'>): Promise<ProvisionedDatabase> {
  try {
    const { adminUrl, urls } = await provision(url, { database, services: schemaOwners });
    return { adminUrl, urls, stop };
  } catch (error) {
    await stop();
    throw error;
  }
}

/** The PostgreSQL of npm, on the port that it had before. */
export async function startServer({ dataDir, print }: Omit<Options, 'env'>): Promise<LocalPostgres> {
  const keptPorts = openKeptPorts(dataDir);
  const port = keptPorts.preferred('PostgreSQL', usualPort);
  const server = await startLocalPostgres({ dataDir: join(dataDir, 'postgres'), port, durable: true, print });
  keptPorts.keep('PostgreSQL', server.port, usualPort);
  return server;
}

/** A URL that names no database, or the one that every server has, means a database of our own. */
async function useExternalDatabase(url: string, print: (line: string) => void): Promise<ProvisionedDatabase> {
  const { database: named = 'postgres', host, port } = readDatabaseUrl(url);
  const used = named === 'postgres' ? database : named;
  const { adminUrl, urls, ownRoles } = await provision(url, { database: used, services: schemaOwners, isShared: true });
  print(`PostgreSQL    ${host}:${port}, database ${used} (DATABASE_URL)`);
  if (!ownRoles) {
    print('              This user cannot create roles: all services use it, each with a schema of its own');
  }
  return { adminUrl, urls, stop: async () => undefined };
}
