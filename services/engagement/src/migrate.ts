// The migration command: current, list, create, up, down.
import { migrationCommand } from '@promopulse/shared/commands/migrate';
import { engagement } from './service.ts';

await migrationCommand(engagement, process.argv.slice(2), process.env);
