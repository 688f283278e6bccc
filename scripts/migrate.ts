// `npm run migration:<command> -w services/<name>`: the service's own migration command, on DATABASE_URL, or on the
// database of `npm start`, which is started for the moment if it does not run. `create` needs no database.
import { resolve } from 'node:path';
import { provision } from '@promopulse/shared/database/provision';
import { findLocalPostgres, startLocalPostgres } from '../local/postgres.ts';

const [service = '', ...args] = process.argv.slice(2);
const dataDir = resolve(import.meta.dirname, '..', process.env.DATA_DIR || '.data', 'postgres');
const print = (line: string): void => void process.stderr.write(`${line}\n`);
const stop = args[0] === 'create' || process.env.DATABASE_URL ? undefined : await useLocalDatabase();
try {
  // The service's file reads its arguments and DATABASE_URL as it would in its image.
  process.argv.splice(2, 1);
  await import(`../services/${service}/src/migrate.ts`);
} finally {
  await stop?.();
}

/** Sets DATABASE_URL. @returns how to stop what was started for it */
async function useLocalDatabase(): Promise<() => Promise<void>> {
  const running = findLocalPostgres(dataDir, print);
  const started = running ? undefined : await startLocalPostgres({ dataDir, port: 5432, durable: true, print });
  const { urls } = await provision(running ?? String(started?.url), { database: 'promopulse', services: [service] });
  process.env.DATABASE_URL = urls[service];
  return async () => started?.stop();
}
