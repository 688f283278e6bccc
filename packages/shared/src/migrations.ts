// The migration command of every service: `node src/migrate.ts current|list|create [name]|up|down`.
// up and down run under the same advisory lock as a service's start.
import { existsSync } from 'node:fs';
import { join } from 'node:path';
import { MikroORM } from '@mikro-orm/postgresql';
import { z } from 'zod';
import { ConfigError, type Environment, loadConfig } from './config.ts';
import { type DatabaseOptions, databaseConfig, migrate, ormOptions, revert } from './database.ts';
import { createLogger } from './logger.ts';
import { databaseOptionsOf, type ServiceDefinition } from './service.ts';

const usage = `Usage: node src/migrate.ts <command>
  current        the migration applied last
  list           every migration, and whether it is applied
  create [name]  write a migration from what changed in the entities (needs no database)
  up             apply what is pending
  down           revert the migration applied last`;

/** Whether the migrations say all that the entities say, by the snapshot beside them; needs no database. */
export async function areMigrationsComplete(definition: ServiceDefinition): Promise<boolean> {
  if (!existsSync(join(definition.migrations, 'snapshot.json'))) return false;
  const orm = new MikroORM(offlineOptions(databaseOptionsOf(definition, offlineUrl)));
  try {
    return !(await orm.migrator.checkSchema());
  } finally {
    await orm.close(true);
  }
}

const offlineUrl = 'postgres://nowhere/offline';

/** Compares against the snapshot beside the migrations, so that no database is needed; writes both. */
function offlineOptions(options: DatabaseOptions) {
  const base = ormOptions(options);
  return { ...base, migrations: { ...base.migrations, snapshot: true, snapshotName: 'snapshot' } };
}

/** The body of every migrate.ts: exits 2 with a message for wrong usage or a missing DATABASE_URL. */
export async function migrationCommand(definition: ServiceDefinition, args: string[], env: Environment): Promise<void> {
  try {
    await runMigrationCommand(definition, args, env);
  } catch (error) {
    if ((error as Error).name !== 'ConfigError') throw error;
    process.stderr.write(`${(error as Error).message}\n`);
    process.exitCode = 2;
  }
}

async function runMigrationCommand(definition: ServiceDefinition, args: string[], env: Environment): Promise<void> {
  const [command = '', name, ...rest] = args;
  if (rest.length > 0 || name?.startsWith('-') || (name && command !== 'create')) throw new ConfigError(usage);
  const say = (line: string): void => void process.stdout.write(`${line}\n`);
  if (command === 'create') {
    say(await create(databaseOptionsOf(definition, offlineUrl), name));
    return;
  }
  const commands: Record<string, (options: DatabaseOptions) => Promise<string[]>> = {
    current: async (options) => [(await applied(options)).at(-1) ?? 'none'],
    list,
    up: async (options) => {
      const names = await migrate(options, createLogger({ service: definition.name, level: 'warn' }));
      return names.length > 0 ? names.map((each) => `applied ${each}`) : ['nothing to apply'];
    },
    down: async (options) => {
      const reverted = await revert(options, createLogger({ service: definition.name, level: 'warn' }));
      return [reverted ? `reverted ${reverted}` : 'nothing to revert'];
    },
  };
  const run = Object.hasOwn(commands, command) ? commands[command] : undefined;
  if (!run) throw new ConfigError(usage);
  const { DATABASE_URL } = loadConfig(z.object({ DATABASE_URL: databaseConfig.DATABASE_URL }), env);
  for (const line of await run(databaseOptionsOf(definition, DATABASE_URL))) say(line);
}

async function create(options: DatabaseOptions, name?: string): Promise<string> {
  const orm = new MikroORM(offlineOptions(options));
  try {
    const { fileName } = await orm.migrator.create(undefined, false, false, name);
    return fileName ? `wrote ${fileName}` : 'the entities have not changed';
  } finally {
    await orm.close(true);
  }
}

async function applied(options: DatabaseOptions): Promise<string[]> {
  const orm = new MikroORM(ormOptions(options));
  try {
    return (await orm.migrator.getExecuted()).map((migration) => migration.name);
  } finally {
    await orm.close(true);
  }
}

async function list(options: DatabaseOptions): Promise<string[]> {
  const orm = new MikroORM(ormOptions(options));
  try {
    const executed = await orm.migrator.getExecuted();
    const pending = await orm.migrator.getPending();
    return [
      ...executed.map((migration) => `applied  ${migration.name}  ${migration.executed_at.toISOString()}`),
      ...pending.map((migration) => `pending  ${migration.name}`),
    ];
  } finally {
    await orm.close(true);
  }
}
