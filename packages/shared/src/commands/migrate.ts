// The migration command of every service and of the gateway: `node src/migrate.ts current|list|create [name]|expand|up|down`.
import { pino } from 'pino';
import { z } from 'zod';
import { ConfigError, type Environment, loadConfig } from '../config.ts';
import { type DatabaseOptions, databaseConfig } from '../database/database.ts';
import { createMigration, listMigrations, migrate, migrationConfig, revert } from '../database/migrations.ts';
import { onDirectConnections } from '../database/sqlstate.ts';
import { explain } from '../process.ts';
import { databaseOptionsOf, type SchemaDefinition } from '../service/schema-definition.ts';
import { createLogger, type Logger } from '../telemetry/logger.ts';

const usage = `Usage: node src/migrate.ts <command>
  current        show the migration that was applied last
  list           list all migrations: applied or pending
  create [name]  write a migration with the changes of the entities (needs no database)
  expand         apply the pending migrations but those after which the release before does not work
  up             apply all pending migrations
  down           revert the migration that was applied last`;

type Print = (line: string) => void;

interface CommandContext {
  options: DatabaseOptions;
  log: Logger;
  waitMs: number;
  print: Print;
}

const commands: Record<string, (context: CommandContext) => Promise<void>> = {
  current: async ({ options, log, print }) => {
    const applied = (await listMigrations(options, log)).filter(({ appliedAt }) => appliedAt);
    print(applied.at(-1)?.name ?? 'none');
  },
  list: async ({ options, log, print }) => {
    for (const { name, appliedAt } of await listMigrations(options, log)) {
      print(appliedAt ? `applied  ${name}  ${appliedAt.toISOString()}` : `pending  ${name}`);
    }
  },
  expand: (context) => apply(context, true),
  up: (context) => apply(context, false),
  down: async ({ options, log, waitMs, print }) => {
    const name = await revert(options, log, { waitMs });
    print(name ? `reverted ${name}` : 'nothing to revert');
  },
};

async function apply({ options, log, waitMs, print }: CommandContext, onlyExpand: boolean): Promise<void> {
  const onApplied = (name: string): void => print(`applied ${name}`);
  const names = await migrate(options, log, { waitMs, onApplied, onlyExpand });
  if (names.length === 0) print('nothing to apply');
}

/**
 * The body of every migrate.ts. Exits with 0 when the command has done its work, with 1 when it failed, and with 2 for
 * wrong arguments or variables. What was applied before a failure stays applied, and is printed.
 */
export async function migrationCommand(definition: SchemaDefinition, args: string[], env: Environment): Promise<void> {
  const print: Print = (line) => void process.stdout.write(`${line}\n`);
  try {
    const work = prepare(definition, args, env);
    await work(print).catch((error: unknown) => {
      process.stderr.write(`The migration command has failed. ${explain(error)}\n`);
      process.exitCode = 1;
    });
  } catch (error) {
    if ((error as Error).name !== 'ConfigError') throw error;
    process.stderr.write(`${(error as Error).message}\n`);
    process.exitCode = 2;
  }
}

/** @throws ConfigError for wrong arguments or variables */
function prepare(definition: SchemaDefinition, args: string[], env: Environment): (print: Print) => Promise<void> {
  const [command = '', name, ...rest] = args;
  if (rest.length > 0 || name?.startsWith('-') || (name && command !== 'create')) throw new ConfigError(usage);
  if (command === 'create') {
    return async (print) => {
      const file = await createMigration(databaseOptionsOf(definition, offlineUrl), name);
      print(file ? `wrote ${file}` : 'the entities have not changed');
    };
  }
  const work = Object.hasOwn(commands, command) ? commands[command] : undefined;
  if (!work) throw new ConfigError(usage);
  const { DATABASE_URL, DIRECT_DATABASE_URL } = databaseConfig;
  const { MIGRATION_WAIT_SECONDS } = migrationConfig;
  const config = loadConfig(z.object({ DATABASE_URL, DIRECT_DATABASE_URL, MIGRATION_WAIT_SECONDS }), env);
  const options = databaseOptionsOf(definition, config.DIRECT_DATABASE_URL ?? config.DATABASE_URL);
  // On stderr, because stdout has what the command prints.
  const log = createLogger({ service: definition.name, level: 'warn', destination: pino.destination(2) });
  const waitMs = config.MIGRATION_WAIT_SECONDS * 1000;
  const run = (print: Print) => work({ options, log, waitMs, print });
  return config.DIRECT_DATABASE_URL === undefined ? run : (print) => onDirectConnections(() => run(print));
}

/** For operations that need no database. */
export const offlineUrl = 'postgres://nowhere/offline';
