// The operator's command after a rotation of keys: `npm run keys:accept`. It reads all users with the configured keys. If
// they can read everything, the service starts without the keys that no user needs any more. Otherwise nothing changes.
import { loadConfig } from '@promopulse/shared/config';
import { databaseConfig, openDatabase } from '@promopulse/shared/database/database';
import { explain } from '@promopulse/shared/process';
import { databaseOptionsOf } from '@promopulse/shared/service';
import { z } from 'zod';
import { users } from '../service.ts';
import { readUsers } from './fingerprint-store.ts';
import { acceptKeys } from './key-fingerprints.ts';
import { createPersonalData, personalDataConfig } from './personal-data.ts';

async function run(): Promise<number> {
  const shape = { DATABASE_URL: databaseConfig.DATABASE_URL, ...personalDataConfig };
  const { DATABASE_URL, ...keys } = loadConfig(z.object(shape), process.env);
  createPersonalData(keys);
  const database = await openDatabase(databaseOptionsOf(users, DATABASE_URL));
  try {
    const result = await acceptKeys(database, keys, readUsers(database));
    const { unreadable, wronglyIndexed, neededKeys } = result;
    if (unreadable + wronglyIndexed > 0) {
      process.stderr.write(
        `Nothing was changed. Of ${result.users} users, ${unreadable} cannot be decrypted with PII_ENCRYPTION_KEYS, and ` +
          `${wronglyIndexed} were indexed with another PII_INDEX_KEY.\n`,
      );
      return 1;
    }
    const count = keys.PII_ENCRYPTION_KEYS.length;
    process.stdout.write(`All ${result.users} users can be read. Needed: ${neededKeys} of ${count} encryption keys.\n`);
    return 0;
  } finally {
    await database.close();
  }
}

try {
  process.exitCode = await run();
} catch (error) {
  process.stderr.write(`The keys cannot be compared with the data. ${explain(error)}\n`);
  process.exitCode = (error as Error).name === 'ConfigError' ? 2 : 1;
}
