// What the commands on all users have in common: settings, keys, database, errors and exit codes.
import { loadConfig } from '@promopulse/shared/config';
import { type Database, databaseConfig, openDatabase } from '@promopulse/shared/database/database';
import { explain } from '@promopulse/shared/process';
import { databaseOptionsOf } from '@promopulse/shared/service/schema-definition';
import { z } from 'zod';
import { users } from '../service.ts';
import { createPersonalData, type PersonalData, type PersonalDataKeys, personalDataConfig } from './personal-data.ts';

interface CommandContext {
  database: Database;
  keys: PersonalDataKeys;
  personalData: PersonalData;
}

/**
 * Runs a command on the database of the users service, and sets the exit code: that of `work`, 2 for wrong settings or keys,
 * or 1 for any other error.
 * @param failure a sentence that says what was not done, printed before the reason of an error
 */
export async function runOperatorCommand(
  failure: string,
  work: (context: CommandContext) => Promise<number>,
): Promise<void> {
  try {
    const shape = { DATABASE_URL: databaseConfig.DATABASE_URL, ...personalDataConfig };
    const { DATABASE_URL, ...keys } = loadConfig(z.object(shape), process.env);
    const personalData = createPersonalData(keys);
    const database = await openDatabase(databaseOptionsOf(users, DATABASE_URL));
    try {
      process.exitCode = await work({ database, keys, personalData });
    } finally {
      await database.close();
    }
  } catch (error) {
    process.stderr.write(`${failure} ${explain(error)}\n`);
    process.exitCode = (error as Error).name === 'ConfigError' ? 2 : 1;
  }
}
