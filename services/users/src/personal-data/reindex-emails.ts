// The operator's command when no replica of a release before case folding runs any more: `npm run emails:reindex`. It gives
// every user the index of its own email, and says which users have one email. Nothing is deleted. It can be repeated.
import { type Reindexing, reindexEmails } from './email-index.ts';
import { readUsers } from './fingerprint-store.ts';
import { checkKeys } from './key-fingerprints.ts';
import { runOperatorCommand } from './operator-command.ts';

/** Only ids, no address. */
function describe({ users: count, moved, groups, unreadable }: Reindexing): string {
  const lines = [`Read ${count} users. ${moved} of them got another index.`];
  for (const [first, ...others] of groups) {
    lines.push(
      `Users ${[first, ...others].join(', ')} have one email, letter case aside. It finds user ${first}; ` +
        `the others are found by their ids. Change the email of all but one: PATCH /users/{id}.`,
    );
  }
  if (unreadable.length > 0) {
    lines.push(
      `PII_ENCRYPTION_KEYS cannot decrypt the emails of the users ${unreadable.join(', ')}: nothing was changed.`,
    );
  }
  return `${lines.join('\n')}\n`;
}

await runOperatorCommand('The emails cannot be indexed.', async ({ database, keys, personalData }) => {
  await checkKeys(database, keys);
  const result = await reindexEmails(database, personalData, readUsers(database));
  process.stdout.write(describe(result));
  return result.unreadable.length > 0 ? 1 : 0;
});
