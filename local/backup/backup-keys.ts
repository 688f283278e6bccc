// The keys for personal data that belong to a backup. They are not in it: a person with both can read every address. The
// backup names them by SHA-256, which does not lead to a key, because keys are random.
import { existsSync, readFileSync, writeFileSync } from 'node:fs';
import { join, relative } from 'node:path';
import { keysFileName } from '../postgres-cluster.ts';
import { type BackupContents, BackupError, digest } from './backup-folder.ts';

type NamedKeys = BackupContents['keys'];

/** Without these the data cannot be read. `ACTOR_KEYS` protects no data. */
const variables = ['PII_ENCRYPTION_KEYS', 'PII_INDEX_KEY'] as const;
type Keys = Partial<Record<(typeof variables)[number], string>>;

/** The keys beside the data. Empty when they are elsewhere: the operator has them in the environment. */
export function keysOfData(dataDir: string): NamedKeys {
  const file = join(dataDir, keysFileName);
  return existsSync(file) ? namesOf(readKeys(file)) : [];
}

/** Copies the keys beside the data to a file. @throws BackupError when there are none, or the file has other keys */
export function copyKeys(dataDir: string, { target, file }: { target: string; file: string }): void {
  if (!relative(target, file).startsWith('..')) {
    throw new BackupError('Keep the keys apart from the backup: name a file outside its folder.');
  }
  const source = join(dataDir, keysFileName);
  if (!existsSync(source)) {
    throw new BackupError(`There is no file of keys in ${dataDir}: the keys are in the environment of npm start.`);
  }
  if (!existsSync(file)) {
    writeFileSync(file, readFileSync(source), { flag: 'wx', mode: 0o600, flush: true });
  } else if (!fits(keysOfData(dataDir), readKeys(file))) {
    throw new BackupError(`${file} exists already, and has other keys. Name another file.`);
  }
}

interface KeySources {
  /** `--keys`. */
  file: string | undefined;
  /** The data that are replaced, whose keys may be the same. */
  dataDir: string;
  env: NodeJS.ProcessEnv;
}

/**
 * Finds the keys that read the backup.
 * @returns the file of keys to copy; undefined when the environment has the keys, or had them at the backup
 * @throws BackupError when they are not found
 */
export function findKeys(needed: NamedKeys, { file, dataDir, env }: KeySources): string | undefined {
  if (file !== undefined) {
    if (fits(needed, readKeys(file))) return file;
    throw new BackupError(`${file} lacks keys with which this backup was written. Name the file that has them.`);
  }
  if (fits(needed, keysOfEnvironment(env))) return undefined;
  const beside = join(dataDir, keysFileName);
  if (existsSync(beside) && fits(needed, readKeys(beside))) return beside;
  throw new BackupError(
    'The keys of this backup are not here, and without them no email and no phone can be read. ' +
      'Name the file that has them: --keys <file>.',
  );
}

function readKeys(file: string): Keys {
  try {
    return Object(JSON.parse(readFileSync(file, 'utf8'))) as Keys;
  } catch (cause) {
    throw new BackupError(`${file} cannot be read as a file of keys.`, { cause });
  }
}

/** Each variable, or the content of the file that `<variable>_FILE` names. */
function keysOfEnvironment(env: NodeJS.ProcessEnv): Keys {
  const keyOf = (variable: string): string | undefined => {
    const file = env[`${variable}_FILE`];
    return env[variable] || (file && readFileSync(file, 'utf8').trim()) || undefined;
  };
  return Object.fromEntries(variables.map((variable) => [variable, keyOf(variable)]));
}

function fits(needed: NamedKeys, keys: Keys): boolean {
  const present = new Set(namesOf(keys).map(({ variable, sha256 }) => `${variable} ${sha256}`));
  return needed.every(({ variable, sha256 }) => present.has(`${variable} ${sha256}`));
}

/** `PII_ENCRYPTION_KEYS` can hold several. */
function namesOf(keys: Keys): NamedKeys {
  return variables.flatMap((variable) =>
    String(keys[variable] ?? '')
      .split(',')
      .filter((key) => key.trim() !== '')
      .map((key) => ({ variable, sha256: digest(key.trim()) })),
  );
}
