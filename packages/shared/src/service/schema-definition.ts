// What the migrations and the start of a database need to know, of a service and of the gateway.
import type { DatabaseOptions } from '../database/database.ts';
import type { Entities } from '../database/prepared.ts';

export interface SchemaDefinition {
  /** Also the name of its schema in Postgres. */
  name: string;
  entities: Entities;
  /** Absolute path of the migrations' folder. */
  migrations: string;
  /**
   * Names of the migrations after which the release before does not work. This release works before and after each of
   * them, so that they can wait until the release before is not needed any more.
   */
  contractMigrations?: readonly string[];
}

/** The database options that the migrations and the start have in common. */
export function databaseOptionsOf(definition: SchemaDefinition, url: string): DatabaseOptions {
  const { name: schema, entities, migrations, contractMigrations = [] } = definition;
  return { url, schema, entities, migrations, contractMigrations };
}
