// The command that makes a key: `npm run keys:create -- --name Shop --scopes users:write,subscriptions:write`. In the image
// of the gateway: node src/callers/create-key.ts. The key is on stdout, once; all else is on stderr.
import { parseArgs } from 'node:util';
import { ConfigError } from '@promopulse/shared/config';
import { DomainError } from '@promopulse/shared/errors';
import { scopes } from '@promopulse/shared/http/caller/scopes';
import { validateInput } from '@promopulse/shared/http/input/validate-input';
import { explain } from '@promopulse/shared/process';
import { createLogger } from '@promopulse/shared/telemetry/logger';
import { pino } from 'pino';
import { makeKey } from './first-key.ts';
import { newKey } from './key-schemas.ts';

const usage = `Usage: keys:create --name <text> --scopes <scope,scope…|all> [--expires-at <time>] [--if-none]
  --scopes      of ${scopes.join(', ')}
  --expires-at  such as 2027-01-31T00:00:00Z; without it the key does not end
  --if-none     make it only when there is no usable key with the scope keys:manage`;

try {
  await main();
} catch (error) {
  const isWrong = error instanceof ConfigError || error instanceof DomainError;
  process.stderr.write(`No key was made. ${isWrong ? error.message : explain(error)}\n`);
  process.exitCode = isWrong ? 2 : 1;
}

async function main(): Promise<void> {
  const { values } = readArguments();
  const input = {
    name: values.name,
    scopes: values.scopes === 'all' ? [...scopes] : values.scopes?.split(',').map((scope) => scope.trim()),
    ...(values['expires-at'] !== undefined && { expires_at: values['expires-at'] }),
  };
  const { expires_at = null, ...fields } = validateInput(newKey, input, 'request');
  // On stderr, because stdout has the key.
  const log = createLogger({ service: 'gateway', level: 'warn', destination: pino.destination(2) });
  const options = { onlyFirst: values['if-none'] === true };
  const made = await makeKey(process.env, log, { ...fields, expires_at }, options);
  if (!made) {
    process.stderr.write('There is a key with the scope keys:manage already: no key was made.\n');
    return;
  }
  process.stderr.write(`The key ${made.id} (${fields.scopes.join(', ')}). Keep it: it is shown only now.\n`);
  process.stdout.write(`${made.secret}\n`);
}

/** @throws ConfigError with the usage */
function readArguments() {
  try {
    return parseArgs({
      options: {
        name: { type: 'string' },
        scopes: { type: 'string' },
        'expires-at': { type: 'string' },
        'if-none': { type: 'boolean' },
      },
    });
  } catch (error) {
    throw new ConfigError(`${(error as Error).message}\n${usage}`);
  }
}
