// The operator's command after a rotation of keys: `npm run keys:accept`. It reads all users with the configured keys. If
// they can read everything, the service starts without the keys that no user needs any more. Otherwise nothing changes.
import { readUsers } from './fingerprint-store.ts';
import { acceptKeys } from './key-fingerprints.ts';
import { runOperatorCommand } from './operator-command.ts';

await runOperatorCommand('The keys cannot be compared with the data.', async ({ database, keys }) => {
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
});
