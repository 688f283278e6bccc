// `npm run psql -- users`: an SQL prompt on the tables of a service or of the gateway, as its role. Without a service: as
// the administrator. `-c "select …"` executes one text and ends. It uses the database of `npm start` (or DATABASE_URL),
// and starts it for the time of the command if it does not run. It is PostgreSQL's psql where that is installed, which
// takes all further arguments, and a small prompt of our own where it is not.
import { spawn, spawnSync } from 'node:child_process';
import { once } from 'node:events';
import { existsSync } from 'node:fs';
import { join, resolve } from 'node:path';
import { schemaOwners } from '@promopulse/shared/contracts/services';
import { changeDatabaseUrl, readDatabaseUrl } from '@promopulse/shared/database/connection-settings';
import { explainStartError } from '@promopulse/shared/process';
import { runSqlPrompt } from '../local/sql-prompt.ts';
import { useStackDatabase } from '../local/stack-database.ts';

const [first = '', ...others] = process.argv.slice(2);
const service = first.startsWith('-') ? '' : first;
const args = first.startsWith('-') ? [first, ...others] : others;
const dataDir = resolve(import.meta.dirname, '..', process.env.DATA_DIR || '.data');

try {
  if (service !== '' && !schemaOwners.some((name) => name === service)) {
    throw new Error(`There is no service "${service}". Services: ${schemaOwners.join(', ')}.`);
  }
  process.exitCode = await run();
} catch (error) {
  process.stderr.write(`No prompt. ${explainStartError(error) ?? (error as Error).message}\n`);
  process.exitCode = 1;
}

async function run(): Promise<number> {
  const print = (line: string): void => void process.stderr.write(`${line}\n`);
  if (!process.env.DATABASE_URL && !existsSync(join(dataDir, 'postgres'))) {
    throw new Error('There are no data yet. Run npm start first, or set DATABASE_URL to the database that it uses.');
  }
  const database = await useStackDatabase({ env: process.env, dataDir, print });
  try {
    const url = database.urls[service] ?? database.adminUrl;
    return spawnSync('psql', ['--version']).status === 0 ? await runPsql(url) : await runSqlPrompt(url, args);
  } finally {
    await database.stop();
  }
}

/** Other users of the machine see the arguments of a process, so the password goes by the environment. */
async function runPsql(url: string): Promise<number> {
  const { password } = readDatabaseUrl(url);
  const withoutPassword = changeDatabaseUrl(url, { password: '' });
  // The administrator sees the tables of all schemas without their names in front.
  const PGOPTIONS = service === '' ? `-c search_path=${[...schemaOwners, 'public'].join(',')}` : '';
  const env = { ...process.env, PGPASSWORD: password, ...(PGOPTIONS && { PGOPTIONS }) };
  process.on('SIGINT', () => undefined); // Ctrl-C cancels the statement in psql
  const [code] = await once(spawn('psql', [...args, withoutPassword], { stdio: 'inherit', env }), 'exit');
  return typeof code === 'number' ? code : 1;
}
