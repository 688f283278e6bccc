// The gateway's own schema in the database. The gateway opens it only when it has something to keep there: keys of callers.
import { fileURLToPath } from 'node:url';
import type { SchemaDefinition } from '@promopulse/shared/service/schema-definition';
import { entities } from './entities.ts';

export const gatewaySchema: SchemaDefinition = {
  name: 'gateway',
  entities,
  migrations: fileURLToPath(new URL('migrations', import.meta.url)),
};
