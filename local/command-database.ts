// The database of a command that one can run without a running stack.
import { resolve } from 'node:path';
import { useStackDatabase } from './stack-database.ts';

/**
 * Sets DATABASE_URL to that of a service, or of the gateway, in the database of `npm start`, which it starts if it does not
 * run. With a DATABASE_URL in the environment it does nothing.
 * @returns a function that stops the database if it was started here
 */
export async function useCommandDatabase(owner: string): Promise<() => Promise<void>> {
  if (process.env.DATABASE_URL) return async () => undefined;
  const dataDir = resolve(import.meta.dirname, '..', process.env.DATA_DIR || '.data');
  const print = (line: string): void => void process.stderr.write(`${line}\n`);
  const { urls, stop } = await useStackDatabase({ env: process.env, dataDir, print });
  process.env.DATABASE_URL = urls[owner];
  return stop;
}
