// Makes an API key in the database itself, for an operator who has none yet.
import type { Environment } from '@promopulse/shared/config';
import type { Logger } from '@promopulse/shared/telemetry/logger';
import { openGatewayDatabase } from '../gateway-database.ts';
import { createKey } from './key-format.ts';
import { insertFirstKey, insertKey, type KeyFields } from './key-store.ts';

interface MadeKey {
  id: string;
  /** Shown once. */
  secret: string;
}

/**
 * Applies the migrations of the gateway first. The gateways accept the key within 2 s.
 * @param onlyFirst makes none when there is a usable key that may manage keys
 * @returns undefined when none was made
 * @throws ConfigError; the database's error after 30 s without a database
 */
export async function makeKey(
  env: Environment,
  log: Logger,
  fields: Omit<KeyFields, 'created_by'>,
  { onlyFirst }: { onlyFirst: boolean },
): Promise<MadeKey | undefined> {
  const database = await openGatewayDatabase(env, log);
  try {
    const made = createKey();
    const insert = onlyFirst ? insertFirstKey : insertKey;
    const row = await insert(database, { ...fields, created_by: null }, made);
    return row && { id: row.id, secret: made.secret };
  } finally {
    await database.close();
  }
}
