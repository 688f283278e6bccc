// `npm run keys:create -- --name … --scopes …`: makes an API key in the database of DATABASE_URL (that of the gateway). Without
// DATABASE_URL it uses the database of `npm start`, and starts it for the time of the command if it does not run.
import { useCommandDatabase } from '../local/command-database.ts';

const stopDatabase = await useCommandDatabase('gateway');
try {
  await import('../services/gateway/src/callers/create-key.ts');
} finally {
  await stopDatabase();
}
