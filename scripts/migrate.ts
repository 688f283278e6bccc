// `npm run migration:<command> -w services/<name>`: runs the service's own migration command on DATABASE_URL. Without
// DATABASE_URL it uses the database of `npm start`, and starts it for the time of the command if it does not run.
// `create` needs no database.
import { useCommandDatabase } from '../local/command-database.ts';

const [service = '', ...args] = process.argv.slice(2);
const stopDatabase = args[0] === 'create' ? undefined : await useCommandDatabase(service);
try {
  // The service's migrate.ts reads its arguments and DATABASE_URL as it does in the image.
  process.argv.splice(2, 1);
  await import(`../services/${service}/src/migrate.ts`);
} finally {
  await stopDatabase?.();
}
