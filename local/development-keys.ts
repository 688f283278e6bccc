// Keys on a developer's machine: for personal data, for the header by which the gateway tells the services who calls, and
// for the ids of the subjects of tokens.
// They are generated once and kept in a file that only its owner can read. Without that file the contact data encrypted
// with its keys cannot be read. So `npm start` keeps the file in the data folder of its PostgreSQL: both are removed
// together.
import { chownSync, existsSync, readFileSync, renameSync, statSync, writeFileSync } from 'node:fs';
import { dirname } from 'node:path';
import { generateFernetKey } from '../services/users/src/personal-data/fernet.ts';

const names = ['PII_ENCRYPTION_KEYS', 'PII_INDEX_KEY', 'ACTOR_KEYS', 'OIDC_SUBJECT_KEY'] as const;
/** A file of a former release may lack them. A new one fits all data; a new key for personal data would not. */
const addable = ['ACTOR_KEYS', 'OIDC_SUBJECT_KEY'] as const;
type Keys = Partial<Record<(typeof names)[number], string>>;

/**
 * @param formerFile where a former release has kept the keys of the same data
 * @returns from the file the keys that `env` does not set, by name of their variable
 */
export function developmentKeys(file: string, env: NodeJS.ProcessEnv, formerFile?: string): Keys {
  const missing = missingKeys(env);
  if (missing.length === 0) return {};
  if (!existsSync(file)) {
    const former = formerFile !== undefined && existsSync(formerFile) ? formerFile : undefined;
    writeKeys(file, former ? readKeys(former) : generate(names));
  }
  const stored = readKeys(file);
  const lacking = addable.filter((name) => !stored[name]);
  if (lacking.length > 0) writeKeys(file, Object.assign(stored, generate(lacking)));
  return Object.fromEntries(missing.map((name) => [name, stored[name]]));
}

/** New keys for those that `env` does not set. They are kept nowhere: for a check of the other variables. */
export function temporaryKeys(env: NodeJS.ProcessEnv): Keys {
  return generate(missingKeys(env));
}

function missingKeys(env: NodeJS.ProcessEnv): (typeof names)[number][] {
  return names.filter((name) => !env[name] && !env[`${name}_FILE`]);
}

function generate(wanted: readonly (typeof names)[number][]): Keys {
  return Object.fromEntries(wanted.map((name) => [name, generateFernetKey()]));
}

function readKeys(file: string): Keys {
  return JSON.parse(readFileSync(file, 'utf8')) as Keys;
}

function writeKeys(file: string, keys: Keys): void {
  writeFileSync(`${file}.new`, `${JSON.stringify(keys, null, 2)}\n`, { mode: 0o600 });
  // As root PostgreSQL runs as another account, which must be able to open every file of its folder.
  const { uid, gid } = statSync(dirname(file));
  chownSync(`${file}.new`, uid, gid);
  renameSync(`${file}.new`, file);
}
