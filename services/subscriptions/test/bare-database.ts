// The tables of the service without the service: no reading of an owner interferes.
import { type Database, openDatabase } from '@promopulse/shared/database/database';
import { migrate } from '@promopulse/shared/database/migrations';
import { databaseOptionsOf } from '@promopulse/shared/service/schema-definition';
import { createLogger } from '@promopulse/shared/telemetry/logger';
import { createTestDatabase } from '@promopulse/testing/servers';
import { subscriptions } from '../src/service.ts';

export interface BareDatabase {
  url: string;
  database: Database;
  drop(): Promise<void>;
}

export async function openBareDatabase(): Promise<BareDatabase> {
  const created = await createTestDatabase(['subscriptions']);
  const url = created.urlFor('subscriptions');
  const options = databaseOptionsOf(subscriptions, url);
  await migrate(options, createLogger({ service: 'test', level: 'silent' }));
  const database = await openDatabase(options);
  return {
    ...{ url, database },
    drop: async () => {
      await database.close();
      await created.drop();
    },
  };
}
