// The migration command: current, list, create, up, down.
import { migrationCommand } from '@promopulse/shared/commands/migrate';
import { subscriptions } from './service.ts';

await migrationCommand(subscriptions, process.argv.slice(2), process.env);
