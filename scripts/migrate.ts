// `npm run migration:<command> -w services/<name>`: runs the service's own migration command on DATABASE_URL. Without
// DATABASE_URL it uses the database of `npm start`, and starts it for the time of the command if it does not run.
// `create` needs no database.
import { resolve } from 'node:path';
import { provision } from '@promopulse/shared/database/provision';
import { findLocalPostgres, startLocalPostgres } from '../local/postgres.ts';

const [service = '', ...args] = process.argv.slice(2);
const dataDir = resolve(import.meta.dirname, '..', process.env.DATA_DIR || '.data', 'postgres');
const print = (line: string): void => void process.stderr.write(`${line}\n`);
const stopDatabase = args[0] === 'create' || process.env.DATABASE_URL ? undefined : await useLocalDatabase();
try {
  // The service's migrate.ts reads its arguments and DATABASE_URL as it does in the image.
  process.argv.splice(2, 1);
  await import(`../services/${service}/src/migrate.ts`);
} finally {
  await stopDatabase?.();
}

/** Sets DATABASE_URL. @returns a function that stops the database if it was started here */
async function useLocalDatabase(): Promise<() => Promise<void>> {
  const running = findLocalPostgres(dataDir, print);
  const started = running ? undefined : await startLocalPostgres({ dataDir, port: 5432, durable: true, print });
  const { urls } = await provision(running ?? String(started?.url), { database: 'promopulse', services: [service] });
  process.env.DATABASE_URL = urls[service];
  return async () => started?.stop();
}
