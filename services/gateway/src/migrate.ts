// The migration command: current, list, create, up, down.
import { migrationCommand } from '@promopulse/shared/commands/migrate';
import { gatewaySchema } from './schema.ts';

await migrationCommand(gatewaySchema, process.argv.slice(2), process.env);
