// The migration command of every service: `node src/migrate.ts current|list|create [name]|up|down`.
import { z } from 'zod';
import { ConfigError, type Environment, loadConfig } from '../config.ts';
import { type DatabaseOptions, databaseConfig } from '../database/database.ts';
import { createMigration, listMigrations, migrate, revert } from '../database/migrations.ts';
import { explainRefusedConnection } from '../database/sqlstate.ts';
import { databaseOptionsOf, type ServiceDefinition } from '../service.ts';
import { createLogger, type Logger } from '../telemetry/logger.ts';

const usage = `Usage: node src/migrate.ts <command>
  current        show the migration that was applied last
  list           list all migrations: applied or pending
  create [name]  write a migration with the changes of the entities (needs no database)
  up             apply the pending migrations
  down           revert the migration that was applied last`;

const commands: Record<string, (options: DatabaseOptions, log: Logger) => Promise<string[]>> = {
  current: async (options, log) => {
    const applied = (await listMigrations(options, log)).filter(({ appliedAt }) => appliedAt);
    return [applied.at(-1)?.name ?? 'none'];
  },
  list: async (options, log) =>
    (await listMigrations(options, log)).map(({ name, appliedAt }) =>
      appliedAt ? `applied  ${name}  ${appliedAt.toISOString()}` : `pending  ${name}`,
    ),
  up: async (options, log) => {
    const names = await migrate(options, log);
    return names.length > 0 ? names.map((name) => `applied ${name}`) : ['nothing to apply'];
  },
  down: async (options, log) => {
    const name = await revert(options, log);
    return [name ? `reverted ${name}` : 'nothing to revert'];
  },
};

/** The body of every migrate.ts. Wrong arguments and a missing DATABASE_URL are reported with exit code 2. */
export async function migrationCommand(definition: ServiceDefinition, args: string[], env: Environment): Promise<void> {
  try {
    for (const line of await run(definition, args, env)) process.stdout.write(`${line}\n`);
  } catch (error) {
    const isConfigError = (error as Error).name === 'ConfigError';
    const reason = isConfigError ? (error as Error).message : explainRefusedConnection(error);
    if (reason === undefined) throw error;
    process.stderr.write(`${reason}\n`);
    process.exitCode = isConfigError ? 2 : 1;
  }
}

async function run(definition: ServiceDefinition, args: string[], env: Environment): Promise<string[]> {
  const [command = '', name, ...rest] = args;
  if (rest.length > 0 || name?.startsWith('-') || (name && command !== 'create')) throw new ConfigError(usage);
  if (command === 'create') {
    const file = await createMigration(databaseOptionsOf(definition, offlineUrl), name);
    return [file ? `wrote ${file}` : 'the entities have not changed'];
  }
  const work = Object.hasOwn(commands, command) ? commands[command] : undefined;
  if (!work) throw new ConfigError(usage);
  const { DATABASE_URL: url, DIRECT_DATABASE_URL: directUrl = url } = loadConfig(z.object(urls), env);
  return await work(
    databaseOptionsOf(definition, directUrl),
    createLogger({ service: definition.name, level: 'warn' }),
  );
}

const { DATABASE_URL, DIRECT_DATABASE_URL } = databaseConfig;
const urls = { DATABASE_URL, DIRECT_DATABASE_URL };

/** For operations that need no database. */
export const offlineUrl = 'postgres://nowhere/offline';
