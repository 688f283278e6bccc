// The migration command: current, list, create, up, down.
import { migrationCommand } from '@promopulse/shared/commands/migrate';
import { promotions } from './service.ts';

await migrationCommand(promotions, process.argv.slice(2), process.env);
