// The migration command: current, list, create, up, down.
import { migrationCommand } from '@promopulse/shared/commands/migrate';
import { users } from './service.ts';

await migrationCommand(users, process.argv.slice(2), process.env);
